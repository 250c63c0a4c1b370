import SluiceBytes

/// Cohere's v2 chat: events whose data names its own type, deltas shaped like the message that they are parts of,
/// `message-end` and then `[DONE]`.
///
/// What the model plans to do with its tools (`tool_plan`) is neither answer nor reasoning, and has no event. Citations
/// and whole answers are read in `CohereV2Message.swift`.
struct CohereV2Dialect: EventDialect {
    var answer = AnswerState()

    private struct Fields {
        var kind: Range<Int>?
        var id: Range<Int>?
        var index: Int?
        /// An error that came as an event of its own: its text at the top.
        var message: Range<Int>?
        var reason: Range<Int>?
        var usage: Range<Int>?
        var error: Range<Int>?
        var errorType: Range<Int>?
        var text: Range<Int>?
        var thinking: Range<Int>?
        var callID: Range<Int>?
        var name: Range<Int>?
        var arguments: Range<Int>?
        var citations: Range<Int>?
    }

    mutating func decode(_ data: Span<UInt8>, type: Span<UInt8>, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        var fields = Fields()
        var scanner = JSONScanner(data)
        guard scanner.peek() == .object, scanner.enterObject() else {
            if ASCII.equal(type, "error") { return answer.error(plain: data, into: &batch) }
            if data.isEmpty { return }
            throw .malformed("an event is not a JSON object", offset: offset)
        }
        while let key = scanner.nextKey() { Self.readField(key, &scanner, &fields) }
        guard scanner.isAtEnd() else { throw .malformed("an event is not a JSON object", offset: offset) }
        if let kind = fields.kind {
            take(data.extracting(kind), fields, data, into: &batch)
        } else {
            take(type, fields, data, into: &batch)
        }
    }

    // MARK: - Fields

    @inline(__always)
    private static func readField(_ key: Range<Int>, _ scanner: inout JSONScanner, _ fields: inout Fields) {
        let name = scanner.bytes.extracting(key)
        switch name.count {
        case 4 where ASCII.equal(name, "type"): fields.kind = scanner.stringOrSkip()
        case 2 where ASCII.equal(name, "id"): fields.id = scanner.stringOrSkip()
        case 5 where ASCII.equal(name, "index"): fields.index = scanner.integer()
        case 5 where ASCII.equal(name, "delta") && scanner.peek() == .object: readDelta(&scanner, &fields)
        case 7 where ASCII.equal(name, "message"): fields.message = scanner.stringOrSkip()
        case 5 where ASCII.equal(name, "error"):
            let kind = scanner.peek()
            let range = scanner.value()
            if kind == .object || kind == .string { fields.error = range }
        default: scanner.value()
        }
    }

    private static func readDelta(_ scanner: inout JSONScanner, _ fields: inout Fields) {
        guard scanner.enterObject() else { return }
        let bytes = scanner.bytes
        while let key = scanner.nextKey() {
            let name = bytes.extracting(key)
            switch name.count {
            case 7 where ASCII.equal(name, "message") && scanner.peek() == .object: readMessage(&scanner, &fields)
            case 13 where ASCII.equal(name, "finish_reason"): fields.reason = scanner.stringOrSkip()
            case 5 where ASCII.equal(name, "usage"): fields.usage = scanner.objectOrSkip()
            case 5 where ASCII.equal(name, "error"):
                let kind = scanner.peek()
                let range = scanner.value()
                if kind == .object || kind == .string { fields.error = range }
            case 10 where ASCII.equal(name, "error_type"): fields.errorType = scanner.stringOrSkip()
            default: scanner.value()
            }
        }
    }

    private static func readMessage(_ scanner: inout JSONScanner, _ fields: inout Fields) {
        guard scanner.enterObject() else { return }
        let bytes = scanner.bytes
        while let key = scanner.nextKey() {
            let name = bytes.extracting(key)
            switch name.count {
            case 7 where ASCII.equal(name, "content") && scanner.peek() == .object: readContent(&scanner, &fields)
            case 10 where ASCII.equal(name, "tool_calls") && scanner.peek() == .object: readCall(&scanner, &fields)
            case 9 where ASCII.equal(name, "citations"): fields.citations = scanner.objectOrSkip()
            default: scanner.value()
            }
        }
    }

