import SluiceBytes

/// The `response` object of OpenAI's Responses: opens a stream, ends it, and is the whole answer where there is none.
extension OpenAIResponsesDialect {
    private struct Response {
        var id: Range<Int>?
        var model: Range<Int>?
        var created: Int?
        var status: Range<Int>?
        var output: Range<Int>?
        var usage: Range<Int>?
        var error: Range<Int>?
        var details: Range<Int>?
    }

    private static func readResponse(_ json: Span<UInt8>) -> Response? {
        var response = Response()
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return nil }
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            switch name.count {
            case 2 where ASCII.equal(name, "id"): response.id = scanner.stringOrSkip()
            case 5 where ASCII.equal(name, "model"): response.model = scanner.stringOrSkip()
            case 10 where ASCII.equal(name, "created_at"): response.created = scanner.integer()
            case 6 where ASCII.equal(name, "status"): response.status = scanner.stringOrSkip()
            case 6 where ASCII.equal(name, "output"): response.output = scanner.value()
            case 5 where ASCII.equal(name, "usage"): response.usage = scanner.objectOrSkip()
            case 5 where ASCII.equal(name, "error"): response.error = scanner.objectOrSkip()
            case 18 where ASCII.equal(name, "incomplete_details"): response.details = scanner.objectOrSkip()
            default: scanner.value()
            }
        }
        return scanner.isValid ? response : nil
    }

    /// `ending`: the status that the event's own type names; empty for an answer that goes on.
    mutating func takeResponse(
        _ data: Span<UInt8>, _ range: Range<Int>?, ending: Span<UInt8>, into batch: inout EventBatch
    ) {
        let json = data.extracting(range ?? 0..<0)
        let response = json.isEmpty ? nil : Self.readResponse(json)
        if let response, !answer.hasStarted {
            let (id, model) = (json.extracting(response.id ?? 0..<0), json.extracting(response.model ?? 0..<0))
            answer.start(id: id, model: model, created: response.created, into: &batch)
        }
        if ending.isEmpty { return }
        held.release(to: &answer, into: &batch)
        if let response {
            end(response, json, ending, into: &batch)
        } else {
            answer.finish(Self.reason(ending, filtered: false), raw: ending, into: &batch)
        }
        answer.end(into: &batch)
    }

    private mutating func end(
        _ response: Response, _ json: Span<UInt8>, _ ending: Span<UInt8>, into batch: inout EventBatch
    ) {
        // The items are told here only if the stream told nothing: they need not stand where their events said.
        if !answer.progress.sawContent, let output = response.output {
            takeItems(json.extracting(output), into: &batch)
        }
        let isFailed = ASCII.equal(ending, "failed")
        if isFailed, !answer.progress.sawError, let error = response.error {
            answer.providerError(json.extracting(error), into: &batch)
        }
        let isFiltered = response.details.map { Self.isFiltered(json.extracting($0)) } ?? false
        let reason = Self.reason(ending, filtered: isFiltered)
        if let status = response.status {
            answer.finish(reason, raw: json.extracting(status), into: &batch)
        } else {
            answer.finish(reason, raw: ending, into: &batch)
        }
        if let usage = response.usage { readUsage(json.extracting(usage), into: &batch) }
    }

    private mutating func takeItems(_ json: Span<UInt8>, into batch: inout EventBatch) {
        var scanner = JSONScanner(json)
        guard scanner.peek() == .array, scanner.enterArray() else { return }
        var index = 0
        while scanner.nextElement() {
            if let range = scanner.objectOrSkip() { endItem(json.extracting(range), index, into: &batch) }
            index += 1
        }
    }

    private static func reason(_ status: Span<UInt8>, filtered: Bool) -> FinishReason {
        if ASCII.equal(status, "completed") { return .stop }
        if ASCII.equal(status, "incomplete") { return filtered ? .contentFilter : .length }
        return ASCII.equal(status, "failed") ? .error : .other
    }

    private static func isFiltered(_ details: Span<UInt8>) -> Bool {
        var scanner = JSONScanner(details)
        guard scanner.enterObject() else { return false }
        while let key = scanner.nextKey() {
            guard ASCII.equal(details.extracting(key), "reason") else {
                scanner.value()
                continue
            }
            guard let word = scanner.stringOrSkip() else { return false }
            return ASCII.equal(details.extracting(word), "content_filter")
        }
        return false
    }

    private mutating func readUsage(_ json: Span<UInt8>, into batch: inout EventBatch) {
        var usage = Usage()
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return }
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "input_tokens") {
                usage.input = scanner.integer()
            } else if ASCII.equal(name, "output_tokens") {
                usage.output = scanner.integer()
            } else if ASCII.equal(name, "input_tokens_details"), scanner.peek() == .object {
                usage.cached = Self.count("cached_tokens", &scanner)
            } else if ASCII.equal(name, "output_tokens_details"), scanner.peek() == .object {
                usage.reasoning = Self.count("reasoning_tokens", &scanner)
            } else {
                scanner.value()
            }
        }
        answer.usage(usage, into: &batch)
    }

    private static func count(_ wanted: StaticString, _ scanner: inout JSONScanner) -> Int? {
        var found: Int?
        guard scanner.enterObject() else { return nil }
        let bytes = scanner.bytes
        while let key = scanner.nextKey() {
            if ASCII.equal(bytes.extracting(key), wanted) { found = scanner.integer() } else { scanner.value() }
        }
        return found
    }

    /// A response that is still being made is no answer.
    mutating func decode(document: JSONValue, into batch: inout EventBatch) -> Bool {
        guard document["output"]?.elements != nil, let status = document["status"]?.string else {
            return answer.providerError(document: document, into: &batch)
        }
        let isAtWork = ["queued", "in_progress"].contains(status.text)
        guard !isAtWork else { return false }
        let bytes = document.serialized()
        takeResponse(bytes.span, 0..<bytes.count, ending: status.span, into: &batch)
        return true
    }
}
