import SluiceBytes

/// `text`: the visible text of choice 0, and not a byte else. A failure has no words in it: the transfer is cut.
struct TextEncoder: StreamEncoder {
    var contentType: StaticString { "text/plain; charset=utf-8" }
    private var hasFailed = false

    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        for event in batch.events where !hasFailed {
            switch event {
            case .text(choice: 0, let text), .refusal(choice: 0, let text): out.append(batch.bytes(text))
            case .error: hasFailed = true
            default: break
            }
        }
    }

    func end(into out: inout ByteQueue) -> BodyEnding { hasFailed ? .abort : .complete }
    func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding { .abort }
    func keepalive(into out: inout ByteQueue) -> Bool { false }
}
