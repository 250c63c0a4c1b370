import SluiceBytes

/// `openai-completions`: chunks of OpenAI's legacy completions. Text and refusals are `text`, in as many choices as
/// there are; reasoning and tool calls have no place in this format and are left out.
struct OpenAICompletionsEncoder: StreamEncoder {
    var contentType: StaticString { "text/event-stream" }
    private let options: EncoderOptions
    private var head: AnswerHead
    /// The constant front of every chunk.
    private var front: [UInt8] = []
    private var choices = ChoiceStates()
    private var usage: Usage?
    private var hasFailed = false

    init(_ options: EncoderOptions) { (self.options, head) = (options, AnswerHead(options)) }

    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        for event in batch.events where !hasFailed { encode(event, batch, into: &out) }
    }

    private mutating func encode(_ event: TokenEvent, _ batch: borrowing EventBatch, into out: inout ByteQueue) {
        choices.note(event)
        switch event {
        case .start(let id, let model, let created): head.take(batch.bytes(id), batch.bytes(model), created)
        case .text(let choice, let text), .refusal(let choice, let text):
            write(batch.bytes(text), choice, finish: nil, into: &out)
        case .finish(let choice, let reason, _) where reason != .error: finish(choice, into: &out)
        case .usage(let counts): usage = counts
        case .error(let kind, let message, let type, _):
            tell(ErrorReport(kind, batch.bytes(message), type: batch.bytes(type)), into: &out)
        default: break
        }
    }

    mutating func end(into out: inout ByteQueue) -> BodyEnding {
        guard !hasFailed else { return .complete }
        for choice in choices.sorted { finish(choice.index, into: &out) }
        if options.includeUsage, let usage {
            openChunk(into: &out)
            out.append("],\"usage\":")
            usage.appendOpenAI(into: &out)
            out.append("}\n\n")
        }
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

    private mutating func openChunk(into out: inout ByteQueue) {
        if front.isEmpty {
            let head = head
            front = .written {
                $0.append("data: ")
                head.openObject("text_completion", into: &$0)
                $0.append(",\"choices\":[")
            }
        }
        out.append(front)
    }

    private mutating func write(
        _ text: Span<UInt8>, _ choice: Int, finish: StaticString?, into out: inout ByteQueue
    ) {
        openChunk(into: &out)
        out.append("{\"text\":")
        JSONText.appendQuoted(text, into: &out)
        out.append(",\"index\":")
        out.append(decimal: choice)
        out.append(",\"logprobs\":null,\"finish_reason\":")
        if let finish {
            out.append(ASCII.quote)
            out.append(finish)
            out.append("\"}]}\n\n")
        } else {
            out.append("null}]}\n\n")
        }
    }

    private mutating func finish(_ choice: Int, into out: inout ByteQueue) {
        var state = choices[choice]
        guard !state.hasFinished else { return }
        state.hasFinished = true
        choices[choice] = state
        write(Span(), choice, finish: state.endingOfText.completionWord, into: &out)
    }

    private mutating func tell(_ error: ErrorReport, into out: inout ByteQueue) {
        guard !hasFailed else { return }
        hasFailed = true
        out.append("data: ")
        error.appendOpenAI(into: &out)
        out.append("\n\n")
    }
}
