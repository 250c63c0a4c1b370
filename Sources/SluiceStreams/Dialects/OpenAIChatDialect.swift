import SluiceBytes

/// Chunks of OpenAI chat completions, and of everybody who says that theirs are (formats: OpenAI, Azure, OpenRouter,
/// DeepSeek, Groq, Mistral, xAI, vLLM …): one JSON object an event, `[DONE]` at the end.
///
/// Keys may come in any order, be missing or null; unknown ones are passed over. Deltas, tool calls, usage and errors
/// are read in `OpenAIChatDelta.swift` and `OpenAIChatUsage.swift`.
struct OpenAIChatDialect {
    /// More choices or tool calls than anybody asks for: their states are all that a long stream could make grow.
    static let choiceLimit = 128
    static let callLimit = 1024

    var choices: [ChoiceState] = []
    var lastUsage = Usage()
    var progress = StreamProgress()
    /// Why the event being read is not to be believed; thrown once it has been read.
    var fault: StaticString?
    private var template = ChunkTemplate()
    private var envelope = ChunkEnvelope()
    /// How many `content` members the event being read has, and where the last one's text stands in memory.
    var contentCount = 0
    var content: ChunkTemplate.Place?
    private var hasStarted = false
    private var failedFinish: TextRange?

    /// What one choice has shown so far. Few choices, so a linear search beats a dictionary.
    struct ChoiceState {
        let index: Int
        var calls: [Call] = []
        var hasFinished = false
        // High surrogates that wait for their other half, one for each channel of text.
        var textHalf: UInt16?
        var reasoningHalf: UInt16?
        var refusalHalf: UInt16?
    }
    struct Call {
        /// The provider's `index`, or -1 where it gives none.
        let index: Int
        var id: [UInt8] = []
        var hasStarted = false
        var argumentsHalf: UInt16?
    }

    /// One event's payload.
    mutating func decode(_ json: Span<UInt8>, isErrorEvent: Bool, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        guard !json.isEmpty else { return }
        if json[0] == ASCII.leftBracket, Self.isDone(json) { return end(into: &batch) }
        progress.eventCount += 1
        if !isErrorEvent, let text = template.content(of: json), let position = state(of: template.choice) {
            return appendText(json.extracting(text), position, into: &batch)
        }
        (contentCount, content) = (0, nil)
        let before = batch.events.count
        var fields = Fields()
        var scanner: JSONScanner
        if hasStarted, !isErrorEvent, let choices = envelope.choices(of: json) {
            scanner = JSONScanner(json, atMemberValue: choices)
            if scanner.peek() == .array { readChoices(&scanner, into: &batch) } else { scanner.value() }
        } else {
            scanner = JSONScanner(json)
            guard scanner.enterObject() else {
                guard isErrorEvent else { throw .malformed("an event is not a JSON object", offset: offset) }
                start(fields, json, into: &batch)
                return appendError(plain: json, into: &batch)
            }
        }
        while let key = scanner.nextKey() { readField(key, &scanner, &fields, into: &batch) }
        guard scanner.isAtEnd() else { throw .malformed("an event is not a JSON object", offset: offset) }
        if isErrorEvent, fields.error == nil { fields.error = 0..<json.count }
        if !hasStarted, fields.saySomething(json) { start(fields, json, into: &batch) }
        if let range = fields.choices {
            var inner = JSONScanner(json.extracting(range))
            readChoices(&inner, into: &batch)
        }
        if let range = fields.error { readError(json.extracting(range), into: &batch) }
        if let range = fields.usage { readUsage(json.extracting(range), into: &batch) }
        if let range = fields.groq { readGroq(json.extracting(range), into: &batch) }
        if let word = failedFinish { appendError(finish: word, into: &batch) }
        failedFinish = nil
        if let fault { throw .malformed(fault.description, offset: offset) }
        if let place = fields.choicesAt { envelope.learn(json, before: place) }
        // A chunk that meant one run of text and nothing else: the next ones are likely the same around it.
        guard batch.events.count == before + 1, contentCount == 1, case .text(let choice, _)? = batch.events.last,
            let content
        else { return }
        template.learn(json, contentAt: content, choice: choice)
    }

