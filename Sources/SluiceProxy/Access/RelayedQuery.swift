import SluiceHTTP
import SluiceStreams

/// The query of a request that is passed through, without the client's own credentials.
enum RelayedQuery {
    /// With its `?`; empty if nothing is left. What stays, stays as it was written.
    static func text(_ context: UpstreamRequest.Context) -> String {
        let target = context.head.target
        guard let mark = target.firstIndex(of: "?") else { return "" }
        let names = credentials(context)
        if names.isEmpty { return String(target[mark...]) }
        let kept = target[target.index(after: mark)...].split(separator: "&", omittingEmptySubsequences: false)
            .filter { pair in
                guard let name = RequestTarget("/?" + pair).queryItems().first?.name else { return true }
                return !names.contains(name)
            }
        return kept.isEmpty ? "" : "?" + kept.joined(separator: "&")
    }

    private static func credentials(_ context: UpstreamRequest.Context) -> [String] {
        if context.route.spec.forwardCredentials { return [] }
        let own = context.route.access?.queryKeys ?? []
        return context.upstream.dialect == .gemini ? own + ["key", "access_token"] : own
    }
}
