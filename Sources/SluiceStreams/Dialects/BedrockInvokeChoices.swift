import SluiceBytes

/// `{"id","model","choices":[{"index","delta"|"message"|"text","finish_reason"|"stop_reason"}]}`, the shape that
/// Mistral's chat, Qwen, DeepSeek, Jamba and OpenAI's open models have on Bedrock.
extension BedrockInvokeDialect {
    mutating func readChoices(_ json: Span<UInt8>, of event: Span<UInt8>, into batch: inout EventBatch) {
        if !answer.hasStarted {
            let id = JSONMember.string("id", of: event) ?? 0..<0
            let model = JSONMember.string("model", of: event) ?? 0..<0
            answer.start(id: event.extracting(id), model: event.extracting(model), into: &batch)
        }
        var scanner = JSONScanner(json)
        guard scanner.enterArray() else { return }
        while scanner.nextElement() {
            if let range = scanner.objectOrSkip() { readChoice(json.extracting(range), into: &batch) }
        }
    }

    private mutating func readChoice(_ json: Span<UInt8>, into batch: inout EventBatch) {
        var piece = Piece()
        var delta: Range<Int>?
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return }
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if piece.take(name, &scanner) { continue }
            if ASCII.equal(name, "delta") || ASCII.equal(name, "message") {
                delta = scanner.objectOrSkip() ?? delta
            } else {
                scanner.value()
            }
        }
        if let delta { readDelta(json.extracting(delta), choice: piece.choice, into: &batch) }
        tell(piece, json, into: &batch)
    }

    private mutating func readDelta(_ json: Span<UInt8>, choice: Int, into batch: inout EventBatch) {
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return }
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "content") {
                if let text = scanner.stringOrSkip() {
                    answer.text(json.extracting(text), choice: choice, into: &batch)
                }
            } else if ASCII.equal(name, "reasoning_content") || ASCII.equal(name, "reasoning") {
                if let text = scanner.stringOrSkip() {
                    answer.reasoning(json.extracting(text), choice: choice, into: &batch)
                }
            } else if ASCII.equal(name, "tool_calls"), scanner.peek() == .array {
                readCalls(&scanner, choice: choice, into: &batch)
            } else {
                scanner.value()
            }
        }
    }

    /// Calls go by `index`; one without it goes by its place, if it brings an id, and else with the last.
    private mutating func readCalls(_ scanner: inout JSONScanner, choice: Int, into batch: inout EventBatch) {
        guard scanner.enterArray() else { return }
        let bytes = scanner.bytes
        while scanner.nextElement() {
            guard let range = scanner.objectOrSkip() else { continue }
            let call = bytes.extracting(range)
            let id = JSONMember.string("id", of: call) ?? 0..<0
            var key = answer.callCount(choice: choice) - (id.isEmpty ? 1 : 0)
            if let index = Self.index(of: call) { key = index }
            guard let place = JSONMember.object("function", of: call) else { continue }
            let function = call.extracting(place)
            if let name = JSONMember.string("name", of: function), !name.isEmpty {
                answer.openCall(
                    key: key, id: call.extracting(id), name: function.extracting(name), choice: choice, into: &batch)
            }
            if let text = JSONMember.string("arguments", of: function) {
                answer.arguments(key: key, function.extracting(text), choice: choice, into: &batch)
            } else if let value = JSONMember.object("arguments", of: function) {
                answer.arguments(key: key, value: function.extracting(value), choice: choice, into: &batch)
            }
        }
    }

    private static func index(of call: Span<UInt8>) -> Int? {
        var index: Int?
        var scanner = JSONScanner(call)
        guard scanner.enterObject() else { return nil }
        while let key = scanner.nextKey() {
            if ASCII.equal(call.extracting(key), "index") { index = scanner.integer() } else { scanner.value() }
        }
        return index
    }
}
