import SluiceBytes

/// What one chunk adds to one choice: text, reasoning, refusal, tool calls.
extension OpenAIChatDialect {
    mutating func readDelta(_ scanner: inout JSONScanner, _ choice: Int, into batch: inout EventBatch) {
        guard scanner.enterObject() else { return }
        var reasoning: Range<Int>?
        var details: Range<Int>?
        let bytes = scanner.bytes
        while let key = scanner.nextKey() {
            let name = bytes.extracting(key)
            switch name.count {
            case 7 where ASCII.equal(name, "content"): readContent(&scanner, choice, into: &batch)
            case 9 where ASCII.equal(name, "reasoning"), 17 where ASCII.equal(name, "reasoning_content"):
                if let text = scanner.stringOrSkip(), !text.isEmpty { reasoning = text }
            case 17 where ASCII.equal(name, "reasoning_details") && scanner.peek() == .array:
                details = scanner.value()
            case 7 where ASCII.equal(name, "refusal"):
                if let text = scanner.stringOrSkip() {
                    answer.refusal(bytes.extracting(text), choice: choice, into: &batch)
                }
            case 10 where ASCII.equal(name, "tool_calls") && scanner.peek() == .array:
                readCalls(&scanner, choice, into: &batch)
            case 13 where ASCII.equal(name, "function_call") && scanner.peek() == .object:
                var fields = CallFields()
                readFunction(&scanner, &fields)
                take(fields, bytes, choice, into: &batch)
            default: scanner.value()
            }
        }
        // OpenRouter sends the same thoughts under both names; the plain text is used, and the details only alone.
        if let reasoning {
            answer.reasoning(bytes.extracting(reasoning), choice: choice, into: &batch)
        } else if let details {
            readThoughts(bytes.extracting(details), choice, into: &batch)
        }
    }

    // MARK: - Text

    /// A string, or (Mistral) an array of `{"type":"text","text"}` and `{"type":"thinking","thinking":[…]}`.
    private mutating func readContent(_ scanner: inout JSONScanner, _ choice: Int, into batch: inout EventBatch) {
        let bytes = scanner.bytes
        guard scanner.peek() == .array else {
            guard let text = scanner.stringOrSkip() else { return }
            return answer.text(bytes.extracting(text), choice: choice, into: &batch)
        }
        // What is learnt of a chunk must be all that it can say.
        answer.contentCount += 1
        guard scanner.enterArray() else { return }
        while scanner.nextElement() {
            guard scanner.peek() == .object, scanner.enterObject() else {
                scanner.value()
                continue
            }
            while let key = scanner.nextKey() {
                let name = bytes.extracting(key)
                if ASCII.equal(name, "text") {
                    if let text = scanner.stringOrSkip() {
                        answer.text(bytes.extracting(text), choice: choice, into: &batch)
                    }
                } else if ASCII.equal(name, "thinking") {
                    readThinking(&scanner, choice, into: &batch)
                } else {
                    scanner.value()
                }
            }
        }
    }

    private mutating func readThinking(_ scanner: inout JSONScanner, _ choice: Int, into batch: inout EventBatch) {
        let bytes = scanner.bytes
        if scanner.peek() == .array {
            if let array = scanner.value() { readThoughts(bytes.extracting(array), choice, into: &batch) }
        } else if let text = scanner.stringOrSkip() {
            answer.reasoning(bytes.extracting(text), choice: choice, into: &batch)
        }
    }

    /// An array of objects with `text` or `summary`.
    private mutating func readThoughts(_ json: Span<UInt8>, _ choice: Int, into batch: inout EventBatch) {
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
                    answer.reasoning(json.extracting(text), choice: choice, into: &batch)
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

    private mutating func readCalls(_ scanner: inout JSONScanner, _ choice: Int, into batch: inout EventBatch) {
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
            take(fields, bytes, choice, into: &batch)
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
        _ fields: CallFields, _ bytes: Span<UInt8>, _ choice: Int, into batch: inout EventBatch
    ) {
        guard let call = call(fields, bytes, choice) else { return }
        answer.sawCall()
        let name = bytes.extracting(fields.name ?? 0..<0)
        let arguments = bytes.extracting(fields.arguments ?? 0..<0)
        // The name comes with the first delta or, from some, behind it; without one the arguments open the call.
        if !name.isEmpty || !arguments.isEmpty { startCall(call, name: name, into: &batch) }
        guard !arguments.isEmpty else { return }
        if fields.areRaw {
            answer.arguments(key: call, value: arguments, choice: choice, into: &batch)
        } else {
            answer.arguments(key: call, arguments, choice: choice, into: &batch)
        }
    }

    mutating func startCall(_ call: Int, name: Span<UInt8>, into batch: inout EventBatch) {
        guard !calls[call].hasStarted else { return }
        calls[call].hasStarted = true
        let id = calls[call].id
        answer.openCall(key: call, id: id.span, name: name, choice: calls[call].choice, into: &batch)
    }

    /// The call that a delta belongs to: by `index`; without one, a new id opens a call and no id goes on with the last.
    /// An id that is known is never replaced by an empty one. nil, and a fault, past the limit.
    private mutating func call(_ fields: CallFields, _ bytes: Span<UInt8>, _ choice: Int) -> Int? {
        let id = bytes.extracting(fields.id ?? 0..<0)
        if areCallsWhole {
            // None of those before it.
        } else if let index = fields.index {
            if let known = calls.firstIndex(where: { $0.choice == choice && $0.index == index }) {
                if calls[known].id.isEmpty { calls[known].id = Self.copy(id) }
                return known
            }
        } else if let last = calls.lastIndex(where: { $0.choice == choice }) {
            if id.isEmpty { return last }
            let wanted = Self.copy(id)
            if let known = calls.firstIndex(where: { $0.choice == choice && $0.id == wanted }) { return known }
        }
        guard calls.count < AnswerState.callLimit else {
            fault = "more tool calls than the limit of 1024"
            return nil
        }
        calls.append(Call(choice: choice, index: fields.index ?? -1, id: Self.copy(id)))
        return calls.count - 1
    }

    private static func copy(_ bytes: Span<UInt8>) -> [UInt8] { bytes.withUnsafeBufferPointer { Array($0) } }
}
