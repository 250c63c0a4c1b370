import SluiceBytes

/// Bedrock's ConverseStream, the same for all models (Bedrock API reference: ConverseStream). What an event is stands
/// in its frame's `:event-type`. `messageStop` has the finish, and `metadata` behind it the usage, which ends the
/// stream.
///
/// Tool calls go by the number of their block. Tools that the provider runs itself are not the client's: their calls
/// open nothing, so their arguments go with no call. Whole answers and usage are read in
/// `BedrockConverseDocument.swift`.
struct BedrockConverseDialect: BedrockDialect {
    var answer = AnswerState()
    private var sawMetadata = false

    mutating func decode(_ data: Span<UInt8>, type: Span<UInt8>, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        guard read(data, type: type, into: &batch) else {
            throw .malformed("an event is not a JSON object", offset: offset)
        }
    }

    private mutating func read(_ json: Span<UInt8>, type: Span<UInt8>, into batch: inout EventBatch) -> Bool {
        if ASCII.equal(type, "contentBlockDelta") { return readDelta(json, into: &batch) }
        if ASCII.equal(type, "messageStart") {
            answer.start(into: &batch)
            return true
        }
        if ASCII.equal(type, "contentBlockStart") { return readStart(json, into: &batch) }
        if ASCII.equal(type, "contentBlockStop") { return readStop(json, into: &batch) }
        if ASCII.equal(type, "messageStop") { return readMessageStop(json, into: &batch) }
        if ASCII.equal(type, "metadata") { return readMetadata(json, into: &batch) }
        batch.append(.unknown)
        return true
    }

    // MARK: - Blocks

    /// `{"contentBlockIndex","start":{"toolUse":{"toolUseId","name","type"}}}`; the padding `p` may come first.
    private mutating func readStart(_ json: Span<UInt8>, into batch: inout EventBatch) -> Bool {
        guard let block = Block(json, "start") else { return false }
        guard let range = block.value, let use = JSONMember.object("toolUse", of: json.extracting(range)) else {
            return true
        }
        let call = json.extracting(range).extracting(use)
        guard let fields = ToolUse(call) else { return false }
        if let type = fields.type, ASCII.equal(call.extracting(type), "server_tool_use") { return true }
        answer.openCall(
            key: block.index, id: call.extracting(fields.id ?? 0..<0), name: call.extracting(fields.name ?? 0..<0),
            into: &batch)
        return true
    }

    private mutating func readStop(_ json: Span<UInt8>, into batch: inout EventBatch) -> Bool {
        Self.tellStop(json, to: &answer, into: &batch)
    }

    private mutating func readDelta(_ json: Span<UInt8>, into batch: inout EventBatch) -> Bool {
        Self.tellDelta(json, to: &answer, into: &batch)
    }

    /// False: this is no JSON object, and nothing has been told.
    static func tellStop(_ json: Span<UInt8>, to answer: inout AnswerState, into batch: inout EventBatch) -> Bool {
        guard let block = Block(json, "") else { return false }
        closeCall(block.index, of: &answer, into: &batch)
        return true
    }

    /// A call without arguments has had no delta; an object without members is what it means.
    static func closeCall(_ key: Int, of answer: inout AnswerState, into batch: inout EventBatch) {
        if !answer.hasArguments(key: key) {
            let empty: [2 of UInt8] = [ASCII.leftBrace, ASCII.rightBrace]
            answer.arguments(key: key, value: empty.span, into: &batch)
        }
        answer.closeCall(key: key, into: &batch)
    }

    /// False: this is no JSON object, and nothing has been told.
    static func tellDelta(_ json: Span<UInt8>, to answer: inout AnswerState, into batch: inout EventBatch) -> Bool {
        guard let delta = Delta(json) else { return false }
        if let text = delta.text { answer.text(json.extracting(text), into: &batch) }
        if let input = delta.input { answer.arguments(key: delta.block, json.extracting(input), into: &batch) }
        if let thought = delta.reasoning { answer.reasoning(json.extracting(thought), into: &batch) }
        if let proof = delta.signature { answer.signature(json.extracting(proof), into: &batch) }
        if let citation = delta.citation { tellCitation(json.extracting(citation), to: &answer, into: &batch) }
        return true
    }

