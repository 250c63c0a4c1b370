import SluiceConfig
import SluiceIO

/// One limit as it is counted: its buckets' shapes, and the name of what shares them.
struct RateRule: Sendable, Equatable {
    /// Rules with the same one count together: a route's own, or one for all routes. The same after a reload.
    let scope: String
    let by: RateLimitSpec.Subject
    let requests: RateBucket.Shape?
    let tokens: RateBucket.Shape?
    let concurrent: Int?
    let spec: RateLimitSpec

    init(_ spec: RateLimitSpec, scope: String) {
        (self.spec, self.scope, by, concurrent) = (spec, scope, spec.by, spec.concurrent)
        requests = spec.requests.map { RateBucket.Shape($0, burst: spec.burst) }
        tokens = spec.tokens.map { RateBucket.Shape($0) }
    }

    /// Held back for a request of `bytes` until its usage is known: a token for four bytes, as English has it, but never so much
    /// that an image could not be sent.
    func reserve(bytes: Int) -> Int {
        guard let tokens else { return 0 }
        return max(1, min(bytes / 4, tokens.capacity / 10))
    }
}

/// Whose bucket it is.
struct RateSubject: Hashable, Sendable {
    enum Who: Hashable, Sendable {
        case identity(String)
        case v4(UInt32)
        /// The upper half: whoever has one address of a /64 has all of them.
        case v6(UInt64)
        case everybody
    }
    let scope: String
    let who: Who

    /// `address`: nil where it is not known, as on a unix socket; such clients share one.
    init(_ rule: RateRule, _ identity: Identity?, _ address: IPAddress?) {
        scope = rule.scope
        switch (rule.by, identity, address) {
        case (.route, _, _): who = .everybody
        case (.key, let identity?, _): who = .identity("\(identity.kind.rawValue):\(identity.name)")
        case (_, _, .v4(let address)?): who = .v4(address)
        case (_, _, .v6(let high, _)?): who = .v6(high)
        case (_, _, nil): who = .everybody
        }
    }
}
