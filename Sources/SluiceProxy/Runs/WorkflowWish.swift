import SluiceConfig
import SluiceHTTP
import SluiceStreams

/// What a request wants that stands beside a workflow's runs: `BASE/workflows`, `BASE/tasks/ID`, `BASE/health`.
enum WorkflowWish: Equatable {
    case list
    /// What `BASE/workflows/ID/schema` says.
    case schema(String)
    case health
    case state(String)
    case cancel(String)
    /// Forgotten, and stopped if it runs.
    case drop(String)
    /// Goes on with a task that waits for an answer, which none of ours does.
    case resume(String)
}

extension RouteTable {
    enum WorkflowMatch: Equatable {
        case no
        case wish(WorkflowWish)
        case methodNotAllowed(allowed: String)
    }

    /// `path` is not the route's own.
    static func workflowMatch(_ entry: RouteEntry, _ head: RequestHead, _ path: String) -> WorkflowMatch {
        guard let base = entry.spec.workflow?.base, path.hasPrefix(base), matchesHost(entry.spec.host, head.authority)
        else { return .no }
        let parts = path.dropFirst(base.count).split(separator: "/", omittingEmptySubsequences: false)
        let names = Array(parts.dropFirst())
        // The base ends with its segment: /api-other is not below /api.
        guard parts.first?.isEmpty == true, let first = names.first else { return .no }
        func only(_ method: String, _ wish: WorkflowWish) -> WorkflowMatch {
            head.method == method ? .wish(wish) : .methodNotAllowed(allowed: method)
        }
        switch (first, names.count) {
        case ("workflows", 1): return only("GET", .list)
        case ("health", 1): return only("GET", .health)
        case ("workflows", 3) where names[2] == "schema": return only("GET", .schema(String(names[1])))
        case ("tasks", 2):
            if head.method == "DELETE" { return .wish(.drop(String(names[1]))) }
            return head.method == "GET" ? .wish(.state(String(names[1]))) : .methodNotAllowed(allowed: "GET, DELETE")
        case ("tasks", 3) where names[2] == "cancel": return only("POST", .cancel(String(names[1])))
        case ("tasks", 3) where names[2] == "resume": return only("POST", .resume(String(names[1])))
        default: return .no
        }
    }

    /// Whether a run is one of this route's workflow; nil: nobody knows before its body is there. True where there are no workflows.
    static func isWorkflow(_ entry: RouteEntry, named body: JSONValue?) -> Bool? {
        guard let workflow = entry.spec.workflow else { return true }
        guard let body else { return nil }
        let name = body["workflow_id"]?.string?.text ?? ""
        if name.isEmpty || name == WorkflowSpec.defaultID { return workflow.isDefault }
        return name == workflow.id
    }

    /// The workflows that stand at the same place as `entry`'s, in the order of the file.
    func workflows(beside entry: RouteEntry) -> [RouteEntry] {
        guard let base = entry.spec.workflow?.base else { return [] }
        return entries.filter { $0.spec.workflow?.base == base && $0.spec.host == entry.spec.host }
    }

    /// The first route whose runs a request at `path` begins or asks about.
    func workflowEntry(_ head: RequestHead, _ path: String) -> RouteEntry? {
        entries.first { entry in
            guard let workflow = entry.spec.workflow, Self.matchesHost(entry.spec.host, head.authority) else {
                return false
            }
            return path == workflow.base + WorkflowSpec.pathEnd || Self.workflowMatch(entry, head, path) != .no
        }
    }
}
