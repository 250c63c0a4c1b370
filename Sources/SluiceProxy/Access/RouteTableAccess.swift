import SluiceHTTP

/// Which routes a request may come to mean before it is known which one it does.
extension RouteTable {
    /// Those that a body could still choose, up to the first that takes any.
    func candidates(_ head: RequestHead, path: String) -> [RouteEntry] {
        var found: [RouteEntry] = []
        for entry in entries where isAt(entry, head, path) {
            guard entry.spec.methods.isEmpty || entry.spec.methods.contains(head.method) else { continue }
            let holds = Self.conditionsHold(entry.spec.conditions, head, body: nil)
            if holds != false { found.append(entry) }
            if holds == true, entry.spec.workflow == nil { break }
        }
        return found
    }

    /// The policy that a preflight asks for: that of the first route which would take the request that is to follow, as far as
    /// path, host and method say, and which has one that allows the page; else of the first of these that has one at all. nil: none
    /// would take it, or none lets any page read.
    func policy(forPreflight head: RequestHead, path: String) -> CORSPolicy? {
        let method = head.fields.first("access-control-request-method") ?? ""
        var refusing: CORSPolicy?
        for entry in entries where isAt(entry, head, path) {
            guard let policy = entry.access?.cors,
                entry.spec.methods.isEmpty || entry.spec.methods.contains(method)
            else { continue }
            if policy.allows(head) { return policy }
            refusing = refusing ?? policy
        }
        if method == "GET" || method == "DELETE" || method == "POST" {
            let keepers = entries.lazy.filter { isKeeper($0, head, path) }.compactMap { $0.access?.cors }
            if let policy = keepers.first(where: { $0.allows(head) }) ?? keepers.first { return policy }
        }
        return refusing
    }

    /// For an answer to a request that no route takes, though one is at its path.
    func policy(at path: String, _ head: RequestHead) -> CORSPolicy? {
        entries.lazy.filter { isAt($0, head, path) || isKeeper($0, head, path) }.compactMap { $0.access?.cors }.first
    }

    private func isAt(_ entry: RouteEntry, _ head: RequestHead, _ path: String) -> Bool {
        Self.matches(entry.spec.path, path) && Self.matchesHost(entry.spec.host, head.authority)
    }
}
