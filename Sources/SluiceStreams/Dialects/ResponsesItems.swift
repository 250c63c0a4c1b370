import SluiceBytes

/// Output items of OpenAI's Responses and their parts.
extension OpenAIResponsesDialect {
    /// The members of an item that mean something here.
    private struct Item {
        var kind: Range<Int>?
        var id: Range<Int>?
        var callID: Range<Int>?
        var name: Range<Int>?
        /// A string with its quotes: `arguments`, or `input`.
        var arguments: Range<Int>?
        var content: Range<Int>?
        var summary: Range<Int>?
    }

    private static func readItem(_ json: Span<UInt8>) -> Item? {
        var item = Item()
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return nil }
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            switch name.count {
            case 4 where ASCII.equal(name, "type"): item.kind = scanner.stringOrSkip()
            case 2 where ASCII.equal(name, "id"): item.id = scanner.stringOrSkip()
            case 7 where ASCII.equal(name, "call_id"): item.callID = scanner.stringOrSkip()
            case 4 where ASCII.equal(name, "name"): item.name = scanner.stringOrSkip()
            case 9 where ASCII.equal(name, "arguments"), 5 where ASCII.equal(name, "input"):
                let isString = scanner.peek() == .string
                let range = scanner.value()
                if isString, let range, range.count > 2 { item.arguments = range }
            case 7 where ASCII.equal(name, "content"): item.content = scanner.value()
            case 7 where ASCII.equal(name, "summary"): item.summary = scanner.value()
            default: scanner.value()
            }
        }
        return scanner.isValid ? item : nil
    }

    private static func isCall(_ kind: Span<UInt8>) -> Bool {
        ASCII.equal(kind, "function_call") || ASCII.equal(kind, "custom_tool_call")
    }

    private mutating func openCall(
        _ item: Item, _ json: Span<UInt8>, _ output: Int, into batch: inout EventBatch
    ) {
        let id = json.extracting(item.callID ?? item.id ?? 0..<0)
        answer.openCall(key: output, id: id, name: json.extracting(item.name ?? 0..<0), into: &batch)
    }

    mutating func startItem(_ json: Span<UInt8>, _ output: Int, into batch: inout EventBatch) {
        guard let item = Self.readItem(json), Self.isCall(json.extracting(item.kind ?? 0..<0)) else { return }
        openCall(item, json, output, into: &batch)
        if let arguments = item.arguments { held.hold(json.extracting(arguments), key: output) }
    }

    /// The whole item: news only if nothing of it came before.
    mutating func endItem(_ json: Span<UInt8>, _ output: Int, into batch: inout EventBatch) {
        guard let item = Self.readItem(json) else { return }
        let kind = json.extracting(item.kind ?? 0..<0)
        if Self.isCall(kind) {
            openCall(item, json, output, into: &batch)
            if let range = item.arguments, !answer.hasArguments(key: output) {
                let arguments = json.extracting((range.lowerBound + 1)..<(range.upperBound - 1))
                answer.arguments(key: output, arguments, into: &batch)
            }
            held.release(to: &answer, into: &batch)
            answer.closeCall(key: output, into: &batch)
        } else if ASCII.equal(kind, "message") || ASCII.equal(kind, "reasoning") {
            guard !hasParts(of: output) else { return }
            if let summary = item.summary { takeParts(json.extracting(summary), output, into: &batch) }
            if let content = item.content { takeParts(json.extracting(content), output, into: &batch) }
        }
    }

    private mutating func takeParts(_ json: Span<UInt8>, _ output: Int, into batch: inout EventBatch) {
        var scanner = JSONScanner(json)
        guard scanner.peek() == .array, scanner.enterArray() else { return }
        var index = 0
        while scanner.nextElement() {
            if let range = scanner.objectOrSkip() { takePart(json.extracting(range), output, index, into: &batch) }
            index += 1
        }
    }

    /// A whole part: news only if it did not come in deltas.
    mutating func takePart(_ json: Span<UInt8>, _ output: Int, _ index: Int, into batch: inout EventBatch) {
        var (kind, text, annotations): (Range<Int>?, Range<Int>?, Range<Int>?)
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return }
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "type") {
                kind = scanner.stringOrSkip()
            } else if ASCII.equal(name, "text") || ASCII.equal(name, "refusal") {
                text = scanner.stringOrSkip()
            } else if ASCII.equal(name, "annotations") {
                annotations = scanner.value()
            } else {
                scanner.value()
            }
        }
        guard scanner.isValid, let text, !text.isEmpty else { return }
        let word = json.extracting(kind ?? 0..<0)
        let whole = json.extracting(text)
        if ASCII.equal(word, "output_text") {
            guard isNew(Part(output: output, index: index, channel: .content)) else { return }
            tell(whole, into: &batch)
            if let annotations { answer.sources(json.extracting(annotations), into: &batch) }
        } else if ASCII.equal(word, "refusal") {
            guard isNew(Part(output: output, index: index, channel: .content)) else { return }
            answer.refusal(whole, into: &batch)
        } else if ASCII.equal(word, "summary_text") {
            guard isNew(Part(output: output, index: index, channel: .summary)) else { return }
            answer.reasoning(whole, into: &batch)
        } else if ASCII.equal(word, "reasoning_text") {
            guard isNew(Part(output: output, index: index, channel: .reasoning)) else { return }
            answer.reasoning(whole, into: &batch)
        }
    }
}
