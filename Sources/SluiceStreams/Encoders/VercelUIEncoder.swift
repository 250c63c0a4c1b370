import SluiceBytes

/// `vercel-ui`: the UI message stream, version 1, that `useChat` of the AI SDK 5, 6 and 7 reads: JSON objects over an event
/// stream, then `[DONE]`.
///
/// The library checks each part, and up to 5.0.216 throws at every key that it does not know. So nothing is written but
/// what 5.0.0 knows, finish reason and usage are told as the message's metadata, and what is unknown is absent.
///
/// A message is one step: text and reasoning in blocks, one of them open at a time, and tool calls, which may run beside
/// each other. A call whose arguments are no JSON, because the answer was cut in the middle of them, stays without
/// `tool-input-available`: nobody may run it. `finish` is written only at a true end.
struct VercelUIEncoder: StreamEncoder {
    var contentType: StaticString { "text/event-stream" }
    var fields: [(name: StaticString, value: StaticString)] { [("x-vercel-ai-ui-message-stream", "v1")] }

    private let options: EncoderOptions
    private var hasStarted = false
    private var hasFailed = false
    private var isDone = false
    private var block: Block?
    /// A delta of the open block up to its text, made when the block opens.
    private var deltaHead: [UInt8] = []
    private var textCount = 0
    private var reasoningCount = 0
    private var sourceCount = 0
    private var inputs = ToolInputs()
    private var reason: FinishReason?
    private var hasRefused = false
    private var usage: Usage?

    private enum Block { case text, reasoning }

