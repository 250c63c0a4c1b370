import SluiceBytes

/// How long, and how much of, an answer outlives the connection that asked for it (`resume:` of a route).
public struct ResumeSpec: Sendable, Equatable {
    public enum Store: String, Sendable, CaseIterable {
        /// This process, whichever of its threads is asked.
        case memory
        /// All processes that share a Redis.
        case redis
    }
    /// Of the encoded body, the newest bytes.
    public var bufferBytes = 1 << 20
    /// How long it is kept after its end.
    public var ttl = Interval.seconds(60)
    /// How long it runs on without any reader.
    public var grace = Interval.seconds(30)
    public var store = Store.memory

    public init() {}

    static let bufferRange = 4 << 10...64 << 20
}
