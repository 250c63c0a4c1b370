import SluiceBytes

/// Cohere's v1 chat and generate: JSON lines. Those of chat name their `event_type`; those of generate hold a `text`
/// and nothing more, and a choice's number where there are several. A line with `is_finished` ends either, and repeats
/// all of it.
///
/// Tool calls and the last line are read in `CohereV1Response.swift`.
struct CohereV1Dialect: EventDialect {
    var answer = AnswerState()

    struct Fields {
        var kind: Range<Int>?
        var text: Range<Int>?
        var index: Int?
        var isFinished = false
        var reason: Range<Int>?
        var id: Range<Int>?
        var response: Range<Int>?
        var call: Range<Int>?
        var calls: Range<Int>?
        var documents: Range<Int>?
        var error: Range<Int>?
    }

    mutating func decode(_ data: Span<UInt8>, type: Span<UInt8>, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        var fields = Fields()
        var scanner = JSONScanner(data)
        guard scanner.peek() == .object, scanner.enterObject() else {
            throw .malformed("an event is not a JSON object", offset: offset)
        }
        while let key = scanner.nextKey() { Self.readField(key, &scanner, &fields) }
        guard scanner.isAtEnd() else { throw .malformed("an event is not a JSON object", offset: offset) }
        take(data.extracting(fields.kind ?? 0..<0), fields, data, into: &batch)
    }

    @inline(__always)
    private static func readField(_ key: Range<Int>, _ scanner: inout JSONScanner, _ fields: inout Fields) {
        let bytes = scanner.bytes
        let name = bytes.extracting(key)
        switch name.count {
        case 4 where ASCII.equal(name, "text"): fields.text = scanner.stringOrSkip()
        case 10 where ASCII.equal(name, "event_type"): fields.kind = scanner.stringOrSkip()
        case 11 where ASCII.equal(name, "is_finished"):
            fields.isFinished = scanner.value().map { ASCII.equal(bytes.extracting($0), "true") } ?? false
        case 5 where ASCII.equal(name, "index"): fields.index = scanner.integer()
        case 13 where ASCII.equal(name, "finish_reason"): fields.reason = scanner.stringOrSkip()
        case 13 where ASCII.equal(name, "generation_id"): fields.id = scanner.stringOrSkip()
        case 8 where ASCII.equal(name, "response"): fields.response = scanner.objectOrSkip()
        case 15 where ASCII.equal(name, "tool_call_delta"): fields.call = scanner.objectOrSkip()
        case 10 where ASCII.equal(name, "tool_calls"): fields.calls = scanner.value()
        case 9 where ASCII.equal(name, "documents"): fields.documents = scanner.value()
        case 3 where ASCII.equal(name, "err"), 5 where ASCII.equal(name, "error"), 7 where ASCII.equal(name, "message"):
            let kind = scanner.peek()
            let range = scanner.value()
            if kind == .object || kind == .string { fields.error = range }
        default: scanner.value()
        }
    }

    private mutating func take(
        _ kind: Span<UInt8>, _ fields: Fields, _ data: Span<UInt8>, into batch: inout EventBatch
    ) {
        let isText = kind.isEmpty || ASCII.equal(kind, "text-generation")
        if fields.isFinished || ASCII.equal(kind, "stream-end") || ASCII.equal(kind, "stream-error") {
            end(kind, fields, data, into: &batch)
        } else if isText, let text = fields.text {
            answer.text(data.extracting(text), choice: fields.index ?? 0, into: &batch)
        } else if ASCII.equal(kind, "stream-start") {
            answer.start(id: data.extracting(fields.id ?? 0..<0), into: &batch)
        } else if ASCII.equal(kind, "tool-calls-chunk"), let call = fields.call {
            takeCall(delta: data.extracting(call), into: &batch)
        } else if ASCII.equal(kind, "tool-calls-generation"), let calls = fields.calls {
            takeCalls(data.extracting(calls), into: &batch)
        } else if ASCII.equal(kind, "search-results"), let documents = fields.documents {
            answer.sources(data.extracting(documents), into: &batch)
        } else if let error = fields.error {
            answer.providerError(data.extracting(error), into: &batch)
        } else {
            batch.append(.unknown)
        }
    }

    /// The last line of the stream, or of one choice where each has its own.
    private mutating func end(
        _ kind: Span<UInt8>, _ fields: Fields, _ data: Span<UInt8>, into batch: inout EventBatch
    ) {
        if let error = fields.error { answer.providerError(data.extracting(error), into: &batch) }
        let reason = data.extracting(fields.reason ?? 0..<0)
        if let response = fields.response {
            takeResponse(data.extracting(response), reason, choice: fields.index ?? 0, into: &batch)
        } else {
            if let text = fields.text, !answer.progress.sawContent {
                answer.text(data.extracting(text), choice: fields.index ?? 0, into: &batch)
            }
            finish(reason, choice: fields.index ?? 0, into: &batch)
        }
        if fields.response != nil || fields.index == nil || ASCII.equal(kind, "stream-end") { answer.end(into: &batch) }
    }

    mutating func finish(_ word: Span<UInt8>, choice: Int = 0, into batch: inout EventBatch) {
        if !word.isEmpty { answer.finish(CohereWords.reason(word), raw: word, choice: choice, into: &batch) }
    }
}
