import SluiceBytes

/// Tool calls of Cohere's v1 chat, and the response that stands in the last line of a stream or is the whole answer.
extension CohereV1Dialect {
    /// `{"index","name","parameters":"{\"a"}`: a fragment.
    mutating func takeCall(delta json: Span<UInt8>, into batch: inout EventBatch) {
        guard let call = Self.readCall(json) else { return }
        let key = call.index ?? 0
        if let name = call.name { answer.openCall(key: key, name: json.extracting(name), into: &batch) }
        guard let range = call.parameters, json[range.lowerBound] == ASCII.quote else { return }
        let fragment = json.extracting((range.lowerBound + 1)..<(range.upperBound - 1))
        answer.arguments(key: key, fragment, into: &batch)
    }

    /// `[{"name","parameters":{}}]`: all calls, whole; those that came in fragments are known.
    mutating func takeCalls(_ json: Span<UInt8>, into batch: inout EventBatch) {
        var scanner = JSONScanner(json)
        guard scanner.peek() == .array, scanner.enterArray() else { return }
        var key = 0
        while scanner.nextElement() {
            guard let range = scanner.objectOrSkip() else { continue }
            let text = json.extracting(range)
            guard let call = Self.readCall(text) else { continue }
            answer.openCall(key: key, name: text.extracting(call.name ?? 0..<0), into: &batch)
            if let parameters = call.parameters, !answer.hasArguments(key: key) {
                answer.arguments(key: key, value: text.extracting(parameters), into: &batch)
            }
            answer.closeCall(key: key, into: &batch)
            key += 1
        }
    }

    private static func readCall(
        _ json: Span<UInt8>
    ) -> (index: Int?, name: Range<Int>?, parameters: Range<Int>?)? {
        var (index, name, parameters): (Int?, Range<Int>?, Range<Int>?)
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return nil }
        while let key = scanner.nextKey() {
            let member = json.extracting(key)
            if ASCII.equal(member, "index") {
                index = scanner.integer()
            } else if ASCII.equal(member, "name") {
                name = scanner.stringOrSkip()
            } else if ASCII.equal(member, "parameters") {
                let kind = scanner.peek()
                let range = scanner.value()
                if kind == .object || kind == .string { parameters = range }
            } else {
                scanner.value()
            }
        }
        return scanner.isValid ? (index, name, parameters) : nil
    }

    // MARK: - Responses

    private struct Response {
        var id: Range<Int>?
        var text: Range<Int>?
        var reason: Range<Int>?
        var generations: Range<Int>?
        var calls: Range<Int>?
        var documents: Range<Int>?
        var meta: Range<Int>?
    }

    private static func readResponse(_ json: Span<UInt8>) -> Response? {
        var response = Response()
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return nil }
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            switch name.count {
            case 13 where ASCII.equal(name, "generation_id"), 2 where ASCII.equal(name, "id"):
                response.id = scanner.stringOrSkip()
            case 4 where ASCII.equal(name, "text"): response.text = scanner.stringOrSkip()
            case 13 where ASCII.equal(name, "finish_reason"): response.reason = scanner.stringOrSkip()
            case 11 where ASCII.equal(name, "generations"): response.generations = scanner.value()
            case 10 where ASCII.equal(name, "tool_calls"): response.calls = scanner.value()
            case 9 where ASCII.equal(name, "documents"): response.documents = scanner.value()
            case 4 where ASCII.equal(name, "meta"): response.meta = scanner.objectOrSkip()
            default: scanner.value()
            }
        }
        return scanner.isValid ? response : nil
    }

    /// What it says of the answer is news only if nothing came before it. `reason` is the line's own, which is the
    /// response's too.
    mutating func takeResponse(
        _ json: Span<UInt8>, _ reason: Span<UInt8>, choice: Int, into batch: inout EventBatch
    ) {
        guard let response = Self.readResponse(json) else { return finish(reason, choice: choice, into: &batch) }
        let isNews = !answer.progress.sawContent
        if !answer.hasStarted { answer.start(id: json.extracting(response.id ?? 0..<0), into: &batch) }
        if isNews {
            if let documents = response.documents { answer.sources(json.extracting(documents), into: &batch) }
            if let text = response.text { answer.text(json.extracting(text), choice: choice, into: &batch) }
            if let calls = response.calls { takeCalls(json.extracting(calls), into: &batch) }
            answer.content = nil
        }
        if let generations = response.generations {
            takeGenerations(json.extracting(generations), reason, isNews: isNews, into: &batch)
        }
        let word = reason.isEmpty ? json.extracting(response.reason ?? 0..<0) : reason
        if response.generations == nil { finish(word, choice: choice, into: &batch) }
        if let meta = response.meta {
            answer.usage(CohereWords.usage(json.extracting(meta), preferBilled: true), into: &batch)
        }
    }

    /// `[{"index","text","finish_reason"}]`: each choice has its own ending.
    private mutating func takeGenerations(
        _ json: Span<UInt8>, _ reason: Span<UInt8>, isNews: Bool, into batch: inout EventBatch
    ) {
        var scanner = JSONScanner(json)
        guard scanner.peek() == .array, scanner.enterArray() else { return finish(reason, into: &batch) }
        var position = 0
        while scanner.nextElement() {
            guard let range = scanner.objectOrSkip() else { continue }
            let generation = json.extracting(range)
            takeGeneration(generation, reason, position, isNews: isNews, into: &batch)
            position += 1
        }
        if position == 0 { finish(reason, into: &batch) }
    }

    private mutating func takeGeneration(
        _ json: Span<UInt8>, _ reason: Span<UInt8>, _ position: Int, isNews: Bool, into batch: inout EventBatch
    ) {
        var (index, text, own): (Int?, Range<Int>?, Range<Int>?)
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return }
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "index") {
                index = scanner.integer()
            } else if ASCII.equal(name, "text") {
                text = scanner.stringOrSkip()
            } else if ASCII.equal(name, "finish_reason") {
                own = scanner.stringOrSkip()
            } else {
                scanner.value()
            }
        }
        guard scanner.isValid else { return }
        let choice = index ?? position
        if isNews, let text { answer.text(json.extracting(text), choice: choice, into: &batch) }
        if let own, !own.isEmpty {
            finish(json.extracting(own), choice: choice, into: &batch)
        } else {
            finish(reason, choice: choice, into: &batch)
        }
    }

    mutating func decode(document: JSONValue, into batch: inout EventBatch) -> Bool {
        let isChat = document["text"]?.string != nil || document["tool_calls"]?.elements != nil
        guard isChat || document["generations"]?.elements != nil else {
            return answer.providerError(document: document, into: &batch)
        }
        takeResponse(document.serialized().span, Span(), choice: 0, into: &batch)
        return true
    }
}
