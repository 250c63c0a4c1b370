import SluiceBytes

/// `cohere`: the events of Cohere's v2 chat API when it streams. Contents, text or thinking, come one after the
/// other; tool calls are counted apart from them and may overlap. `message-end` tells how the answer ended, in a
/// failure too.
///
/// The message is choice 0. A refusal is text: Cohere has no word for it.
struct CohereEncoder: StreamEncoder {
    var contentType: StaticString { "text/event-stream" }
    private var head: AnswerHead
    private var choice = ChoiceState(index: 0)
    private var usage = Usage()
    private var content: Content?
    private var contentCount = 0
    private var openCalls: [Int] = []
    private var hasStarted = false
    private var hasFailed = false

    private enum Content {
        case text, thinking
        var word: StaticString { self == .text ? "text" : "thinking" }
    }

    init(_ options: EncoderOptions) { head = AnswerHead(options) }

    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        for event in batch.events where !hasFailed { encode(event, batch, into: &out) }
    }

    private mutating func encode(_ event: TokenEvent, _ batch: borrowing EventBatch, into out: inout ByteQueue) {
        switch event {
        case .start(let id, let model, let created):
            head.take(batch.bytes(id), batch.bytes(model), created)
            start(into: &out)
        case .text(choice: 0, let text), .refusal(choice: 0, let text):
            choice.note(event)
            write(.text, batch.bytes(text), into: &out)
        case .reasoning(choice: 0, let text): write(.thinking, batch.bytes(text), into: &out)
        case .toolCallStart(choice: 0, let index, let id, let name):
            choice.note(event)
            startCall(index, batch.bytes(id), batch.bytes(name), into: &out)
        case .toolCallArguments(choice: 0, let index, let fragment):
            guard openCalls.contains(index) else { return }
            open("tool-call-delta", index, into: &out)
            out.append(",\"delta\":{\"message\":{\"tool_calls\":{\"function\":{\"arguments\":")
            JSONText.appendQuoted(batch.bytes(fragment), into: &out)
            out.append("}}}}")
            NamedEvent.close(into: &out)
        case .toolCallEnd(choice: 0, let index): endCall(index, into: &out)
        case .finish(choice: 0, _, _): choice.note(event)
        case .usage(let counts): usage = counts
        case .error(let kind, let message, let type, _):
            tell(ErrorReport(kind, batch.bytes(message), type: batch.bytes(type)), into: &out)
        default: break
        }
    }

    mutating func end(into out: inout ByteQueue) -> BodyEnding {
        guard !hasFailed else { return .complete }
        start(into: &out)
        closeContent(into: &out)
        while let index = openCalls.first { endCall(index, into: &out) }
        openEnd(choice.ending.cohereWord, into: &out)
        out.append(ASCII.rightBrace)
        NamedEvent.close(into: &out)
        out.append("data: [DONE]\n\n")
        return .complete
    }

    mutating func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding {
        tell(ErrorReport(failure), into: &out)
        return .complete
    }

    func keepalive(into out: inout ByteQueue) -> Bool {
        out.append(":\n\n")
        return true
    }

    // MARK: - Parts

    private mutating func start(into out: inout ByteQueue) {
        guard !hasStarted else { return }
        hasStarted = true
        NamedEvent.open("message-start", into: &out)
        out.append(",\"id\":")
        JSONText.appendQuoted(head.id.span, into: &out)
        out.append(",\"delta\":{\"message\":{\"role\":\"assistant\",\"content\":[],\"tool_plan\":\"\"")
        out.append(",\"tool_calls\":[],\"citations\":[]}}")
        NamedEvent.close(into: &out)
    }

    /// Up to the members behind `index`.
    private func open(_ type: StaticString, _ index: Int, into out: inout ByteQueue) {
        NamedEvent.open(type, into: &out)
        out.append(",\"index\":")
        out.append(decimal: index)
    }

    private mutating func write(_ kind: Content, _ text: Span<UInt8>, into out: inout ByteQueue) {
        start(into: &out)
        if content != kind {
            closeContent(into: &out)
            content = kind
            open("content-start", contentCount, into: &out)
            out.append(",\"delta\":{\"message\":{\"content\":{\"type\":\"")
            out.append(kind.word)
            out.append("\",\"")
            out.append(kind.word)
            out.append("\":\"\"}}}")
            NamedEvent.close(into: &out)
        }
        open("content-delta", contentCount, into: &out)
        out.append(",\"delta\":{\"message\":{\"content\":{\"")
        out.append(kind.word)
        out.append("\":")
        JSONText.appendQuoted(text, into: &out)
        out.append("}}}")
        NamedEvent.close(into: &out)
    }

    private mutating func closeContent(into out: inout ByteQueue) {
        guard content != nil else { return }
        content = nil
        open("content-end", contentCount, into: &out)
        NamedEvent.close(into: &out)
        contentCount &+= 1
    }

    private mutating func startCall(
        _ index: Int, _ id: Span<UInt8>, _ name: Span<UInt8>, into out: inout ByteQueue
    ) {
        start(into: &out)
        closeContent(into: &out)
        openCalls.append(index)
        open("tool-call-start", index, into: &out)
        out.append(",\"delta\":{\"message\":{\"tool_calls\":{\"id\":")
        head.appendCallID(id, prefix: "call_", index: index, into: &out)
        out.append(",\"type\":\"function\",\"function\":{\"name\":")
        JSONText.appendQuoted(name, into: &out)
        out.append(",\"arguments\":\"\"}}}}")
        NamedEvent.close(into: &out)
    }

    private mutating func endCall(_ index: Int, into out: inout ByteQueue) {
        guard let position = openCalls.firstIndex(of: index) else { return }
        openCalls.remove(at: position)
        open("tool-call-end", index, into: &out)
        NamedEvent.close(into: &out)
    }

    /// Up to the members behind `usage` in the last event's delta.
    private func openEnd(_ reason: StaticString, into out: inout ByteQueue) {
        NamedEvent.open("message-end", into: &out)
        out.append(",\"delta\":{\"finish_reason\":\"")
        out.append(reason)
        out.append("\",\"usage\":")
        usage.appendCohere(into: &out)
    }

    private mutating func tell(_ error: ErrorReport, into out: inout ByteQueue) {
        guard !hasFailed else { return }
        start(into: &out)
        hasFailed = true
        openEnd("ERROR", into: &out)
        out.append(",\"error\":")
        JSONText.appendQuoted(error.message.span, into: &out)
        out.append(ASCII.rightBrace)
        NamedEvent.close(into: &out)
    }
}
