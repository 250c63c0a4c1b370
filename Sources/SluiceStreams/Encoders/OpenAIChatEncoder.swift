import SluiceBytes

/// `openai-chat`: chunks as OpenAI sends them, for clients of its API. One id, model and time on every chunk, the role
/// first, one finish for each choice, usage only where asked, `[DONE]` only at a true end.
struct OpenAIChatEncoder: StreamEncoder {
    var contentType: StaticString { "text/event-stream" }
    private let options: EncoderOptions
    /// The constant front of every chunk, made once; an array, since encoders are copied values.
    private var envelope: [UInt8] = []
    private var choices: [Choice] = []
    private var usage: Usage?
    private var hasFailed = false
    /// The signature that came last, if nothing came behind it.
    private var signature: [UInt8] = []

    private struct Choice {
        let index: Int
        var hasCalls = false
        var hasFinished = false
    }

    init(_ options: EncoderOptions) { self.options = options }

    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        for event in batch.events where !hasFailed { encode(event, batch, into: &out) }
    }

    private mutating func encode(_ event: TokenEvent, _ batch: borrowing EventBatch, into out: inout ByteQueue) {
        if !signature.isEmpty, !isCall(event) { signature = [] }
        switch event {
        case .start(let id, let model, let created): makeEnvelope(batch.bytes(id), batch.bytes(model), created)
        case .text(let choice, let text): delta("content", batch.bytes(text), choice, into: &out)
        case .refusal(let choice, let text): delta("refusal", batch.bytes(text), choice, into: &out)
        case .reasoning(let choice, let text): delta("reasoning_content", batch.bytes(text), choice, into: &out)
        case .reasoningSignature(_, let proof):
            if options.signsCalls { signature = Array(copying: batch.bytes(proof)) }
        case .toolCallStart(let choice, let index, let id, let name):
            openDelta(choice, into: &out)
            choices[position(of: choice)].hasCalls = true
            out.append("{\"tool_calls\":[{\"index\":")
            out.append(decimal: index)
            out.append(",\"id\":")
            if id.isEmpty {
                out.append("\"call_")
                JSONText.appendEscaped(Array(options.id.utf8).span, into: &out)
                out.append("_")
                out.append(decimal: index)
                out.append("\"")
            } else {
                JSONText.appendQuoted(batch.bytes(id), into: &out)
            }
            out.append(",\"type\":\"function\",\"function\":{\"name\":")
            JSONText.appendQuoted(batch.bytes(name), into: &out)
            out.append(",\"arguments\":\"\"}")
            Self.appendSignature(signature.span, into: &out)
            signature = []
            out.append("}]}")
            closeDelta(into: &out)
        case .toolCallArguments(let choice, let index, let fragment):
            openDelta(choice, into: &out)
            out.append("{\"tool_calls\":[{\"index\":")
            out.append(decimal: index)
            out.append(",\"function\":{\"arguments\":")
            JSONText.appendQuoted(batch.bytes(fragment), into: &out)
            out.append("}}]}")
            closeDelta(into: &out)
        case .finish(let choice, let reason, _): finish(choice, reason, into: &out)
        case .usage(let counts): usage = counts
        case .error(let kind, let message, let type, _):
            error(batch.bytes(message), batch.bytes(type), kind, into: &out)
        default: break
        }
    }

    private func isCall(_ event: TokenEvent) -> Bool { if case .toolCallStart = event { true } else { false } }

    /// A member of a call, with the comma before it; nothing for an empty one.
    static func appendSignature(_ signature: Span<UInt8>, into out: inout ByteQueue) {
        if signature.isEmpty { return }
        out.append(",\"extra_content\":{\"google\":{\"thought_signature\":")
        JSONText.appendQuoted(signature, into: &out)
        out.append("}}")
    }

    mutating func end(into out: inout ByteQueue) -> BodyEnding {
        guard !hasFailed else { return .complete }
        // The provider ended the stream without a word on why; the client's library waits for one.
        for choice in choices where !choice.hasFinished {
            finish(choice.index, choice.hasCalls ? .toolCalls : .stop, into: &out)
        }
        // An answer that had no choice at all had one with nothing in it.
        if choices.isEmpty { finish(0, .stop, into: &out) }
        if options.includeUsage, let usage { write(usage, into: &out) }
        out.append("data: [DONE]\n\n")
        return .complete
    }

    mutating func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding {
        let (message, type) = (Array(failure.message.utf8), [UInt8]())
        error(message.span, type.span, failure.kind, into: &out)
        return .complete
    }

    func keepalive(into out: inout ByteQueue) -> Bool {
        out.append(":\n\n")
        return true
    }

    // MARK: - Parts

    private mutating func makeEnvelope(_ id: Span<UInt8>, _ model: Span<UInt8>, _ created: Int?) {
        var out = ByteQueue()
        out.append("data: {\"id\":")
        if id.isEmpty { JSONText.appendQuoted(options.id, into: &out) } else { JSONText.appendQuoted(id, into: &out) }
        out.append(",\"object\":\"chat.completion.chunk\",\"created\":")
        out.append(decimal: created ?? options.created)
        out.append(",\"model\":")
        if model.isEmpty {
            JSONText.appendQuoted(options.model, into: &out)
        } else {
            JSONText.appendQuoted(model, into: &out)
        }
        out.append(",\"choices\":[")
        envelope = out.withUnsafeBytes { Array($0) }
    }

    private mutating func openChunk(into out: inout ByteQueue) {
        if envelope.isEmpty { makeEnvelope(Span(), Span(), nil) }
        out.append(envelope)
    }

    private mutating func position(of choice: Int) -> Int {
        if let position = choices.firstIndex(where: { $0.index == choice }) { return position }
        choices.append(Choice(index: choice))
        return choices.count - 1
    }

    /// Up to the delta's value; the first chunk of a choice is its role.
    private mutating func openDelta(_ choice: Int, into out: inout ByteQueue) {
        let known = choices.count
        _ = position(of: choice)
        if choices.count > known {
            openDelta(choice, into: &out)
            out.append("{\"role\":\"assistant\",\"content\":\"\"}")
            closeDelta(into: &out)
        }
        openChunk(into: &out)
        out.append("{\"index\":")
        out.append(decimal: choice)
        out.append(",\"delta\":")
    }

    private func closeDelta(into out: inout ByteQueue) { out.append(",\"finish_reason\":null}]}\n\n") }

    private mutating func delta(_ name: StaticString, _ text: Span<UInt8>, _ choice: Int, into out: inout ByteQueue) {
        openDelta(choice, into: &out)
        out.append("{\"")
        out.append(name)
        out.append("\":")
        JSONText.appendQuoted(text, into: &out)
        out.append("}")
        closeDelta(into: &out)
    }

    private mutating func finish(_ choice: Int, _ reason: FinishReason, into out: inout ByteQueue) {
        // The decoder's error event follows a finish for an error, and says it in words that clients take for a failure.
        if reason == .error { return }
        if choices.contains(where: { $0.index == choice && $0.hasFinished }) { return }
        openDelta(choice, into: &out)
        choices[position(of: choice)].hasFinished = true
        out.append("{},\"finish_reason\":\"")
        // OpenAI's clients know no other words.
        out.append(reason == .other ? "stop" : reason.word)
        out.append("\"}]}\n\n")
    }

    /// Figures that the provider did not give are absent, not zero.
    private mutating func write(_ usage: Usage, into out: inout ByteQueue) {
        openChunk(into: &out)
        out.append("],\"usage\":{")
        var comma: StaticString = ""
        func member(_ name: StaticString, _ value: Int?, closing: StaticString = "") {
            guard let value else { return }
            out.append(comma)
            out.append(name)
            out.append(decimal: value)
            out.append(closing)
            comma = ","
        }
        member("\"prompt_tokens\":", usage.input)
        member("\"completion_tokens\":", usage.output)
        if let input = usage.input, let output = usage.output { member("\"total_tokens\":", input &+ output) }
        member("\"prompt_tokens_details\":{\"cached_tokens\":", usage.cached, closing: "}")
        member("\"completion_tokens_details\":{\"reasoning_tokens\":", usage.reasoning, closing: "}")
        out.append("}}\n\n")
    }

    private mutating func error(
        _ message: Span<UInt8>, _ type: Span<UInt8>, _ kind: StreamErrorKind, into out: inout ByteQueue
    ) {
        guard !hasFailed else { return }
        hasFailed = true
        out.append("data: {\"error\":{\"message\":")
        JSONText.appendQuoted(message, into: &out)
        out.append(",\"type\":")
        if type.isEmpty {
            out.append("\"")
            out.append(kind.word)
            out.append("\"")
        } else {
            JSONText.appendQuoted(type, into: &out)
        }
        out.append(",\"param\":null,\"code\":null}}\n\n")
    }
}
