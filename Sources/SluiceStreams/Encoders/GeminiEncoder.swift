import SluiceBytes

/// `gemini`: `GenerateContentResponse`s, as events of a stream or as the elements of an array (`alt=sse` or not).
/// Thoughts are parts that say so; calls come whole, with an object of arguments. One that is none is left out, and
/// the candidate's finish is `MALFORMED_FUNCTION_CALL` unless the token limit has cut it. Finish and usage stand in
/// the last response.
///
/// A refusal is text that finishes with `SAFETY`. No keepalive: Google's JavaScript client takes no comments.
struct GeminiEncoder: StreamEncoder {
    var contentType: StaticString { isArray ? "application/json" : "text/event-stream" }
    private let isArray: Bool
    private var head: AnswerHead
    /// `,"modelVersion":…,"responseId":…}`: the constant end of every response.
    private var back: [UInt8] = []
    private var choices = ChoiceStates()
    private var calls = HeldCalls()
    private var choicesWithBrokenCalls: [Int] = []
    private var usage: Usage?
    private var hasWritten = false
    private var hasFailed = false

    init(_ options: EncoderOptions) { (isArray, head) = (options.isArray, AnswerHead(options)) }

    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        for event in batch.events where !hasFailed { encode(event, batch, into: &out) }
    }

    private mutating func encode(_ event: TokenEvent, _ batch: borrowing EventBatch, into out: inout ByteQueue) {
        choices.note(event)
        switch event {
        case .start(let id, let model, let created): head.take(batch.bytes(id), batch.bytes(model), created)
        case .text(let choice, let text), .refusal(let choice, let text):
            write("{\"text\":", batch.bytes(text), choice, into: &out)
        case .reasoning(let choice, let text):
            write("{\"thought\":true,\"text\":", batch.bytes(text), choice, into: &out)
        case .reasoningSignature(let choice, let signature):
            // The format's own are base64, and its library reads nothing else.
            guard Base64.isStrict(batch.bytes(signature)) else { return }
            write("{\"text\":\"\",\"thoughtSignature\":", batch.bytes(signature), choice, into: &out)
        case .toolCallStart(let choice, let index, let id, let name):
            calls.start(choice: choice, index: index, id: batch.bytes(id), name: batch.bytes(name))
        case .toolCallArguments(let choice, let index, let fragment):
            calls.append(choice: choice, index: index, batch.bytes(fragment))
        case .toolCallEnd(let choice, let index):
            if let call = calls.take(choice: choice, index: index) { write(call, into: &out) }
        case .usage(let counts): usage = counts
        case .error(let kind, let message, let type, _):
            tell(ErrorReport(kind, batch.bytes(message), type: batch.bytes(type)), into: &out)
        default: break
        }
        if calls.isOverLimit { tell(.tooLarge, into: &out) }
    }

    mutating func end(into out: inout ByteQueue) -> BodyEnding {
        guard !hasFailed else { return .complete }
        for call in calls.takeAll() { write(call, into: &out) }
        open(into: &out)
        out.append("{\"candidates\":[")
        for (position, choice) in choices.sorted.enumerated() {
            if position > 0 { out.append(ASCII.comma) }
            out.append("{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},\"finishReason\":\"")
            out.append(Self.word(choice, hasBrokenCall: choicesWithBrokenCalls.contains(choice.index)))
            out.append("\",\"index\":")
            out.append(decimal: choice.index)
            out.append(ASCII.rightBrace)
        }
        out.append(ASCII.rightBracket)
        if let usage {
            out.append(",\"usageMetadata\":")
            usage.appendGemini(into: &out)
        }
        close(into: &out)
        if isArray { out.append("\n]") }
        return .complete
    }

    mutating func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding {
        tell(ErrorReport(failure), into: &out)
        return .complete
    }

    func keepalive(into out: inout ByteQueue) -> Bool { false }

    // MARK: - Parts, which documents have too

    static func word(_ choice: ChoiceState, hasBrokenCall: Bool) -> StaticString {
        hasBrokenCall && choice.ending != .length ? "MALFORMED_FUNCTION_CALL" : choice.endingOfText.geminiWord
    }

    /// A part with a call; nil if its arguments are no object.
    static func part(_ id: [UInt8], _ name: [UInt8], _ arguments: [UInt8]) -> [UInt8]? {
        var isWhole = true
        let part: [UInt8] = .written { out in
            out.append("{\"functionCall\":{")
            var members = MemberWriter()
            if !id.isEmpty { members.string("id", id.span, into: &out) }
            members.string("name", name.span, into: &out)
            members.key("args", into: &out)
            isWhole = ToolArguments.append(arguments, into: &out)
            out.append("}}")
        }
        return isWhole ? part : nil
    }

    /// `,"modelVersion":…,"responseId":…}`.
    static func appendBack(_ head: AnswerHead, into out: inout ByteQueue) {
        out.append(",\"modelVersion\":")
        JSONText.appendQuoted(head.model.span, into: &out)
        out.append(",\"responseId\":")
        JSONText.appendQuoted(head.id.span, into: &out)
        out.append(ASCII.rightBrace)
    }

    // MARK: - Responses

    private mutating func open(into out: inout ByteQueue) {
        if isArray {
            out.append(hasWritten ? "\n,\n" as StaticString : "[")
        } else {
            out.append("data: ")
        }
        hasWritten = true
    }

    private mutating func close(into out: inout ByteQueue) {
        if back.isEmpty {
            let head = head
            back = .written { Self.appendBack(head, into: &$0) }
        }
        out.append(back)
        if !isArray { out.append("\r\n\r\n") }
    }

    private mutating func openParts(into out: inout ByteQueue) {
        open(into: &out)
        out.append("{\"candidates\":[{\"content\":{\"parts\":[")
    }

    private mutating func closeParts(_ choice: Int, into out: inout ByteQueue) {
        out.append("],\"role\":\"model\"},\"index\":")
        out.append(decimal: choice)
        out.append("}]")
        close(into: &out)
    }

    /// A response with one part: `front`, the string, and a brace.
    private mutating func write(
        _ front: StaticString, _ text: Span<UInt8>, _ choice: Int, into out: inout ByteQueue
    ) {
        openParts(into: &out)
        out.append(front)
        JSONText.appendQuoted(text, into: &out)
        out.append(ASCII.rightBrace)
        closeParts(choice, into: &out)
    }

    private mutating func write(_ call: HeldCalls.Call, into out: inout ByteQueue) {
        guard let part = Self.part(call.id, call.name, call.arguments) else {
            return choicesWithBrokenCalls.append(call.choice)
        }
        openParts(into: &out)
        out.append(part)
        closeParts(call.choice, into: &out)
    }

    private mutating func tell(_ error: ErrorReport, into out: inout ByteQueue) {
        guard !hasFailed else { return }
        hasFailed = true
        open(into: &out)
        error.appendGemini(into: &out)
        out.append(isArray ? "\n]" as StaticString : "\r\n\r\n")
    }
}
