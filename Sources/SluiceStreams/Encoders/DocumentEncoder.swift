import SluiceBytes

/// Not written yet.
struct DocumentEncoder: StreamEncoder {
    private let format: StreamFormat
    private let options: EncoderOptions

    init(_ format: StreamFormat, _ options: EncoderOptions) { (self.format, self.options) = (format, options) }

    var contentType: StaticString { "application/json" }
    var isDocument: Bool { true }
    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {}
    mutating func end(into out: inout ByteQueue) -> BodyEnding { .abort }
    mutating func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding { .abort }
    mutating func keepalive(into out: inout ByteQueue) -> Bool { false }
}
