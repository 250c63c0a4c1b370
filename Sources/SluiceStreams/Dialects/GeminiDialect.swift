import SluiceBytes

/// Google's generateContent, from the Gemini API and from Vertex AI (streamGenerateContent): each event is a response
/// of its own with the next parts of each candidate, and counts for all until then.
///
/// A finish reason may stand on every event though more follow, and nothing marks the end: a finish waits until
/// `endBody`.
struct GeminiDialect: EventDialect {
    var answer = AnswerState()
    private var event = GeminiEvent()
    private var finishes: [WaitingFinish] = []
    private var counts = GeminiEvent.Counts()
    private var streamedCall: GeminiStreamedCall?
    /// Hashes of the sources told already: search results are repeated.
    private var sources: Set<Int> = []

    private static let sourceLimit = 1024
    private static let wordLimit = 128

    private struct WaitingFinish {
        let choice: Int
        var reason: FinishReason
        var word: [UInt8]
    }

    mutating func decode(_ data: Span<UInt8>, type: Span<UInt8>, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        guard !data.isEmpty else { return batch.append(.ping) }
        var event = GeminiEvent()
        swap(&event, &self.event)
        defer { swap(&event, &self.event) }
        guard event.read(data) else { throw .malformed("an event is not a JSON object", offset: offset) }
        guard !event.hasTooManyParts else {
            throw .malformed("more parts than the limit of \(GeminiEvent.partLimit)", offset: offset)
        }
        guard event.isKnown || event.hasError else { return batch.append(.unknown) }
        let (id, model) = (data.extracting(event.id ?? 0..<0), data.extracting(event.model ?? 0..<0))
        if !id.isEmpty || !model.isEmpty { answer.start(id: id, model: model, into: &batch) }
        for part in event.parts {
            let choice = event.candidates[part.candidate].index ?? part.candidate
            guard tell(part, data, choice: choice, into: &batch) else {
                throw .malformed("pieces of arguments that make no object", offset: offset)
            }
        }
        tellRest(of: event, data, into: &batch)
    }

    private mutating func tellRest(of event: GeminiEvent, _ data: Span<UInt8>, into batch: inout EventBatch) {
        for (position, candidate) in event.candidates.enumerated() {
            if let grounding = candidate.grounding { tellSources(data.extracting(grounding), into: &batch) }
            guard let finish = candidate.finish else { continue }
            hold(data.extracting(finish), choice: candidate.index ?? position)
        }
        tellUsage(event.counts, into: &batch)
        if let reason = event.blockReason, event.candidates.isEmpty {
            hold(data.extracting(reason), choice: 0, as: .contentFilter)
        }
        guard event.hasError else { return }
        endBody(into: &batch)
        answer.error(stated: data, into: &batch)
    }

    /// The body has ended where it may: the last finish reasons were meant.
    mutating func endBody(into batch: inout EventBatch) {
        for finish in finishes {
            answer.finish(finish.reason, raw: finish.word.span, choice: finish.choice, into: &batch)
        }
        finishes.removeAll()
    }

    // MARK: - Parts

    /// False: the arguments of a call that comes in pieces make no sense. A signature stands behind the thoughts that
    /// it proves, and before the text or the call that it came with.
    private mutating func tell(
        _ part: GeminiEvent.Part, _ json: Span<UInt8>, choice: Int, into batch: inout EventBatch
    ) -> Bool {
        let text = json.extracting(part.text ?? 0..<0)
        if part.isThought { answer.reasoning(text, choice: choice, into: &batch) }
        if let signature = part.signature {
            answer.signature(json.extracting(signature), choice: choice, into: &batch)
        }
        if !part.isThought { answer.text(text, choice: choice, into: &batch) }
        return part.call.map { tell($0, json, choice: choice, into: &batch) } ?? true
    }

    private mutating func tell(
        _ call: GeminiEvent.Call, _ json: Span<UInt8>, choice: Int, into batch: inout EventBatch
    ) -> Bool {
        let name = json.extracting(call.name ?? 0..<0)
        guard name.isEmpty, let streamed = streamedCall, streamed.choice == choice else {
            endStreamedCall(into: &batch)
            // The last piece of a call that is not known says nothing.
            guard !name.isEmpty || call.arguments != nil else { return true }
            let key = answer.callCount(choice: choice)
            let id = json.extracting(call.id ?? 0..<0)
            answer.openCall(key: key, id: id, name: name, choice: choice, into: &batch)
            guard call.pieces != nil || call.willContinue, call.arguments == nil else {
                let arguments = json.extracting(call.arguments ?? 0..<0)
                answer.arguments(key: key, value: arguments, choice: choice, into: &batch)
                answer.closeCall(key: key, choice: choice, into: &batch)
                return true
            }
            streamedCall = GeminiStreamedCall(key: key, choice: choice)
            return collect(call, json, into: &batch)
        }
        return collect(call, json, into: &batch)
    }

    private mutating func collect(
        _ call: GeminiEvent.Call, _ json: Span<UInt8>, into batch: inout EventBatch
    ) -> Bool {
        if let pieces = call.pieces, streamedCall?.take(json.extracting(pieces)) == false { return false }
        if !call.willContinue { endStreamedCall(into: &batch) }
        return true
    }

