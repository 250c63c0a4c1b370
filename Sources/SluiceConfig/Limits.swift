import SluiceBytes

/// Every bound in one place. The configuration key of each is its name in snake case, which errors and logs repeat.
public struct Limits: Sendable, Equatable {
    public var requestHeadBytes = 32 << 10
    public var requestFields = 100
    public var targetBytes = 8 << 10
    public var upstreamHeadBytes = 64 << 10
    public var upstreamFields = 200
    public var requestBodyBytes = 32 << 20
    public var chunkExtensionBytes = 16 << 10
    /// Bytes waiting in one direction of a stream at which reading its source pauses, and below which it goes on.
    public var streamBufferHighBytes = 64 << 10
    public var streamBufferLowBytes = 16 << 10
    /// One event of a stream while it is assembled.
    public var eventBytes = 8 << 20
    /// The answer of one step of a chain, before the last.
    public var stepOutputBytes = 1 << 20
    /// TLS handshake, request head, HTTP/2 preface.
    public var handshakeTimeout = Interval.seconds(10)
    public var requestHeadTimeout = Interval.seconds(10)
    /// Between two reads of a request body; also the head start of a body that comes at less than `requestBodyRate`.
    public var requestBodyTimeout = Interval.seconds(30)
    /// Bytes a second that a body must bring in the long run; zero: any.
    public var requestBodyRate = 1 << 10
    public var clientIdleTimeout = Interval.seconds(60)
    public var upstreamIdleTimeout = Interval.seconds(55)
    /// For the answer to a PING that asks a silent HTTP/2 client whether it is still there.
    public var pingTimeout = Interval.seconds(20)
    public var http2Streams = 100
    public var http2StreamWindowBytes = 64 << 10
    public var http2ConnectionWindowBytes = 1 << 20
    /// Streams reset by an HTTP/2 client or because of it: this many at once, then so many a second.
    public var http2Resets = 100
    public var http2ResetsPerSecond = 20
    /// What the kernel may hold of an upstream's bytes; the kernel itself takes twice that for its bookkeeping.
    public var upstreamReceiveBufferBytes = 128 << 10
    /// Unsent bytes that the kernel takes over from us for one client: what waits above it stays where it can be counted.
    public var clientUnsentBytes = 32 << 10
    /// A client that takes nothing while data waits for it.
    public var slowClient = Interval.seconds(30)
    /// All workers together.
    public var connections = 10_000
    /// From one address, or one IPv6 /64, over all workers; zero: any.
    public var connectionsPerAddress = 0
    /// What all buffers of the process may hold together before new requests are refused; nil: an eighth of the memory that the
    /// machine, or the process's control group, has.
    public var bufferedBytes: Int?
    /// What is kept of all answers of the process that can be read on, in bytes.
    public var resumeBuffers = 64 << 20
    /// Tasks of workflows that run at a time, over all workers: nobody's connection counts them.
    public var tasks = 1_000
    /// Idle connections kept for each upstream and worker.
    public var idleUpstreamConnections = 64

    public init() {}
}
