import SluiceBytes

/// Chunks of OpenAI chat completions, and of everybody who says that theirs are (formats: OpenAI, Azure, OpenRouter,
/// DeepSeek, Groq, Mistral, xAI, vLLM …): one JSON object an event, `[DONE]` at the end.
///
/// Keys may come in any order, be missing or null; unknown ones are passed over.
struct OpenAIChatDialect {
    private var choices: [ChoiceState] = []
    private var hasStarted = false
    private var lastUsage: Usage?
    private var template = ChunkTemplate()
    /// Where the chunk being read has its text, if it has one `content` only, and that a string.
    private var textRange: Range<Int>?
    private var contentCount = 0
    private(set) var progress = StreamProgress()

    /// What one choice has shown so far. Few choices, so a linear search beats a dictionary.
    private struct ChoiceState {
        let index: Int
        var calls: [Call] = []
        var hasFinished = false
        var textHalf: UInt16?
        var reasoningHalf: UInt16?
        var refusalHalf: UInt16?
    }
    private struct Call {
        /// The provider's `index`, or -1 where it gives none.
        let index: Int
        var id: [UInt8]
        var argumentsHalf: UInt16?
    }

    /// One event's payload.
    mutating func decode(_ json: Span<UInt8>, isErrorEvent: Bool, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        if ASCII.equal(json, "[DONE]") {
            finishHalves(into: &batch)
            progress.sawEnd = true
            batch.append(.end)
            return
        }
        if json.isEmpty { return }
        progress.eventCount += 1
        if !isErrorEvent, let text = template.content(of: json) {
            return appendText(json.extracting(text), state(of: template.choice), into: &batch)
        }
        (textRange, contentCount) = (nil, 0)
        let before = batch.events.count
        var fields = Fields()
        var scanner = JSONScanner(json)
        guard scanner.peek() == .object, scanner.enterObject() else { throw malformed(offset) }
        while let key = scanner.nextKey() {
            try field(json.extracting(key), &scanner, &fields, json, into: &batch)
        }
        guard scanner.isValid else { throw malformed(offset) }
        if !hasStarted { start(fields, json, into: &batch) }
        if let range = fields.choices { try readChoices(json.extracting(range), into: &batch) }
        if let range = fields.error ?? (isErrorEvent ? 0..<json.count : nil) {
            readError(json.extracting(range), into: &batch)
        }
        if let range = fields.usage { readUsage(json.extracting(range), into: &batch) }
        if let range = fields.groq { readGroq(json.extracting(range), into: &batch) }
        // A chunk that meant one run of text and nothing else: the next ones are likely the same around it.
        if batch.events.count == before + 1, case .text(let choice, _)? = batch.events.last, let textRange,
            contentCount == 1
        {
            template.learn(json, content: textRange, choice: choice)
        }
    }

    /// The body has ended: what a split character still waits for never comes.
    mutating func finishHalves(into batch: inout EventBatch) {
        for position in choices.indices {
            let choice = choices[position].index
            if let text = orphan(&choices[position].textHalf, into: &batch) {
                batch.append(.text(choice: choice, text))
            }
            if let text = orphan(&choices[position].reasoningHalf, into: &batch) {
                batch.append(.reasoning(choice: choice, text))
            }
            if let text = orphan(&choices[position].refusalHalf, into: &batch) {
                batch.append(.refusal(choice: choice, text))
            }
        }
    }

    private func orphan(_ half: inout UInt16?, into batch: inout EventBatch) -> TextRange? {
        guard half != nil else { return nil }
        return batch.store { JSONText.dropHalf(&half, into: &$0) }
    }

    private func malformed(_ offset: Int) -> StreamError { .malformed("an event is not a JSON object", offset: offset) }

    // MARK: - Top level

    private struct Fields {
        var id: Range<Int>?
        var model: Range<Int>?
        var created: Int?
        /// Only while `start` must be written before them; later choices are read where they stand.
        var choices: Range<Int>?
        var error: Range<Int>?
        var usage: Range<Int>?
        var groq: Range<Int>?
    }

