import SluiceBytes

/// `anthropic`: the events of Anthropic's Messages API when it streams. One block is open at a time and their indexes
/// count up; the last two events tell how the answer ended.
///
/// The message is choice 0. A refusal is text, and the stop reason tells. A signature belongs to a thinking block;
/// others have no place for one. `message_start` waits for the first event with content, so that it can hold the
/// input's tokens if they are known by then.
struct AnthropicEncoder: StreamEncoder {
    var contentType: StaticString { "text/event-stream" }
    private var head: AnswerHead
    private var choice = ChoiceState(index: 0)
    private var usage = Usage()
    private var blocks = AnthropicBlockQueue()
    private var hasStarted = false
    private var hasFailed = false

    init(_ options: EncoderOptions) { head = AnswerHead(options) }

    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        for event in batch.events where !hasFailed { encode(event, batch, into: &out) }
    }

    private mutating func encode(_ event: TokenEvent, _ batch: borrowing EventBatch, into out: inout ByteQueue) {
        switch event {
        case .start(let id, let model, let created): head.take(batch.bytes(id), batch.bytes(model), created)
        case .usage(let counts): usage = counts
        case .error(let kind, let message, let type, _):
            tell(ErrorReport(kind, batch.bytes(message), type: batch.bytes(type)), into: &out)
        case .text(choice: 0, let text), .refusal(choice: 0, let text):
            begin(event, into: &out)
            blocks.write(.text, batch.bytes(text), into: &out)
        case .reasoning(choice: 0, let text):
            begin(event, into: &out)
            blocks.write(.thinking, batch.bytes(text), into: &out)
        case .reasoningSignature(choice: 0, let signature):
            begin(event, into: &out)
            blocks.sign(batch.bytes(signature), into: &out)
        case .toolCallStart(choice: 0, let index, let id, let name):
            begin(event, into: &out)
            let id: [UInt8] = .written { head.appendCallID(batch.bytes(id), prefix: "toolu_", index: index, into: &$0) }
            blocks.startCall(index, quotedID: id, batch.bytes(name), into: &out)
        case .toolCallArguments(choice: 0, let index, let fragment):
            blocks.appendArguments(index, batch.bytes(fragment), into: &out)
        case .toolCallEnd(choice: 0, let index): blocks.endCall(index, into: &out)
        case .finish(choice: 0, _, _): choice.note(event)
        default: break
        }
        if blocks.isOverLimit { tell(.tooLarge, into: &out) }
    }

    mutating func end(into out: inout ByteQueue) -> BodyEnding {
        guard !hasFailed else { return .complete }
        start(into: &out)
        blocks.finish(into: &out)
        NamedEvent.open("message_delta", into: &out)
        out.append(",\"delta\":{\"stop_reason\":\"")
        out.append(choice.endingOfText.anthropicWord)
        out.append("\",\"stop_sequence\":null},\"usage\":")
        usage.appendAnthropic(needsInput: false, into: &out)
        NamedEvent.close(into: &out)
        NamedEvent.open("message_stop", into: &out)
        NamedEvent.close(into: &out)
        return .complete
    }

    mutating func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding {
        tell(ErrorReport(failure), into: &out)
        return .complete
    }

    func keepalive(into out: inout ByteQueue) -> Bool {
        out.append("event: ping\ndata: {\"type\": \"ping\"}\n\n")
        return true
    }

    // MARK: - Parts

    private mutating func begin(_ event: TokenEvent, into out: inout ByteQueue) {
        choice.note(event)
        if !hasStarted { start(into: &out) }
    }

    private mutating func start(into out: inout ByteQueue) {
        guard !hasStarted else { return }
        hasStarted = true
        NamedEvent.open("message_start", into: &out)
        out.append(",\"message\":{\"id\":")
        JSONText.appendQuoted(head.id.span, into: &out)
        out.append(",\"type\":\"message\",\"role\":\"assistant\",\"model\":")
        JSONText.appendQuoted(head.model.span, into: &out)
        out.append(",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":")
        usage.appendAnthropic(needsInput: true, into: &out)
        out.append(ASCII.rightBrace)
        NamedEvent.close(into: &out)
    }

    private mutating func tell(_ error: ErrorReport, into out: inout ByteQueue) {
        guard !hasFailed else { return }
        hasFailed = true
        out.append("event: error\ndata: ")
        error.appendAnthropic(into: &out)
        out.append("\n\n")
    }
}
