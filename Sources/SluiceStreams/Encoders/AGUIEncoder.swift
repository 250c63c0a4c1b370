import SluiceBytes

/// `ag-ui`: events of the Agent User Interaction protocol over an event stream, one run an answer.
///
/// Its clients check the nesting. Everything that starts is ended before the run is, `RUN_FINISHED` at a true end and
/// `RUN_ERROR` else, and nothing comes behind that. One message is open at a time; older clients also want one tool call
/// at a time, so a call is ended as soon as its arguments are whole and something else begins. Calls that a provider
/// really interleaves run beside each other. The finish reason and usage are the run's `result`.
struct AGUIEncoder: StreamEncoder {
    var contentType: StaticString { "text/event-stream" }

    private let options: EncoderOptions
    private var hasStarted = false
    private var hasEnded = false
    private var message: Message?
    /// What the ids of messages begin with, escaped for JSON.
    private var idPrefix: [UInt8] = []
    private var messageCount = 0
    /// The open message's id, a JSON string.
    private var messageID: [UInt8] = []
    /// A delta of the open message up to its text, made when the message opens.
    private var deltaHead: [UInt8] = []
    /// The assistant's message that calls belong to; empty until there is one. It lasts until another message begins.
    private var parentID: [UInt8] = []
    private var calls: [Call] = []
    private var reason: FinishReason?
    private var hasRefused = false
    private var usage: Usage?

    private enum Message { case text, reasoning }

    private struct Call {
        /// A JSON string, with its quotes.
        let id: [UInt8]
        var hasArguments = false
        var brackets = BracketCount()
        var hasEnded = false
    }

