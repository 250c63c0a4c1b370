import SluiceBytes

/// Anthropic's Messages (formats: Anthropic, Bedrock and Vertex in front of it, and all who copy them): events whose
/// data names its own type, content in numbered blocks, `message_stop` at the end.
///
/// Tools that the provider runs itself (`server_tool_use`, `mcp_tool_use`, their results) are no calls of the client's.
/// Blocks are read in `AnthropicBlocks.swift`.
struct AnthropicMessagesDialect: EventDialect {
    var answer = AnswerState()
    var held = HeldArguments()
    private var usage = AnthropicUsage()
    private var messageID: [UInt8]?

    /// The members of one event, and of its `delta`; those that no token has stay unread until they are wanted.
    private struct Fields {
        var kind: Range<Int>?
        var index: Int?
        var message: Range<Int>?
        var block: Range<Int>?
        var usage: Range<Int>?
        var error: Range<Int>?
        var deltaKind: Range<Int>?
        var text: Range<Int>?
        var thinking: Range<Int>?
        var signature: Range<Int>?
        var partialJSON: Range<Int>?
        var citation: Range<Int>?
        var stopReason: Range<Int>?
    }

    mutating func decode(_ data: Span<UInt8>, type: Span<UInt8>, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        var fields = Fields()
        var scanner = JSONScanner(data)
        guard scanner.peek() == .object, scanner.enterObject() else {
            if ASCII.equal(type, "error") { return answer.error(plain: data, into: &batch) }
            if ASCII.equal(type, "ping") { return batch.append(.ping) }
            if data.isEmpty { return }
            throw .malformed("an event is not a JSON object", offset: offset)
        }
        while let key = scanner.nextKey() { Self.readField(key, &scanner, &fields) }
        guard scanner.isAtEnd() else { throw .malformed("an event is not a JSON object", offset: offset) }
        if let kind = fields.kind {
            try take(data.extracting(kind), fields, data, at: offset, into: &batch)
        } else {
            try take(type, fields, data, at: offset, into: &batch)
        }
    }

    // MARK: - Fields

    @inline(__always)
    private static func readField(_ key: Range<Int>, _ scanner: inout JSONScanner, _ fields: inout Fields) {
        let name = scanner.bytes.extracting(key)
        switch name.count {
        case 4 where ASCII.equal(name, "type"): fields.kind = scanner.stringOrSkip()
        case 5 where ASCII.equal(name, "index"): fields.index = scanner.integer()
        case 5 where ASCII.equal(name, "delta") && scanner.peek() == .object: readDelta(&scanner, &fields)
        case 5 where ASCII.equal(name, "usage"): fields.usage = scanner.objectOrSkip()
        case 5 where ASCII.equal(name, "error"):
            let kind = scanner.peek()
            let range = scanner.value()
            if kind == .object || kind == .string { fields.error = range }
        case 7 where ASCII.equal(name, "message"): fields.message = scanner.objectOrSkip()
        case 13 where ASCII.equal(name, "content_block"): fields.block = scanner.objectOrSkip()
        default: scanner.value()
        }
    }

    private static func readDelta(_ scanner: inout JSONScanner, _ fields: inout Fields) {
        guard scanner.enterObject() else { return }
        let bytes = scanner.bytes
        while let key = scanner.nextKey() {
            let name = bytes.extracting(key)
            switch name.count {
            case 4 where ASCII.equal(name, "type"): fields.deltaKind = scanner.stringOrSkip()
            case 4 where ASCII.equal(name, "text"): fields.text = scanner.stringOrSkip()
            case 8 where ASCII.equal(name, "thinking"): fields.thinking = scanner.stringOrSkip()
            case 9 where ASCII.equal(name, "signature"): fields.signature = scanner.stringOrSkip()
            case 12 where ASCII.equal(name, "partial_json"): fields.partialJSON = scanner.stringOrSkip()
            case 8 where ASCII.equal(name, "citation"): fields.citation = scanner.objectOrSkip()
            case 11 where ASCII.equal(name, "stop_reason"): fields.stopReason = scanner.stringOrSkip()
            default: scanner.value()
            }
        }
    }

    // MARK: - Events

