import SluiceBytes

/// Gemini's two framings, told apart by the first byte that is not white space: a bracket or brace begins a JSON array,
/// anything else an event stream (`alt=sse`). Behind the events of a stream an error may follow as bare JSON over many
/// lines.
struct GeminiDecoder: StreamDecoder {
    private enum Framing { case unknown, events, array }

    /// Lines that belong to no event are put together again to the JSON that they were.
    private struct Handler: SSEHandler {
        var inner = DialectHandler<GeminiDialect>()
        var bare: JSONArrayDecoder?
        let eventBytes: Int

        static var readsIDs: Bool { false }

        mutating func event(_ event: borrowing SSEEvent, offset: Int, into batch: inout EventBatch) throws(StreamError)
        {
            try inner.event(event, offset: offset, into: &batch)
        }

        mutating func comment(into batch: inout EventBatch) { inner.comment(into: &batch) }

        mutating func stray(_ line: Span<UInt8>, offset: Int, into batch: inout EventBatch) throws(StreamError) {
            if bare == nil, line[0] == ASCII.leftBrace || line[0] == ASCII.leftBracket {
                bare = JSONArrayDecoder(eventBytes: eventBytes, at: offset)
            }
            guard var decoder = bare else { return }
            bare = nil
            try decoder.feed(line, to: &inner, into: &batch)
            if !decoder.isClosed { bare = decoder }
        }
    }

    private var framing = Framing.unknown
    private var blankCount = 0
    private var events: SSEDecoder
    private var array: JSONArrayDecoder
    private var handler: Handler

    init(eventBytes: Int) {
        events = SSEDecoder(eventBytes: eventBytes)
        array = JSONArrayDecoder(eventBytes: eventBytes)
        handler = Handler(eventBytes: eventBytes)
    }

    var progress: StreamProgress { handler.inner.dialect.answer.progress }

    mutating func feed(_ chunk: Span<UInt8>, into batch: inout EventBatch) throws(StreamError) {
        switch framing {
        case .events: try events.feed(chunk, to: &handler, into: &batch)
        case .array: try array.feed(chunk, to: &handler.inner, into: &batch)
        case .unknown:
            var start = 0
            while start < chunk.count, Self.isBlank(chunk[start]) { start += 1 }
            blankCount &+= start
            guard start < chunk.count else { return }
            let isArray = chunk[start] == ASCII.leftBracket || chunk[start] == ASCII.leftBrace
            framing = isArray ? .array : .events
            array = JSONArrayDecoder(eventBytes: handler.eventBytes, at: blankCount)
            try feed(chunk.extracting(start..<chunk.count), into: &batch)
        }
    }

    /// Where the body ends inside an event it is cut, and the finish reasons until there do not count.
    mutating func finish(into batch: inout EventBatch) throws(StreamError) {
        var isCut = framing == .array && !array.isClosed
        try events.finish(to: &handler, into: &batch) { data in
            let isWhole = GeminiDialect.isWhole(data)
            if !isWhole { isCut = true }
            return isWhole
        }
        if handler.bare != nil { isCut = true }
        if !isCut { handler.inner.dialect.endBody(into: &batch) }
        handler.inner.dialect.answer.settle(into: &batch)
        handler.inner.dialect.answer.finishHalves(into: &batch)
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == ASCII.space || byte == ASCII.lf || byte == ASCII.cr || byte == ASCII.tab
    }
}
