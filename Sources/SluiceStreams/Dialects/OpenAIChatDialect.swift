import SluiceBytes

/// Chunks of OpenAI chat completions, and of everybody who says that theirs are (formats: OpenAI, Azure, OpenRouter,
/// DeepSeek, Groq, Mistral, xAI, vLLM, MLflow …): one JSON object an event, `[DONE]` at the end.
///
/// Keys may come in any order, be missing or null; unknown ones are passed over. Deltas, tool calls, usage and errors
/// are read in `OpenAIChatDelta.swift` and `OpenAIChatUsage.swift`, whole answers in `OpenAIChatDocument.swift`.
struct OpenAIChatDialect: EventDialect {
    var answer = AnswerState()
    /// Tool calls as they are put together from deltas; few, so a linear search beats a dictionary.
    var calls: [Call] = []
    /// In a message that is no delta each call stands once, whatever it is called.
    var areCallsWhole = false
    /// Why the event being read is not to be believed; thrown once it has been read.
    var fault: StaticString?
    private let readsPlainText: Bool
    private var envelope = ChunkEnvelope()

    struct Call {
        let choice: Int
        /// The provider's `index`, or -1 where it gives none.
        let index: Int
        var id: [UInt8] = []
        var hasStarted = false
    }

    init() { self.init(readsPlainText: false) }

    /// `readsPlainText`: text stands in `choices[].text`, as in legacy completions, and not only in deltas.
    init(readsPlainText: Bool) { self.readsPlainText = readsPlainText }

    mutating func decode(
        _ json: Span<UInt8>, type: Span<UInt8>, at offset: Int, into batch: inout EventBatch
    ) throws(StreamError) {
        guard !json.isEmpty else {
            answer.progress.eventCount -= 1
            return
        }
        let isErrorEvent = ASCII.equal(type, "error")
        var fields = Fields()
        var scanner: JSONScanner
        if answer.hasStarted, !isErrorEvent, let choices = envelope.choices(of: json) {
            scanner = JSONScanner(json, atMemberValue: choices)
            if scanner.peek() == .array { readChoices(&scanner, into: &batch) } else { scanner.value() }
        } else {
            scanner = JSONScanner(json)
            guard scanner.enterObject() else {
                guard isErrorEvent else { throw .malformed("an event is not a JSON object", offset: offset) }
                return answer.error(plain: json, into: &batch)
            }
        }
        while let key = scanner.nextKey() { readField(key, &scanner, &fields, into: &batch) }
        guard scanner.isAtEnd() else { throw .malformed("an event is not a JSON object", offset: offset) }
        if isErrorEvent, fields.error == nil { fields.error = 0..<json.count }
        if !answer.hasStarted, fields.saySomething(json) { start(fields, json, into: &batch) }
        if let range = fields.choices {
            var inner = JSONScanner(json.extracting(range))
            readChoices(&inner, into: &batch)
        }
        if readsPlainText, let range = fields.value { answer.text(json.extracting(range), into: &batch) }
        if let range = fields.error { readError(json.extracting(range), into: &batch) }
        if let range = fields.usage { readUsage(json.extracting(range), into: &batch) }
        if let range = fields.groq { readGroq(json.extracting(range), into: &batch) }
        if let fault { throw .malformed(fault.description, offset: offset) }
        if let place = fields.choicesAt { envelope.learn(json, before: place) }
    }

    // MARK: - Top level

    /// The members that are read once all of the object has been seen.
    private struct Fields {
        var id: Range<Int>?
        var model: Range<Int>?
        var created: Int?
        /// Only until `start` has been written, which must come first; later choices are read where they stand.
        var choices: Range<Int>?
        var error: Range<Int>?
        var usage: Range<Int>?
        var groq: Range<Int>?
        /// Writer's completions: the text, and no choices.
        var value: Range<Int>?
        /// Where the value of `choices` begins, if nothing that is read each time came before it.
        var choicesAt: Int?

        var saysNothingYet: Bool { choicesAt == nil && error == nil && usage == nil && groq == nil && value == nil }

        /// Azure opens with a chunk that has no id and no choice in it; the next one makes the better start.
        func saySomething(_ json: Span<UInt8>) -> Bool {
            if let id, !id.isEmpty { return true }
            if error != nil || usage != nil || groq != nil { return true }
            guard let choices else { return false }
            var scanner = JSONScanner(json.extracting(choices))
            return scanner.enterArray() && scanner.nextElement()
        }
    }

