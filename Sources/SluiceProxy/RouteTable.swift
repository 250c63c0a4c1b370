import SluiceConfig
import SluiceHTTP
import SluiceStreams

/// A route as exchanges hold it: a reference, since copying a route counts a dozen of them.
final class RouteEntry: Sendable {
    let spec: Route
    /// What it says of requests, ready for their translation; by the position in its list of upstreams.
    private let rules: [RequestRules]
    /// Who may use it; nil for anybody, without limits.
    let access: RouteAccess?
    /// How its answers may be compressed; empty: not at all.
    let codings: [BodyCoding]
    /// nil where one upstream answers by itself.
    let chain: ChainPlan?

    init(_ spec: Route, access: RouteAccess? = nil) {
        (self.spec, self.access) = (spec, access)
        chain = spec.steps.isEmpty ? nil : ChainPlan(spec, access: access)
        codings = spec.compress.compactMap { BodyCoding(rawValue: $0.rawValue) }
        var rules = RequestRules()
        (rules.model, rules.system) = (spec.model, spec.system)
        rules.defaults = spec.defaults.flatMap { JSONValue.parse($0) }
        rules.overrides = spec.overrides.flatMap { JSONValue.parse($0) }
        rules.dropsUnsupported = spec.dropsUnsupported
        rules.modelPrefix = spec.modelPrefix
        self.rules = spec.upstreams.map { choice in
            var own = rules
            own.model = choice.model ?? rules.model
            return own
        }
    }

    func rules(at position: Int) -> RequestRules { position < rules.count ? rules[position] : RequestRules() }

    /// Some of the client's body is changed, whatever it says.
    func changesBody(at position: Int) -> Bool {
        spec.defaults != nil || spec.overrides != nil || rules(at: position).model != nil || spec.system != nil
            || spec.modelPrefix != nil
    }
}

/// Finds the route of a request: the first of the file that matches in path, method, host and every condition.
struct RouteTable: Sendable {
    enum Match {
        case route(Int)
        /// It asks for an answer that a route has begun.
        case generation(Int, GenerationWish)
        /// A route whose conditions look into the body comes first: ask again with the body.
        case needsBody
        /// It asks for what stands beside the runs of a workflow.
        case workflow(Int, WorkflowWish)
        /// A run of a workflow that there is not, at a path where there are others.
        case unknownWorkflow(Int)
        case notFound
        case methodNotAllowed(allowed: String)
    }

    let entries: [RouteEntry]

    /// `access`: by route; empty where all are open.
    init(_ routes: [Route], access: [RouteAccess?] = []) {
        entries = routes.enumerated().map { index, route in
            RouteEntry(route, access: access.indices.contains(index) ? access[index] : nil)
        }
    }

    subscript(index: Int) -> RouteEntry { entries[index] }

    /// `path` is normalised and without the query; `body` is nil while it has not been read.
    func match(_ head: RequestHead, path: String, body: JSONValue?) -> Match {
        // Neither is ever served: the one echoes secrets, the other would make this an open relay.
        if head.method == "TRACE" || head.method == "CONNECT" { return .methodNotAllowed(allowed: "GET, HEAD, POST") }
        var allowed: [String] = []
        var (beside, unknownWorkflow): (Match?, Int?) = (nil, nil)
        for (index, entry) in entries.enumerated() {
            guard Self.matches(entry.spec.path, path), Self.matchesHost(entry.spec.host, head.authority) else {
                if beside == nil, entry.spec.workflow != nil {
                    switch Self.workflowMatch(entry, head, path) {
                    case .wish(let wish): beside = .workflow(index, wish)
                    case .methodNotAllowed(let method): allowed.append(method)
                    case .no: break
                    }
                }
                if entry.spec.resume == nil { continue }
                switch generationMatch(entry, head, path) {
                case .wish(let wish): return .generation(index, wish)
                case .methodNotAllowed: allowed += ["GET", "DELETE"]
                case .no: break
                }
                continue
            }
            // What a route is for by its very path goes before those that take whatever stands behind a prefix.
            if let beside, case .prefix = entry.spec.path { return beside }
            guard entry.spec.methods.isEmpty || entry.spec.methods.contains(head.method) else {
                allowed += entry.spec.methods
                continue
            }
            switch Self.conditionsHold(entry.spec.conditions, head, body: body) {
            case true?: break
            case false?: continue
            case nil: return .needsBody
            }
            switch Self.isWorkflow(entry, named: body) {
            case true?: return .route(index)
            case false?: unknownWorkflow = unknownWorkflow ?? index
            case nil: return .needsBody
            }
        }
        if let beside { return beside }
        if let unknownWorkflow { return .unknownWorkflow(unknownWorkflow) }
        var told: [String] = []
        for method in allowed where !told.contains(method) { told.append(method) }
        return told.isEmpty ? .notFound : .methodNotAllowed(allowed: told.joined(separator: ", "))
    }

    static func matches(_ pattern: Route.Path, _ path: String) -> Bool {
        switch pattern {
        case .exact(let exact): exact == path
        case .prefix(let prefix): path.hasPrefix(prefix) || path + "/" == prefix
        }
    }

    static func matchesHost(_ host: String?, _ authority: String) -> Bool {
        guard let host else { return true }
        var name = Substring(authority)
        if let colon = name.lastIndex(of: ":"), !name.hasSuffix("]") { name = name[..<colon] }
        return host.lowercased() == name.lowercased()
    }

    /// nil: a condition needs the body, which is not there yet, and no other one has failed.
    static func conditionsHold(
        _ conditions: [(Route.Subject, String)], _ head: RequestHead, body: JSONValue?
    ) -> Bool? {
        var needsBody = false
        for (subject, glob) in conditions {
            let value: String?
            switch subject {
            case .header(let name): value = head.fields.first(named: name)
            case .path: value = RequestTarget(head.target).normalizedPath
            case .query(let name): value = RequestTarget(head.target).value(named: name)
            case .body(let path):
                guard let body else {
                    needsBody = true
                    continue
                }
                value = BodyCondition.text(at: path, of: body, for: glob)
            }
            guard let value, Glob.matches(glob, value) else { return false }
        }
        return needsBody ? nil : true
    }
}
