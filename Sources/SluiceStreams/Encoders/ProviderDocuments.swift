import SluiceBytes

/// Whole answers as Anthropic, Google, Ollama and Cohere give them. Where a call must have an object of arguments
/// and the model wrote none, the call is left out, which is right only if the ending tells of it: false, if it does
/// not.
extension CollectedAnswer {
    /// Anthropic's message.
    func appendAnthropic(into out: inout ByteQueue) -> Bool {
        out.append("{\"id\":")
        JSONText.appendQuoted(head.id.span, into: &out)
        out.append(",\"type\":\"message\",\"role\":\"assistant\",\"model\":")
        JSONText.appendQuoted(head.model.span, into: &out)
        let (parts, isWhole) = list(message) { part, next in
            switch part.kind {
            case .text, .refusal: return .written { Self.append("{\"type\":\"text\",\"text\":", part, "}", into: &$0) }
            case .reasoning:
                return .written {
                    Self.append("{\"type\":\"thinking\",\"thinking\":", part, ",\"signature\":", into: &$0)
                    let proof = next.flatMap { $0.kind == .signature ? $0.bytes : nil } ?? []
                    JSONText.appendQuoted(proof.span, into: &$0)
                    $0.append(ASCII.rightBrace)
                }
            // It stands with its thinking.
            case .signature: return []
            case .call(let index): return anthropicCall(part, index)
            }
        }
        out.append(",\"content\":")
        out.append(parts)
        out.append(",\"stop_reason\":\"")
        out.append(message.state.endingOfText.anthropicWord)
        out.append("\",\"stop_sequence\":null,\"usage\":")
        (usage ?? Usage()).appendAnthropic(needsInput: true, into: &out)
        out.append(ASCII.rightBrace)
        return isWhole || message.state.ending == .length
    }

    private func anthropicCall(_ part: Part, _ index: Int) -> [UInt8]? {
        var isWhole = true
        let call: [UInt8] = .written { out in
            out.append("{\"type\":\"tool_use\",\"id\":")
            head.appendCallID(part.id.span, prefix: "toolu_", index: index, into: &out)
            out.append(",\"name\":")
            JSONText.appendQuoted(part.name.span, into: &out)
            out.append(",\"input\":")
            isWhole = ToolArguments.append(part.bytes, into: &out)
            out.append(ASCII.rightBrace)
        }
        return isWhole ? call : nil
    }

    /// `GenerateContentResponse`. A candidate's finish can tell of a call that was left out.
    func appendGemini(into out: inout ByteQueue) {
        out.append("{\"candidates\":[")
        for (position, choice) in sorted.enumerated() {
            if position > 0 { out.append(ASCII.comma) }
            let (parts, isWhole) = list(choice) { part, _ in
                switch part.kind {
                case .text, .refusal: .written { Self.append("{\"text\":", part, "}", into: &$0) }
                case .reasoning: .written { Self.append("{\"thought\":true,\"text\":", part, "}", into: &$0) }
                case .signature:
                    !Base64.isStrict(part.bytes.span)
                        ? [] : .written { Self.append("{\"text\":\"\",\"thoughtSignature\":", part, "}", into: &$0) }
                case .call: GeminiEncoder.part(part.id, part.name, part.bytes)
                }
            }
            out.append("{\"content\":{\"parts\":")
            out.append(parts)
            out.append(",\"role\":\"model\"},\"finishReason\":\"")
            out.append(GeminiEncoder.word(choice.state, hasBrokenCall: !isWhole))
            out.append("\",\"index\":")
            out.append(decimal: choice.state.index)
            out.append(ASCII.rightBrace)
        }
        out.append(ASCII.rightBracket)
        if let usage {
            out.append(",\"usageMetadata\":")
            usage.appendGemini(into: &out)
        }
        GeminiEncoder.appendBack(head, into: &out)
    }

    /// Ollama's `/api/chat`; `answer` has its time, counts and durations.
    func appendOllamaChat(_ answer: inout OllamaAnswer, into out: inout ByteQueue) -> Bool {
        let message = message
        answer.openLine(into: &out)
        out.append(",\"message\":{\"role\":\"assistant\",\"content\":")
        message.appendQuoted(.text, .refusal, into: &out)
        appendThinking(message, into: &out)
        var isWhole = true
        if message.state.hasCalls {
            let (calls, areWhole) = list(message) { part, _ in
                guard let index = part.callIndex else { return [] }
                return OllamaAnswer.element(part.id, part.name, index, part.bytes)
            }
            isWhole = areWhole
            out.append(",\"tool_calls\":")
            out.append(calls)
        }
        out.append(ASCII.rightBrace)
        answer.closeLast(into: &out)
        return isWhole || message.state.ending == .length
    }

    /// Ollama's `/api/generate`, which has no calls.
    func appendOllamaGenerate(_ answer: inout OllamaAnswer, into out: inout ByteQueue) {
        let message = message
        answer.openLine(into: &out)
        out.append(",\"response\":")
        message.appendQuoted(.text, .refusal, into: &out)
        appendThinking(message, into: &out)
        answer.closeLast(into: &out)
    }

    private func appendThinking(_ message: Choice, into out: inout ByteQueue) {
        guard message.has(.reasoning) else { return }
        out.append(",\"thinking\":")
        message.appendQuoted(.reasoning, into: &out)
    }

    /// Cohere's v2 chat.
    func appendCohere(into out: inout ByteQueue) {
        let message = message
        out.append("{\"id\":")
        JSONText.appendQuoted(head.id.span, into: &out)
        out.append(",\"finish_reason\":\"")
        out.append(message.state.ending.cohereWord)
        out.append("\",\"message\":{\"role\":\"assistant\"")
        if message.has(.text, .refusal, .reasoning) {
            let (parts, _) = list(message) { part, _ in
                switch part.kind {
                case .text, .refusal: .written { Self.append("{\"type\":\"text\",\"text\":", part, "}", into: &$0) }
                case .reasoning:
                    .written { Self.append("{\"type\":\"thinking\",\"thinking\":", part, "}", into: &$0) }
                case .signature, .call: []
                }
            }
            out.append(",\"content\":")
            out.append(parts)
        }
        if message.state.hasCalls {
            out.append(",\"tool_calls\":")
            message.appendCalls(head, into: &out)
        }
        out.append("},\"usage\":")
        (usage ?? Usage()).appendCohere(into: &out)
        out.append(ASCII.rightBrace)
    }

    // MARK: - Lists

    /// A JSON array of what `element` makes of each part and the one behind it: nothing for an empty element, and
    /// for nil the whole is not whole.
    private func list(_ choice: Choice, _ element: (Part, Part?) -> [UInt8]?) -> ([UInt8], isWhole: Bool) {
        var isWhole = true
        let list: [UInt8] = .written { out in
            var separator: StaticString = "["
            for (position, part) in choice.parts.enumerated() {
                let next = position + 1 < choice.parts.count ? choice.parts[position + 1] : nil
                let element = element(part, next)
                if element == nil { isWhole = false }
                guard let element, !element.isEmpty else { continue }
                out.append(separator)
                out.append(element)
                separator = ","
            }
            if out.isEmpty { out.append(ASCII.leftBracket) }
            out.append(ASCII.rightBracket)
        }
        return (list, isWhole)
    }

    private static func append(
        _ front: StaticString, _ part: Part, _ back: StaticString, into out: inout ByteQueue
    ) {
        out.append(front)
        JSONText.appendQuoted(part.bytes.span, into: &out)
        out.append(back)
    }
}
