import SluiceBytes

/// `ollama-generate`: the lines of Ollama's `/api/generate`, the text as `response` and the reasoning as
/// `thinking`. Tool calls have no place in this format; who asks in it cannot offer tools. There is no `context`,
/// which only a model itself can make.
///
/// The response is choice 0. A refusal is text.
struct OllamaGenerateEncoder: StreamEncoder {
    var contentType: StaticString { "application/x-ndjson" }
    private var answer: OllamaAnswer
    private var hasFailed = false

    init(_ options: EncoderOptions) { answer = OllamaAnswer(options) }

    mutating func clock(_ elapsed: Interval) { answer.clock(elapsed) }

    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        for event in batch.events where !hasFailed { encode(event, batch, into: &out) }
    }

    private mutating func encode(_ event: TokenEvent, _ batch: borrowing EventBatch, into out: inout ByteQueue) {
        switch event {
        case .text(choice: 0, let text), .refusal(choice: 0, let text):
            answer.beginToken(event)
            open(into: &out)
            JSONText.appendQuoted(batch.bytes(text), into: &out)
            out.append(",\"done\":false}\n")
        case .reasoning(choice: 0, let text):
            answer.beginToken(event)
            open(into: &out)
            out.append("\"\",\"thinking\":")
            JSONText.appendQuoted(batch.bytes(text), into: &out)
            out.append(",\"done\":false}\n")
        case .start, .usage, .finish: _ = answer.note(event, batch)
        case .error(let kind, let message, let type, _):
            tell(ErrorReport(kind, batch.bytes(message), type: batch.bytes(type)), into: &out)
        default: break
        }
    }

    mutating func end(into out: inout ByteQueue) -> BodyEnding {
        guard !hasFailed else { return .complete }
        open(into: &out)
        out.append("\"\"")
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

    /// Up to the value of `response`.
    private mutating func open(into out: inout ByteQueue) {
        answer.openLine(into: &out)
        out.append(",\"response\":")
    }

    private mutating func tell(_ error: ErrorReport, into out: inout ByteQueue) {
        guard !hasFailed else { return }
        hasFailed = true
        ErrorDocument.append("error", error.message.span, into: &out)
        out.append(ASCII.lf)
    }
}
