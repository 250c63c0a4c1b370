import SluiceBytes

/// Not written yet.
struct AutoDecoder: StreamDecoder {
    private var inner: EventStreamDecoder<OpenAICompletionsDialect>

    init(eventBytes: Int) { inner = EventStreamDecoder(eventBytes: eventBytes) }

    var progress: StreamProgress { inner.progress }
    mutating func feed(_ chunk: Span<UInt8>, into batch: inout EventBatch) throws(StreamError) {
        try inner.feed(chunk, into: &batch)
    }
    mutating func finish(into batch: inout EventBatch) throws(StreamError) { try inner.finish(into: &batch) }
}
