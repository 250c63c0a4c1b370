import SluiceBytes

/// What the bytes of an HTTP/2 connection meant. Streams are named by their slot: a small number that is theirs from the
/// head (or the request) until `closed` has been handled, and is another stream's after that.
public enum HTTP2Event: Equatable, Sendable {
    /// A request's head, or the final head of a response, is complete: take it with `takeRequest` or `takeResponse`.
    case head(slot: Int)
    /// An interim response.
    case interim(slot: Int, status: Int)
    /// A run of body bytes: a range of the span that `receive` was given. Not copied.
    case body(slot: Int, Range<Int>)
    /// The peer's message is complete.
    case end(slot: Int)
    /// The stream is gone, with the code of the RST_STREAM that ended it, or 0 (RFC 9113 §7).
    case closed(slot: Int, code: UInt32)
    /// What waited for the stream's window has fallen to the low mark.
    case drained(slot: Int)
    /// The peer opens, or takes, no more streams above the last one.
    case goAway(code: UInt32)
    /// The peer's settings changed: `peerConcurrentStreams` may be another.
    case settings
    /// Our PING was answered.
    case pong
}

/// Codes of RST_STREAM and GOAWAY (RFC 9113 §7) that are spoken here.
public enum HTTP2Code {
    public static let noError: UInt32 = 0
    public static let protocolError: UInt32 = 1
    public static let internalError: UInt32 = 2
    public static let flowControlError: UInt32 = 3
    public static let streamClosed: UInt32 = 5
    public static let frameSizeError: UInt32 = 6
    public static let refusedStream: UInt32 = 7
    public static let cancel: UInt32 = 8
    public static let enhanceYourCalm: UInt32 = 11
}

/// Why a connection cannot go on. `HTTP2Session.output` holds a GOAWAY that says so.
public enum HTTP2Error: Error, Equatable, Sendable, CustomStringConvertible {
    /// The peer broke the protocol, or stopped in the middle.
    case malformed(String)
    /// The peer makes more work than it may.
    case limit(Limit)

    public var description: String {
        switch self {
        case .malformed(let what): what
        case .limit(let limit): "over the limit \(limit.name) (\(limit.value))"
        }
    }
}
