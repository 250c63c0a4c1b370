import SluiceBytes

/// llama.cpp's own `/completion`: `{"content":"…","stop":false}`, and at the end `"stop":true` with `stop_type` (older
/// builds: a flag for each kind of stop) and counts. Errors come as `{"error":{…}}`, or as a line `error: {…}` that no
/// event stream has.
struct LlamaCPPDialect: EventDialect {
    var answer = AnswerState()

    private struct Fields {
        var text: Range<Int>?
        var model: Range<Int>?
        var reason = FinishReason.stop
        var word: Range<Int>?
        var usage = Usage()
        var isStop = false
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
        while let key = scanner.nextKey() { Self.read(key, &scanner, &fields) }
        guard scanner.isAtEnd() else { throw Self.notAnEvent(offset) }
        tell(fields, data, into: &batch)
    }

    private static func notAnEvent(_ offset: Int) -> StreamError {
        .malformed("an event is not a JSON object", offset: offset)
    }

    private static func read(_ key: Range<Int>, _ scanner: inout JSONScanner, _ fields: inout Fields) {
        let json = scanner.bytes
        let name = json.extracting(key)
        if ASCII.equal(name, "content") {
            fields.isKnown = true
            fields.text = scanner.stringOrSkip()
        } else if ASCII.equal(name, "stop") {
            fields.isKnown = true
            fields.isStop = isTrue(&scanner)
        } else if ASCII.equal(name, "model") {
            fields.model = scanner.stringOrSkip()
        } else if ASCII.equal(name, "tokens_evaluated") {
            fields.usage.input = scanner.count()
        } else if ASCII.equal(name, "tokens_predicted") {
            fields.usage.output = scanner.count()
        } else if ASCII.equal(name, "error") {
            fields.hasError = scanner.tellsOfError()
        } else {
            readReason(key, &scanner, &fields)
        }
    }

    private static func readReason(_ key: Range<Int>, _ scanner: inout JSONScanner, _ fields: inout Fields) {
        let json = scanner.bytes
        let name = json.extracting(key)
        if ASCII.equal(name, "stop_type") {
            guard let word = scanner.stringOrSkip() else { return }
            fields.word = word
            fields.reason = reason(json.extracting(word))
        } else if ASCII.equal(name, "stopped_eos") || ASCII.equal(name, "stopped_word") {
            if isTrue(&scanner), fields.word == nil { fields.word = key }
        } else if ASCII.equal(name, "stopped_limit") {
            if isTrue(&scanner), fields.word == nil { (fields.word, fields.reason) = (key, .length) }
        } else {
            scanner.value()
        }
    }

    private static func isTrue(_ scanner: inout JSONScanner) -> Bool {
        let value = scanner.value()
        return value.map { ASCII.equal(scanner.bytes.extracting($0), "true") } ?? false
    }

    private static func reason(_ word: Span<UInt8>) -> FinishReason {
        if ASCII.equal(word, "eos") || ASCII.equal(word, "word") { return .stop }
        return ASCII.equal(word, "limit") ? .length : .other
    }

    private mutating func tell(_ fields: Fields, _ json: Span<UInt8>, into batch: inout EventBatch) {
        if fields.hasError { return answer.error(stated: json, into: &batch) }
        guard fields.isKnown else { return batch.append(.unknown) }
        answer.start(model: json.extracting(fields.model ?? 0..<0), into: &batch)
        if let text = fields.text { answer.text(json.extracting(text), into: &batch) }
        guard fields.isStop else { return }
        // Newer builds count on every event; only the last count is of use to anybody.
        answer.usage(fields.usage, into: &batch)
        answer.finish(fields.reason, raw: json.extracting(fields.word ?? 0..<0), into: &batch)
        answer.end(into: &batch)
    }

    mutating func decode(stray line: Span<UInt8>, at offset: Int, into batch: inout EventBatch) throws(StreamError) {
        guard line.count > 6, ASCII.equal(line.extracting(0..<6), "error:") else { return }
        answer.progress.eventCount += 1
        let told = line.extracting(6..<line.count)
        if JSONScanner.isJSON(told) {
            answer.error(stated: told, into: &batch)
        } else {
            answer.error(plain: told, into: &batch)
        }
    }

    mutating func decode(document: JSONValue, into batch: inout EventBatch) -> Bool {
        let isAnswer = document["content"]?.string != nil && document["stop"]?.bool == true
        guard isAnswer || document["error"] != nil else { return false }
        return decode(asEvent: document, into: &batch)
    }
}