    init(_ options: EncoderOptions) { self.options = options }

    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        for event in batch.events where !hasFailed { encode(event, batch, into: &out) }
    }

    private mutating func encode(_ event: TokenEvent, _ batch: borrowing EventBatch, into out: inout ByteQueue) {
        switch event {
        case .start(let id, _, _): start(batch.bytes(id), into: &out)
        case .text(choice: 0, let text): delta(.text, batch.bytes(text), into: &out)
        case .refusal(choice: 0, let text):
            hasRefused = true
            delta(.text, batch.bytes(text), into: &out)
        case .reasoning(choice: 0, let text): delta(.reasoning, batch.bytes(text), into: &out)
        case .reasoningSignature(choice: 0, let proof):
            if block == .reasoning { closeBlock(signature: batch.bytes(proof), into: &out) }
        case .toolCallStart(choice: 0, let index, let id, let name):
            openCall(index, batch.bytes(id), batch.bytes(name), into: &out)
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
        if !hasFailed, reason == .error {
            return fail(StreamFailure(.provider, "the provider ended the answer with an error"), into: &out)
        }
        if !hasFailed, !isDone {
            start(Span(), into: &out)
            closeBlock(into: &out)
            out.append("data: {\"type\":\"finish-step\"}\n\n")
            finish(into: &out)
        }
        return done(into: &out)
    }

    mutating func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding {
        if !isDone { error(Array(failure.message.utf8).span, into: &out) }
        return done(into: &out)
    }

    func keepalive(into out: inout ByteQueue) -> Bool {
        out.append(":\n\n")
        return true
    }

    private mutating func done(into out: inout ByteQueue) -> BodyEnding {
        if !isDone { out.append("data: [DONE]\n\n") }
        isDone = true
        return .complete
    }

    // MARK: - Text and reasoning

    /// The first event of each stream; a stream that only fails has none, and so no empty message.
    private mutating func start(_ id: Span<UInt8>, into out: inout ByteQueue) {
        guard !hasStarted else { return }
        hasStarted = true
        out.append("data: {\"type\":\"start\"")
        // A message that goes on keeps its id, or the library would show it twice.
        let own = Array((options.messageID.isEmpty ? options.id : options.messageID).utf8)
        let isOwn = id.isEmpty || !options.messageID.isEmpty
        if !isOwn || !own.isEmpty {
            out.append(",\"messageId\":")
            JSONText.appendQuoted(isOwn ? own.span : id, into: &out)
        }
        out.append("}\n\ndata: {\"type\":\"start-step\"}\n\n")
    }

    private mutating func delta(_ kind: Block, _ text: Span<UInt8>, into out: inout ByteQueue) {
        if text.isEmpty { return }
        if block != kind { open(kind, into: &out) }
        out.append(deltaHead)
        JSONText.appendQuoted(text, into: &out)
        out.append("}\n\n")
    }

    private mutating func open(_ kind: Block, into out: inout ByteQueue) {
        start(Span(), into: &out)
        closeBlock(into: &out)
        block = kind
        head("start", into: &out)
        out.append("}\n\n")
        var delta = ByteQueue()
        head("delta", into: &delta)
        delta.append(",\"delta\":")
        deltaHead = delta.withUnsafeBytes { Array($0) }
    }

    private mutating func closeBlock(signature: Span<UInt8> = Span(), into out: inout ByteQueue) {
        guard let kind = block else { return }
        head("end", into: &out)
        if !signature.isEmpty {
            out.append(",\"providerMetadata\":{\"sluice\":{\"signature\":")
            JSONText.appendQuoted(signature, into: &out)
            out.append("}}")
        }
        out.append("}\n\n")
        switch kind {
        case .text: textCount &+= 1
        case .reasoning: reasoningCount &+= 1
        }
        block = nil
    }

    /// Type and id of a part of the open block.
    private func head(_ verb: StaticString, into out: inout ByteQueue) {
        let isText = block == .text
        out.append(isText ? "data: {\"type\":\"text-" as StaticString : "data: {\"type\":\"reasoning-")
        out.append(verb)
        out.append(isText ? "\",\"id\":\"t" as StaticString : "\",\"id\":\"r")
        out.append(decimal: isText ? textCount : reasoningCount)
        out.append("\"")
    }

    // MARK: - Tool calls and sources

    private mutating func openCall(_ index: Int, _ id: Span<UInt8>, _ name: Span<UInt8>, into out: inout ByteQueue) {
        start(Span(), into: &out)
        closeBlock(into: &out)
        let call = inputs.open(index, id: id, name: name, ownID: options.id)
        out.append("data: {\"type\":\"tool-input-start\"")
        identify(call, into: &out)
        out.append("}\n\n")
    }

    private mutating func arguments(_ index: Int, _ fragment: Span<UInt8>, into out: inout ByteQueue) {
        guard inputs.isOpen(index), !fragment.isEmpty else { return }
        inputs.append(fragment, to: index)
        out.append("data: {\"type\":\"tool-input-delta\",\"toolCallId\":")
        out.append(inputs.calls[index].id)
        out.append(",\"inputTextDelta\":")
        JSONText.appendQuoted(fragment, into: &out)
        out.append("}\n\n")
    }

    private mutating func closeCall(_ index: Int, into out: inout ByteQueue) {
        guard let input = inputs.close(index), JSONGrammar.isValue(input.span) else { return }
        out.append("data: {\"type\":\"tool-input-available\"")
        identify(inputs.calls[index], into: &out)
        out.append(",\"input\":")
        JSONText.appendCompact(input.span, into: &out)
        out.append("}\n\n")
    }

    private func identify(_ call: ToolInputs.Call, into out: inout ByteQueue) {
        out.append(",\"toolCallId\":")
        out.append(call.id)
        out.append(",\"toolName\":")
        out.append(call.name)
        if options.hasDynamicTools { out.append(",\"dynamic\":true") }
    }

    private mutating func source(_ url: Span<UInt8>, _ title: Span<UInt8>, into out: inout ByteQueue) {
        start(Span(), into: &out)
        out.append("data: {\"type\":\"source-url\",\"sourceId\":\"s")
        out.append(decimal: sourceCount)
        out.append("\",\"url\":")
        JSONText.appendQuoted(url, into: &out)
        if !title.isEmpty {
            out.append(",\"title\":")
            JSONText.appendQuoted(title, into: &out)
        }
        out.append("}\n\n")
        sourceCount &+= 1
    }

    // MARK: - Endings

    private func finish(into out: inout ByteQueue) {
        let reason = reason?.told(hasRefused: hasRefused)
        out.append("data: {\"type\":\"finish\"")
        if let reason, options.writesFinishReason {
            out.append(",\"finishReason\":\"")
            out.append(reason.vercelWord)
            out.append("\"")
        }
        if reason != nil || usage != nil {
            out.append(",\"messageMetadata\":{")
            var members = MemberList()
            if let reason { members.append("finishReason", word: reason.vercelWord, into: &out) }
            if let usage { write(usage, &members, into: &out) }
            out.append("}")
        }
        out.append("}\n\n")
    }

    private func write(_ usage: Usage, _ outer: inout MemberList, into out: inout ByteQueue) {
        outer.name("usage", into: &out)
        out.append("{")
        var members = MemberList()
        members.append("inputTokens", usage.input, into: &out)
        members.append("outputTokens", usage.output, into: &out)
        if let input = usage.input, let output = usage.output {
            members.append("totalTokens", input &+ output, into: &out)
        }
        members.append("cachedInputTokens", usage.cached, into: &out)
        members.append("reasoningTokens", usage.reasoning, into: &out)
        out.append("}")
    }

    /// Nothing else is written behind it but the terminator, whatever the provider still sends.
    private mutating func error(_ message: Span<UInt8>, into out: inout ByteQueue) {
        guard !hasFailed else { return }
        hasFailed = true
        closeBlock(into: &out)
        out.append("data: {\"type\":\"error\",\"errorText\":")
        JSONText.appendQuoted(message, into: &out)
        out.append("}\n\n")
    }
}

extension FinishReason {
    /// In the AI SDK's words.
    var vercelWord: StaticString {
        switch self {
        case .stop: "stop"
        case .length: "length"
        case .toolCalls: "tool-calls"
        case .contentFilter: "content-filter"
        case .error: "error"
        case .other: "other"
        }
    }
}