    /// `{"title","location":{"web":{"url","domain"}}}`; other places, in the client's own documents, have no URL.
    private static func tellCitation(
        _ json: Span<UInt8>, to answer: inout AnswerState, into batch: inout EventBatch
    ) {
        guard let location = JSONMember.object("location", of: json) else { return }
        let places = json.extracting(location)
        guard let range = JSONMember.object("web", of: places) else { return }
        let web = places.extracting(range)
        guard let url = JSONMember.string("url", of: web) else { return }
        let title = JSONMember.string("title", of: json) ?? 0..<0
        answer.source(url: web.extracting(url), title: json.extracting(title), into: &batch)
    }

    // MARK: - Endings

    private mutating func readMessageStop(_ json: Span<UInt8>, into batch: inout EventBatch) -> Bool {
        var reason: Range<Int>?
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return false }
        while let key = scanner.nextKey() {
            if ASCII.equal(json.extracting(key), "stopReason") {
                reason = scanner.stringOrSkip()
            } else {
                scanner.value()
            }
        }
        guard scanner.isAtEnd() else { return false }
        let word = json.extracting(reason ?? 0..<0)
        answer.finish(Self.reason(word), raw: word, into: &batch)
        if sawMetadata { answer.end(into: &batch) }
        return true
    }

    private mutating func readMetadata(_ json: Span<UInt8>, into batch: inout EventBatch) -> Bool {
        var usage: Range<Int>?
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return false }
        while let key = scanner.nextKey() {
            if ASCII.equal(json.extracting(key), "usage") { usage = scanner.objectOrSkip() } else { scanner.value() }
        }
        guard scanner.isAtEnd() else { return false }
        if let usage { answer.usage(Self.usage(json.extracting(usage)), into: &batch) }
        sawMetadata = true
        if answer.hasFinished() { answer.end(into: &batch) }
        return true
    }

    static func reason(_ word: Span<UInt8>) -> FinishReason {
        if ASCII.equal(word, "end_turn") || ASCII.equal(word, "stop_sequence") { return .stop }
        if ASCII.equal(word, "tool_use") { return .toolCalls }
        if ASCII.equal(word, "max_tokens") || ASCII.equal(word, "model_context_window_exceeded") { return .length }
        if ASCII.equal(word, "guardrail_intervened") || ASCII.equal(word, "content_filtered") { return .contentFilter }
        if ASCII.equal(word, "malformed_model_output") || ASCII.equal(word, "malformed_tool_use") { return .error }
        return .other
    }
}

extension BedrockConverseDialect {
    /// An event of a block: its number, and one member, which may come before it.
    private struct Block {
        var index = 0
        var value: Range<Int>?

        /// nil: no JSON object.
        init?(_ json: Span<UInt8>, _ member: StaticString) {
            var scanner = JSONScanner(json)
            guard scanner.enterObject() else { return nil }
            while let key = scanner.nextKey() {
                let name = json.extracting(key)
                if ASCII.equal(name, "contentBlockIndex") {
                    index = scanner.integer() ?? 0
                } else if ASCII.equal(name, member) {
                    value = scanner.objectOrSkip()
                } else {
                    scanner.value()
                }
            }
            guard scanner.isAtEnd() else { return nil }
        }
    }

    private struct ToolUse {
        var id: Range<Int>?
        var name: Range<Int>?
        var type: Range<Int>?

        init?(_ json: Span<UInt8>) {
            var scanner = JSONScanner(json)
            guard scanner.enterObject() else { return nil }
            while let key = scanner.nextKey() {
                let member = json.extracting(key)
                if ASCII.equal(member, "toolUseId") {
                    id = scanner.stringOrSkip()
                } else if ASCII.equal(member, "name") {
                    name = scanner.stringOrSkip()
                } else if ASCII.equal(member, "type") {
                    type = scanner.stringOrSkip()
                } else {
                    scanner.value()
                }
            }
            guard scanner.isAtEnd() else { return nil }
        }
    }
}