    private mutating func take(
        _ kind: Span<UInt8>, _ fields: Fields, _ data: Span<UInt8>, at offset: Int, into batch: inout EventBatch
    ) throws(StreamError) {
        if ASCII.equal(kind, "content_block_delta") {
            takeDelta(fields, data, into: &batch)
        } else if ASCII.equal(kind, "content_block_start") {
            held.release(to: &answer, into: &batch)
            if let block = fields.block { startBlock(data.extracting(block), fields.index ?? 0, into: &batch) }
        } else if ASCII.equal(kind, "content_block_stop") {
            stopBlock(fields.index ?? 0, into: &batch)
        } else if ASCII.equal(kind, "message_start") {
            guard let message = fields.message else { return }
            try startMessage(data.extracting(message), at: offset, into: &batch)
        } else if ASCII.equal(kind, "message_delta") {
            if let reason = fields.stopReason { finish(data.extracting(reason), into: &batch) }
            if let range = fields.usage { count(data.extracting(range), into: &batch) }
        } else if ASCII.equal(kind, "message_stop") {
            held.release(to: &answer, into: &batch)
            answer.end(into: &batch)
        } else if ASCII.equal(kind, "ping") {
            batch.append(.ping)
        } else if let error = fields.error {
            answer.providerError(data.extracting(error), into: &batch)
        } else if ASCII.equal(kind, "error") {
            answer.providerError(data, into: &batch)
        } else {
            batch.append(.unknown)
        }
    }

    private mutating func takeDelta(_ fields: Fields, _ data: Span<UInt8>, into batch: inout EventBatch) {
        let kind = data.extracting(fields.deltaKind ?? 0..<0)
        if let text = fields.text, kind.isEmpty || ASCII.equal(kind, "text_delta") {
            answer.text(data.extracting(text), into: &batch)
        } else if let json = fields.partialJSON {
            answer.arguments(key: fields.index ?? 0, data.extracting(json), into: &batch)
        } else if let thinking = fields.thinking, kind.isEmpty || ASCII.equal(kind, "thinking_delta") {
            answer.reasoning(data.extracting(thinking), into: &batch)
        } else if let signature = fields.signature {
            answer.signature(data.extracting(signature), into: &batch)
        } else if let citation = fields.citation {
            answer.source(data.extracting(citation), into: &batch)
        } else {
            batch.append(.unknown)
        }
    }

    /// Some hosts send it twice; a second message in the stream of a first is nobody's.
    private mutating func startMessage(_ json: Span<UInt8>, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        var (id, model, counts): (Range<Int>?, Range<Int>?, Range<Int>?)
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return }
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "id") {
                id = scanner.stringOrSkip()
            } else if ASCII.equal(name, "model") {
                model = scanner.stringOrSkip()
            } else if ASCII.equal(name, "usage") {
                counts = scanner.objectOrSkip()
            } else {
                scanner.value()
            }
        }
        guard scanner.isValid else { throw .malformed("a message is not a JSON object", offset: offset) }
        let name = json.extracting(id ?? 0..<0)
        if let messageID {
            if ASCII.equal(name, messageID.span) { return }
            throw .malformed("a second message in one stream", offset: offset)
        }
        messageID = name.withUnsafeBufferPointer { Array($0) }
        answer.start(id: name, model: json.extracting(model ?? 0..<0), into: &batch)
        if let counts { count(json.extracting(counts), into: &batch) }
    }

    mutating func finish(_ reason: Span<UInt8>, into batch: inout EventBatch) {
        held.release(to: &answer, into: &batch)
        answer.finish(Self.reason(reason), raw: reason, into: &batch)
    }

    mutating func count(_ json: Span<UInt8>, into batch: inout EventBatch) {
        usage.read(json)
        answer.usage(usage.counts, into: &batch)
    }

    private static func reason(_ word: Span<UInt8>) -> FinishReason {
        if ASCII.equal(word, "end_turn") || ASCII.equal(word, "stop_sequence") { return .stop }
        // The provider would go on if it were asked to; for the client the turn is over.
        if ASCII.equal(word, "pause_turn") { return .stop }
        if ASCII.equal(word, "tool_use") { return .toolCalls }
        if ASCII.equal(word, "max_tokens") || ASCII.equal(word, "model_context_window_exceeded") { return .length }
        if ASCII.equal(word, "refusal") { return .contentFilter }
        return .other
    }
}
