import SluiceBytes

/// Not written yet.
struct MLflowEncoder: StreamEncoder {
    private let options: EncoderOptions
    init(_ options: EncoderOptions) { self.options = options }

    var contentType: StaticString { "text/event-stream" }
    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {}
    mutating func end(into out: inout ByteQueue) -> BodyEnding { .abort }
    mutating func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding { .abort }
    mutating func keepalive(into out: inout ByteQueue) -> Bool { false }
}
