import SluiceBytes
import SluiceConfig
import SluiceStreams

/// How an attempt failed, as far as it decides on what is done next.
struct AttemptFailure: Equatable {
    enum Cause: Equatable {
        /// No connection came about: name, socket, or no answer from there in time.
        case connect
        /// No secure connection; asking again would not change what certificates say.
        case tls
        /// The upstream said that it had done nothing with the request.
        case refused
        /// A pooled connection ended, and the other side had taken over nothing of the request: it was closed before that came.
        case stale
        /// The connection ended behind the request and before any answer.
        case reset
        /// No head in time.
        case timeout
        case firstToken
        case status(Int)
        /// An answer that is none: not HTTP, not the dialect, HTML.
        case malformed
        /// An answer that ended before its first token.
        case cut
        /// The upstream's dialect cannot express the request, or no such request can be made.
        case unfit
        /// There is no place of the upstream that may be asked now.
        case unavailable
    }
    let cause: Cause
    /// What the upstream asked for before it is asked again.
    var retryAfter: Interval?

    init(_ cause: Cause, retryAfter: Interval? = nil) { (self.cause, self.retryAfter) = (cause, retryAfter) }

    /// How a connection ended, as the exchange saw it.
    struct Circumstances {
        /// Something of an answer has come.
        var hasAnswered = false
        /// The connection was an old one, and took nothing.
        var wasStale = false
    }

    /// It says nothing about the upstream's health, as long as another attempt follows: to close what lay idle, or to go down in
    /// good order, is no illness.
    var isNoIllness: Bool { cause == .stale || cause == .refused }

    /// nil: whatever it was, no other attempt would go better.
    init?(_ error: ProxyError, _ circumstances: Circumstances) {
        guard error.side == .upstream || error.kind == .unavailable else { return nil }
        switch error.kind {
        case .connect, .resolve, .timeout(.connect), .closed(.connect): self.init(.connect)
        case .tls: self.init(.tls)
        case .refused: self.init(.refused)
        case .closed:
            self.init(circumstances.hasAnswered ? .cut : circumstances.wasStale ? .stale : .reset)
        case .timeout(.total): return nil
        case .timeout(.firstToken): self.init(.firstToken)
        case .timeout: self.init(.timeout)
        case .malformed: self.init(.malformed)
        case .status(let status): self.init(.status(status))
        case .inStream(let kind): self.init(.status(kind.upstreamStatus))
        case .unavailable, .starting: self.init(.unavailable)
        case .unauthenticated, .forbidden, .rateLimited, .badRequest, .notFound, .methodNotAllowed, .limit,
            .requestTimeout, .draining, .cancelled, .abandoned, .stopped, .notKept:
            return nil
        }
    }

    /// For the log.
    var word: String {
        switch cause {
        case .connect: "connect"
        case .tls: "tls"
        case .refused: "refused"
        case .stale: "stale"
        case .reset: "reset"
        case .timeout: "timeout"
        case .firstToken: "first_token"
        case .status(let status): String(status)
        case .malformed: "malformed"
        case .cut: "cut"
        case .unfit: "unfit"
        case .unavailable: "unavailable"
        }
    }

    /// Nothing of the request can have been worked on.
    var isUnsent: Bool { cause == .connect || cause == .refused || cause == .stale }

    /// The policy says that it is repeated at the same upstream. What Sluice itself would call a 502 goes by that status.
    func isListed(in spec: RetrySpec) -> Bool {
        switch cause {
        case .connect: spec.words.contains(.connect)
        case .refused: spec.words.contains(.refused)
        case .reset, .stale: spec.words.contains(.reset)
        case .timeout: spec.words.contains(.timeout)
        case .firstToken: spec.words.contains(.firstToken)
        case .status(let status): spec.statuses.contains(status)
        case .malformed, .cut: spec.statuses.contains(502)
        case .tls, .unfit, .unavailable: false
        }
    }

    /// Another upstream may do better. A request that is itself at fault would fail there as well; a key, a quota, or a model
    /// that is not there are this upstream's own.
    var isOfThisUpstream: Bool {
        guard case .status(let status) = cause else { return true }
        return !(400..<500).contains(status) || [401, 402, 403, 404].contains(status)
            || RetrySpec.isRepeatable(status: status)
    }

    /// How much a client can do with it, if several upstreams have failed. The later of two equal ones is told.
    var usefulness: Int {
        switch cause {
        case .status(429), .status(503), .status(529): 3
        case .status(401...404), .unfit, .unavailable: 0
        case .status: 2
        default: 1
        }
    }
}

extension StreamErrorKind {
    /// The status that an upstream would have given had it known before.
    var upstreamStatus: Int {
        switch self {
        case .overloaded, .draining: 503
        case .rateLimited: 429
        case .invalidRequest: 400
        case .timeout: 504
        case .provider, .truncated, .malformed: 500
        }
    }
}

extension AttemptOutcome {
    /// What a failure says of the upstream's health.
    init(_ error: ProxyError) {
        switch error.kind {
        case .status(let status): self = .answered(status: status)
        case .inStream(let kind): self = .answered(status: kind.upstreamStatus)
        // Who is out of time may only have come late.
        case .timeout(.total), .starting: self = .abandoned
        default: self = error.side == .upstream ? .failed : .abandoned
        }
    }
}
