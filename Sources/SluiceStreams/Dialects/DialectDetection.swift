import SluiceBytes

/// Which dialect an event or a document is of, by what no other dialect has in that place: its event's name, the word
/// in `type`, or the names of its members.
enum DialectDetection {
    enum Verdict: Equatable {
        /// A stream of this dialect.
        case stream(Dialect)
        /// One document, which is the whole answer.
        case document(Dialect)
        /// Keepalives: the next event may say it.
        case nothingYet
        case unknown
    }

    // MARK: - Event streams

    static func event(_ data: Span<UInt8>, type: Span<UInt8>) -> Verdict {
        if ASCII.equal(type, "ping") { return .nothingYet }
        if let dialect = dialect(named: type) { return .stream(dialect) }
        if DialectHandler<OpenAICompletionsDialect>.isDone(data) { return .stream(.openAIChat) }
        guard let members = JSONMembers(data) else {
            // Replicate's text is no JSON, nor need its errors be.
            return ASCII.equal(type, "error") ? .stream(.replicate) : .unknown
        }
        if let word = members.type {
            let word = data.extracting(word)
            if ASCII.equal(word, "ping") { return .nothingYet }
            if ASCII.equal(word, "error") {
                return .stream(members.has(.sequenceNumber) ? .openAIResponses : .anthropicMessages)
            }
            if let dialect = dialect(named: word) { return .stream(dialect) }
        }
        return dialect(ofChunk: members).map { .stream($0) } ?? .unknown
    }

    /// By the name of an event, which Anthropic, OpenAI's Responses and Cohere repeat in `type`.
    private static func dialect(named name: Span<UInt8>) -> Dialect? {
        if starts(name, "response.") { return .openAIResponses }
        if starts(name, "message_") || starts(name, "content_block_") { return .anthropicMessages }
        if starts(name, "message-") || starts(name, "content-") || starts(name, "tool-call-")
            || ASCII.equal(name, "tool-plan-delta") || starts(name, "citation-")
        {
            return .cohereV2
        }
        if ASCII.equal(name, "completion") { return .anthropicCompletion }
        return ASCII.equal(name, "output") ? .replicate : nil
    }

    private static func dialect(ofChunk members: JSONMembers) -> Dialect? {
        if members.has(.choices) { return members.isText ? .openAICompletions : .openAIChat }
        if members.isGemini { return .gemini }
        if members.has(.token) || members.has(.generatedText) || members.has(.errorType) { return .tgi }
        if members.has(.results) { return .watsonx }
        if members.has(.content), members.has(.stop) { return .llamaCPP }
        if members.has(.completion) { return .anthropicCompletion }
        if members.has(.value) { return .openAICompletions }
        return members.has(.error) ? .openAIChat : nil
    }

    private static func starts(_ name: Span<UInt8>, _ prefix: StaticString) -> Bool {
        name.count >= prefix.utf8CodeUnitCount
            && ASCII.equal(name.extracting(0..<prefix.utf8CodeUnitCount), prefix)
    }

    // MARK: - Lines and documents

    /// A line of JSON, which may be all there is.
    static func line(_ json: Span<UInt8>) -> Verdict {
        guard let members = JSONMembers(json) else { return .unknown }
        if members.has(.done) {
            if members.has(.message) { return .stream(.ollamaChat) }
            if members.has(.response) { return .stream(.ollamaGenerate) }
        }
        if members.has(.eventType) || members.has(.isFinished) { return .stream(.cohereV1) }
        if let dialect = dialect(ofDocument: members, json) { return .document(dialect) }
        return members.has(.error) ? .stream(.ollamaChat) : .unknown
    }

    private static func dialect(ofDocument members: JSONMembers, _ json: Span<UInt8>) -> Dialect? {
        let type = json.extracting(members.type ?? 0..<0)
        let object = json.extracting(members.object ?? 0..<0)
        if ASCII.equal(type, "message") { return .anthropicMessages }
        if ASCII.equal(type, "completion") { return .anthropicCompletion }
        if ASCII.equal(object, "response") { return .openAIResponses }
        if ASCII.equal(object, "text_completion") { return .openAICompletions }
        if members.has(.choices) { return members.isText ? .openAICompletions : .openAIChat }
        if members.isGemini { return .gemini }
        if members.has(.generationID) { return .cohereV1 }
        if members.has(.message), members.has(.finishReason) { return .cohereV2 }
        if members.has(.stopReasonOfConverse) { return .bedrockConverse }
        if members.has(.generation) || members.has(.outputs) || members.has(.titanCount) || members.has(.completion) {
            return .bedrockInvoke
        }
        if members.has(.generatedText) { return .tgi }
        if members.has(.results) { return .watsonx }
        return members.has(.content) && members.has(.stop) ? .llamaCPP : nil
    }

