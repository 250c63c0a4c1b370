import SluiceBytes

/// One line of Ollama's streams, as places in its JSON:
/// `{"model","message":{"content","thinking","tool_calls"},"done"}` from `/api/chat`,
/// `{"model","response","thinking","done"}` from `/api/generate`, and from both a last line with `done_reason` and
/// counts, or `{"error":"…"}`.
struct OllamaLine {
    private var model: Range<Int>?
    private var text: Range<Int>?
    private var thinking: Range<Int>?
    private var calls: Range<Int>?
    private var reason: Range<Int>?
    private var usage = Usage()
    private var isDone = false
    private var hasError = false
    private var isKnown = false

    /// False: the line is not one JSON object.
    mutating func read(_ json: Span<UInt8>) -> Bool {
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return false }
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "model") {
                model = scanner.stringOrSkip()
            } else if ASCII.equal(name, "message"), scanner.peek() == .object {
                isKnown = true
                readMessage(&scanner)
            } else if ASCII.equal(name, "response") {
                isKnown = true
                text = scanner.stringOrSkip()
            } else if !readMessageField(name, &scanner) {
                readEnding(name, &scanner)
            }
        }
        return scanner.isAtEnd()
    }

    private mutating func readMessage(_ scanner: inout JSONScanner) {
        guard scanner.enterObject() else { return }
        let json = scanner.bytes
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "content") {
                text = scanner.stringOrSkip()
            } else if !readMessageField(name, &scanner) {
                scanner.value()
            }
        }
    }

    /// What stands inside the message of a chat, and beside the text of a completion.
    private mutating func readMessageField(_ name: Span<UInt8>, _ scanner: inout JSONScanner) -> Bool {
        if ASCII.equal(name, "thinking") {
            thinking = scanner.stringOrSkip()
        } else if ASCII.equal(name, "tool_calls"), scanner.peek() == .array {
            calls = scanner.value()
        } else {
            return false
        }
        return true
    }

    private mutating func readEnding(_ name: Span<UInt8>, _ scanner: inout JSONScanner) {
        if ASCII.equal(name, "done") {
            isKnown = true
            let value = scanner.value()
            isDone = value.map { ASCII.equal(scanner.bytes.extracting($0), "true") } ?? false
        } else if ASCII.equal(name, "done_reason") {
            reason = scanner.stringOrSkip()
        } else if ASCII.equal(name, "prompt_eval_count") {
            usage.input = scanner.count()
        } else if ASCII.equal(name, "eval_count") {
            usage.output = scanner.count()
        } else if ASCII.equal(name, "error") {
            hasError = scanner.tellsOfError()
        } else {
            scanner.value()
        }
    }

    // MARK: - Telling it

    /// Makes the line's events.
    func tell(_ json: Span<UInt8>, to answer: inout AnswerState, into batch: inout EventBatch) {
        if hasError { return answer.error(stated: json, into: &batch) }
        guard isKnown else { return batch.append(.unknown) }
        answer.start(model: json.extracting(model ?? 0..<0), into: &batch)
        if let thinking { answer.reasoning(json.extracting(thinking), into: &batch) }
        if let text { answer.text(json.extracting(text), into: &batch) }
        if let calls { Self.tellCalls(json.extracting(calls), to: &answer, into: &batch) }
        answer.usage(usage, into: &batch)
        guard isDone else { return }
        // Old builds give no reason: done is done.
        let word = json.extracting(reason ?? 0..<0)
        answer.finish(word.isEmpty ? .stop : Self.reason(word), raw: word, into: &batch)
        answer.end(into: &batch)
    }

    /// `load` and `unload` answer a request that had no prompt.
    private static func reason(_ word: Span<UInt8>) -> FinishReason {
        if ASCII.equal(word, "stop") { return .stop }
        return ASCII.equal(word, "length") ? .length : .other
    }

    /// `[{"id?","function":{"name","arguments":{}}}]`, each whole.
    private static func tellCalls(_ json: Span<UInt8>, to answer: inout AnswerState, into batch: inout EventBatch) {
        var scanner = JSONScanner(json)
        guard scanner.enterArray() else { return }
        while scanner.nextElement() {
            guard scanner.peek() == .object, scanner.enterObject() else {
                scanner.value()
                continue
            }
            var (id, function): (Range<Int>?, Range<Int>?)
            while let key = scanner.nextKey() {
                let name = json.extracting(key)
                if ASCII.equal(name, "id") {
                    id = scanner.stringOrSkip()
                } else if ASCII.equal(name, "function") {
                    function = scanner.objectOrSkip()
                } else {
                    scanner.value()
                }
            }
            guard let function else { continue }
            let key = answer.callCount()
            tellFunction(
                json.extracting(function), id: json.extracting(id ?? 0..<0), key: key, to: &answer, into: &batch)
        }
    }

    private static func tellFunction(
        _ json: Span<UInt8>, id: Span<UInt8>, key: Int, to answer: inout AnswerState, into batch: inout EventBatch
    ) {
        var (name, arguments): (Range<Int>?, Range<Int>?)
        var isObject = true
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return }
        while let member = scanner.nextKey() {
            if ASCII.equal(json.extracting(member), "name") {
                name = scanner.stringOrSkip()
            } else if ASCII.equal(json.extracting(member), "arguments") {
                isObject = scanner.peek() == .object
                arguments = isObject ? scanner.value() : scanner.stringOrSkip()
            } else {
                scanner.value()
            }
        }
        answer.openCall(key: key, id: id, name: json.extracting(name ?? 0..<0), into: &batch)
        if let arguments, isObject {
            answer.arguments(key: key, value: json.extracting(arguments), into: &batch)
        } else if let arguments {
            answer.arguments(key: key, json.extracting(arguments), into: &batch)
        }
        answer.closeCall(key: key, into: &batch)
    }
}
