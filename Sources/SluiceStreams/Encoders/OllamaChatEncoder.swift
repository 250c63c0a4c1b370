import SluiceBytes

/// `ollama-chat`: the lines of Ollama's `/api/chat`. Tool calls come whole, with an object of arguments; one that
/// the token limit has cut is left out. The last line has `done`, the reason, counts and durations; a failure is
/// `{"error":"…"}`.
///
/// The message is choice 0. A refusal is content.
struct OllamaChatEncoder: StreamEncoder {
    var contentType: StaticString { "application/x-ndjson" }
    private var answer: OllamaAnswer
    private var hasFailed = false

    init(_ options: EncoderOptions) { answer = OllamaAnswer(options) }

    mutating func clock(_ elapsed: Interval) { answer.clock(elapsed) }

    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        for event in batch.events where !hasFailed { encode(event, batch, into: &out) }
    }

    private mutating func encode(_ event: TokenEvent, _ batch: borrowing EventBatch, into out: inout ByteQueue) {
        if case .error(let kind, let message, let type, _) = event {
            return tell(ErrorReport(kind, batch.bytes(message), type: batch.bytes(type)), into: &out)
        }
        let isTold = answer.note(event, batch)
        if answer.isOverLimit { return tell(.tooLarge, into: &out) }
        guard isTold else { return }
        switch event {
        case .text(_, let text), .refusal(_, let text):
            open(into: &out)
            JSONText.appendQuoted(batch.bytes(text), into: &out)
            out.append("},\"done\":false}\n")
        case .reasoning(_, let text):
            open(into: &out)
            out.append("\"\",\"thinking\":")
            JSONText.appendQuoted(batch.bytes(text), into: &out)
            out.append("},\"done\":false}\n")
        case .toolCallEnd(_, let index):
            if let call = answer.takeCall(index) { write(call, into: &out) }
        default: break
        }
    }

    mutating func end(into out: inout ByteQueue) -> BodyEnding {
        guard !hasFailed else { return .complete }
        for call in answer.takeCalls() { write(call, into: &out) }
        // Without it the answer would look whole; only a model that ran out of tokens is told by its reason.
        if answer.hasBrokenCall, answer.choice.ending != .length {
            tell(.brokenCall, into: &out)
            return .complete
        }
        open(into: &out)
        out.append("\"\"}")
        answer.closeLast(into: &out)
        out.append(ASCII.lf)
        return .complete
    }

    mutating func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding {
        tell(ErrorReport(failure), into: &out)
        return .complete
    }

    func keepalive(into out: inout ByteQueue) -> Bool { false }

    // MARK: - Parts

    /// Up to the content's value.
    private mutating func open(into out: inout ByteQueue) {
        answer.openLine(into: &out)
        out.append(",\"message\":{\"role\":\"assistant\",\"content\":")
    }

    private mutating func write(_ call: [UInt8], into out: inout ByteQueue) {
        open(into: &out)
        out.append("\"\",\"tool_calls\":[")
        out.append(call)
        out.append("]},\"done\":false}\n")
    }

    private mutating func tell(_ error: ErrorReport, into out: inout ByteQueue) {
        guard !hasFailed else { return }
        hasFailed = true
        ErrorDocument.append("error", error.message.span, into: &out)
        out.append(ASCII.lf)
    }
}
