import SluiceBytes

/// What one chunk adds to one choice: text, reasoning, refusal, tool calls.
extension OpenAIChatDialect {
    mutating func readDelta(_ scanner: inout JSONScanner, _ position: Int, into batch: inout EventBatch) {
        guard scanner.enterObject() else { return }
        var reasoning: Range<Int>?
        var details: Range<Int>?
        let bytes = scanner.bytes
        while let key = scanner.nextKey() {
            let name = bytes.extracting(key)
            switch name.count {
            case 7 where ASCII.equal(name, "content"): readContent(&scanner, position, into: &batch)
            case 9 where ASCII.equal(name, "reasoning"), 17 where ASCII.equal(name, "reasoning_content"):
                if let text = scanner.stringOrSkip(), !text.isEmpty { reasoning = text }
            case 17 where ASCII.equal(name, "reasoning_details") && scanner.peek() == .array:
                details = scanner.value()
            case 7 where ASCII.equal(name, "refusal"):
                if let text = scanner.stringOrSkip() {
                    appendRefusal(bytes.extracting(text), position, into: &batch)
                }
            case 10 where ASCII.equal(name, "tool_calls") && scanner.peek() == .array:
                readCalls(&scanner, position, into: &batch)
            case 13 where ASCII.equal(name, "function_call") && scanner.peek() == .object:
                var fields = CallFields()
                readFunction(&scanner, &fields)
                take(fields, bytes, position, into: &batch)
            default: scanner.value()
            }
        }
        // OpenRouter sends the same thoughts under both names; the plain text is used, and the details only alone.
        if let reasoning {
            appendReasoning(bytes.extracting(reasoning), position, into: &batch)
        } else if let details {
            readThoughts(bytes.extracting(details), position, into: &batch)
        }
    }

    // MARK: - Text

    mutating func appendText(_ raw: Span<UInt8>, _ position: Int, into batch: inout EventBatch) {
        guard !raw.isEmpty else { return }
        progress.sawContent = true
        let stored = store(raw, &choices[position].textHalf, into: &batch)
        if !stored.isEmpty { batch.append(.text(choice: choices[position].index, stored)) }
    }

    private mutating func appendReasoning(_ raw: Span<UInt8>, _ position: Int, into batch: inout EventBatch) {
        guard !raw.isEmpty else { return }
        progress.sawContent = true
        let stored = store(raw, &choices[position].reasoningHalf, into: &batch)
        if !stored.isEmpty { batch.append(.reasoning(choice: choices[position].index, stored)) }
    }

    private mutating func appendRefusal(_ raw: Span<UInt8>, _ position: Int, into batch: inout EventBatch) {
        guard !raw.isEmpty else { return }
        progress.sawContent = true
        let stored = store(raw, &choices[position].refusalHalf, into: &batch)
        if !stored.isEmpty { batch.append(.refusal(choice: choices[position].index, stored)) }
    }

    /// A string, or (Mistral) an array of `{"type":"text","text"}` and `{"type":"thinking","thinking":[…]}`.
    private mutating func readContent(_ scanner: inout JSONScanner, _ position: Int, into batch: inout EventBatch) {
        let bytes = scanner.bytes
        contentCount += 1
        guard scanner.peek() == .array else {
            guard let text = scanner.stringOrSkip() else { return }
            content = ChunkTemplate.Place(bytes.extracting(text))
            return appendText(bytes.extracting(text), position, into: &batch)
        }
        content = nil
        guard scanner.enterArray() else { return }
        while scanner.nextElement() {
            guard scanner.peek() == .object, scanner.enterObject() else {
                scanner.value()
                continue
            }
            while let key = scanner.nextKey() {
                let name = bytes.extracting(key)
                if ASCII.equal(name, "text") {
                    if let text = scanner.stringOrSkip() { appendText(bytes.extracting(text), position, into: &batch) }
                } else if ASCII.equal(name, "thinking") {
                    readThinking(&scanner, position, into: &batch)
                } else {
                    scanner.value()
                }
            }
        }
    }

    private mutating func readThinking(_ scanner: inout JSONScanner, _ position: Int, into batch: inout EventBatch) {
        let bytes = scanner.bytes
        if scanner.peek() == .array {
            if let array = scanner.value() { readThoughts(bytes.extracting(array), position, into: &batch) }
        } else if let text = scanner.stringOrSkip() {
            appendReasoning(bytes.extracting(text), position, into: &batch)
        }
    }