    init(_ options: EncoderOptions) { self.options = options }

    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        for event in batch.events where !hasEnded { encode(event, batch, into: &out) }
    }

    private mutating func encode(_ event: TokenEvent, _ batch: borrowing EventBatch, into out: inout ByteQueue) {
        switch event {
        case .start(let id, _, _): start(batch.bytes(id), into: &out)
        case .text(choice: 0, let text): delta(.text, batch.bytes(text), into: &out)
        case .refusal(choice: 0, let text):
            hasRefused = true
            delta(.text, batch.bytes(text), into: &out)
        case .reasoning(choice: 0, let text): delta(.reasoning, batch.bytes(text), into: &out)
        case .toolCallStart(choice: 0, let index, let id, let name):
            openCall(index, batch.bytes(id), batch.bytes(name), into: &out)
        case .toolCallArguments(choice: 0, let index, let fragment):
            arguments(index, batch.bytes(fragment), into: &out)
        case .toolCallEnd(choice: 0, let index): closeCall(index, into: &out)
        case .finish(choice: 0, let reason, _): self.reason = reason
        case .usage(let counts): usage = counts
        case .error(let kind, let message, let type, _):
            error(batch.bytes(message), batch.bytes(type), kind, into: &out)
        default: break
        }
    }

    mutating func end(into out: inout ByteQueue) -> BodyEnding {
        guard !hasEnded else { return .complete }
        if reason == .error {
            return fail(StreamFailure(.provider, "the provider ended the answer with an error"), into: &out)
        }
        closeAll(into: &out)
        hasEnded = true
        out.append("data: {\"type\":\"RUN_FINISHED\"")
        identifyRun(into: &out)
        if reason != nil || usage != nil { writeResult(into: &out) }
        out.append("}\n\n")
        return .complete
    }

    mutating func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding {
        error(Array(failure.message.utf8).span, Span(), failure.kind, into: &out)
        return .complete
    }

    func keepalive(into out: inout ByteQueue) -> Bool {
        out.append(":\n\n")
        return true
    }

    // MARK: - The run

    private mutating func start(_ id: Span<UInt8>, into out: inout ByteQueue) {
        guard !hasStarted else { return }
        hasStarted = true
        let own = Array(options.id.utf8)
        var prefix = ByteQueue()
        JSONText.appendEscaped(id.isEmpty ? own.span : id, into: &prefix)
        idPrefix = prefix.withUnsafeBytes { Array($0) }
        out.append("data: {\"type\":\"RUN_STARTED\"")
        identifyRun(into: &out)
        out.append("}\n\n")
    }

    private func identifyRun(into out: inout ByteQueue) {
        out.append(",\"threadId\":")
        JSONText.appendQuoted(options.threadID.isEmpty ? "thread_\(options.id)" : options.threadID, into: &out)
        out.append(",\"runId\":")
        JSONText.appendQuoted(options.runID.isEmpty ? "run_\(options.id)" : options.runID, into: &out)
    }

    private func writeResult(into out: inout ByteQueue) {
        out.append(",\"result\":{")
        var members = MemberList()
        if let reason {
            members.append("finishReason", word: reason.told(hasRefused: hasRefused).word, into: &out)
        }
        if let usage {
            members.name("usage", into: &out)
            out.append("{")
            var figures = MemberList()
            figures.append("inputTokens", usage.input, into: &out)
            figures.append("outputTokens", usage.output, into: &out)
            figures.append("cachedInputTokens", usage.cached, into: &out)
            figures.append("reasoningTokens", usage.reasoning, into: &out)
            out.append("}")
        }
        out.append("}")
    }

    private mutating func error(
        _ text: Span<UInt8>, _ type: Span<UInt8>, _ kind: StreamErrorKind, into out: inout ByteQueue
    ) {
        guard !hasEnded else { return }
        closeAll(into: &out)
        hasEnded = true
        out.append("data: {\"type\":\"RUN_ERROR\",\"message\":")
        JSONText.appendQuoted(text, into: &out)
        out.append(",\"code\":")
        if type.isEmpty {
            out.append("\"")
            out.append(kind.word)
            out.append("\"")
        } else {
            JSONText.appendQuoted(type, into: &out)
        }
        out.append("}\n\n")
    }

    private mutating func closeAll(into out: inout ByteQueue) {
        start(Span(), into: &out)
        closeMessage(into: &out)
        for index in calls.indices where !calls[index].hasEnded {
            // Of a call that was cut nothing is made up, only its end.
            calls[index].hasArguments = true
            closeCall(index, into: &out)
        }
    }

    // MARK: - Messages

    private mutating func delta(_ kind: Message, _ text: Span<UInt8>, into out: inout ByteQueue) {
        if text.isEmpty { return }
        if message != kind { open(kind, into: &out) }
        out.append(deltaHead)
        JSONText.appendQuoted(text, into: &out)
        out.append("}\n\n")
    }

    private mutating func open(_ kind: Message, into out: inout ByteQueue) {
        makeRoom(into: &out)
        messageID = freshID()
        message = kind
        switch kind {
        case .text:
            parentID = messageID
            write("TEXT_MESSAGE_START", more: ",\"role\":\"assistant\"}\n\n", into: &out)
            deltaHead = makeHead("TEXT_MESSAGE_CONTENT")
        case .reasoning:
            parentID = []
            write("REASONING_START", into: &out)
            write("REASONING_MESSAGE_START", more: ",\"role\":\"reasoning\"}\n\n", into: &out)
            deltaHead = makeHead("REASONING_MESSAGE_CONTENT")
        }
    }

    private mutating func closeMessage(into out: inout ByteQueue) {
        switch message {
        case .text: write("TEXT_MESSAGE_END", into: &out)
        case .reasoning:
            write("REASONING_MESSAGE_END", into: &out)
            write("REASONING_END", into: &out)
        case nil: break
        }
        message = nil
    }

    /// An event about the open message.
    private func write(_ type: StaticString, more: StaticString = "}\n\n", into out: inout ByteQueue) {
        out.append("data: {\"type\":\"")
        out.append(type)
        out.append("\",\"messageId\":")
        out.append(messageID)
        out.append(more)
    }

    private func makeHead(_ type: StaticString) -> [UInt8] {
        var head = ByteQueue()
        write(type, more: ",\"delta\":", into: &head)
        return head.withUnsafeBytes { Array($0) }
    }

    private mutating func freshID() -> [UInt8] {
        var id = ByteQueue()
        id.append(ASCII.quote)
        id.append(idPrefix)
        id.append("_")
        id.append(decimal: messageCount)
        id.append(ASCII.quote)
        messageCount &+= 1
        return id.withUnsafeBytes { Array($0) }
    }

    /// Before something begins: ends the open message, and the calls that can have no more arguments.
    private mutating func makeRoom(into out: inout ByteQueue) {
        start(Span(), into: &out)
        closeMessage(into: &out)
        for index in calls.indices where calls[index].brackets.isWhole { closeCall(index, into: &out) }
    }

    // MARK: - Tool calls

    private mutating func openCall(_ index: Int, _ id: Span<UInt8>, _ name: Span<UInt8>, into out: inout ByteQueue) {
        makeRoom(into: &out)
        // Calls that follow each other belong to one message of the assistant, as providers want them back.
        if parentID.isEmpty { parentID = freshID() }
        let known = calls
        let quoted = ToolCallID.quoted(id, index, ownID: options.id) { id in known.contains { $0.id == id } }
        calls.append(Call(id: quoted))
        out.append("data: {\"type\":\"TOOL_CALL_START\",\"toolCallId\":")
        out.append(quoted)
        out.append(",\"toolCallName\":")
        JSONText.appendQuoted(name, into: &out)
        out.append(",\"parentMessageId\":")
        out.append(parentID)
        out.append("}\n\n")
    }

    private mutating func arguments(_ index: Int, _ fragment: Span<UInt8>, into out: inout ByteQueue) {
        guard calls.indices.contains(index), !calls[index].hasEnded, !fragment.isEmpty else { return }
        calls[index].hasArguments = true
        calls[index].brackets.take(fragment)
        openArguments(index, into: &out)
        JSONText.appendQuoted(fragment, into: &out)
        out.append("}\n\n")
    }

    private func openArguments(_ index: Int, into out: inout ByteQueue) {
        out.append("data: {\"type\":\"TOOL_CALL_ARGS\",\"toolCallId\":")
        out.append(calls[index].id)
        out.append(",\"delta\":")
    }

    private mutating func closeCall(_ index: Int, into out: inout ByteQueue) {
        guard calls.indices.contains(index), !calls[index].hasEnded else { return }
        calls[index].hasEnded = true
        if !calls[index].hasArguments {
            // Clients parse the arguments, and nothing is no JSON.
            openArguments(index, into: &out)
            out.append("\"{}\"}\n\n")
        }
        out.append("data: {\"type\":\"TOOL_CALL_END\",\"toolCallId\":")
        out.append(calls[index].id)
        out.append("}\n\n")
    }
}
