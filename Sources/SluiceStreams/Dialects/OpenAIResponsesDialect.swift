import SluiceBytes

/// OpenAI's Responses (formats: OpenAI, Azure, OpenRouter, DeepSeek, LM Studio …): events whose data names its own
/// type; one of four terminal events ends the stream and alone holds usage and status.
///
/// Output items are told apart by `output_index`, since some hosts change the ids of an item between its events. Of the
/// provider's many kinds of calls only `function_call` and `custom_tool_call` are the client's. Items and the response
/// itself are read in `ResponsesItems.swift` and `ResponsesObject.swift`.
struct OpenAIResponsesDialect: EventDialect {
    var answer = AnswerState()
    var held = HeldArguments()
    private var parts: [Part] = []
    private var hasTooManyParts = false

    /// More parts than any answer has: their places are all that a long stream could make grow.
    static let partLimit = 1024

    /// A text of its own inside an output item. That it has come in deltas is remembered, so that the whole text of the
    /// events behind them is not told again.
    struct Part: Equatable {
        /// Visible text and refusals are numbered together.
        enum Channel { case content, reasoning, summary }
        let output: Int
        let index: Int
        let channel: Channel
    }

    struct Fields {
        var kind: Range<Int>?
        var output: Int?
        var content: Int?
        var delta: Range<Int>?
        /// Of the `.done` events: `text`, `refusal`, `arguments` or `input`.
        var whole: Range<Int>?
        var item: Range<Int>?
        var part: Range<Int>?
        var response: Range<Int>?
        var annotation: Range<Int>?
        var error: Range<Int>?
    }

    mutating func decode(_ data: Span<UInt8>, type: Span<UInt8>, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        var fields = Fields()
        var scanner = JSONScanner(data)
        guard scanner.peek() == .object, scanner.enterObject() else {
            if ASCII.equal(type, "error") { return answer.error(plain: data, into: &batch) }
            if data.isEmpty { return }
            throw .malformed("an event is not a JSON object", offset: offset)
        }
        while let key = scanner.nextKey() { Self.readField(key, &scanner, &fields) }
        guard scanner.isAtEnd() else { throw .malformed("an event is not a JSON object", offset: offset) }
        if let kind = fields.kind {
            take(data.extracting(kind), fields, data, into: &batch)
        } else {
            take(type, fields, data, into: &batch)
        }
        if hasTooManyParts { throw .malformed("more parts than the limit of 1024", offset: offset) }
    }

    @inline(__always)
    private static func readField(_ key: Range<Int>, _ scanner: inout JSONScanner, _ fields: inout Fields) {
        let name = scanner.bytes.extracting(key)
        switch name.count {
        case 4 where ASCII.equal(name, "type"): fields.kind = scanner.stringOrSkip()
        case 5 where ASCII.equal(name, "delta"): fields.delta = scanner.stringOrSkip()
        case 12 where ASCII.equal(name, "output_index"): fields.output = scanner.integer()
        case 13 where ASCII.equal(name, "content_index") || ASCII.equal(name, "summary_index"):
            fields.content = scanner.integer()
        case 4 where ASCII.equal(name, "text"), 7 where ASCII.equal(name, "refusal"),
            9 where ASCII.equal(name, "arguments"), 5 where ASCII.equal(name, "input"):
            fields.whole = scanner.stringOrSkip()
        case 4 where ASCII.equal(name, "item"): fields.item = scanner.objectOrSkip()
        case 4 where ASCII.equal(name, "part"): fields.part = scanner.objectOrSkip()
        case 8 where ASCII.equal(name, "response"): fields.response = scanner.objectOrSkip()
        case 10 where ASCII.equal(name, "annotation"): fields.annotation = scanner.objectOrSkip()
        case 5 where ASCII.equal(name, "error"):
            let kind = scanner.peek()
            let range = scanner.value()
            if kind == .object || kind == .string { fields.error = range }
        default: scanner.value()
        }
    }

    // MARK: - Events

    private mutating func take(
        _ kind: Span<UInt8>, _ fields: Fields, _ data: Span<UInt8>, into batch: inout EventBatch
    ) {
        guard kind.count > 9, ASCII.equal(kind.extracting(0..<9), "response.") else {
            return takeOther(kind, fields, data, into: &batch)
        }
        let word = kind.extracting(9..<kind.count)
        let output = fields.output ?? 0
        if ASCII.equal(word, "output_text.delta") {
            mark(.content, fields)
            answer.text(data.extracting(fields.delta ?? 0..<0), into: &batch)
        } else if ASCII.equal(word, "function_call_arguments.delta")
            || ASCII.equal(word, "custom_tool_call_input.delta")
        {
            answer.arguments(key: output, data.extracting(fields.delta ?? 0..<0), into: &batch)
        } else if ASCII.equal(word, "reasoning_summary_text.delta") {
            mark(.summary, fields)
            answer.reasoning(data.extracting(fields.delta ?? 0..<0), into: &batch)
        } else if ASCII.equal(word, "reasoning_text.delta") {
            mark(.reasoning, fields)
            answer.reasoning(data.extracting(fields.delta ?? 0..<0), into: &batch)
        } else if ASCII.equal(word, "refusal.delta") {
            mark(.content, fields)
            answer.refusal(data.extracting(fields.delta ?? 0..<0), into: &batch)
        } else if !takeWhole(word, fields, data, into: &batch) {
            takeProgress(word, fields, data, into: &batch)
        }
    }

