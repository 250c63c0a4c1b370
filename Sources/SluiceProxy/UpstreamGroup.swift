import SluiceConfig

/// How one attempt of an exchange at an upstream went, as far as the upstream's health is concerned.
enum AttemptOutcome: Equatable {
    /// The head of an answer came, with this status, and what followed was whole.
    case answered(status: Int)
    /// No connection, no answer in time, or one that was cut or malformed.
    case failed
    /// The client left or the exchange was given up: it says nothing about the upstream.
    case abandoned
}

/// One worker's view of an upstream of the configuration: the places where it is found, of which each attempt gets one.
/// Lives as long as an exchange or a configuration refers to it.
final class UpstreamGroup {
    let spec: UpstreamSpec
    private let pools: [UpstreamPool]
    /// Of this worker's repetitions.
    var budget: RetryBudget

    init(_ spec: UpstreamSpec, pools: [UpstreamPool]) {
        (self.spec, self.pools, budget) = (spec, pools, RetryBudget(spec.retries))
    }

    /// The place for one attempt; nil if there is none that may be tried now. `tried`: those that have failed this request,
    /// taken again only where no other is left.
    func pick(avoiding tried: [UpstreamPool]) -> UpstreamPool? {
        pools.first { pool in !tried.contains { $0 === pool } } ?? pools.first
    }

    /// Whether there is a place that has not failed this request. Only asks: nothing is taken.
    func hasPlace(besides tried: [UpstreamPool]) -> Bool {
        pools.contains { pool in !tried.contains { $0 === pool } }
    }

    func close() {
        for pool in pools { pool.close() }
    }
}
