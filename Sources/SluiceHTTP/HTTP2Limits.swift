import SluiceBytes

/// What one HTTP/2 connection may cost. The defaults are those of `limits` in the configuration.
public struct HTTP2Limits: Sendable, Equatable {
    /// The largest frame that we take: what everybody has to, as our settings say nothing else (RFC 9113 §6.5.2).
    static let frameBytes = 16 << 10
    /// A message's head (sum of name and value lengths) and its fields; trailers count again, on their own.
    public var headBytes = 32 << 10
    public var fields = 100
    /// The request target; unused for responses.
    public var targetBytes = 8 << 10
    /// Streams that the peer may have open: SETTINGS_MAX_CONCURRENT_STREAMS.
    public var concurrentStreams = 100
    /// Body bytes that a peer may send before we return the window: for each stream, and in all.
    public var streamWindowBytes = 64 << 10
    public var connectionWindowBytes = 1 << 20
    /// Outgoing body bytes that wait for one stream's window at which its source pauses, and below which it goes on.
    public var streamHighBytes = 64 << 10
    public var streamLowBytes = 16 << 10
    /// The same for all streams of the connection together: above it, any stream that has more than the low mark pauses.
    public var connectionHighBytes = 1 << 20
    /// Framed bytes that may wait for the socket.
    public var outputBytes = 64 << 10
    /// Resets by the peer, or provoked by it: this many at once, then so many a second.
    public var resets = 100
    public var resetsPerSecond = 20
    /// PING, SETTINGS and PRIORITY frames: this many at once, then so many a second. Frames of unknown types are skipped by
    /// nghttp2 at the price of reading them, and leave nothing behind.
    public var controlFrames = 1_000
    public var controlFramesPerSecond = 100
    /// DATA frames in a row that carry nothing.
    public var emptyFrames = 16
    /// CONTINUATION frames of one block.
    public var continuations = 8
    /// Acknowledgements that wait because the peer takes nothing.
    public var unsentControlFrames = 1_000
    public var side = HTTP1Limits.Side.client

    public init() {}

    var headCrossed: HTTPError {
        .limit(Limit(side == .client ? "request_head_bytes" : "upstream_head_bytes", headBytes))
    }
    var fieldsCrossed: HTTPError { .limit(Limit(side == .client ? "request_fields" : "upstream_fields", fields)) }
}

/// Lets `burst` things happen at once and after that `perSecond`. A pure value; time comes with each call.
struct TokenBucket {
    private let cost: UInt64  // in nanoseconds of credit
    private let capacity: UInt64
    private var credit: UInt64
    private var filled: Instant?

    init(burst: Int, perSecond: Int) {
        cost = 1_000_000_000 / UInt64(max(1, perSecond))
        capacity = cost * UInt64(max(1, burst))
        credit = capacity
    }

    /// Takes one; false if there is none.
    mutating func take(at now: Instant) -> Bool {
        if let filled { credit = min(capacity, credit + min(capacity, (now - filled).nanoseconds)) }
        filled = now
        guard credit >= cost else { return false }
        credit -= cost
        return true
    }
}