    /// The call is whole. One that the stream's end cuts off never is: it is closed without arguments.
    private mutating func endStreamedCall(into batch: inout EventBatch) {
        guard var call = streamedCall else { return }
        streamedCall = nil
        let arguments = call.whole()
        answer.arguments(key: call.key, value: arguments.span, choice: call.choice, into: &batch)
        answer.closeCall(key: call.key, choice: call.choice, into: &batch)
    }

    // MARK: - Finish, usage, sources

    private mutating func hold(_ word: Span<UInt8>, choice: Int, as known: FinishReason? = nil) {
        guard let reason = known ?? Self.reason(word) else { return }
        // An event that looks the same around another text would say the same again: the template must not learn it.
        answer.content = nil
        let kept = word.extracting(0..<min(word.count, Self.wordLimit)).withUnsafeBufferPointer { Array($0) }
        if let position = finishes.firstIndex(where: { $0.choice == choice }) {
            (finishes[position].reason, finishes[position].word) = (reason, kept)
        } else if finishes.count < AnswerState.choiceLimit {
            finishes.append(WaitingFinish(choice: choice, reason: reason, word: kept))
        }
    }

    /// nil for the value that stands for none. The numbers are those that both of Google's enumerations agree on.
    private static func reason(_ word: Span<UInt8>) -> FinishReason? {
        if ASCII.equal(word, "FINISH_REASON_UNSPECIFIED") || ASCII.equal(word, "0") { return nil }
        let words: [(StaticString, FinishReason)] = [
            ("STOP", .stop), ("1", .stop), ("MAX_TOKENS", .length), ("2", .length), ("SAFETY", .contentFilter),
            ("3", .contentFilter), ("RECITATION", .contentFilter), ("4", .contentFilter),
            ("BLOCKLIST", .contentFilter), ("PROHIBITED_CONTENT", .contentFilter), ("7", .contentFilter),
            ("SPII", .contentFilter), ("8", .contentFilter), ("IMAGE_SAFETY", .contentFilter),
            ("IMAGE_PROHIBITED_CONTENT", .contentFilter), ("IMAGE_RECITATION", .contentFilter),
            ("MODEL_ARMOR", .contentFilter), ("MALFORMED_FUNCTION_CALL", .error),
        ]
        return words.first { ASCII.equal(word, $0.0) }?.1 ?? .other
    }

    /// The thoughts are counted beside the candidates.
    private mutating func tellUsage(_ new: GeminiEvent.Counts, into batch: inout EventBatch) {
        counts.candidates = new.candidates ?? counts.candidates
        counts.thoughts = new.thoughts ?? counts.thoughts
        var output = counts.candidates
        if let thoughts = counts.thoughts {
            let (sum, overflowed) = thoughts.addingReportingOverflow(counts.candidates ?? 0)
            output = overflowed ? nil : sum
        }
        answer.usage(
            Usage(input: new.prompt, output: output, cached: new.cached, reasoning: counts.thoughts), into: &batch)
    }

    /// `{"groundingChunks":[{"web":{"uri","title"}}]}`
    private mutating func tellSources(_ json: Span<UInt8>, into batch: inout EventBatch) {
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return }
        while let key = scanner.nextKey() {
            guard ASCII.equal(json.extracting(key), "groundingChunks"), scanner.peek() == .array, scanner.enterArray()
            else {
                scanner.value()
                continue
            }
            while scanner.nextElement() {
                guard let chunk = scanner.objectOrSkip() else { continue }
                tellSource(json.extracting(chunk), into: &batch)
            }
        }
    }

    private mutating func tellSource(_ json: Span<UInt8>, into batch: inout EventBatch) {
        var (url, title): (Range<Int>?, Range<Int>?)
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return }
        while let key = scanner.nextKey() {
            guard ASCII.equal(json.extracting(key), "web"), scanner.peek() == .object, scanner.enterObject() else {
                scanner.value()
                continue
            }
            while let key = scanner.nextKey() {
                if ASCII.equal(json.extracting(key), "uri") {
                    url = scanner.stringOrSkip()
                } else if ASCII.equal(json.extracting(key), "title") {
                    title = scanner.stringOrSkip()
                } else {
                    scanner.value()
                }
            }
        }
        guard let url, sources.count < Self.sourceLimit else { return }
        var hasher = Hasher()
        json.extracting(url).withUnsafeBufferPointer { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        guard sources.insert(hasher.finalize()).inserted else { return }
        answer.source(url: json.extracting(url), title: json.extracting(title ?? 0..<0), into: &batch)
    }

    // MARK: - Documents

    /// The answer of generateContent, or the whole array of streamGenerateContent.
    mutating func decode(document: JSONValue, into batch: inout EventBatch) -> Bool {
        let responses = document.elements ?? [document]
        guard !responses.isEmpty else { return false }
        for response in responses {
            let names = ["candidates", "promptFeedback", "usageMetadata", "error"]
            guard names.contains(where: { response[$0] != nil }), decode(asEvent: response, into: &batch) else {
                return false
            }
        }
        endBody(into: &batch)
        return true
    }
}
