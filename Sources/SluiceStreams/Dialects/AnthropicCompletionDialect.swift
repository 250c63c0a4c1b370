import SluiceBytes

/// Anthropic's legacy completions. Version 2023-06-01 names its events and sends what is new; version 2023-01-01 does
/// not name them, sends the whole text each time, and `[DONE]`. A reason to stop ends either.
struct AnthropicCompletionDialect: EventDialect {
    var answer = AnswerState()
    /// What the last event without a name held; nil: events hold what is new.
    private var whole: [UInt8]? = []
    private var isCumulative = false

    private struct Fields {
        var kind: Range<Int>?
        var completion: Range<Int>?
        var stopReason: Range<Int>?
        var model: Range<Int>?
        var id: Range<Int>?
        var error: Range<Int>?
    }

    mutating func decode(_ data: Span<UInt8>, type: Span<UInt8>, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        var fields = Fields()
        var scanner = JSONScanner(data)
        let isPing = ASCII.equal(type, "ping")
        guard scanner.peek() == .object, scanner.enterObject() else {
            if ASCII.equal(type, "error") { return answer.error(plain: data, into: &batch) }
            if isPing { return batch.append(.ping) }
            if data.isEmpty { return }
            throw .malformed("an event is not a JSON object", offset: offset)
        }
        while let key = scanner.nextKey() { Self.readField(key, &scanner, &fields) }
        guard scanner.isAtEnd() else { throw .malformed("an event is not a JSON object", offset: offset) }
        let kind = data.extracting(fields.kind ?? 0..<0)
        if let error = fields.error { return answer.providerError(data.extracting(error), into: &batch) }
        if ASCII.equal(type, "error") || ASCII.equal(kind, "error") {
            return answer.providerError(data, into: &batch)
        }
        if isPing || ASCII.equal(kind, "ping") { return batch.append(.ping) }
        guard fields.completion != nil || fields.stopReason != nil else { return batch.append(.unknown) }
        if !answer.hasStarted {
            let (id, model) = (data.extracting(fields.id ?? 0..<0), data.extracting(fields.model ?? 0..<0))
            answer.start(id: id, model: model, into: &batch)
        }
        if let text = fields.completion {
            try take(data.extracting(text), isNamed: !type.isEmpty, at: offset, into: &batch)
        }
        if let reason = fields.stopReason { end(data.extracting(reason), into: &batch) }
    }

    @inline(__always)
    private static func readField(_ key: Range<Int>, _ scanner: inout JSONScanner, _ fields: inout Fields) {
        let name = scanner.bytes.extracting(key)
        switch name.count {
        case 10 where ASCII.equal(name, "completion"): fields.completion = scanner.stringOrSkip()
        case 11 where ASCII.equal(name, "stop_reason"): fields.stopReason = scanner.stringOrSkip()
        case 5 where ASCII.equal(name, "model"): fields.model = scanner.stringOrSkip()
        case 2 where ASCII.equal(name, "id"): fields.id = scanner.stringOrSkip()
        case 4 where ASCII.equal(name, "type"): fields.kind = scanner.stringOrSkip()
        case 5 where ASCII.equal(name, "error"):
            let kind = scanner.peek()
            let range = scanner.value()
            if kind == .object || kind == .string { fields.error = range }
        default: scanner.value()
        }
    }

    /// The second text of events without names tells which they are: one that goes on where the first began is the
    /// whole.
    private mutating func take(_ text: Span<UInt8>, isNamed: Bool, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        guard !isNamed, let known = whole else { return answer.text(text, into: &batch) }
        if text.isEmpty { return }
        let common = min(known.count, text.count)
        let isSame = ASCII.equal(text.extracting(0..<common), known.span.extracting(0..<common))
        guard isSame || !isCumulative else {
            throw .malformed("a completion takes back what it said", offset: offset)
        }
        guard isSame else {
            whole = nil
            return answer.text(text, into: &batch)
        }
        isCumulative = isCumulative || !known.isEmpty
        answer.text(text.extracting(common..<text.count), into: &batch)
        // What stands around the new text is the old: no template for the next event.
        answer.content = nil
        if text.count > known.count { whole = text.withUnsafeBufferPointer { Array($0) } }
    }

    private mutating func end(_ reason: Span<UInt8>, into batch: inout EventBatch) {
        let isLength = ASCII.equal(reason, "max_tokens")
        let isStop = ASCII.equal(reason, "stop_sequence") || ASCII.equal(reason, "stop")
        answer.finish(isLength ? .length : isStop ? .stop : .other, raw: reason, into: &batch)
        answer.end(into: &batch)
    }

    mutating func decode(document: JSONValue, into batch: inout EventBatch) -> Bool {
        guard let text = document["completion"]?.string else {
            return answer.providerError(document: document, into: &batch)
        }
        let (id, model) = (document["id"]?.string ?? "", document["model"]?.string ?? "")
        answer.start(id: id.span, model: model.span, into: &batch)
        answer.text(text.span, into: &batch)
        if let reason = document["stop_reason"]?.string { end(reason.span, into: &batch) }
        return true
    }
}
