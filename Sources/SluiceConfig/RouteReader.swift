import SluiceBytes
import SluiceStreams

extension ConfigurationReader {
    func readRoutes(_ root: inout Section, _ upstreams: [UpstreamSpec]?) -> [Route]? {
        let compression = readCompression(&root) ?? []
        guard let items = root.list("routes") else {
            if root.value("routes") == nil { root.missing("routes") }
            return nil
        }
        var routes: [Route] = []
        var seen: [String: String] = [:]
        var places: [(node: YAMLNode, path: String)] = []
        for (node, path) in items {
            guard var section = Section(node, path: path, context: context) else { continue }
            let route = readRoute(&section, upstreams ?? [], checksUpstream: upstreams != nil, compression)
            section.finish()
            guard let route else { continue }
            if let earlier = seen[Self.matchKey(route)] {
                context.report(node, path, "is never reached: \(earlier) matches the same requests")
            }
            seen[Self.matchKey(route)] = path
            routes.append(route)
            places.append((node, path))
        }
        settleWorkflows(&routes, places)
        return routes
    }

    private static func matchKey(_ route: Route) -> String {
        let conditions = route.conditions.map { "\($0.subject)=\($0.glob)" }.sorted()
        return "\(route.label)|\(route.host ?? "")|\(route.methods.sorted())|\(conditions)|\(route.workflow?.id ?? "")"
    }

    private func readRoute(
        _ section: inout Section, _ upstreams: [UpstreamSpec], checksUpstream: Bool, _ compression: [Route.Coding]
    ) -> Route? {
        let path = readPath(&section)
        let request = readRequired("request", RequestFormat.self, &section)
        let response = readResponse(&section)
        let known = checksUpstream ? upstreams : nil
        let steps = readSteps(&section, known)
        let choices = steps.map { $0.last?.upstreams } ?? readUpstreamChoices(&section, known)
        var route = Route(
            path: path ?? .exact("/"), request: request ?? .passthrough, response: response ?? .auto, upstream: 0)
        if let choices { route.upstreams = choices }
        readMatch(&section, &route)
        readChanges(&section, &route)
        readBehaviour(&section, &route)
        if let steps { take(steps, &route, &section) }
        readAccess(&section, &route)
        readWorkflow(&section, &route)
        readResume(&section, &route)
        if let request { checkResume(request, route, &section) }
        route.compress = readCompression(&section) ?? compression
        guard path != nil, let request, response != nil, let choices else { return nil }
        check(request, route.response, choices.map { upstreams[$0.upstream] }, route, &section)
        return route
    }

    private func readPath(_ section: inout Section) -> Route.Path? {
        guard let text = section.requiredString("path"), let node = section.value("path") else { return nil }
        let stem = text.hasSuffix("/*") ? String(text.dropLast()) : text
        guard stem.hasPrefix("/"), !stem.contains("*"), !stem.contains("?"), !stem.contains("//") else {
            context.report(
                node, section.path(of: "path"), "'\(text)' is not a path such as /api/chat, or a prefix such as /v1/*")
            return nil
        }
        return text.hasSuffix("/*") ? .prefix(stem) : .exact(stem)
    }

    private func readRequired<E: RawRepresentable & CaseIterable>(
        _ key: String, _ type: E.Type, _ section: inout Section
    ) -> E? where E.RawValue == String {
        if section.value(key) == nil { section.missing(key) }
        return section.choice(key, type)
    }

    private func readResponse(_ section: inout Section) -> Route.Response? {
        guard let text = section.requiredString("response"), let node = section.value("response") else { return nil }
        if text == "auto" { return .auto }
        if let format = StreamFormat(rawValue: text) { return .format(format) }
        let choices = StreamFormat.allCases.map(\.rawValue) + ["auto"]
        context.report(node, section.path(of: "response"), Names.notOneOf(text, choices))
        return nil
    }

    private func readMatch(_ section: inout Section, _ route: inout Route) {
        route.host = section.string("host")
        if let methods = section.list("methods") {
            route.methods = methods.compactMap { node, path in
                guard let method = Scalars.text(node, path, context)?.uppercased() else { return nil }
                let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
                if !known.contains(method) { context.report(node, path, Names.notOneOf(method, known)) }
                return method
            }
        }
        guard let when = section.section("when") else { return }
        for (key, keyNode, value) in when.entries {
            let path = when.path(of: key)
            guard let glob = Scalars.text(value, path, context) else { continue }
            if let subject = Self.subject(key) {
                route.conditions.append((subject: subject, glob: glob))
            } else {
                context.report(keyNode, path, "must be path, or begin with body., header. or query. and name something")
            }
        }
    }

    private static func subject(_ key: String) -> Route.Subject? {
        if key == "path" { return .path }
        if key.hasPrefix("header."), key.utf8.count > 7 { return .header(String(key.dropFirst(7))) }
        if key.hasPrefix("query."), key.utf8.count > 6 { return .query(String(key.dropFirst(6))) }
        guard key.hasPrefix("body."), key.utf8.count > 5 else { return nil }
        let steps = key.dropFirst(5).split { $0 == "." || $0 == "[" || $0 == "]" }
        return .body(steps.map(String.init))
    }

