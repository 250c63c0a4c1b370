import SluiceBytes

/// Citations of Cohere's v2 chat, and whole answers.
extension CohereV2Dialect {
    /// `{"start","end","text","sources":[{"type":"document","document":{"url","title"}}]}`.
    mutating func takeCitation(_ json: Span<UInt8>, into batch: inout EventBatch) {
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return }
        while let key = scanner.nextKey() {
            if ASCII.equal(json.extracting(key), "sources"), scanner.peek() == .array {
                takeSources(&scanner, into: &batch)
            } else {
                scanner.value()
            }
        }
    }

    private mutating func takeSources(_ scanner: inout JSONScanner, into batch: inout EventBatch) {
        guard scanner.enterArray() else { return }
        let bytes = scanner.bytes
        while scanner.nextElement() {
            guard scanner.peek() == .object, scanner.enterObject() else {
                scanner.value()
                continue
            }
            while let key = scanner.nextKey() {
                let isDocument = ASCII.equal(bytes.extracting(key), "document")
                guard let range = scanner.value(), isDocument else { continue }
                answer.source(bytes.extracting(range), into: &batch)
            }
        }
    }

    mutating func decode(document: JSONValue, into batch: inout EventBatch) -> Bool {
        guard let message = document["message"], message.members != nil else {
            return answer.providerError(document: document, into: &batch)
        }
        let id = document["id"]?.string ?? ""
        answer.start(id: id.span, into: &batch)
        for part in message["content"]?.elements ?? [] {
            if let thinking = part["thinking"]?.string { answer.reasoning(thinking.span, into: &batch) }
            if let text = part["text"]?.string { answer.text(text.span, into: &batch) }
        }
        for citation in message["citations"]?.elements ?? [] where citation.members != nil {
            takeCitation(citation.serialized().span, into: &batch)
        }
        for (index, call) in (message["tool_calls"]?.elements ?? []).enumerated() {
            let function = call["function"]
            let (id, name) = (call["id"]?.string ?? "", function?["name"]?.string ?? "")
            answer.openCall(key: index, id: id.span, name: name.span, into: &batch)
            if let arguments = function?["arguments"]?.string {
                answer.arguments(key: index, arguments.span, into: &batch)
            }
            answer.closeCall(key: index, into: &batch)
        }
        if let word = document["finish_reason"]?.string {
            answer.finish(CohereWords.reason(word.span), raw: word.span, into: &batch)
        }
        if let usage = document["usage"], usage.members != nil {
            answer.usage(CohereWords.usage(usage.serialized().span, preferBilled: false), into: &batch)
        }
        return true
    }
}
