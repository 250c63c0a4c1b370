import SluiceBytes
import SluiceHTTP
import SluiceStreams

/// Which of a client's credentials go on with a request that is passed through: none, unless the route forwards them; and never
/// a key that Sluice itself has given out.
enum RelayedCredentials {
    /// Whether a field that carries credentials goes on.
    static func forwards(_ fields: HeaderFields, _ index: Int, _ context: UpstreamRequest.Context) -> Bool {
        guard context.route.spec.forwardCredentials else { return false }
        guard let authenticator = context.route.access?.authenticator else { return true }
        return !authenticator.isOwnKey(Authenticator.credential(fields, index))
    }

    /// `fields` without the keys of our own that stand in the cookie which lets clients in.
    static func withoutOwnCookies(_ fields: HeaderFields, _ context: UpstreamRequest.Context) -> HeaderFields {
        guard let authenticator = context.route.access?.authenticator, let cookie = authenticator.cookie,
            fields.contains("cookie")
        else { return fields }
        var kept = HeaderFields()
        for index in 0..<fields.count {
            guard ASCII.equalFolded(fields.name(at: index), "cookie") else {
                kept.append(name: fields.name(at: index), value: fields.value(at: index))
                continue
            }
            let rest = cookie.stripped(fields.value(at: index).array, where: authenticator.isOwnKey)
            if let rest { kept.append(name: fields.name(at: index), value: rest.span) }
        }
        return kept
    }

    /// The query with its `?`; empty if nothing is left. What stays, stays as it was written.
    static func query(_ context: UpstreamRequest.Context) -> String {
        let target = context.head.target
        guard let mark = target.firstIndex(of: "?") else { return "" }
        let names = parameters(context)
        if names.isEmpty { return String(target[mark...]) }
        let kept = target[target.index(after: mark)...].split(separator: "&", omittingEmptySubsequences: false)
            .filter { pair in
                guard let item = RequestTarget("/?" + pair).queryItems().first, names.contains(item.name) else {
                    return true
                }
                guard context.route.spec.forwardCredentials else { return false }
                return context.route.access?.authenticator?.isOwnKey(Array(item.value.utf8)) != true
            }
        return kept.isEmpty ? "" : "?" + kept.joined(separator: "&")
    }

    /// Those that may carry credentials: where this route takes keys, and where the upstream does.
    private static func parameters(_ context: UpstreamRequest.Context) -> [String] {
        let own = context.route.access?.queryKeys ?? []
        return context.upstream.dialect == .gemini ? own + ["key", "access_token"] : own
    }
}