    private mutating func field(
        _ key: Span<UInt8>, _ scanner: inout JSONScanner, _ fields: inout Fields, _ json: Span<UInt8>,
        into batch: inout EventBatch
    ) throws(StreamError) {
        if ASCII.equal(key, "choices") {
            if hasStarted, scanner.peek() == .array { return readChoices(&scanner, isWholeEvent: true, into: &batch) }
            fields.choices = scanner.peek() == .array ? scanner.value() : skipped(&scanner)
        } else if ASCII.equal(key, "id"), !hasStarted {
            fields.id = scanner.stringOrSkip()
        } else if ASCII.equal(key, "model"), !hasStarted {
            fields.model = scanner.stringOrSkip()
        } else if ASCII.equal(key, "created"), !hasStarted {
            fields.created = scanner.integer()
        } else if ASCII.equal(key, "usage"), scanner.peek() == .object {
            fields.usage = scanner.value()
        } else if ASCII.equal(key, "error"), scanner.peek() == .object || scanner.peek() == .string {
            fields.error = scanner.value()
        } else if ASCII.equal(key, "x_groq"), scanner.peek() == .object {
            fields.groq = scanner.value()
        } else {
            scanner.value()
        }
    }

    private func skipped(_ scanner: inout JSONScanner) -> Range<Int>? {
        scanner.value()
        return nil
    }

    /// Some hosts open with a chunk that has no id and no model, and only filters in it: the start waits for a better one
    /// as long as there is nothing to say.
    private mutating func start(_ fields: Fields, _ json: Span<UInt8>, into batch: inout EventBatch) {
        hasStarted = true
        let id = fields.id.map { store(json.extracting($0), into: &batch) } ?? .empty
        let model = fields.model.map { store(json.extracting($0), into: &batch) } ?? .empty
        batch.append(.start(id: id, model: model, created: fields.created))
    }

    private func store(_ raw: Span<UInt8>, into batch: inout EventBatch) -> TextRange {
        var half: UInt16?
        return store(raw, &half, into: &batch, keepsHalf: false)
    }

    private func store(
        _ raw: Span<UInt8>, _ half: inout UInt16?, into batch: inout EventBatch, keepsHalf: Bool = true
    ) -> TextRange {
        batch.store { out in
            JSONText.append(raw, half: &half, into: &out)
            if !keepsHalf { JSONText.dropHalf(&half, into: &out) }
        }
    }

    // MARK: - Choices

    private mutating func readChoices(_ array: Span<UInt8>, into batch: inout EventBatch) throws(StreamError) {
        var scanner = JSONScanner(array)
        readChoices(&scanner, isWholeEvent: false, into: &batch)
    }

    /// - Parameter isWholeEvent: the scanner walks over the event itself, so that its positions are the event's.
    private mutating func readChoices(
        _ scanner: inout JSONScanner, isWholeEvent: Bool, into batch: inout EventBatch
    ) {
        guard scanner.enterArray() else { return }
        while scanner.nextElement() {
            guard scanner.peek() == .object else {
                scanner.value()
                continue
            }
            readChoice(&scanner, isWholeEvent: isWholeEvent, into: &batch)
        }
    }

    private mutating func readChoice(_ scanner: inout JSONScanner, isWholeEvent: Bool, into batch: inout EventBatch) {
        guard scanner.enterObject() else { return }
        // `index` may come behind `delta`, so what needs it waits; a choice without one is choice 0.
        var index = 0
        var delta: Range<Int>?
        var finish: Range<Int>?
        var usage: Range<Int>?
        let bytes = scanner.bytes
        while let key = scanner.nextKey() {
            let name = bytes.extracting(key)
            if ASCII.equal(name, "delta"), scanner.peek() == .object {
                delta = scanner.value()
            } else if ASCII.equal(name, "index") {
                index = scanner.integer() ?? 0
            } else if ASCII.equal(name, "finish_reason") {
                finish = scanner.stringOrSkip()
            } else if ASCII.equal(name, "usage"), scanner.peek() == .object {
                usage = scanner.value()
            } else {
                scanner.value()
            }
        }
        let position = state(of: index)
        if let delta {
            let start = isWholeEvent ? delta.lowerBound : nil
            readDelta(bytes.extracting(delta), at: start, position, into: &batch)
        }
        if let finish, !finish.isEmpty { finishChoice(bytes.extracting(finish), position, into: &batch) }
        if let usage { readUsage(bytes.extracting(usage), into: &batch) }
    }

    private mutating func state(of index: Int) -> Int {
        if let position = choices.firstIndex(where: { $0.index == index }) { return position }
        choices.append(ChoiceState(index: index))
        return choices.count - 1
    }