    private func readChanges(_ section: inout Section, _ route: inout Route) {
        route.upstreamPath = readUpstreamPath(&section)
        if route.upstreamPath?.hasSuffix("*") == true, let node = section.value("upstream_path") {
            if case .prefix = route.path, route.request == .passthrough {
            } else {
                context.report(node, section.path(of: "upstream_path"), "only a passthrough of a prefix can end in *")
            }
        }
        route.model = section.string("model")
        route.modelPrefix = section.string("strip_model_prefix")
        route.system = section.string("system")
        route.defaults = readObject("defaults", &section)
        route.overrides = readObject("overrides", &section)
        route.dropsUnsupported = section.bool("drop_unsupported") ?? false
        guard var vercel = section.section("vercel_ui") else { return }
        route.vercelFinishReason = vercel.bool("finish_reason") ?? false
        route.vercelDynamicTools = vercel.bool("dynamic_tools") ?? false
        vercel.finish()
    }

    func readUpstreamPath(_ section: inout Section) -> String? {
        guard let path = section.string("upstream_path") else { return nil }
        if !path.hasPrefix("/"), let node = section.value("upstream_path") {
            context.report(node, section.path(of: "upstream_path"), "must begin with /")
        }
        return path
    }

    func readObject(_ key: String, _ section: inout Section) -> String? {
        guard let node = section.value(key) else { return nil }
        guard case .mapping = node.kind else {
            context.report(node, section.path(of: key), "must be a mapping, not \(node.typeName)")
            return nil
        }
        return String(decoding: json(node, section.path(of: key)).serialized(), as: UTF8.self)
    }

    /// YAML as JSON, by the core schema: plain `true`, `null` and numbers are what they look like.
    private func json(_ node: YAMLNode, _ path: String) -> JSONValue {
        switch node.kind {
        case .sequence(let elements): return .array(elements.map { json($0, path) })
        case .mapping(let members):
            return .object(
                members.map { key, value in
                    guard case .scalar(let name, _) = key.kind else { return (key: "", value: .null) }
                    return (key: name, value: json(value, path + "." + name))
                })
        case .scalar(_, let isPlain):
            guard let text = Scalars.text(node, path, context) else { return .null }
            if node.isNull { return .null }
            guard isPlain else { return JSONValue(text) }
            switch JSONValue.parse(text) {
            case .bool(let flag)?: return .bool(flag)
            case .number(let number)?: return .number(number)
            default: return JSONValue(text)
            }
        }
    }

    private func readBehaviour(_ section: inout Section, _ route: inout Route) {
        route.keepalive = section.duration("keepalive") ?? route.keepalive
        if let early = section.duration("early_headers"), early > .zero { route.earlyHeaders = early }
        route.onDisconnect = section.choice("on_disconnect", Route.OnDisconnect.self) ?? .cancel
        route.forwardCredentials = section.bool("forward_credentials") ?? false
        route.smooth = readSmooth(&section)
        guard var headers = section.section("headers") else { return }
        if let response = headers.section("response") {
            for (name, keyNode, value) in response.entries {
                let path = response.path(of: name)
                guard checkHeader(name, keyNode, path), let text = Scalars.text(value, path, context) else { continue }
                route.responseHeaders.append((name: name, value: text))
            }
        }
        headers.finish()
    }

    /// What only makes sense together.
    private func check(
        _ request: RequestFormat, _ response: Route.Response, _ upstreams: [UpstreamSpec], _ route: Route,
        _ section: inout Section
    ) {
        func report(_ key: String, _ message: String) {
            context.report(section.value(key) ?? section.node, section.path(of: key), message)
        }
        let relays = response == .format(.passthrough)
        if request == .passthrough && !route.steps.isEmpty {
            return report("steps", "a passthrough request is not changed, and has no steps")
        }
        if request == .passthrough && !relays {
            report("response", "a passthrough request can only have a passthrough response")
        }
        if request != .passthrough && relays {
            report("response", "only a passthrough request can have a passthrough response")
        }
        for upstream in upstreams
        where upstream.wire == .dialect(.raw) && request != .passthrough && route.steps.isEmpty {
            report("upstream", "'\(upstream.name)' has the dialect raw, which only passthrough can use")
        }
        guard request == .passthrough else { return }
        if route.smooth != nil { report("smooth", "a passthrough answer is not changed; take this out") }
        let changes = [
            ("model", route.model), ("upstream", route.upstreams.lazy.compactMap(\.model).first),
            ("strip_model_prefix", route.modelPrefix), ("system", route.system), ("defaults", route.defaults),
            ("overrides", route.overrides),
        ]
        for (key, value) in changes where value != nil {
            report(key, "a passthrough request is not changed; take this out")
        }
    }
}
