import SluiceBytes

/// `mlflow`: the chat chunks of MLflow's gateway. Like OpenAI's, but for two things: every key is there, if need be
/// as null, and there is no `[DONE]`. The finish is thus all that tells an end from a cut, and is held until the
/// true end, with the usage.
///
/// Reasoning has no place in this format; a refusal is content. No keepalive: MLflow's client takes no comments.
struct MLflowEncoder: StreamEncoder {
    var contentType: StaticString { "text/event-stream" }
    private var head: AnswerHead
    /// The constant front of every chunk.
    private var front: [UInt8] = []
    private var choices = ChoiceStates()
    private var usage: Usage?
    private var hasFailed = false

    init(_ options: EncoderOptions) { head = AnswerHead(options) }

    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        for event in batch.events where !hasFailed { encode(event, batch, into: &out) }
    }

    private mutating func encode(_ event: TokenEvent, _ batch: borrowing EventBatch, into out: inout ByteQueue) {
        choices.note(event)
        switch event {
        case .start(let id, let model, let created): head.take(batch.bytes(id), batch.bytes(model), created)
        case .text(let choice, let text), .refusal(let choice, let text):
            openDelta(choice, into: &out)
            JSONText.appendQuoted(batch.bytes(text), into: &out)
            out.append(",\"tool_calls\":null}}],\"usage\":null}\n\n")
        case .toolCallStart(let choice, let index, let id, let name):
            openCall(choice, index, into: &out)
            head.appendCallID(batch.bytes(id), prefix: "call_", index: index, into: &out)
            out.append(",\"type\":\"function\",\"function\":{\"name\":")
            JSONText.appendQuoted(batch.bytes(name), into: &out)
            out.append(",\"arguments\":\"\"}}]}}],\"usage\":null}\n\n")
        case .toolCallArguments(let choice, let index, let fragment):
            openCall(choice, index, into: &out)
            out.append("null,\"type\":null,\"function\":{\"name\":null,\"arguments\":")
            JSONText.appendQuoted(batch.bytes(fragment), into: &out)
            out.append("}}]}}],\"usage\":null}\n\n")
        case .usage(let counts): usage = counts
        case .error(let kind, let message, let type, _):
            tell(ErrorReport(kind, batch.bytes(message), type: batch.bytes(type)), into: &out)
        default: break
        }
    }

    mutating func end(into out: inout ByteQueue) -> BodyEnding {
        guard !hasFailed else { return .complete }
        let all = choices.sorted
        for (position, choice) in all.enumerated() {
            openChunk(into: &out)
            out.append("{\"index\":")
            out.append(decimal: choice.index)
            out.append(",\"finish_reason\":\"")
            out.append(choice.endingOfText.openAIWord)
            out.append("\",\"delta\":{\"role\":null,\"content\":null,\"tool_calls\":null}}],\"usage\":")
            if position == all.count - 1, let usage { usage.appendMLflow(into: &out) } else { out.append("null") }
            out.append("}\n\n")
        }
        return .complete
    }

    mutating func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding {
        tell(ErrorReport(failure), into: &out)
        return .complete
    }

    func keepalive(into out: inout ByteQueue) -> Bool { false }

    // MARK: - Parts

    private mutating func openChunk(into out: inout ByteQueue) {
        if front.isEmpty {
            let head = head
            front = .written {
                $0.append("data: ")
                head.openObject("chat.completion.chunk", into: &$0)
                $0.append(",\"choices\":[")
            }
        }
        out.append(front)
    }

    /// Up to the content's value; the first delta of a choice names the role.
    private mutating func openDelta(_ choice: Int, into out: inout ByteQueue) {
        openChunk(into: &out)
        out.append("{\"index\":")
        out.append(decimal: choice)
        var state = choices[choice]
        if state.hasBegun {
            out.append(",\"finish_reason\":null,\"delta\":{\"role\":null,\"content\":")
        } else {
            state.hasBegun = true
            choices[choice] = state
            out.append(",\"finish_reason\":null,\"delta\":{\"role\":\"assistant\",\"content\":")
        }
    }

    /// Up to the call's id.
    private mutating func openCall(_ choice: Int, _ index: Int, into out: inout ByteQueue) {
        openDelta(choice, into: &out)
        out.append("null,\"tool_calls\":[{\"index\":")
        out.append(decimal: index)
        out.append(",\"id\":")
    }

    private mutating func tell(_ error: ErrorReport, into out: inout ByteQueue) {
        guard !hasFailed else { return }
        hasFailed = true
        out.append("data: ")
        error.appendOpenAI(into: &out)
        out.append("\n\n")
    }
}
