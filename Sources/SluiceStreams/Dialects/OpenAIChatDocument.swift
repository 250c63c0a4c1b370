import SluiceBytes

/// A whole chat completion (`chat.completion`, `text_completion`), and MLflow's, which is the same.
extension OpenAIChatDialect {
    mutating func decode(document: JSONValue, into batch: inout EventBatch) -> Bool {
        if let error = document["error"], !error.isNull {
            return read(error, into: &batch)
        }
        guard case .array(let choices)? = document["choices"] else { return false }
        let (id, model): (JSONString, JSONString) = (document["id"]?.string ?? "", document["model"]?.string ?? "")
        answer.start(id: id.span, model: model.span, created: document["created"]?.integer, into: &batch)
        for (position, choice) in choices.enumerated() {
            read(choice: choice, choice["index"]?.integer ?? position, into: &batch)
        }
        if let usage = document["usage"] {
            let text = usage.serialized()
            readUsage(text.span, into: &batch)
        }
        return true
    }

    /// An error object, in the words of the streams.
    private mutating func read(_ error: JSONValue, into batch: inout EventBatch) -> Bool {
        let text = error.serialized()
        readError(text.span, into: &batch)
        return true
    }

    /// A message has the members of a delta.
    private mutating func read(choice: JSONValue, _ index: Int, into batch: inout EventBatch) {
        answer.open(index)
        areCallsWhole = true
        if let message = choice["message"], message.members != nil {
            let text = message.serialized()
            var scanner = JSONScanner(text.span)
            readDelta(&scanner, index, into: &batch)
        }
        if let text = choice["text"]?.string { answer.text(text.span, choice: index, into: &batch) }
        if let word = choice["finish_reason"]?.string, !word.isEmpty {
            finishChoice(word.span, index, into: &batch)
        }
    }
}
