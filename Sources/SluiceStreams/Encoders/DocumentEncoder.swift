import SluiceBytes

/// One document instead of a stream, for `stream: false`: what the provider's own API would answer in the client's
/// dialect. Formats of which no provider is the owner get
/// `{"text","reasoning"?,"tool_calls"?,"finish_reason","usage"?}`.
///
/// All is written at the end. A failure is the dialect's error document. An answer that cannot be told (over the
/// limit, a call that its format has no form for) ends with that too, and in `abort`: nobody should take it for a
/// whole one.
struct DocumentEncoder: StreamEncoder {
    private let format: StreamFormat
    private let isArray: Bool
    private let run: RunAnswer?
    private var answer: CollectedAnswer
    /// Ollama's documents have times.
    private var ollama: OllamaAnswer
    private var error: ErrorReport?
    private var isWritten = false
    private var ending = BodyEnding.complete

    init(_ format: StreamFormat, _ options: EncoderOptions) {
        (self.format, isArray) = (format, format == .gemini && options.isArray)
        run = options.run
        (answer, ollama) = (CollectedAnswer(options), OllamaAnswer(options))
    }

    var contentType: StaticString { "application/json" }
    var isDocument: Bool { true }

    mutating func clock(_ elapsed: Interval) { ollama.clock(elapsed) }

    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        for event in batch.events where error == nil { take(event, batch) }
    }

    private mutating func take(_ event: TokenEvent, _ batch: borrowing EventBatch) {
        if case .error(let kind, let message, let type, _) = event {
            error = ErrorReport(kind, batch.bytes(message), type: batch.bytes(type))
            return
        }
        answer.take(event, batch)
        switch event {
        case .text(choice: 0, _), .refusal(choice: 0, _), .reasoning(choice: 0, _), .toolCallStart(choice: 0, _, _, _):
            ollama.beginToken(event)
        case .start, .usage, .finish: _ = ollama.note(event, batch)
        default: break
        }
        if answer.isOverLimit { (error, ending) = (.tooLarge, .abort) }
    }

    mutating func end(into out: inout ByteQueue) -> BodyEnding {
        guard !isWritten else { return ending }
        isWritten = true
        if let error {
            write(error, into: &out)
            return ending
        }
        let start = out.open(gap: 0)
        if isArray { out.append(ASCII.leftBracket) }
        if append(into: &out) {
            out.append(isArray ? "]\n" as StaticString : "\n")
        } else {
            out.cancel(start)
            ending = .abort
            write(.brokenCall, into: &out)
        }
        return ending
    }

    mutating func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding {
        guard !isWritten else { return ending }
        isWritten = true
        write(error ?? ErrorReport(failure), into: &out)
        return ending
    }

    func keepalive(into out: inout ByteQueue) -> Bool { false }

    // MARK: - Documents

    private func write(_ error: ErrorReport, into out: inout ByteQueue) {
        if isArray { out.append(ASCII.leftBracket) }
        error.append(run == nil ? format : .mlflow, into: &out)
        out.append(isArray ? "]\n" as StaticString : "\n")
    }

    /// False: the answer has something that the document has no form for.
    private mutating func append(into out: inout ByteQueue) -> Bool {
        if let run {
            answer.appendRun(run, into: &out)
            return true
        }
        switch format {
        case .openAIChat: answer.appendChat(into: &out)
        case .openAICompletions: answer.appendCompletion(into: &out)
        case .openAIResponses: answer.appendResponse(into: &out)
        case .mlflow: answer.appendMLflow(into: &out)
        case .anthropic: return answer.appendAnthropic(into: &out)
        case .gemini: answer.appendGemini(into: &out)
        case .ollamaChat: return answer.appendOllamaChat(&ollama, into: &out)
        case .ollamaGenerate: answer.appendOllamaGenerate(&ollama, into: &out)
        case .cohere: answer.appendCohere(into: &out)
        case .text, .sseText, .sseJSON, .ndjson, .vercelUI, .vercelData, .agUI, .passthrough:
            answer.appendNeutral(into: &out)
        }
        return true
    }
}

extension CollectedAnswer {
    /// A workflow's output is its text.
    func appendRun(_ run: RunAnswer, into out: inout ByteQueue) {
        let message = message
        if run.isOutputOnly {
            run.appendOutput(into: &out) { message.appendQuoted(.text, .refusal, into: &$0) }
        } else {
            run.appendCompleted(into: &out) { message.appendQuoted(.text, .refusal, into: &$0) }
        }
    }

    /// In no provider's words.
    func appendNeutral(into out: inout ByteQueue) {
        let message = message
        out.append("{\"text\":")
        message.appendQuoted(.text, .refusal, into: &out)
        if message.has(.reasoning) {
            out.append(",\"reasoning\":")
            message.appendQuoted(.reasoning, into: &out)
        }
        if message.state.hasCalls {
            out.append(",\"tool_calls\":[")
            for (position, call) in message.calls.enumerated() {
                out.append(position == 0 ? "{\"id\":" as StaticString : ",{\"id\":")
                head.appendCallID(call.id.span, prefix: "call_", index: call.callIndex ?? 0, into: &out)
                out.append(",\"name\":")
                JSONText.appendQuoted(call.name.span, into: &out)
                out.append(",\"arguments\":")
                call.appendArguments(into: &out)
                out.append(ASCII.rightBrace)
            }
            out.append(ASCII.rightBracket)
        }
        out.append(",\"finish_reason\":")
        if message.state.reason == nil {
            out.append("null")
        } else {
            out.append(ASCII.quote)
            out.append(message.state.endingOfText.word)
            out.append(ASCII.quote)
        }
        if let usage {
            out.append(",\"usage\":")
            usage.appendNeutral(into: &out)
        }
        out.append(ASCII.rightBrace)
    }
}
