import SluiceBytes

/// Replicate's stream of a prediction: `event: output` with the text itself as data, `event: error`, and `event: done`
/// with `{}`, or with a reason if the prediction did not succeed. The connection stays open behind `done`: the stream
/// has ended all the same.
struct ReplicateDialect: EventDialect {
    var answer = AnswerState()

    static var usesTemplate: Bool { false }
    static var endsInDone: Bool { false }

    /// Text shows no end of its own; of an ending that came without its blank line it is enough that it is an object.
    static func isWhole(_ data: Span<UInt8>) -> Bool {
        !data.isEmpty && data[0] == ASCII.leftBrace && JSONScanner.isWhole(data)
    }

    mutating func decode(_ data: Span<UInt8>, type: Span<UInt8>, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        if ASCII.equal(type, "output") {
            answer.plainText(data, into: &batch)
        } else if ASCII.equal(type, "error") {
            fail(data, into: &batch)
        } else if ASCII.equal(type, "done") {
            finish(data, into: &batch)
        } else {
            batch.append(.unknown)
        }
    }

    private mutating func fail(_ data: Span<UInt8>, into batch: inout EventBatch) {
        var scanner = JSONScanner(data)
        if scanner.peek() == .object, JSONScanner.isJSON(data) {
            answer.error(stated: data, into: &batch)
        } else {
            answer.error(plain: data, into: &batch)
        }
    }

    private mutating func finish(_ data: Span<UInt8>, into batch: inout EventBatch) {
        var word: Range<Int>?
        var scanner = JSONScanner(data)
        if scanner.peek() == .object, scanner.enterObject() {
            while let key = scanner.nextKey() {
                if ASCII.equal(data.extracting(key), "reason") {
                    word = scanner.stringOrSkip()
                } else {
                    scanner.value()
                }
            }
        }
        let reason = data.extracting(word ?? 0..<0)
        answer.finish(reason.isEmpty ? .stop : Self.reason(reason), raw: reason, into: &batch)
        answer.end(into: &batch)
    }

    private static func reason(_ word: Span<UInt8>) -> FinishReason {
        if ASCII.equal(word, "succeeded") { return .stop }
        return ASCII.equal(word, "error") || ASCII.equal(word, "failed") ? .error : .other
    }

    /// A prediction that is over: `{"id","status","output":"…" or ["…"],"error","metrics"}`.
    mutating func decode(document: JSONValue, into batch: inout EventBatch) -> Bool {
        guard let status = document["status"]?.string else {
            guard document["error"] != nil || document["detail"] != nil else { return false }
            let told = document.serialized()
            answer.error(stated: told.span, into: &batch)
            return true
        }
        guard ["succeeded", "failed", "canceled", "aborted"].contains(status) else { return false }
        let (id, model) = (document["id"]?.string ?? "", document["model"]?.string ?? "")
        answer.start(id: id.span, model: model.span, into: &batch)
        for part in document["output"]?.elements ?? [document["output"] ?? .null] {
            if let text = part.string { answer.text(text.span, into: &batch) }
        }
        let metrics = document["metrics"]
        let (input, output) = (metrics?["input_token_count"]?.integer, metrics?["output_token_count"]?.integer)
        answer.usage(Usage(input: input, output: output), into: &batch)
        if let error = document["error"]?.serialized(), error != Array("null".utf8) {
            answer.error(stated: error.span, into: &batch)
        }
        answer.finish(Self.reason(status.span), raw: status.span, into: &batch)
        return true
    }
}