    private static func readContent(_ scanner: inout JSONScanner, _ fields: inout Fields) {
        guard scanner.enterObject() else { return }
        let bytes = scanner.bytes
        while let key = scanner.nextKey() {
            let name = bytes.extracting(key)
            if ASCII.equal(name, "text") {
                fields.text = scanner.stringOrSkip()
            } else if ASCII.equal(name, "thinking") {
                fields.thinking = scanner.stringOrSkip()
            } else {
                scanner.value()
            }
        }
    }

    private static func readCall(_ scanner: inout JSONScanner, _ fields: inout Fields) {
        guard scanner.enterObject() else { return }
        let bytes = scanner.bytes
        while let key = scanner.nextKey() {
            let name = bytes.extracting(key)
            if ASCII.equal(name, "id") {
                fields.callID = scanner.stringOrSkip()
            } else if ASCII.equal(name, "function"), scanner.peek() == .object {
                readFunction(&scanner, &fields)
            } else {
                scanner.value()
            }
        }
    }

    private static func readFunction(_ scanner: inout JSONScanner, _ fields: inout Fields) {
        guard scanner.enterObject() else { return }
        let bytes = scanner.bytes
        while let key = scanner.nextKey() {
            let name = bytes.extracting(key)
            if ASCII.equal(name, "name") {
                fields.name = scanner.stringOrSkip()
            } else if ASCII.equal(name, "arguments") {
                fields.arguments = scanner.stringOrSkip()
            } else {
                scanner.value()
            }
        }
    }

    // MARK: - Events

    private mutating func take(
        _ kind: Span<UInt8>, _ fields: Fields, _ data: Span<UInt8>, into batch: inout EventBatch
    ) {
        let call = fields.index ?? 0
        if ASCII.equal(kind, "content-delta") || ASCII.equal(kind, "content-start") {
            if let text = fields.text { answer.text(data.extracting(text), into: &batch) }
            if let thinking = fields.thinking { answer.reasoning(data.extracting(thinking), into: &batch) }
        } else if ASCII.equal(kind, "tool-call-delta") {
            answer.arguments(key: call, data.extracting(fields.arguments ?? 0..<0), into: &batch)
        } else if ASCII.equal(kind, "tool-call-start") {
            let (id, name) = (data.extracting(fields.callID ?? 0..<0), data.extracting(fields.name ?? 0..<0))
            answer.openCall(key: call, id: id, name: name, into: &batch)
            answer.arguments(key: call, data.extracting(fields.arguments ?? 0..<0), into: &batch)
        } else if ASCII.equal(kind, "tool-call-end") {
            answer.closeCall(key: call, into: &batch)
        } else if ASCII.equal(kind, "message-start") {
            answer.start(id: data.extracting(fields.id ?? 0..<0), into: &batch)
        } else if ASCII.equal(kind, "message-end") {
            end(fields, data, into: &batch)
        } else if ASCII.equal(kind, "citation-start") {
            if let citation = fields.citations { takeCitation(data.extracting(citation), into: &batch) }
        } else if let error = fields.error {
            answer.providerError(data.extracting(error), into: &batch)
        } else if fields.message != nil {
            answer.providerError(data, into: &batch)
        } else if !ASCII.equal(kind, "content-end"), !ASCII.equal(kind, "citation-end") {
            batch.append(.unknown)
        }
    }

    /// A generation that failed says so in its last event.
    private mutating func end(_ fields: Fields, _ data: Span<UInt8>, into batch: inout EventBatch) {
        if let error = fields.error {
            if data[error.lowerBound] == ASCII.quote {
                let type = data.extracting(fields.errorType ?? 0..<0)
                let kind = AnswerState.errorKind(status: nil, type) ?? .provider
                let message = data.extracting((error.lowerBound + 1)..<(error.upperBound - 1))
                answer.error(kind, message: message, type: type, into: &batch)
            } else {
                answer.providerError(data.extracting(error), into: &batch)
            }
        }
        if let range = fields.reason {
            let word = data.extracting(range)
            answer.finish(CohereWords.reason(word), raw: word, into: &batch)
        }
        if let usage = fields.usage {
            answer.usage(CohereWords.usage(data.extracting(usage), preferBilled: false), into: &batch)
        }
        answer.end(into: &batch)
    }
}
