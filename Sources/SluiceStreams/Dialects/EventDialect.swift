import SluiceBytes

/// What the events of one provider mean, one at a time. Framing is somebody else's: `DialectDecoder` joins the two.
protocol EventDialect {
    init()
    var answer: AnswerState { get set }

    /// One event's payload. `type`: the event's name in SSE, `:event-type` in AWS frames, else empty. The span is dead afterwards.
    mutating func decode(_ data: Span<UInt8>, type: Span<UInt8>, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)

    /// A line of an event stream that is none of its fields.
    mutating func decode(stray line: Span<UInt8>, at offset: Int, into batch: inout EventBatch) throws(StreamError)

    /// A whole answer that came as one document and not as a stream. False: it is no answer of this dialect.
    mutating func decode(document: JSONValue, into batch: inout EventBatch) -> Bool

    /// Where all of a stream's events stay the same but for the text in them, most need no parsing (`ChunkTemplate`).
    static var usesTemplate: Bool { get }

    /// `[DONE]` ends the stream if it comes; not so where an event's data is the text itself.
    static var endsInDone: Bool { get }

    /// An event that nothing ends before the body does: is it whole?
    static func isWhole(_ data: Span<UInt8>) -> Bool
}

extension EventDialect {
    static var usesTemplate: Bool { true }
    static var endsInDone: Bool { true }
    static func isWhole(_ data: Span<UInt8>) -> Bool { DialectHandler<Self>.isDone(data) || JSONScanner.isWhole(data) }
    mutating func decode(stray line: Span<UInt8>, at offset: Int, into batch: inout EventBatch) throws(StreamError) {}
    mutating func decode(document: JSONValue, into batch: inout EventBatch) -> Bool { false }

    /// For a document that says what one event would.
    mutating func decode(asEvent document: JSONValue, into batch: inout EventBatch) -> Bool {
        let json = document.serialized()
        do throws(StreamError) {
            try decode(json.span, type: Span(), at: 0, into: &batch)
            return answer.fault == nil
        } catch {
            return false
        }
    }
}

/// Takes events from any framing to a dialect, past it where a template knows what an event says.
struct DialectHandler<Meaning: EventDialect>: SSEHandler, LineHandler {
    var dialect = Meaning()
    private var template = ChunkTemplate()

    static var readsIDs: Bool { false }

    mutating func event(_ event: borrowing SSEEvent, offset: Int, into batch: inout EventBatch) throws(StreamError) {
        try take(event.data, type: event.type, at: offset, into: &batch)
    }

    mutating func line(_ json: Span<UInt8>, offset: Int, into batch: inout EventBatch) throws(StreamError) {
        try take(json, type: Span(), at: offset, into: &batch)
    }

    mutating func comment(into batch: inout EventBatch) { batch.append(.ping) }

    mutating func stray(_ line: Span<UInt8>, offset: Int, into batch: inout EventBatch) throws(StreamError) {
        try dialect.decode(stray: line, at: offset, into: &batch)
    }

    mutating func take(_ data: Span<UInt8>, type: Span<UInt8>, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        if Meaning.endsInDone, !data.isEmpty, data[0] == ASCII.leftBracket, Self.isDone(data) {
            return dialect.answer.end(into: &batch)
        }
        dialect.answer.progress.eventCount += 1
        if Meaning.usesTemplate, !ASCII.equal(type, "error"), let text = template.content(of: data) {
            return dialect.answer.text(data.extracting(text), choice: template.choice, into: &batch)
        }
        (dialect.answer.contentCount, dialect.answer.content) = (0, nil)
        let before = batch.events.count
        try dialect.decode(data, type: type, at: offset, into: &batch)
        dialect.answer.settle(into: &batch)
        if let fault = dialect.answer.fault { throw .malformed(fault.description, offset: offset) }
        if Meaning.usesTemplate { template.learn(data, of: dialect.answer, in: batch, from: before) }
    }

    /// `[DONE]`, with white space behind it: OpenAI's terminator, which others send too.
    static func isDone(_ data: Span<UInt8>) -> Bool {
        var end = data.count
        while end > 0, data[end - 1] == ASCII.space || data[end - 1] == ASCII.tab { end -= 1 }
        return ASCII.equal(data.extracting(0..<end), "[DONE]")
    }
}

/// A dialect over an event stream.
struct EventStreamDecoder<Meaning: EventDialect>: StreamDecoder {
    private var framing: SSEDecoder
    private var handler = DialectHandler<Meaning>()

    init(eventBytes: Int) { framing = SSEDecoder(eventBytes: eventBytes) }

    var progress: StreamProgress { handler.dialect.answer.progress }

    mutating func feed(_ chunk: Span<UInt8>, into batch: inout EventBatch) throws(StreamError) {
        try framing.feed(chunk, to: &handler, into: &batch)
    }

    mutating func finish(into batch: inout EventBatch) throws(StreamError) {
        try framing.finish(to: &handler, into: &batch, isWhole: Meaning.isWhole)
        handler.dialect.answer.finishHalves(into: &batch)
    }
}

/// A dialect over JSON lines.
struct LineStreamDecoder<Meaning: EventDialect>: StreamDecoder {
    private var framing: NDJSONDecoder
    private var handler = DialectHandler<Meaning>()

    init(eventBytes: Int) { framing = NDJSONDecoder(eventBytes: eventBytes) }

    var progress: StreamProgress { handler.dialect.answer.progress }

    mutating func feed(_ chunk: Span<UInt8>, into batch: inout EventBatch) throws(StreamError) {
        try framing.feed(chunk, to: &handler, into: &batch)
    }

    mutating func finish(into batch: inout EventBatch) throws(StreamError) {
        try framing.finish(to: &handler, into: &batch, isWhole: Meaning.isWhole)
        handler.dialect.answer.finishHalves(into: &batch)
    }
}

/// A whole answer as one JSON document, where a stream was asked for or not: its events come all at the end of the body.
struct DocumentDecoder<Meaning: EventDialect>: StreamDecoder {
    private var dialect = Meaning()
    private var body: [UInt8] = []
    private let limit: Int

    init(eventBytes: Int) { limit = eventBytes }

    var progress: StreamProgress { dialect.answer.progress }

    mutating func feed(_ chunk: Span<UInt8>, into batch: inout EventBatch) throws(StreamError) {
        guard body.count + chunk.count <= limit else { throw .eventTooLarge(Limit("event_bytes", limit)) }
        chunk.withUnsafeBufferPointer { body.append(contentsOf: $0) }
    }

    mutating func finish(into batch: inout EventBatch) throws(StreamError) {
        var whole: [UInt8] = []
        swap(&whole, &body)
        guard !whole.isEmpty else { return }
        guard let document = JSONValue.parse(whole) else {
            throw .malformed("the answer is not one JSON document", offset: 0)
        }
        dialect.answer.progress.eventCount += 1
        guard dialect.decode(document: document, into: &batch) else {
            throw .malformed("the answer is not a document of its dialect", offset: 0)
        }
        dialect.answer.settle(into: &batch)
        dialect.answer.finishHalves(into: &batch)
        if !dialect.answer.progress.sawError { dialect.answer.end(into: &batch) }
    }
}
