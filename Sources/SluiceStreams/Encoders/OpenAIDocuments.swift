import SluiceBytes

/// Whole answers as OpenAI gives them, and MLflow's gateway after it.
extension CollectedAnswer {
    /// `chat.completion`.
    func appendChat(into out: inout ByteQueue) {
        head.openObject("chat.completion", into: &out)
        out.append(",\"choices\":[")
        for (position, choice) in sorted.enumerated() {
            if position > 0 { out.append(ASCII.comma) }
            openChoice(choice, into: &out)
            out.append(",\"message\":{\"role\":\"assistant\",\"content\":")
            // A message that says nothing has null there, if something else stands in its place.
            if choice.has(.text) || !(choice.has(.refusal) || choice.state.hasCalls) {
                choice.appendQuoted(.text, into: &out)
            } else {
                out.append("null")
            }
            out.append(",\"refusal\":")
            if choice.has(.refusal) { choice.appendQuoted(.refusal, into: &out) } else { out.append("null") }
            if choice.has(.reasoning) {
                out.append(",\"reasoning_content\":")
                choice.appendQuoted(.reasoning, into: &out)
            }
            if choice.state.hasCalls {
                out.append(",\"tool_calls\":")
                choice.appendCalls(head, into: &out)
            }
            closeChoice(choice.state.ending.openAIWord, into: &out)
        }
        closeObject(into: &out)
    }

    /// `text_completion`.
    func appendCompletion(into out: inout ByteQueue) {
        head.openObject("text_completion", into: &out)
        out.append(",\"choices\":[")
        for (position, choice) in sorted.enumerated() {
            if position > 0 { out.append(ASCII.comma) }
            openChoice(choice, into: &out)
            out.append(",\"text\":")
            choice.appendQuoted(.text, .refusal, into: &out)
            out.append(",\"logprobs\":null,\"finish_reason\":\"")
            out.append(choice.state.endingOfText.completionWord)
            out.append("\"}")
        }
        closeObject(into: &out)
    }

    /// MLflow's chat: all keys, with nulls.
    func appendMLflow(into out: inout ByteQueue) {
        head.openObject("chat.completion", into: &out)
        out.append(",\"choices\":[")
        for (position, choice) in sorted.enumerated() {
            if position > 0 { out.append(ASCII.comma) }
            openChoice(choice, into: &out)
            out.append(",\"message\":{\"role\":\"assistant\",\"content\":")
            if choice.has(.text, .refusal) || !choice.state.hasCalls {
                choice.appendQuoted(.text, .refusal, into: &out)
            } else {
                out.append("null")
            }
            out.append(",\"tool_calls\":")
            if choice.state.hasCalls { choice.appendCalls(head, into: &out) } else { out.append("null") }
            out.append("},\"finish_reason\":\"")
            out.append(choice.state.endingOfText.openAIWord)
            out.append("\"}")
        }
        out.append("],\"usage\":")
        (usage ?? Usage()).appendMLflow(into: &out)
        out.append(ASCII.rightBrace)
    }

    /// The object that ends a stream of responses.
    func appendResponse(into out: inout ByteQueue) {
        let reason = message.state.ending
        let items = responseItems(isIncomplete: reason.incompleteWord != nil)
        ResponseObject(head: head, usage: usage ?? Usage()).append(.ended(reason), items, into: &out)
    }

    private func responseItems(isIncomplete: Bool) -> [ResponseItem] {
        var items: [ResponseItem] = []
        for part in message.parts {
            if let index = part.callIndex {
                var item = ResponseItem(.call, position: items.count)
                item.callID = .written { head.appendCallID(part.id.span, prefix: "call_", index: index, into: &$0) }
                (item.name, item.arguments) = (part.name, part.bytes)
                _ = item.finishCall()
                items.append(item)
                continue
            }
            if part.kind == .signature { continue }
            let kind: ResponseItem.Kind = part.kind == .reasoning ? .reasoning : .message
            if items.last?.kind != kind { items.append(ResponseItem(kind, position: items.count)) }
            let last = items.count - 1
            items[last].isDone = true
            let isRefusal = part.kind == .refusal
            if items[last].parts.last?.isRefusal != isRefusal {
                items[last].parts.append(ResponseItem.Part(isRefusal: isRefusal))
            }
            items[last].parts[items[last].parts.count - 1].text += part.bytes
        }
        if isIncomplete, let last = items.indices.last, items[last].kind != .call { items[last].isDone = false }
        return items
    }

    // MARK: - Parts

    private func openChoice(_ choice: Choice, into out: inout ByteQueue) {
        out.append("{\"index\":")
        out.append(decimal: choice.state.index)
    }

    private func closeChoice(_ reason: StaticString, into out: inout ByteQueue) {
        out.append("},\"logprobs\":null,\"finish_reason\":\"")
        out.append(reason)
        out.append("\"}")
    }

    private func closeObject(into out: inout ByteQueue) {
        out.append(ASCII.rightBracket)
        if let usage {
            out.append(",\"usage\":")
            usage.appendOpenAI(into: &out)
        }
        out.append(ASCII.rightBrace)
    }
}
