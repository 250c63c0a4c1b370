import SluiceBytes

/// How the body of the client's response must end after the encoder's last bytes.
public enum BodyEnding: Equatable, Sendable {
    /// The last chunk or END_STREAM.
    case complete
    /// Reset or close without the last chunk: the format has no words for a failure, so the transfer itself must fail.
    case abort
}

/// A failure of the stream that the proxy itself found (a cut, a stall, a limit), to be told in the client's dialect.
public struct StreamFailure: Equatable, Sendable {
    public var kind: StreamErrorKind
    /// Safe to show to a client: no upstream host, no secret.
    public var message: String

    public init(_ kind: StreamErrorKind, _ message: String) { (self.kind, self.message) = (kind, message) }
}

/// `TokenEvent`s in, body bytes in the client's stream format out. Pure: no socket, no clock.
public protocol StreamEncoder {
    /// The response's `content-type`.
    var contentType: StaticString { get }

    /// Further fields of the response, such as `x-vercel-ai-ui-message-stream`.
    var fields: [(name: StaticString, value: StaticString)] { get }

    /// One document and no stream: nothing is written before `end` or `fail`, so that a failure can still have its status.
    var isDocument: Bool { get }

    /// The time since the request began, told before `encode`, `end` and `fail`; for formats that carry durations.
    mutating func clock(_ elapsed: Interval)

    /// Appends the events' bytes to `out`. An `error` event is written in the format's own way; after it, `fail` adds
    /// nothing but says how the body must end.
    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue)

    /// Upstream ended, and `StreamProgress.isComplete`: appends what the format writes at a true end.
    mutating func end(into out: inout ByteQueue) -> BodyEnding

    /// The stream failed: appends the format's in-stream error, if it has one.
    mutating func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding

    /// Appends a keepalive if the format has one that no strict client chokes on, and says whether it did.
    mutating func keepalive(into out: inout ByteQueue) -> Bool
}

extension StreamEncoder {
    var fields: [(name: StaticString, value: StaticString)] { [] }
    var isDocument: Bool { false }
    mutating func clock(_ elapsed: Interval) {}
}
