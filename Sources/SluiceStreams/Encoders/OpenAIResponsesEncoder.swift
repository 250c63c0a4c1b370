import SluiceBytes

/// `openai-responses`: the events of OpenAI's responses. Items are opened, told in
/// deltas and closed with all that they said; the last event repeats the whole output. So everything is kept, up to
/// `byteLimit`; an answer that is larger fails, since a last event with less in it would be a lie.
///
/// The output is choice 0. Reasoning is told as its summary, the one form that every reader of reasoning knows.
/// Calls may overlap, as their events name their item; a message or a reasoning is closed by whatever comes after
/// it.
struct OpenAIResponsesEncoder: StreamEncoder {
    static let byteLimit = 8 << 20

    var contentType: StaticString { "text/event-stream" }
    private var head: AnswerHead
    private var choice = ChoiceState(index: 0)
    private var usage = Usage()
    private var items: [ResponseItem] = []
    private var byteCount = 0
    /// The item that is a message or a reasoning, and open.
    private var open: Int?
    /// Positions of the calls, by their indexes.
    private var calls: [Int: Int] = [:]
    /// The constant middle of the open part's deltas: item, indexes, and the delta's key.
    private var middle: [UInt8] = []
    private var sequence = 0
    private var hasStarted = false
    private var hasFailed = false

