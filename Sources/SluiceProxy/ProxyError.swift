import SluiceBytes
import SluiceHTTP
import SluiceStreams

/// A failed exchange, as told to the client, as logged and as counted. Built where the failure is known.
public struct ProxyError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Side: String, Sendable { case client, upstream, proxy }

    /// Why, in the word that logs and metrics use.
    public enum Kind: Sendable, Equatable {
        case badRequest
        case notFound
        case methodNotAllowed
        /// Nobody that the route's `auth` knows.
        case unauthenticated
        /// Known, and not allowed here.
        case forbidden
        /// Over the rate limit of that name.
        case rateLimited(String)
        case limit(Limit, status: Int)
        case requestTimeout
        case resolve
        case connect
        case tls
        case timeout(Phase)
        /// The upstream closed or reset where its message was not complete.
        case closed(Phase)
        /// The upstream said that it did nothing with the request (REFUSED_STREAM, or GOAWAY before it).
        case refused
        /// Not HTTP, not the dialect, HTML where a stream should be.
        case malformed(Phase)
        /// The upstream's own error status, with what it said.
        case status(Int)
        /// The upstream reported an error inside its stream before the first token.
        case inStream(StreamErrorKind)
        case draining
        /// There is no upstream that may be asked now.
        case unavailable
        /// The upstream's process was not ready in time.
        case starting
        /// The operator ended it.
        case cancelled
        /// Nobody read an answer that could have been read on.
        case abandoned
        /// A client ended it, by another request.
        case stopped
        /// An answer that began earlier cannot be read on.
        case notKept(ReplayFailure)
    }
    public enum Phase: String, Sendable { case connect, head, firstToken, body, total }

    public let kind: Kind
    public let side: Side
    /// Safe for a client: names no upstream host and no secret.
    public let message: String
    /// For the log only.
    public let detail: String
    /// For `Retry-After`, where the status is 503.
    public var retryAfterSeconds = 1

    public init(_ kind: Kind, _ side: Side, _ message: String, detail: String = "") {
        (self.kind, self.side, self.message, self.detail) = (kind, side, message, detail)
    }

    /// For a request that is not HTTP, or over a limit.
    init(refusing error: HTTPError) {
        switch error {
        case .limit(let limit):
            self.init(
                .limit(limit, status: error.requestStatus), .client, "the request is over the limit \(limit.name)")
        case .unsupportedTransferCoding:
            let limit = Limit("transfer_coding", 0)
            self.init(
                .limit(limit, status: error.requestStatus), .client, "the request's transfer coding is not supported")
        case .unsupportedVersion:
            let limit = Limit("version", 0)
            self.init(.limit(limit, status: error.requestStatus), .client, "this HTTP version is not supported")
        case .malformed(let what): self.init(.badRequest, .client, "the request is not valid HTTP: \(what)")
        case .expectationFailed:
            let limit = Limit("expectation", 0)
            self.init(.limit(limit, status: error.requestStatus), .client, "only 100-continue can be expected")
        case .truncated: self.init(.badRequest, .client, "the request is not valid HTTP")
        }
    }

    /// The status of the response, if none was sent yet (RFC 9110 §15).
    public var status: Int {
        switch kind {
        case .badRequest: 400
        case .notFound: 404
        case .methodNotAllowed: 405
        case .unauthenticated: 401
        case .forbidden: 403
        case .rateLimited: 429
        case .limit(_, let status): status
        case .requestTimeout: 408
        case .resolve, .connect, .tls, .closed, .malformed: 502
        case .timeout: 504
        case .status(let status): Self.clientStatus(ofUpstream: status)
        case .inStream(let kind): Self.status(of: kind)
        case .draining, .refused, .unavailable, .starting, .cancelled, .abandoned: 503
        case .stopped: 409
        case .notKept(.storeAway): 503
        case .notKept: 404
        }
    }

    /// `type` in an OpenAI-shaped error object.
    public var type: String {
        switch status {
        case 429: "rate_limit_error"
        case 503: "overloaded_error"
        case 504: "timeout_error"
        case 500...: "upstream_error"
        default: "invalid_request_error"
        }
    }

    /// In the word of the access log's `end` field.
    public var reason: String {
        switch kind {
        case .badRequest: "bad_request"
        case .notFound: "no_route"
        case .methodNotAllowed: "method"
        case .unauthenticated: "unauthenticated"
        case .forbidden: "forbidden"
        case .rateLimited(let name): "rate_limit_" + name
        case .limit(let limit, _): "limit_" + limit.name
        case .requestTimeout: "request_timeout"
        case .resolve: "resolve"
        case .connect: "connect"
        case .tls: "tls"
        case .timeout(let phase): phase == .body ? "idle" : "timeout_\(phase.rawValue)"
        case .closed: "eof"
        case .refused: "refused"
        case .malformed: "malformed"
        case .status: "upstream_status"
        case .inStream: "upstream_error"
        case .draining: "drain"
        case .unavailable: "unavailable"
        case .starting: "starting"
        case .cancelled: "cancelled"
        case .abandoned: "client_gone"
        case .stopped: "stopped"
        case .notKept(.forgotten): "resume_forgotten"
        case .notKept(.unknown): "resume_unknown"
        case .notKept(.ownerGone): "resume_owner_gone"
        case .notKept(.storeAway): "resume_store_away"
        }
    }

    /// The same failure inside a stream that has begun.
    public var streamFailure: StreamFailure {
        switch kind {
        case .timeout: StreamFailure(.timeout, message)
        case .malformed, .limit: StreamFailure(.malformed, message)
        case .draining: StreamFailure(.draining, message)
        case .inStream(let kind): StreamFailure(kind, message)
        case .status(429): StreamFailure(.rateLimited, message)
        case .status(503), .status(529): StreamFailure(.overloaded, message)
        case .status: StreamFailure(.provider, message)
        default: StreamFailure(.truncated, message)
        }
    }

    public var description: String { "\(side.rawValue): \(reason): \(message)\(detail.isEmpty ? "" : " (\(detail))")" }

    /// What a client did wrong stays its own matter; what went wrong at the provider is a gateway's.
    private static func clientStatus(ofUpstream status: Int) -> Int {
        switch status {
        case 400..<500, 503, 504: status
        case 529: 503
        default: 502
        }
    }

    private static func status(of kind: StreamErrorKind) -> Int {
        switch kind {
        case .overloaded, .draining: 503
        case .rateLimited: 429
        case .invalidRequest: 400
        case .timeout: 504
        case .provider, .truncated, .malformed: 502
        }
    }
}
