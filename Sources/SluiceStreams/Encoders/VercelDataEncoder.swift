import SluiceBytes

/// `vercel-data`: the data stream, version 1, that `useChat` of the AI SDK 3 and 4 reads: one part a line, a code and a
/// JSON value. It has no keepalive.
///
/// The order is `f`, deltas, `e`, `d`; the last two are written only at a true end, and `3` in their place at a failure.
/// A call whose arguments are not an object, because they were cut, stays without `9`: nobody may run it.
struct VercelDataEncoder: StreamEncoder {
    var contentType: StaticString { "text/plain; charset=utf-8" }
    var fields: [(name: StaticString, value: StaticString)] { [("x-vercel-ai-data-stream", "v1")] }

    private let options: EncoderOptions
    private var hasStarted = false
    private var hasFailed = false
    private var hasEnded = false
    private var sourceCount = 0
    private var inputs = ToolInputs()
    private var reason: FinishReason?
    private var hasRefused = false
    private var usage = Usage()

    init(_ options: EncoderOptions) { self.options = options }

    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        for event in batch.events where !hasFailed { encode(event, batch, into: &out) }
    }

    private mutating func encode(_ event: TokenEvent, _ batch: borrowing EventBatch, into out: inout ByteQueue) {
        switch event {
        case .start(let id, _, _): start(batch.bytes(id), into: &out)
        case .text(choice: 0, let text): delta("0:", batch.bytes(text), into: &out)
        case .refusal(choice: 0, let text):
            hasRefused = true
            delta("0:", batch.bytes(text), into: &out)
        case .reasoning(choice: 0, let text): delta("g:", batch.bytes(text), into: &out)
        case .reasoningSignature(choice: 0, let proof):
            start(Span(), into: &out)
            out.append("j:{\"signature\":")
            JSONText.appendQuoted(batch.bytes(proof), into: &out)
            out.append("}\n")
        case .toolCallStart(choice: 0, let index, let id, let name):
            start(Span(), into: &out)
            let call = inputs.open(index, id: batch.bytes(id), name: batch.bytes(name), ownID: options.id)
            identify("b:", call, into: &out)
            out.append("}\n")
        case .toolCallArguments(choice: 0, let index, let fragment):
            arguments(index, batch.bytes(fragment), into: &out)
        case .toolCallEnd(choice: 0, let index): closeCall(index, into: &out)
        case .source(let url, let title): source(batch.bytes(url), batch.bytes(title), into: &out)
        case .finish(choice: 0, let reason, _): self.reason = reason
        case .usage(let counts): usage = counts
        case .error(_, let message, _, _): error(batch.bytes(message), into: &out)
        default: break
        }
    }

    mutating func end(into out: inout ByteQueue) -> BodyEnding {
        guard !hasFailed, !hasEnded else { return .complete }
        if reason == .error {
            return fail(StreamFailure(.provider, "the provider ended the answer with an error"), into: &out)
        }
        hasEnded = true
        start(Span(), into: &out)
        finish("e:", more: ",\"isContinued\":false}\n", into: &out)
        finish("d:", more: "}\n", into: &out)
        return .complete
    }

    mutating func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding {
        if !hasEnded { error(Array(failure.message.utf8).span, into: &out) }
        return .complete
    }

    func keepalive(into out: inout ByteQueue) -> Bool { false }

    // MARK: - Parts

    private mutating func start(_ id: Span<UInt8>, into out: inout ByteQueue) {
        guard !hasStarted else { return }
        hasStarted = true
        out.append("f:{\"messageId\":")
        let own = Array(options.id.utf8)
        JSONText.appendQuoted(id.isEmpty ? own.span : id, into: &out)
        out.append("}\n")
    }

    private mutating func delta(_ code: StaticString, _ text: Span<UInt8>, into out: inout ByteQueue) {
        if text.isEmpty { return }
        start(Span(), into: &out)
        out.append(code)
        JSONText.appendQuoted(text, into: &out)
        out.append(ASCII.lf)
    }

    private mutating func arguments(_ index: Int, _ fragment: Span<UInt8>, into out: inout ByteQueue) {
        guard inputs.isOpen(index), !fragment.isEmpty else { return }
        inputs.append(fragment, to: index)
        out.append("c:{\"toolCallId\":")
        out.append(inputs.calls[index].id)
        out.append(",\"argsTextDelta\":")
        JSONText.appendQuoted(fragment, into: &out)
        out.append("}\n")
    }

    private mutating func closeCall(_ index: Int, into out: inout ByteQueue) {
        // The library throws at arguments that are not an object.
        guard let input = inputs.close(index), JSONGrammar.isObject(input.span) else { return }
        identify("9:", inputs.calls[index], into: &out)
        out.append(",\"args\":")
        JSONText.appendCompact(input.span, into: &out)
        out.append("}\n")
    }

    private func identify(_ code: StaticString, _ call: ToolInputs.Call, into out: inout ByteQueue) {
        out.append(code)
        out.append("{\"toolCallId\":")
        out.append(call.id)
        out.append(",\"toolName\":")
        out.append(call.name)
    }

    private mutating func source(_ url: Span<UInt8>, _ title: Span<UInt8>, into out: inout ByteQueue) {
        start(Span(), into: &out)
        out.append("h:{\"sourceType\":\"url\",\"id\":\"s")
        out.append(decimal: sourceCount)
        out.append("\",\"url\":")
        JSONText.appendQuoted(url, into: &out)
        if !title.isEmpty {
            out.append(",\"title\":")
            JSONText.appendQuoted(title, into: &out)
        }
        out.append("}\n")
        sourceCount &+= 1
    }

    /// Counts that nobody knows are null here: the library wants the keys, and reads null as not a number.
    private func finish(_ code: StaticString, more: StaticString, into out: inout ByteQueue) {
        out.append(code)
        out.append("{\"finishReason\":\"")
        out.append(reason?.told(hasRefused: hasRefused).vercelWord ?? "unknown")
        out.append("\",\"usage\":{\"promptTokens\":")
        if let input = usage.input { out.append(decimal: input) } else { out.append("null") }
        out.append(",\"completionTokens\":")
        if let output = usage.output { out.append(decimal: output) } else { out.append("null") }
        out.append("}")
        out.append(more)
    }

    /// Nothing is written behind it, whatever the provider still sends.
    private mutating func error(_ message: Span<UInt8>, into out: inout ByteQueue) {
        guard !hasFailed else { return }
        hasFailed = true
        out.append("3:")
        JSONText.appendQuoted(message, into: &out)
        out.append(ASCII.lf)
    }
}