    /// `[DONE]`, with white space behind it.
    static func isDone(_ data: Span<UInt8>) -> Bool {
        var end = data.count
        while end > 0, data[end - 1] == ASCII.space || data[end - 1] == ASCII.tab { end -= 1 }
        return ASCII.equal(data.extracting(0..<end), "[DONE]")
    }

    private mutating func end(into batch: inout EventBatch) {
        if !hasStarted { start(Fields(), Span(), into: &batch) }
        for position in choices.indices where !choices[position].hasFinished { close(position, into: &batch) }
        progress.sawEnd = true
        batch.append(.end)
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
        /// Where the value of `choices` begins, if nothing that is read each time came before it.
        var choicesAt: Int?

        var saysNothingYet: Bool { choicesAt == nil && error == nil && usage == nil && groq == nil }

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
        switch name.count {
        case 7 where ASCII.equal(name, "choices") && scanner.peek() == .array:
            if fields.saysNothingYet { fields.choicesAt = scanner.position }
            if hasStarted { readChoices(&scanner, into: &batch) } else { fields.choices = scanner.value() }
        case 2 where !hasStarted && ASCII.equal(name, "id"): fields.id = scanner.stringOrSkip()
        case 5 where !hasStarted && ASCII.equal(name, "model"): fields.model = scanner.stringOrSkip()
        case 7 where !hasStarted && ASCII.equal(name, "created"): fields.created = scanner.integer()
        case 5 where ASCII.equal(name, "usage"): fields.usage = scanner.objectOrSkip()
        case 5 where ASCII.equal(name, "error"):
            let kind = scanner.peek()
            let range = scanner.value()
            if let range, kind == .object || kind == .string && range.count > 2 { fields.error = range }
        case 6 where ASCII.equal(name, "x_groq"): fields.groq = scanner.objectOrSkip()
        default: scanner.value()
        }
    }

    private mutating func start(_ fields: Fields, _ json: Span<UInt8>, into batch: inout EventBatch) {
        guard !hasStarted else { return }
        hasStarted = true
        let id = fields.id.map { store(json.extracting($0), into: &batch) } ?? .empty
        let model = fields.model.map { store(json.extracting($0), into: &batch) } ?? .empty
        // Seconds, milliseconds from some gateways, 0 from those that do not know.
        var created = fields.created
        if let time = created, time > 100_000_000_000 { created = time / 1000 }
        batch.append(.start(id: id, model: model, created: created == 0 ? nil : created))
    }

    // MARK: - Text

    func store(_ raw: Span<UInt8>, into batch: inout EventBatch) -> TextRange {
        var half: UInt16?
        return batch.store { out in
            JSONText.append(raw, half: &half, into: &out)
            JSONText.dropHalf(&half, into: &out)
        }
    }

    /// Keeps a high surrogate at the end of `raw` in `half`.
    func store(_ raw: Span<UInt8>, _ half: inout UInt16?, into batch: inout EventBatch) -> TextRange {
        batch.store { JSONText.append(raw, half: &half, into: &$0) }
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
        var position: Int?
        var delta: Range<Int>?
        var finish: Range<Int>?
        var usage: Range<Int>?
        let bytes = scanner.bytes
        while let key = scanner.nextKey() {
            let name = bytes.extracting(key)
            switch name.count {
            case 5 where ASCII.equal(name, "index"): position = state(of: scanner.integer() ?? 0)
            case 5 where ASCII.equal(name, "delta"):
                if let position, scanner.peek() == .object {
                    readDelta(&scanner, position, into: &batch)
                } else {
                    delta = scanner.objectOrSkip()
                }
            case 13 where ASCII.equal(name, "finish_reason"): finish = scanner.stringOrSkip()
            case 5 where ASCII.equal(name, "usage"): usage = scanner.objectOrSkip()
            default: scanner.value()
            }
        }
        guard scanner.isValid, let place = position ?? state(of: 0) else { return }
        if let delta {
            var inner = JSONScanner(bytes.extracting(delta))
            readDelta(&inner, place, into: &batch)
        }
        if let finish, !finish.isEmpty { finishChoice(bytes.extracting(finish), place, into: &batch) }
        if let usage { readUsage(bytes.extracting(usage), into: &batch) }
    }