    // MARK: - Frames

    /// A frame of an AWS event stream; exceptions are the same for both ways to call a model.
    static func frame(type: Span<UInt8>, isEvent: Bool) -> Verdict {
        if !isEvent { return .stream(.bedrockConverse) }
        if ASCII.equal(type, "chunk") { return .stream(.bedrockInvoke) }
        let isConverse =
            ASCII.equal(type, "messageStart") || ASCII.equal(type, "messageStop") || ASCII.equal(type, "metadata")
            || starts(type, "contentBlock")
        return isConverse ? .stream(.bedrockConverse) : .unknown
    }
}

/// Which members an object has, of those that tell dialects apart; a null is none.
struct JSONMembers {
    enum Name: UInt32, CaseIterable {
        case choices, candidates, usageMetadata, promptFeedback, token, generatedText, errorType, results, content, stop
        case completion, value, error, message, response, done, eventType, isFinished, sequenceNumber, generationID
        case finishReason, stopReasonOfConverse, generation, outputs, titanCount

        var text: StaticString {
            switch self {
            case .choices: "choices"
            case .candidates: "candidates"
            case .usageMetadata: "usageMetadata"
            case .promptFeedback: "promptFeedback"
            case .token: "token"
            case .generatedText: "generated_text"
            case .errorType: "error_type"
            case .results: "results"
            case .content: "content"
            case .stop: "stop"
            case .completion: "completion"
            case .value: "value"
            case .error: "error"
            case .message: "message"
            case .response: "response"
            case .done: "done"
            case .eventType: "event_type"
            case .isFinished: "is_finished"
            case .sequenceNumber: "sequence_number"
            case .generationID: "generation_id"
            case .finishReason: "finish_reason"
            case .stopReasonOfConverse: "stopReason"
            case .generation: "generation"
            case .outputs: "outputs"
            case .titanCount: "inputTextTokenCount"
            }
        }
    }
    private var names: UInt32 = 0
    private(set) var type: Range<Int>?
    private(set) var object: Range<Int>?
    /// The first of `choices` has a `text`, and neither `delta` nor `message`.
    private(set) var isText = false

    /// nil: no JSON object.
    init?(_ json: Span<UInt8>) {
        var scanner = JSONScanner(json)
        guard scanner.peek() == .object, scanner.enterObject() else { return nil }
        var choices: Range<Int>?
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            guard let value = scanner.value(), json[value.lowerBound] != UInt8(ascii: "n") else { continue }
            for candidate in Name.allCases where ASCII.equal(name, candidate.text) { names |= 1 << candidate.rawValue }
            guard json[value.lowerBound] == ASCII.quote || json[value.lowerBound] == ASCII.leftBracket else { continue }
            if ASCII.equal(name, "choices") { choices = value }
            let inner = value.lowerBound + 1..<value.upperBound - 1
            if ASCII.equal(name, "type") { type = inner }
            if ASCII.equal(name, "object") { object = inner }
        }
        guard scanner.isAtEnd() else { return nil }
        if let choices { isText = Self.isText(json.extracting(choices)) }
        if let object, ASCII.equal(json.extracting(object), "text_completion") { isText = true }
    }

    func has(_ name: Name) -> Bool { names & 1 << name.rawValue != 0 }
    var isGemini: Bool { has(.candidates) || has(.usageMetadata) || has(.promptFeedback) }

    private static func isText(_ choices: Span<UInt8>) -> Bool {
        var scanner = JSONScanner(choices)
        guard scanner.peek() == .array, scanner.enterArray(), scanner.nextElement(), scanner.peek() == .object,
            scanner.enterObject()
        else { return false }
        var hasText = false
        while let key = scanner.nextKey() {
            let name = choices.extracting(key)
            if ASCII.equal(name, "delta") || ASCII.equal(name, "message") { return false }
            if ASCII.equal(name, "text") { hasText = true }
            scanner.value()
        }
        return hasText
    }
}