    private mutating func finishChoice(_ raw: Span<UInt8>, _ position: Int, into batch: inout EventBatch) {
        guard !choices[position].hasFinished else { return }
        finishHalves(into: &batch)
        choices[position].hasFinished = true
        let index = choices[position].index
        for call in choices[position].calls.indices { batch.append(.toolCallEnd(choice: index, index: call)) }
        let reason = Self.reason(raw, hasCalls: !choices[position].calls.isEmpty)
        batch.append(.finish(choice: index, reason, raw: store(raw, into: &batch)))
        progress.sawFinish = choices.allSatisfy(\.hasFinished)
    }

    private static func reason(_ raw: Span<UInt8>, hasCalls: Bool) -> FinishReason {
        if ASCII.equal(raw, "stop") { return hasCalls ? .toolCalls : .stop }
        if ASCII.equal(raw, "length") || ASCII.equal(raw, "model_length") { return .length }
        if ASCII.equal(raw, "tool_calls") || ASCII.equal(raw, "function_call") { return .toolCalls }
        if ASCII.equal(raw, "content_filter") { return .contentFilter }
        if ASCII.equal(raw, "error") || ASCII.equal(raw, "insufficient_system_resource") { return .error }
        return .other
    }

    // MARK: - Deltas

    private mutating func readDelta(
        _ json: Span<UInt8>, at start: Int?, _ position: Int, into batch: inout EventBatch
    ) {
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return }
        var reasoning: Range<Int>?
        var details: Range<Int>?
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "content") {
                noteText(scanner.peek() == .string ? scanner.upcomingString() : nil, start)
                readContent(&scanner, position, into: &batch)
            } else if ASCII.equal(name, "reasoning_content") || ASCII.equal(name, "reasoning") {
                let text = scanner.stringOrSkip()
                if let text, !text.isEmpty { reasoning = text }
            } else if ASCII.equal(name, "reasoning_details"), scanner.peek() == .array {
                details = scanner.value()
            } else if ASCII.equal(name, "refusal") {
                if let text = scanner.stringOrSkip(), !text.isEmpty {
                    progress.sawContent = true
                    let stored = store(json.extracting(text), &choices[position].refusalHalf, into: &batch)
                    if !stored.isEmpty { batch.append(.refusal(choice: choices[position].index, stored)) }
                }
            } else if ASCII.equal(name, "tool_calls"), scanner.peek() == .array {
                readCalls(&scanner, position, into: &batch)
            } else if ASCII.equal(name, "function_call"), scanner.peek() == .object {
                readCall(&scanner, position, isLegacy: true, into: &batch)
            } else {
                scanner.value()
            }
        }
        // OpenRouter sends the same thoughts under both names; the plain text is used, and the details only alone.
        if let reasoning {
            appendReasoning(json.extracting(reasoning), position, into: &batch)
        } else if let details {
            readDetails(json.extracting(details), position, into: &batch)
        }
    }

    /// - Parameter start: where the delta stands in the event; nil if that is not known.
    private mutating func noteText(_ range: Range<Int>?, _ start: Int?) {
        contentCount += 1
        guard let range, let start else { return }
        textRange = range.lowerBound + start..<range.upperBound + start
    }

    private mutating func appendText(_ raw: Span<UInt8>, _ position: Int, into batch: inout EventBatch) {
        guard !raw.isEmpty else { return }
        progress.sawContent = true
        let stored = store(raw, &choices[position].textHalf, into: &batch)
        if !stored.isEmpty { batch.append(.text(choice: choices[position].index, stored)) }
    }

    private mutating func appendReasoning(_ raw: Span<UInt8>, _ position: Int, into batch: inout EventBatch) {
        guard !raw.isEmpty else { return }
        progress.sawContent = true
        let stored = store(raw, &choices[position].reasoningHalf, into: &batch)
        if !stored.isEmpty { batch.append(.reasoning(choice: choices[position].index, stored)) }
    }

    /// A string, or (Mistral) an array of `{"type":"text","text"}` and `{"type":"thinking","thinking":[…]}`.
    private mutating func readContent(_ scanner: inout JSONScanner, _ position: Int, into batch: inout EventBatch) {
        let bytes = scanner.bytes
        guard scanner.peek() == .array else {
            if let text = scanner.stringOrSkip() { appendText(bytes.extracting(text), position, into: &batch) }
            return
        }
        guard scanner.enterArray() else { return }
        while scanner.nextElement() {
            guard scanner.peek() == .object, scanner.enterObject() else {
                scanner.value()
                continue
            }
            while let key = scanner.nextKey() {
                let name = bytes.extracting(key)
                if ASCII.equal(name, "text"), let text = scanner.stringOrSkip() {
                    appendText(bytes.extracting(text), position, into: &batch)
                } else if ASCII.equal(name, "thinking") {
                    readThinking(&scanner, position, into: &batch)
                } else if !ASCII.equal(name, "text") {
                    scanner.value()
                }
            }
        }
    }

    private mutating func readThinking(_ scanner: inout JSONScanner, _ position: Int, into batch: inout EventBatch) {
        let bytes = scanner.bytes
        guard scanner.peek() == .array else {
            if let text = scanner.stringOrSkip() { appendReasoning(bytes.extracting(text), position, into: &batch) }
            return
        }
        guard let array = scanner.value() else { return }
        readDetails(bytes.extracting(array), position, into: &batch)
    }

    /// An array of objects with `text` or `summary`.
    private mutating func readDetails(_ json: Span<UInt8>, _ position: Int, into batch: inout EventBatch) {
        var scanner = JSONScanner(json)
        guard scanner.enterArray() else { return }
        while scanner.nextElement() {
            guard scanner.peek() == .object, scanner.enterObject() else {
                scanner.value()
                continue
            }
            while let key = scanner.nextKey() {
                let name = json.extracting(key)
                if ASCII.equal(name, "text") || ASCII.equal(name, "summary") {
                    if let text = scanner.stringOrSkip() {
                        appendReasoning(json.extracting(text), position, into: &batch)
                    }
                } else {
                    scanner.value()
                }
            }
        }
    }

    // MARK: - Tool calls

    private mutating func readCalls(_ scanner: inout JSONScanner, _ position: Int, into batch: inout EventBatch) {
        guard scanner.enterArray() else { return }
        while scanner.nextElement() {
            if scanner.peek() == .object {
                readCall(&scanner, position, isLegacy: false, into: &batch)
            } else {
                scanner.value()
            }
        }
    }

    private struct CallFields {
        var index: Int?
        var id: Range<Int>?
        var name: Range<Int>?
        var arguments: Range<Int>?
        var areArgumentsRaw = false
    }

    private mutating func readCall(
        _ scanner: inout JSONScanner, _ position: Int, isLegacy: Bool, into batch: inout EventBatch
    ) {
        var fields = CallFields()
        guard scanner.enterObject() else { return }
        let bytes = scanner.bytes
        if isLegacy {
            readFunction(&scanner, &fields)
        } else {
            while let key = scanner.nextKey() {
                let name = bytes.extracting(key)
                if ASCII.equal(name, "index") {
                    fields.index = scanner.integer()
                } else if ASCII.equal(name, "id") {
                    fields.id = scanner.stringOrSkip()
                } else if ASCII.equal(name, "function"), scanner.peek() == .object, scanner.enterObject() {
                    readFunction(&scanner, &fields)
                } else {
                    scanner.value()
                }
            }
        }
        guard scanner.isValid else { return }
        progress.sawContent = true
        let call = call(fields, bytes, position, into: &batch)
        guard let arguments = fields.arguments, !arguments.isEmpty else { return }
        let raw = bytes.extracting(arguments)
        let stored =
            fields.areArgumentsRaw
            ? batch.store { out in raw.withUnsafeBufferPointer { UTF8Text.append($0, into: &out) } }
            : store(raw, &choices[position].calls[call].argumentsHalf, into: &batch)
        if !stored.isEmpty {
            batch.append(.toolCallArguments(choice: choices[position].index, index: call, stored))
        }
    }

    /// The members of `function` or `function_call`, the brace taken. Arguments that are an object stay raw JSON.
    private func readFunction(_ scanner: inout JSONScanner, _ fields: inout CallFields) {
        let bytes = scanner.bytes
        while let key = scanner.nextKey() {
            let name = bytes.extracting(key)
            if ASCII.equal(name, "name") {
                fields.name = scanner.stringOrSkip()
            } else if ASCII.equal(name, "arguments") {
                fields.areArgumentsRaw = scanner.peek() == .object
                fields.arguments = fields.areArgumentsRaw ? scanner.value() : scanner.stringOrSkip()
            } else {
                scanner.value()
            }
        }
    }

    /// The call that a delta belongs to: by `index`; without one, a new id opens a call and no id goes on with the last.
    private mutating func call(
        _ fields: CallFields, _ bytes: Span<UInt8>, _ position: Int, into batch: inout EventBatch
    ) -> Int {
        var id: [UInt8] = []
        if let range = fields.id { id = bytes.extracting(range).withUnsafeBufferPointer { Array($0) } }
        let calls = choices[position].calls
        if let index = fields.index {
            if let known = calls.firstIndex(where: { $0.index == index }) { return known }
        } else if !calls.isEmpty {
            if id.isEmpty { return calls.count - 1 }
            if let known = calls.firstIndex(where: { $0.id == id }) { return known }
        }
        choices[position].calls.append(Call(index: fields.index ?? -1, id: id))
        let number = choices[position].calls.count - 1
        let name = fields.name.map { store(bytes.extracting($0), into: &batch) } ?? .empty
        let idText = fields.id.map { store(bytes.extracting($0), into: &batch) } ?? .empty
        batch.append(.toolCallStart(choice: choices[position].index, index: number, id: idText, name: name))
        return number
    }

    // MARK: - Usage and errors

    private mutating func readUsage(_ json: Span<UInt8>, into batch: inout EventBatch) {
        var usage = Usage()
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return }
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "prompt_tokens") {
                usage.input = scanner.integer()
            } else if ASCII.equal(name, "completion_tokens") {
                usage.output = scanner.integer()
            } else if ASCII.equal(name, "prompt_tokens_details"), scanner.peek() == .object {
                usage.cached = member("cached_tokens", &scanner)
            } else if ASCII.equal(name, "completion_tokens_details"), scanner.peek() == .object {
                usage.reasoning = member("reasoning_tokens", &scanner)
            } else {
                scanner.value()
            }
        }
        guard usage != Usage(), usage != lastUsage else { return }
        lastUsage = usage
        batch.append(.usage(usage))
    }

    private func member(_ wanted: StaticString, _ scanner: inout JSONScanner) -> Int? {
        var found: Int?
        guard scanner.enterObject() else { return nil }
        let bytes = scanner.bytes
        while let key = scanner.nextKey() {
            if ASCII.equal(bytes.extracting(key), wanted) { found = scanner.integer() } else { scanner.value() }
        }
        return found
    }

    private mutating func readGroq(_ json: Span<UInt8>, into batch: inout EventBatch) {
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return }
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "usage"), scanner.peek() == .object, let range = scanner.value() {
                readUsage(json.extracting(range), into: &batch)
            } else if ASCII.equal(name, "error"), scanner.peek() == .string, let range = scanner.value() {
                readError(json.extracting(range), into: &batch)
            } else {
                scanner.value()
            }
        }
    }

    /// `{"message","type","code"}`, the same inside `error`, or a plain string.
    private mutating func readError(_ json: Span<UInt8>, into batch: inout EventBatch) {
        progress.sawError = true
        var (message, type): (TextRange, TextRange) = (.empty, .empty)
        var code: Int?
        var scanner = JSONScanner(json)
        if scanner.peek() == .string, let text = scanner.string() {
            message = store(json.extracting(text), into: &batch)
        } else if scanner.enterObject() {
            while let key = scanner.nextKey() {
                let name = json.extracting(key)
                if ASCII.equal(name, "message") {
                    if let text = scanner.stringOrSkip() { message = store(json.extracting(text), into: &batch) }
                } else if ASCII.equal(name, "type") {
                    if let text = scanner.stringOrSkip() { type = store(json.extracting(text), into: &batch) }
                } else if ASCII.equal(name, "code") || ASCII.equal(name, "status_code") {
                    code = scanner.integer() ?? code
                } else {
                    scanner.value()
                }
            }
        }
        batch.append(.error(Self.kind(code), message: message, type: type, retryAfterSeconds: nil))
    }

    private static func kind(_ code: Int?) -> StreamErrorKind {
        switch code {
        case 429?: .rateLimited
        case 503?, 529?: .overloaded
        case 400?, 422?: .invalidRequest
        default: .provider
        }
    }
}