    /// Where the choice's state is; nil, and a fault, past the limit.
    private mutating func state(of index: Int) -> Int? {
        if let first = choices.first, first.index == index { return 0 }
        if let position = choices.firstIndex(where: { $0.index == index }) { return position }
        guard choices.count < Self.choiceLimit else {
            fault = "more choices than the limit of 128"
            return nil
        }
        choices.append(ChoiceState(index: index))
        progress.sawFinish = false
        return choices.count - 1
    }

    private mutating func finishChoice(_ raw: Span<UInt8>, _ position: Int, into batch: inout EventBatch) {
        guard !choices[position].hasFinished else { return }
        close(position, into: &batch)
        choices[position].hasFinished = true
        let reason = Self.reason(raw, hasCalls: !choices[position].calls.isEmpty)
        let word = store(raw, into: &batch)
        batch.append(.finish(choice: choices[position].index, reason, raw: word))
        if reason == .error { failedFinish = word }
        progress.sawFinish = choices.allSatisfy(\.hasFinished)
    }

    /// The body has ended: what a split character still waits for never comes.
    mutating func finishHalves(into batch: inout EventBatch) {
        for position in choices.indices { dropHalves(position, into: &batch) }
    }

    /// Nothing more of this choice is expected.
    private mutating func close(_ position: Int, into batch: inout EventBatch) {
        dropHalves(position, into: &batch)
        let index = choices[position].index
        for call in choices[position].calls.indices {
            startCall(call, position, name: .empty, into: &batch)
            batch.append(.toolCallEnd(choice: index, index: call))
        }
    }

    private mutating func dropHalves(_ position: Int, into batch: inout EventBatch) {
        let choice = choices[position].index
        if let text = orphan(&choices[position].textHalf, into: &batch) { batch.append(.text(choice: choice, text)) }
        if let text = orphan(&choices[position].reasoningHalf, into: &batch) {
            batch.append(.reasoning(choice: choice, text))
        }
        if let text = orphan(&choices[position].refusalHalf, into: &batch) {
            batch.append(.refusal(choice: choice, text))
        }
        for call in choices[position].calls.indices {
            guard let text = orphan(&choices[position].calls[call].argumentsHalf, into: &batch) else { continue }
            batch.append(.toolCallArguments(choice: choice, index: call, text))
        }
    }

    private func orphan(_ half: inout UInt16?, into batch: inout EventBatch) -> TextRange? {
        guard half != nil else { return nil }
        return batch.store { JSONText.dropHalf(&half, into: &$0) }
    }

    private static func reason(_ raw: Span<UInt8>, hasCalls: Bool) -> FinishReason {
        if ASCII.equal(raw, "stop") || ASCII.equal(raw, "eos_token") || ASCII.equal(raw, "stop_sequence") {
            return hasCalls ? .toolCalls : .stop
        }
        if ASCII.equal(raw, "length") || ASCII.equal(raw, "model_length") { return .length }
        if ASCII.equal(raw, "tool_calls") || ASCII.equal(raw, "function_call") { return .toolCalls }
        if ASCII.equal(raw, "content_filter") { return .contentFilter }
        if ASCII.equal(raw, "error") || ASCII.equal(raw, "insufficient_system_resource") { return .error }
        return .other
    }
}