    init(_ options: EncoderOptions) { head = AnswerHead(options) }

    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        for event in batch.events where !hasFailed { encode(event, batch, into: &out) }
    }

    private mutating func encode(_ event: TokenEvent, _ batch: borrowing EventBatch, into out: inout ByteQueue) {
        switch event {
        case .start(let id, let model, let created):
            head.take(batch.bytes(id), batch.bytes(model), created)
            start(into: &out)
        case .text(choice: 0, let text): write(.message, isRefusal: false, batch.bytes(text), into: &out)
        case .refusal(choice: 0, let text): write(.message, isRefusal: true, batch.bytes(text), into: &out)
        case .reasoning(choice: 0, let text): write(.reasoning, isRefusal: false, batch.bytes(text), into: &out)
        case .toolCallStart(choice: 0, let index, let id, let name):
            choice.note(event)
            startCall(index, batch.bytes(id), batch.bytes(name), into: &out)
        case .toolCallArguments(choice: 0, let index, let fragment):
            appendArguments(index, batch.bytes(fragment), into: &out)
        case .toolCallEnd(choice: 0, let index): endCall(index, into: &out)
        case .finish(choice: 0, _, _): choice.note(event)
        case .usage(let counts): usage = counts
        case .error(let kind, let message, let type, _):
            tell(ErrorReport(kind, batch.bytes(message), type: batch.bytes(type)), into: &out)
        default: break
        }
        if byteCount > Self.byteLimit { tell(.tooLarge, into: &out) }
    }

    mutating func end(into out: inout ByteQueue) -> BodyEnding {
        guard !hasFailed else { return .complete }
        start(into: &out)
        let reason = choice.ending
        closeOpen(reason.incompleteWord == nil ? .completed : .incomplete, into: &out)
        for index in calls.keys.sorted() { endCall(index, into: &out) }
        let name: StaticString = reason.incompleteWord == nil ? "response.completed" : "response.incomplete"
        writeResponse(name, .ended(reason), into: &out)
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

    // MARK: - The response

    private mutating func start(into out: inout ByteQueue) {
        guard !hasStarted else { return }
        hasStarted = true
        writeResponse("response.created", .inProgress, into: &out)
        writeResponse("response.in_progress", .inProgress, into: &out)
    }

    private mutating func writeResponse(
        _ type: StaticString, _ status: ResponseObject.Status, into out: inout ByteQueue
    ) {
        openEvent(type, into: &out)
        out.append(",\"response\":")
        ResponseObject(head: head, usage: usage).append(status, items, into: &out)
        NamedEvent.close(into: &out)
    }

    private mutating func tell(_ error: ErrorReport, into out: inout ByteQueue) {
        guard !hasFailed else { return }
        start(into: &out)
        hasFailed = true
        openEvent("error", into: &out)
        out.append(",\"code\":")
        JSONText.appendQuoted(error.type.span, into: &out)
        out.append(",\"message\":")
        JSONText.appendQuoted(error.message.span, into: &out)
        out.append(",\"param\":null")
        NamedEvent.close(into: &out)
        // What has been told has been told; nobody needs it twice to know that it is not the whole.
        items = []
        writeResponse("response.failed", .failed(error), into: &out)
    }

    /// Up to the members behind the number.
    private mutating func openEvent(_ type: StaticString, into out: inout ByteQueue) {
        NamedEvent.open(type, into: &out)
        out.append(",\"sequence_number\":")
        out.append(decimal: sequence)
        sequence &+= 1
    }

    private mutating func writeItem(
        _ type: StaticString, _ item: ResponseItem, _ status: ResponseItem.Status, into out: inout ByteQueue
    ) {
        openEvent(type, into: &out)
        out.append(",\"output_index\":")
        out.append(decimal: item.position)
        out.append(",\"item\":")
        item.append(status, head, into: &out)
        NamedEvent.close(into: &out)
    }

    // MARK: - Messages and reasoning

    private mutating func write(
        _ kind: ResponseItem.Kind, isRefusal: Bool, _ text: Span<UInt8>, into out: inout ByteQueue
    ) {
        byteCount &+= text.count
        if byteCount > Self.byteLimit { return }
        let position = openItem(kind, into: &out)
        openPart(position, isRefusal, into: &out)
        let part = items[position].parts.count - 1
        items[position].parts[part].text.append(text)
        openEvent(Self.deltaEvent(kind, isRefusal), into: &out)
        out.append(middle)
        JSONText.appendQuoted(text, into: &out)
        NamedEvent.close(into: &out)
    }

    private static func deltaEvent(_ kind: ResponseItem.Kind, _ isRefusal: Bool) -> StaticString {
        if kind == .reasoning { return "response.reasoning_summary_text.delta" }
        return isRefusal ? "response.refusal.delta" : "response.output_text.delta"
    }

    private mutating func openItem(_ kind: ResponseItem.Kind, into out: inout ByteQueue) -> Int {
        if let open, items[open].kind == kind { return open }
        start(into: &out)
        closeOpen(.completed, into: &out)
        let item = ResponseItem(kind, position: items.count)
        // An item costs something even with little in it.
        byteCount &+= 128
        items.append(item)
        open = item.position
        writeItem("response.output_item.added", item, .inProgress, into: &out)
        return item.position
    }

    private mutating func openPart(_ position: Int, _ isRefusal: Bool, into out: inout ByteQueue) {
        if let last = items[position].parts.last {
            if last.isRefusal == isRefusal { return }
            closePart(position, into: &out)
        }
        let part = ResponseItem.Part(isRefusal: isRefusal)
        items[position].parts.append(part)
        let (item, head) = (items[position], head)
        let isSummary = item.kind == .reasoning
        openEvent(isSummary ? "response.reasoning_summary_part.added" : "response.content_part.added", into: &out)
        Self.appendPlace(item, head, into: &out)
        out.append(",\"part\":")
        item.append(part, into: &out)
        NamedEvent.close(into: &out)
        middle = .written {
            Self.appendPlace(item, head, into: &$0)
            if !isSummary, !isRefusal { $0.append(",\"logprobs\":[]") }
            $0.append(",\"delta\":")
        }
    }

    /// The members that name the item and its last part.
    private static func appendPlace(_ item: ResponseItem, _ head: AnswerHead, into out: inout ByteQueue) {
        out.append(",\"item_id\":")
        item.appendID(head, into: &out)
        out.append(",\"output_index\":")
        out.append(decimal: item.position)
        out.append(item.kind == .reasoning ? ",\"summary_index\":" as StaticString : ",\"content_index\":")
        out.append(decimal: max(0, item.parts.count - 1))
    }

    /// The last part's whole text, and that it is done.
    private mutating func closePart(_ position: Int, into out: inout ByteQueue) {
        let item = items[position]
        guard let part = item.parts.last else { return }
        switch (item.kind, part.isRefusal) {
        case (.reasoning, _): openEvent("response.reasoning_summary_text.done", into: &out)
        case (_, true): openEvent("response.refusal.done", into: &out)
        case (_, false): openEvent("response.output_text.done", into: &out)
        }
        Self.appendPlace(item, head, into: &out)
        switch (item.kind, part.isRefusal) {
        case (.reasoning, _): out.append(",\"text\":")
        case (_, true): out.append(",\"refusal\":")
        case (_, false): out.append(",\"logprobs\":[],\"text\":")
        }
        JSONText.appendQuoted(part.text.span, into: &out)
        NamedEvent.close(into: &out)
        let isSummary = item.kind == .reasoning
        openEvent(isSummary ? "response.reasoning_summary_part.done" : "response.content_part.done", into: &out)
        Self.appendPlace(item, head, into: &out)
        out.append(",\"part\":")
        item.append(part, into: &out)
        NamedEvent.close(into: &out)
    }

    private mutating func closeOpen(_ status: ResponseItem.Status, into out: inout ByteQueue) {
        guard let position = open else { return }
        open = nil
        closePart(position, into: &out)
        items[position].isDone = status == .completed
        writeItem("response.output_item.done", items[position], status, into: &out)
    }

    // MARK: - Calls

    private mutating func startCall(
        _ index: Int, _ id: Span<UInt8>, _ name: Span<UInt8>, into out: inout ByteQueue
    ) {
        byteCount &+= 128 &+ id.count &+ name.count
        guard byteCount <= Self.byteLimit, calls[index] == nil else { return }
        start(into: &out)
        closeOpen(.completed, into: &out)
        var item = ResponseItem(.call, position: items.count)
        item.callID = .written { head.appendCallID(id, prefix: "call_", index: index, into: &$0) }
        item.name = Array(copying: name)
        items.append(item)
        calls[index] = item.position
        writeItem("response.output_item.added", item, .inProgress, into: &out)
    }

    private mutating func appendArguments(_ index: Int, _ fragment: Span<UInt8>, into out: inout ByteQueue) {
        byteCount &+= fragment.count
        guard byteCount <= Self.byteLimit, let position = calls[index], !items[position].isDone else { return }
        items[position].arguments.append(fragment)
        openCallEvent("response.function_call_arguments.delta", position, into: &out)
        out.append(",\"delta\":")
        JSONText.appendQuoted(fragment, into: &out)
        NamedEvent.close(into: &out)
    }

    private mutating func endCall(_ index: Int, into out: inout ByteQueue) {
        guard let position = calls[index], !items[position].isDone else { return }
        let hadNone = items[position].arguments.isEmpty
        let status = items[position].finishCall()
        let item = items[position]
        if hadNone {
            openCallEvent("response.function_call_arguments.delta", position, into: &out)
            out.append(",\"delta\":\"{}\"")
            NamedEvent.close(into: &out)
        }
        openCallEvent("response.function_call_arguments.done", position, into: &out)
        out.append(",\"arguments\":")
        JSONText.appendQuoted(item.arguments.span, into: &out)
        NamedEvent.close(into: &out)
        writeItem("response.output_item.done", item, status, into: &out)
    }

    private mutating func openCallEvent(_ type: StaticString, _ position: Int, into out: inout ByteQueue) {
        let item = items[position]
        openEvent(type, into: &out)
        out.append(",\"item_id\":")
        item.appendID(head, into: &out)
        out.append(",\"output_index\":")
        out.append(decimal: position)
    }
}
