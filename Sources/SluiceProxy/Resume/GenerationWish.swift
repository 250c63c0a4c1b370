import SluiceConfig
import SluiceHTTP

/// What a request at `PATH/NAME/stream` or `PATH/NAME` wants of an answer.
struct GenerationWish: Equatable {
    enum Kind { case follow, stop }
    let kind: Kind
    /// nil: no name that anything could have.
    let name: String?
}

extension RouteTable {
    enum GenerationMatch: Equatable {
        case no
        case wish(GenerationWish)
        case methodNotAllowed
    }

    /// `path` is not the route's own. These are its too, whatever its `methods` are.
    func generationMatch(_ entry: RouteEntry, _ head: RequestHead, _ path: String) -> GenerationMatch {
        guard let (name, isStream) = Self.generationName(entry, path),
            Self.matchesHost(entry.spec.host, head.authority),
            Self.conditionsHold(entry.spec.conditions, head, body: nil) != false
        else { return .no }
        switch head.method {
        case "GET" where isStream:
            return .wish(GenerationWish(kind: .follow, name: StreamName.decoded(name)))
        case "DELETE": return .wish(GenerationWish(kind: .stop, name: StreamName.decoded(name)))
        default: return isStream ? .methodNotAllowed : .no
        }
    }

    /// For the CORS of such a request.
    func isKeeper(_ entry: RouteEntry, _ head: RequestHead, _ path: String) -> Bool {
        if entry.spec.workflow != nil { return Self.workflowMatch(entry, head, path) != .no }
        return Self.generationName(entry, path) != nil && Self.matchesHost(entry.spec.host, head.authority)
    }

    private static func generationName(_ entry: RouteEntry, _ path: String) -> (name: Substring, isStream: Bool)? {
        guard entry.spec.resume != nil, entry.spec.workflow == nil, case .exact(let exact) = entry.spec.path,
            path.hasPrefix(exact)
        else {
            return nil
        }
        var rest = path.dropFirst(exact.count)
        if !exact.hasSuffix("/") {
            guard rest.first == "/" else { return nil }
            rest = rest.dropFirst()
        }
        let parts = rest.split(separator: "/", omittingEmptySubsequences: false)
        guard let name = parts.first, !name.isEmpty else { return nil }
        if parts.count == 2, parts[1] == "stream" { return (name, true) }
        return parts.count == 1 ? (name, false) : nil
    }
}