    /// Events that repeat what has come, or say it first where no deltas do. False: it is none of them.
    private mutating func takeWhole(
        _ word: Span<UInt8>, _ fields: Fields, _ data: Span<UInt8>, into batch: inout EventBatch
    ) -> Bool {
        let output = fields.output ?? 0
        let whole = data.extracting(fields.whole ?? 0..<0)
        if ASCII.equal(word, "output_text.done") {
            if !whole.isEmpty, isNew(.content, fields) { tell(whole, into: &batch) }
        } else if ASCII.equal(word, "refusal.done") {
            if !whole.isEmpty, isNew(.content, fields) { answer.refusal(whole, into: &batch) }
        } else if ASCII.equal(word, "reasoning_summary_text.done") {
            if !whole.isEmpty, isNew(.summary, fields) { answer.reasoning(whole, into: &batch) }
        } else if ASCII.equal(word, "reasoning_text.done") {
            if !whole.isEmpty, isNew(.reasoning, fields) { answer.reasoning(whole, into: &batch) }
        } else if ASCII.equal(word, "function_call_arguments.done")
            || ASCII.equal(word, "custom_tool_call_input.done")
        {
            if !answer.hasArguments(key: output) { answer.arguments(key: output, whole, into: &batch) }
        } else if ASCII.equal(word, "content_part.done") || ASCII.equal(word, "reasoning_summary_part.done") {
            if let part = fields.part { takePart(data.extracting(part), output, fields.content ?? 0, into: &batch) }
        } else {
            return false
        }
        return true
    }

    private mutating func takeProgress(
        _ word: Span<UInt8>, _ fields: Fields, _ data: Span<UInt8>, into batch: inout EventBatch
    ) {
        if ASCII.equal(word, "output_item.added") {
            held.release(to: &answer, into: &batch)
            if let item = fields.item { startItem(data.extracting(item), fields.output ?? 0, into: &batch) }
        } else if ASCII.equal(word, "output_item.done") {
            if let item = fields.item { endItem(data.extracting(item), fields.output ?? 0, into: &batch) }
        } else if ASCII.equal(word, "output_text.annotation.added") {
            if let annotation = fields.annotation { answer.source(data.extracting(annotation), into: &batch) }
        } else if ASCII.equal(word, "completed") || ASCII.equal(word, "incomplete") || ASCII.equal(word, "failed")
            || ASCII.equal(word, "cancelled")
        {
            takeResponse(data, fields.response, ending: word, into: &batch)
        } else if ASCII.equal(word, "created") || ASCII.equal(word, "queued") || ASCII.equal(word, "in_progress") {
            takeResponse(data, fields.response, ending: Span(), into: &batch)
        } else if !ASCII.equal(word, "content_part.added"), !ASCII.equal(word, "reasoning_summary_part.added") {
            batch.append(.unknown)
        }
    }

    private mutating func takeOther(
        _ kind: Span<UInt8>, _ fields: Fields, _ data: Span<UInt8>, into batch: inout EventBatch
    ) {
        if let error = fields.error {
            answer.providerError(data.extracting(error), into: &batch)
        } else if ASCII.equal(kind, "error") {
            answer.providerError(data, into: &batch)
        } else if ASCII.equal(kind, "ping") || ASCII.equal(kind, "keepalive") {
            batch.append(.ping)
        } else {
            batch.append(.unknown)
        }
    }

    // MARK: - Parts

    /// A delta has come for the part.
    private mutating func mark(_ channel: Part.Channel, _ fields: Fields) {
        if let delta = fields.delta, !delta.isEmpty { _ = isNew(channel, fields) }
    }

    private mutating func isNew(_ channel: Part.Channel, _ fields: Fields) -> Bool {
        isNew(Part(output: fields.output ?? 0, index: fields.content ?? 0, channel: channel))
    }

    /// Nothing of the part has come until now; something has from now on.
    mutating func isNew(_ part: Part) -> Bool {
        if parts.last == part || parts.contains(part) { return false }
        guard parts.count < Self.partLimit else {
            hasTooManyParts = true
            return false
        }
        parts.append(part)
        return true
    }

    func hasParts(of output: Int) -> Bool { parts.contains { $0.output == output } }

    /// Text that stands in an event that repeats, as a rule: no template for those behind it.
    mutating func tell(_ text: Span<UInt8>, into batch: inout EventBatch) {
        answer.text(text, into: &batch)
        answer.content = nil
    }
}
