import SluiceBytes

/// IBM watsonx, `/ml/v1/text/generation_stream`:
/// `{"model_id","results":[{"generated_text","stop_reason","generated_token_count", "input_token_count"}]}`; every
/// event has a reason, which is `not_finished` but in the last. Nothing marks the end.
struct WatsonxDialect: EventDialect {
    var answer = AnswerState()

    /// A time and a count stand around each token.
    static var usesTemplate: Bool { false }

    private struct Fields {
        var model: Range<Int>?
        var text: Range<Int>?
        var reason: Range<Int>?
        var usage = Usage()
        var hasError = false
        var isKnown = false
    }

    mutating func decode(_ data: Span<UInt8>, type: Span<UInt8>, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        guard !data.isEmpty else { return batch.append(.ping) }
        let isError = ASCII.equal(type, "error")
        var fields = Fields()
        var scanner = JSONScanner(data)
        if scanner.peek() == .object, scanner.enterObject() {
            while let key = scanner.nextKey() { Self.read(data.extracting(key), &scanner, &fields) }
            if scanner.isAtEnd() {
                if isError { fields.hasError = true }
                return tell(fields, data, into: &batch)
            }
        }
        guard isError else { throw .malformed("an event is not a JSON object", offset: offset) }
        answer.error(plain: data, into: &batch)
    }

    private static func read(_ name: Span<UInt8>, _ scanner: inout JSONScanner, _ fields: inout Fields) {
        if ASCII.equal(name, "results"), scanner.peek() == .array {
            fields.isKnown = true
            readResults(&scanner, &fields)
        } else if ASCII.equal(name, "model_id") {
            fields.model = scanner.stringOrSkip()
        } else if ASCII.equal(name, "error") || ASCII.equal(name, "errors") {
            fields.hasError = scanner.tellsOfError()
        } else {
            scanner.value()
        }
    }

    /// The first result; a request has no way to ask for more.
    private static func readResults(_ scanner: inout JSONScanner, _ fields: inout Fields) {
        guard scanner.enterArray() else { return }
        let json = scanner.bytes
        var isFirst = true
        while scanner.nextElement() {
            guard isFirst, scanner.peek() == .object, scanner.enterObject() else {
                scanner.value()
                continue
            }
            isFirst = false
            while let key = scanner.nextKey() {
                let name = json.extracting(key)
                if ASCII.equal(name, "generated_text") {
                    fields.text = scanner.stringOrSkip()
                } else if ASCII.equal(name, "stop_reason") {
                    fields.reason = scanner.stringOrSkip()
                } else if ASCII.equal(name, "generated_token_count") {
                    fields.usage.output = scanner.count()
                } else if ASCII.equal(name, "input_token_count") {
                    // Told in the first event; the later ones say 0.
                    fields.usage.input = scanner.count().flatMap { $0 == 0 ? nil : $0 }
                } else {
                    scanner.value()
                }
            }
        }
    }

    @inline(__always)
    private mutating func tell(_ fields: Fields, _ json: Span<UInt8>, into batch: inout EventBatch) {
        if fields.hasError { return answer.error(stated: json, into: &batch) }
        guard fields.isKnown else { return batch.append(.unknown) }
        answer.start(model: json.extracting(fields.model ?? 0..<0), into: &batch)
        if let text = fields.text { answer.text(json.extracting(text), into: &batch) }
        answer.usage(fields.usage, into: &batch)
        guard let reason = fields.reason else { return }
        let word = json.extracting(reason)
        guard !word.isEmpty, !ASCII.equal(word, "not_finished") else { return }
        answer.finish(Self.reason(word), raw: word, into: &batch)
    }

    private static func reason(_ word: Span<UInt8>) -> FinishReason {
        if ASCII.equal(word, "eos_token") || ASCII.equal(word, "stop_sequence") { return .stop }
        if ASCII.equal(word, "max_tokens") || ASCII.equal(word, "token_limit") { return .length }
        return ASCII.equal(word, "error") ? .error : .other
    }

    mutating func decode(document: JSONValue, into batch: inout EventBatch) -> Bool {
        guard
            document["results"]?.elements?.first?["generated_text"]?.string != nil || document["error"] != nil
                || document["errors"] != nil
        else { return false }
        return decode(asEvent: document, into: &batch)
    }
}
