import SluiceBytes

/// Bedrock's InvokeModelWithResponseStream (Bedrock User Guide, "Inference request parameters and response fields").
/// Each event is `{"bytes":"<base64>"}` of what the model's own maker sends: Anthropic's events, Converse's in an
/// object of one member (Nova), Cohere's chat, choices as OpenAI has them (Mistral, Qwen, DeepSeek …), or text in one
/// member (Llama, Titan, Cohere's generate, Claude 2, Mistral 7B), which `BedrockInvokeText.swift` reads.
struct BedrockInvokeDialect: BedrockDialect {
    var answer = AnswerState()
    /// The prompt's length, which Llama and Titan tell in their first event.
    var promptCount: Int?
    // Each is lent `answer` for as long as it reads an event.
    private var converse = BedrockConverseDialect()
    private var anthropic = AnthropicMessagesDialect()
    private var cohere = CohereV1Dialect()
    private var decoded: [UInt8] = []
    /// Of what the model's maker sent: around the base64 nothing stays the same.
    private var template = ChunkTemplate()
    private static let keptBytes = 4096

    mutating func decode(_ data: Span<UInt8>, type: Span<UInt8>, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        guard ASCII.equal(type, "chunk") else { return batch.append(.unknown) }
        guard let range = Self.bytes(of: data) ?? JSONMember.string("bytes", of: data) else {
            throw .malformed("a chunk has no bytes", offset: offset)
        }
        var json: [UInt8] = []
        swap(&json, &decoded)
        defer { if json.count <= Self.keptBytes { swap(&json, &decoded) } }
        guard let count = Base64.decode(data.extracting(range), over: &json) else {
            throw .malformed("a chunk's bytes are not base64", offset: offset)
        }
        let event = json.span.extracting(0..<count)
        if let text = template.content(of: event) {
            return answer.text(event.extracting(text), choice: template.choice, into: &batch)
        }
        let before = batch.events.count
        try decode(model: event, at: offset, into: &batch)
        template.learn(event, of: answer, in: batch, from: before)
    }

    /// The bytes, where they come first: base64 has neither quotes nor, most often, anything escaped. nil: they do not come
    /// first, or this is not one JSON object.
    private static func bytes(of json: Span<UInt8>) -> Range<Int>? {
        let start = 10
        guard json.count > start, ASCII.equal(json.extracting(0..<start), #"{"bytes":""#),
            let end = ASCII.firstIndex(of: ASCII.quote, in: json, from: start), json[end - 1] != ASCII.backslash
        else { return nil }
        var rest = JSONScanner(json, atMemberValue: end + 1)
        while let key = rest.nextKey() {
            if ASCII.equal(json.extracting(key), "bytes") { return nil }
            rest.value()
        }
        return rest.isAtEnd() ? start..<end : nil
    }

    /// What the model's maker sent.
    private mutating func decode(model json: Span<UInt8>, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        if tellAlone(json, into: &batch) { return }
        guard let shape = Shape(json) else { throw Self.notAnObject(offset) }
        switch shape {
        case .anthropic(let type):
            swap(&answer, &anthropic.answer)
            defer { swap(&answer, &anthropic.answer) }
            try anthropic.decode(json, type: json.extracting(type), at: offset, into: &batch)
        case .converse(let name, let event):
            swap(&answer, &converse.answer)
            defer { swap(&answer, &converse.answer) }
            try converse.decode(json.extracting(event), type: json.extracting(name), at: offset, into: &batch)
        case .cohereChat:
            swap(&answer, &cohere.answer)
            defer { swap(&answer, &cohere.answer) }
            try cohere.decode(json, type: Span(), at: offset, into: &batch)
        case .text:
            guard readText(json, into: &batch) else { throw Self.notAnObject(offset) }
        }
    }

    /// The events that come for each token, where they are all of the object and nothing has to be looked for. False: it
    /// may be another one, and nothing has been told.
    private mutating func tellAlone(_ json: Span<UInt8>, into batch: inout EventBatch) -> Bool {
        if let delta = Self.member(#"{"contentBlockDelta":"#, of: json) {
            return BedrockConverseDialect.tellDelta(json.extracting(delta), to: &answer, into: &batch)
        }
        if let stop = Self.member(#"{"contentBlockStop":"#, of: json) {
            return BedrockConverseDialect.tellStop(json.extracting(stop), to: &answer, into: &batch)
        }
        guard Self.member(#"{"generation":"#, of: json) != nil else { return false }
        return readText(json, into: &batch)
    }

    @inline(__always)
    private static func member(_ opening: StaticString, of json: Span<UInt8>) -> Range<Int>? {
        let start = opening.utf8CodeUnitCount
        guard json.count > start, json[json.count - 1] == ASCII.rightBrace,
            ASCII.equal(json.extracting(0..<start), opening)
        else { return nil }
        return start..<json.count - 1
    }

    private static func notAnObject(_ offset: Int) -> StreamError {
        .malformed("a chunk is not a JSON object", offset: offset)
    }

    /// Whose event it is, by the names of its members.
    private enum Shape {
        case anthropic(type: Range<Int>)
        case converse(name: Range<Int>, event: Range<Int>)
        case cohereChat
        case text

        /// nil: no JSON object.
        init?(_ json: Span<UInt8>) {
            self = .text
            var isKnown = false
            var scanner = JSONScanner(json)
            guard scanner.peek() == .object, scanner.enterObject() else { return nil }
            while let key = scanner.nextKey() {
                guard let value = scanner.value(), !isKnown else { continue }
                let (name, opening) = (json.extracting(key), json[value.lowerBound])
                // Those who read these find out for themselves whether the rest is JSON.
                if ASCII.equal(name, "type"), opening == ASCII.quote {
                    self = .anthropic(type: value.lowerBound + 1..<value.upperBound - 1)
                    return
                }
                if ASCII.equal(name, "generation") || ASCII.equal(name, "outputText") { return }
                isKnown = true
                if opening == ASCII.leftBrace, Self.isConverse(name) {
                    self = .converse(name: key, event: value)
                } else if ASCII.equal(name, "event_type") {
                    self = .cohereChat
                } else {
                    isKnown = ASCII.equal(name, "choices")
                }
            }
            guard scanner.isAtEnd() else { return nil }
        }

        private static func isConverse(_ name: Span<UInt8>) -> Bool {
            ASCII.equal(name, "contentBlockDelta") || ASCII.equal(name, "contentBlockStop")
                || ASCII.equal(name, "contentBlockStart") || ASCII.equal(name, "messageStart")
                || ASCII.equal(name, "messageStop") || ASCII.equal(name, "metadata")
        }
    }

    // MARK: - Documents

    mutating func decode(document: JSONValue, into batch: inout EventBatch) -> Bool {
        if document["type"]?.string == "message" {
            swap(&answer, &anthropic.answer)
            defer { swap(&answer, &anthropic.answer) }
            return anthropic.decode(document: document, into: &batch)
        }
        if document["output"] != nil {
            swap(&answer, &converse.answer)
            defer { swap(&answer, &converse.answer) }
            return converse.decode(document: document, into: &batch)
        }
        if document["generation_id"] != nil {
            swap(&answer, &cohere.answer)
            defer { swap(&answer, &cohere.answer) }
            return cohere.decode(document: document, into: &batch)
        }
        return readText(document, into: &batch)
    }
}
