import SluiceBytes

/// Hugging Face's text-generation-inference, `/generate_stream`:
/// `{"token":{"text","special"},"generated_text","details"}`, a token an event. The last one repeats the whole text
/// and, if it was asked for details, says why it is the last.
struct TGIDialect: EventDialect {
    var answer = AnswerState()

    /// Ids and probabilities stand around each token.
    static var usesTemplate: Bool { false }

    private struct Fields {
        var text: Range<Int>?
        var isSpecial = false
        var whole: Range<Int>?
        var reason: Range<Int>?
        var usage = Usage()
        var hasError = false
        var isKnown = false
    }

    mutating func decode(_ data: Span<UInt8>, type: Span<UInt8>, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        guard !data.isEmpty else { return batch.append(.ping) }
        var fields = Fields()
        var scanner = JSONScanner(data)
        guard scanner.enterObject() else { throw Self.notAnEvent(offset) }
        while let key = scanner.nextKey() { Self.read(data.extracting(key), &scanner, &fields) }
        guard scanner.isAtEnd() else { throw Self.notAnEvent(offset) }
        tell(fields, data, into: &batch)
    }

    private static func notAnEvent(_ offset: Int) -> StreamError {
        .malformed("an event is not a JSON object", offset: offset)
    }

    @inline(__always)
    private static func read(_ name: Span<UInt8>, _ scanner: inout JSONScanner, _ fields: inout Fields) {
        if ASCII.equal(name, "token"), scanner.peek() == .object {
            fields.isKnown = true
            readToken(&scanner, &fields)
        } else if ASCII.equal(name, "generated_text") {
            fields.isKnown = true
            fields.whole = scanner.stringOrSkip()
        } else if ASCII.equal(name, "details"), scanner.peek() == .object {
            readDetails(&scanner, &fields)
        } else if ASCII.equal(name, "error") {
            fields.hasError = scanner.tellsOfError()
        } else {
            scanner.value()
        }
    }

    @inline(__always)
    private static func readToken(_ scanner: inout JSONScanner, _ fields: inout Fields) {
        guard scanner.enterObject() else { return }
        let json = scanner.bytes
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "text") {
                fields.text = scanner.stringOrSkip()
            } else if ASCII.equal(name, "special") {
                let value = scanner.value()
                fields.isSpecial = value.map { ASCII.equal(json.extracting($0), "true") } ?? false
            } else {
                scanner.value()
            }
        }
    }

    private static func readDetails(_ scanner: inout JSONScanner, _ fields: inout Fields) {
        guard scanner.enterObject() else { return }
        let json = scanner.bytes
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "finish_reason") {
                fields.reason = scanner.stringOrSkip()
            } else if ASCII.equal(name, "generated_tokens") {
                fields.usage.output = scanner.count()
            } else if ASCII.equal(name, "input_length") {
                fields.usage.input = scanner.count()
            } else {
                scanner.value()
            }
        }
    }

    @inline(__always)
    private mutating func tell(_ fields: Fields, _ json: Span<UInt8>, into batch: inout EventBatch) {
        if fields.hasError { return answer.error(stated: json, into: &batch) }
        guard fields.isKnown else { return batch.append(.unknown) }
        answer.start(into: &batch)
        if let text = fields.text, !fields.isSpecial { answer.text(json.extracting(text), into: &batch) }
        // The whole text is news only where no token came before it.
        if let whole = fields.whole, !answer.progress.sawContent { answer.text(json.extracting(whole), into: &batch) }
        answer.usage(fields.usage, into: &batch)
        if let reason = fields.reason {
            answer.finish(Self.reason(json.extracting(reason)), raw: json.extracting(reason), into: &batch)
        }
        if fields.whole != nil { answer.end(into: &batch) }
    }

    private static func reason(_ word: Span<UInt8>) -> FinishReason {
        if ASCII.equal(word, "eos_token") || ASCII.equal(word, "stop_sequence") { return .stop }
        return ASCII.equal(word, "length") ? .length : .other
    }

    /// The answer of `/generate`: one object, or an array of one.
    mutating func decode(document: JSONValue, into batch: inout EventBatch) -> Bool {
        let document = document.elements?.first ?? document
        guard document["generated_text"]?.string != nil || document["error"] != nil else { return false }
        return decode(asEvent: document, into: &batch)
    }
}
