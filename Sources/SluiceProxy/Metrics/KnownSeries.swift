import SluiceConfig
import SluiceStreams

/// What can be counted by the configuration's own names before it has happened. A counter that appears with its first event hides
/// that event from all who look at its growth, and a gauge that comes and goes leaves gaps in their graphs.
struct KnownSeries {
    private(set) var routes: [String] = []
    private(set) var ends: [ExchangeMetrics.EndKey] = []

    /// Of what a stream can come to in everyday life. What is rarer, and what clients cause, shows when it happens.
    private static let outcomes: [(reason: String, status: Int)] = [
        ("done", 200), ("client_gone", 200), ("slow_client", 200), ("drain", 200), ("eof", 200), ("idle", 200),
        ("malformed", 200), ("upstream_error", 200), ("connect", 502), ("eof", 502), ("malformed", 502),
        ("upstream_status", 429), ("upstream_status", 502), ("upstream_status", 503), ("timeout_head", 504),
        ("timeout_firstToken", 504),
    ]
    private static let limit = 1000

    init() {}

    init(_ configuration: Configuration) {
        var seen: Set<String> = []
        for route in configuration.routes {
            if seen.insert(route.label).inserted { routes.append(route.label) }
            for choice in route.upstreams where configuration.upstreams.indices.contains(choice.upstream) {
                guard ends.count + Self.outcomes.count <= Self.limit else { continue }
                let upstream = configuration.upstreams[choice.upstream].name
                for (reason, status) in Self.outcomes {
                    ends.append(
                        ExchangeMetrics.EndKey(
                            route: route.label, upstream: upstream, format: route.likelyFormat, reason: reason,
                            status: status))
                }
            }
        }
    }
}

extension Route {
    /// With `auto` the one of clients that do not choose.
    fileprivate var likelyFormat: StreamFormat {
        if case .format(let format) = response { return format }
        return request.response
    }
}
