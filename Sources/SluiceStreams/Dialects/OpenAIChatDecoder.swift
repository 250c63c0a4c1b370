import SluiceBytes

/// OpenAI chat completions over an event stream.
struct OpenAIChatDecoder: StreamDecoder {
    private struct Handler: SSEHandler {
        var dialect = OpenAIChatDialect()

        mutating func event(_ event: borrowing SSEEvent, offset: Int, into batch: inout EventBatch) throws(StreamError)
        {
            let isError = ASCII.equal(event.type, "error")
            try dialect.decode(event.data, isErrorEvent: isError, at: offset, into: &batch)
        }

        mutating func comment(into batch: inout EventBatch) { batch.append(.ping) }
    }
    private var framing: SSEDecoder
    private var handler = Handler()

    init(eventBytes: Int) { framing = SSEDecoder(eventBytes: eventBytes) }

    var progress: StreamProgress { handler.dialect.progress }

    mutating func feed(_ chunk: Span<UInt8>, into batch: inout EventBatch) throws(StreamError) {
        try framing.feed(chunk, to: &handler, into: &batch)
    }

    mutating func finish(into batch: inout EventBatch) throws(StreamError) {
        try framing.finish(to: &handler, into: &batch) { data in
            OpenAIChatDialect.isDone(data) || JSONScanner.isWhole(data)
        }
        handler.dialect.finishHalves(into: &batch)
    }
}