    /// An array of objects with `text` or `summary`.
    private mutating func readThoughts(_ json: Span<UInt8>, _ position: Int, into batch: inout EventBatch) {
        var scanner = JSONScanner(json)
        guard scanner.enterArray() else { return }
        while scanner.nextElement() {
            guard scanner.peek() == .object, scanner.enterObject() else {
                scanner.value()
                continue
            }
            while let key = scanner.nextKey() {
                let name = json.extracting(key)
                if ASCII.equal(name, "text") || ASCII.equal(name, "summary") {
                    guard let text = scanner.stringOrSkip() else { continue }
                    appendReasoning(json.extracting(text), position, into: &batch)
                } else {
                    scanner.value()
                }
            }
        }
    }

    // MARK: - Tool calls

    private struct CallFields {
        var index: Int?
        var id: Range<Int>?
        var name: Range<Int>?
        var arguments: Range<Int>?
        /// The arguments are an object, and stay its JSON text.
        var areRaw = false
    }

    private mutating func readCalls(_ scanner: inout JSONScanner, _ position: Int, into batch: inout EventBatch) {
        guard scanner.enterArray() else { return }
        let bytes = scanner.bytes
        while scanner.nextElement() {
            guard scanner.peek() == .object, scanner.enterObject() else {
                scanner.value()
                continue
            }
            var fields = CallFields()
            while let key = scanner.nextKey() {
                let name = bytes.extracting(key)
                if ASCII.equal(name, "index") {
                    fields.index = scanner.integer()
                } else if ASCII.equal(name, "id") {
                    fields.id = scanner.stringOrSkip()
                } else if ASCII.equal(name, "function"), scanner.peek() == .object {
                    readFunction(&scanner, &fields)
                } else {
                    scanner.value()
                }
            }
            guard scanner.isValid else { return }
            take(fields, bytes, position, into: &batch)
        }
    }

    /// The object of `function` or `function_call`.
    private func readFunction(_ scanner: inout JSONScanner, _ fields: inout CallFields) {
        guard scanner.enterObject() else { return }
        let bytes = scanner.bytes
        while let key = scanner.nextKey() {
            let name = bytes.extracting(key)
            if ASCII.equal(name, "name") {
                fields.name = scanner.stringOrSkip()
            } else if ASCII.equal(name, "arguments") {
                fields.areRaw = scanner.peek() == .object
                fields.arguments = fields.areRaw ? scanner.value() : scanner.stringOrSkip()
            } else {
                scanner.value()
            }
        }
    }

    private mutating func take(
        _ fields: CallFields, _ bytes: Span<UInt8>, _ position: Int, into batch: inout EventBatch
    ) {
        guard let call = call(fields, bytes, position) else { return }
        progress.sawContent = true
        let name = bytes.extracting(fields.name ?? 0..<0)
        let arguments = bytes.extracting(fields.arguments ?? 0..<0)
        // The name comes with the first delta or, from some, behind it; without one the arguments open the call.
        if !name.isEmpty || !arguments.isEmpty, !choices[position].calls[call].hasStarted {
            startCall(call, position, name: store(name, into: &batch), into: &batch)
        }
        guard !arguments.isEmpty else { return }
        let stored =
            fields.areRaw
            ? batch.store { out in arguments.withUnsafeBufferPointer { UTF8Text.append($0, into: &out) } }
            : store(arguments, &choices[position].calls[call].argumentsHalf, into: &batch)
        guard !stored.isEmpty else { return }
        batch.append(.toolCallArguments(choice: choices[position].index, index: call, stored))
    }

    mutating func startCall(_ call: Int, _ position: Int, name: TextRange, into batch: inout EventBatch) {
        guard !choices[position].calls[call].hasStarted else { return }
        choices[position].calls[call].hasStarted = true
        let id = choices[position].calls[call].id
        let stored = store(id.span, into: &batch)
        batch.append(.toolCallStart(choice: choices[position].index, index: call, id: stored, name: name))
    }

    /// The call that a delta belongs to: by `index`; without one, a new id opens a call and no id goes on with the last.
    /// An id that is known is never replaced by an empty one. nil, and a fault, past the limit.
    private mutating func call(_ fields: CallFields, _ bytes: Span<UInt8>, _ position: Int) -> Int? {
        let id = bytes.extracting(fields.id ?? 0..<0)
        let calls = choices[position].calls
        if let index = fields.index {
            if let known = calls.firstIndex(where: { $0.index == index }) {
                if calls[known].id.isEmpty { choices[position].calls[known].id = Self.copy(id) }
                return known
            }
        } else if !calls.isEmpty {
            if id.isEmpty { return calls.count - 1 }
            let wanted = Self.copy(id)
            if let known = calls.firstIndex(where: { $0.id == wanted }) { return known }
        }
        guard calls.count < Self.callLimit else {
            fault = "more tool calls than the limit of 1024"
            return nil
        }
        choices[position].calls.append(Call(index: fields.index ?? -1, id: Self.copy(id)))
        return calls.count
    }

    private static func copy(_ bytes: Span<UInt8>) -> [UInt8] { bytes.withUnsafeBufferPointer { Array($0) } }
}
