import SluiceBytes

/// Why a decoder gave up. A decoder that threw is finished: drop it, and end the client's stream as failed.
public enum StreamError: Error, Equatable, Sendable {
    /// One event grew past `limits.event_bytes`.
    case eventTooLarge(Limit)
    /// Not the wire format or not the dialect; `offset`: bytes since the body began, where the event stood.
    case malformed(String, offset: Int)
}

/// Body bytes of one provider's stream in, `TokenEvent`s out. Pure: no socket, no clock.
///
/// Cut invariance: the events are the same for every way of cutting the body into chunks.
public protocol StreamDecoder {
    /// Decodes all of `chunk` and appends what it meant to `batch`.
    mutating func feed(_ chunk: Span<UInt8>, into batch: inout EventBatch) throws(StreamError)

    /// The body ended cleanly at the HTTP level: appends what was pending. Never invents `finish` or `end`.
    mutating func finish(into batch: inout EventBatch) throws(StreamError)

    /// What was seen so far, for the verdict at the end of the body.
    var progress: StreamProgress { get }
}

/// What a stream has shown by now; decides whether its end of file is an ending or a cut.
public struct StreamProgress: Equatable, Sendable {
    /// A finish reason for every choice that began, or the dialect's equivalent.
    public var sawFinish = false
    /// The dialect's terminator.
    public var sawEnd = false
    /// An error inside the stream.
    public var sawError = false
    /// Any event with content: text, reasoning, refusal or a tool call.
    public var sawContent = false
    /// Events of the wire format, without comments and the terminator.
    public var eventCount = 0

    public init() {}

    /// At end of file: the provider ended the stream itself, and not by an error.
    public var isComplete: Bool { (sawFinish || sawEnd) && !sawError }
}