    @inline(__always)
    private mutating func readField(
        _ key: Range<Int>, _ scanner: inout JSONScanner, _ fields: inout Fields, into batch: inout EventBatch
    ) {
        let name = scanner.bytes.extracting(key)
        let hasStarted = answer.hasStarted
        switch name.count {
        case 7 where ASCII.equal(name, "choices") && scanner.peek() == .array:
            if fields.saysNothingYet { fields.choicesAt = scanner.position }
            if hasStarted { readChoices(&scanner, into: &batch) } else { fields.choices = scanner.value() }
        case 2 where !hasStarted && ASCII.equal(name, "id"): fields.id = scanner.stringOrSkip()
        case 5 where !hasStarted && ASCII.equal(name, "model"): fields.model = scanner.stringOrSkip()
        case 7 where !hasStarted && ASCII.equal(name, "created"): fields.created = scanner.integer()
        case 5 where ASCII.equal(name, "usage"): fields.usage = scanner.objectOrSkip()
        case 5 where ASCII.equal(name, "value"): fields.value = scanner.stringOrSkip()
        case 5 where ASCII.equal(name, "error"):
            let kind = scanner.peek()
            let range = scanner.value()
            if let range, kind == .object || kind == .string && range.count > 2 { fields.error = range }
        case 6 where ASCII.equal(name, "x_groq"): fields.groq = scanner.objectOrSkip()
        default: scanner.value()
        }
    }

    private mutating func start(_ fields: Fields, _ json: Span<UInt8>, into batch: inout EventBatch) {
        let (id, model) = (json.extracting(fields.id ?? 0..<0), json.extracting(fields.model ?? 0..<0))
        answer.start(id: id, model: model, created: fields.created, into: &batch)
    }

    // MARK: - Choices

    private mutating func readChoices(_ scanner: inout JSONScanner, into batch: inout EventBatch) {
        guard scanner.enterArray() else { return }
        while scanner.nextElement() {
            if scanner.peek() == .object { readChoice(&scanner, into: &batch) } else { scanner.value() }
        }
    }

    private mutating func readChoice(_ scanner: inout JSONScanner, into batch: inout EventBatch) {
        guard scanner.enterObject() else { return }
        // `index` may come behind `delta`, which waits for it then; a choice without one is choice 0.
        var choice: Int?
        var delta: Range<Int>?
        var text: Range<Int>?
        var finish: Range<Int>?
        var usage: Range<Int>?
        let bytes = scanner.bytes
        while let key = scanner.nextKey() {
            let name = bytes.extracting(key)
            switch name.count {
            case 5 where ASCII.equal(name, "index"): choice = scanner.integer() ?? 0
            case 5 where ASCII.equal(name, "delta"):
                if let choice, scanner.peek() == .object {
                    answer.open(choice)
                    readDelta(&scanner, choice, into: &batch)
                } else {
                    delta = scanner.objectOrSkip()
                }
            case 4 where readsPlainText && ASCII.equal(name, "text"): text = scanner.stringOrSkip()
            case 13 where ASCII.equal(name, "finish_reason"): finish = scanner.stringOrSkip()
            case 5 where ASCII.equal(name, "usage"): usage = scanner.objectOrSkip()
            default: scanner.value()
            }
        }
        guard scanner.isValid else { return }
        let place = choice ?? 0
        answer.open(place)
        if let delta {
            var inner = JSONScanner(bytes.extracting(delta))
            readDelta(&inner, place, into: &batch)
        }
        if let text { answer.text(bytes.extracting(text), choice: place, into: &batch) }
        if let finish, !finish.isEmpty { finishChoice(bytes.extracting(finish), place, into: &batch) }
        if let usage { readUsage(bytes.extracting(usage), into: &batch) }
    }

    mutating func finishChoice(_ raw: Span<UInt8>, _ choice: Int, into batch: inout EventBatch) {
        for call in calls.indices where calls[call].choice == choice { startCall(call, name: Span(), into: &batch) }
        answer.finish(Self.reason(raw), raw: raw, choice: choice, into: &batch)
    }

    private static func reason(_ raw: Span<UInt8>) -> FinishReason {
        if ASCII.equal(raw, "stop") || ASCII.equal(raw, "eos_token") || ASCII.equal(raw, "stop_sequence") {
            return .stop
        }
        if ASCII.equal(raw, "length") || ASCII.equal(raw, "model_length") { return .length }
        if ASCII.equal(raw, "tool_calls") || ASCII.equal(raw, "function_call") { return .toolCalls }
        if ASCII.equal(raw, "content_filter") { return .contentFilter }
        if ASCII.equal(raw, "error") || ASCII.equal(raw, "insufficient_system_resource") { return .error }
        return .other
    }
}

/// OpenAI's legacy completions: `choices[].text` in place of deltas, all else as in chat.
struct OpenAICompletionsDialect: EventDialect {
    private var chat = OpenAIChatDialect(readsPlainText: true)

    init() {}

    var answer: AnswerState {
        get { chat.answer }
        _modify { yield &chat.answer }
    }

    mutating func decode(
        _ json: Span<UInt8>, type: Span<UInt8>, at offset: Int, into batch: inout EventBatch
    ) throws(StreamError) {
        try chat.decode(json, type: type, at: offset, into: &batch)
    }

    mutating func decode(document: JSONValue, into batch: inout EventBatch) -> Bool {
        chat.decode(document: document, into: &batch)
    }
}
