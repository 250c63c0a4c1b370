import SluiceBytes

/// What both of Ollama's formats say on every line, and on the last one: model and time, counts and durations.
struct OllamaAnswer {
    private(set) var head: AnswerHead
    private(set) var usage = Usage()
    private(set) var choice = ChoiceState(index: 0)
    private var calls = HeldCalls()
    /// A call that the model wrote no object for, and that was left out.
    private(set) var hasBrokenCall = false
    private var time: AnswerTime
    private var elapsed = Interval.zero
    private var firstToken: Interval?
    /// `{"model":…,"created_at":"`, made once.
    private var front: [UInt8] = []

    init(_ options: EncoderOptions) { (head, time) = (AnswerHead(options), AnswerTime(seconds: options.created)) }

    mutating func clock(_ elapsed: Interval) { self.elapsed = elapsed }

    /// Takes what is said once; true for an event that is told on a line of its own.
    mutating func note(_ event: TokenEvent, _ batch: borrowing EventBatch) -> Bool {
        switch event {
        case .start(let id, let model, let created): head.take(batch.bytes(id), batch.bytes(model), created)
        case .usage(let counts): usage = counts
        case .finish(choice: 0, _, _): choice.note(event)
        case .text(choice: 0, _), .refusal(choice: 0, _), .reasoning(choice: 0, _), .toolCallEnd(choice: 0, _):
            beginToken(event)
            return true
        case .toolCallStart(choice: 0, let index, let id, let name):
            beginToken(event)
            calls.start(choice: 0, index: index, id: batch.bytes(id), name: batch.bytes(name))
        case .toolCallArguments(choice: 0, let index, let fragment):
            calls.append(choice: 0, index: index, batch.bytes(fragment))
        default: break
        }
        return false
    }

    /// For documents, which collect the rest themselves.
    mutating func beginToken(_ event: TokenEvent) {
        choice.note(event)
        if firstToken == nil { firstToken = elapsed }
    }

    var isOverLimit: Bool { calls.isOverLimit }

    // MARK: - Lines

    /// `{"model":…,"created_at":…`.
    mutating func openLine(into out: inout ByteQueue) {
        if front.isEmpty {
            let model = head.model
            front = .written {
                $0.append("{\"model\":")
                JSONText.appendQuoted(model.span, into: &$0)
                $0.append(",\"created_at\":\"")
            }
        }
        out.append(front)
        time.append(elapsed, into: &out)
        out.append(ASCII.quote)
    }

    /// `,"done":true,…}`, the members of the last line behind its content.
    func closeLast(into out: inout ByteQueue) {
        out.append(",\"done\":true,\"done_reason\":\"")
        out.append(choice.ending.ollamaWord)
        out.append(ASCII.quote)
        let first = min(firstToken ?? elapsed, elapsed)
        member("total_duration", elapsed.nanoseconds, into: &out)
        member("load_duration", 0, into: &out)
        count("prompt_eval_count", usage.input, into: &out)
        member("prompt_eval_duration", first.nanoseconds, into: &out)
        count("eval_count", usage.output, into: &out)
        member("eval_duration", elapsed.nanoseconds &- first.nanoseconds, into: &out)
        out.append(ASCII.rightBrace)
    }

    private func member(_ name: StaticString, _ nanoseconds: UInt64, into out: inout ByteQueue) {
        count(name, Int(truncatingIfNeeded: nanoseconds & UInt64(Int.max)), into: &out)
    }

    private func count(_ name: StaticString, _ value: Int?, into out: inout ByteQueue) {
        guard let value else { return }
        out.append(",\"")
        out.append(name)
        out.append("\":")
        out.append(decimal: value)
    }

    // MARK: - Tool calls

    /// The call that has ended as an element of `tool_calls`. nil if there is none, or its arguments are no object:
    /// Ollama has no other form for them.
    mutating func takeCall(_ index: Int) -> [UInt8]? {
        calls.take(choice: 0, index: index).flatMap { whole($0) }
    }

    /// Calls that nobody has ended.
    mutating func takeCalls() -> [[UInt8]] { calls.takeAll().compactMap { whole($0) } }

    private mutating func whole(_ call: HeldCalls.Call) -> [UInt8]? {
        let element = Self.element(call.id, call.name, call.index, call.arguments)
        if element == nil { hasBrokenCall = true }
        return element
    }

    static func element(_ id: [UInt8], _ name: [UInt8], _ index: Int, _ arguments: [UInt8]) -> [UInt8]? {
        var isWhole = true
        let element: [UInt8] = .written { out in
            out.append(ASCII.leftBrace)
            if !id.isEmpty {
                out.append("\"id\":")
                JSONText.appendQuoted(id.span, into: &out)
                out.append(ASCII.comma)
            }
            out.append("\"function\":{\"index\":")
            out.append(decimal: index)
            out.append(",\"name\":")
            JSONText.appendQuoted(name.span, into: &out)
            out.append(",\"arguments\":")
            isWhole = ToolArguments.append(arguments, into: &out)
            out.append("}}")
        }
        return isWhole ? element : nil
    }
}
