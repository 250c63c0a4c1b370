import SluiceBytes

/// A whole answer, put together from its events, for clients that want one document. Bounded in all.
struct CollectedAnswer {
    static let byteLimit = 32 << 20

    /// What a choice said without a break, in the order in which it began.
    struct Part {
        enum Kind: Equatable { case text, reasoning, signature, refusal, call(Int) }
        let kind: Kind
        /// Text, signature, or a call's arguments.
        var bytes: [UInt8] = []
        var id: [UInt8] = []
        var name: [UInt8] = []
        /// Of a call.
        var signature: [UInt8] = []

        var callIndex: Int? { if case .call(let index) = kind { index } else { nil } }
    }
    struct Choice {
        var state: ChoiceState
        var parts: [Part] = []
        /// Where the calls stand among the parts; calls are numbered in the order of their starts.
        var callPositions: [Int] = []
    }

    private(set) var head: AnswerHead
    private(set) var usage: Usage?
    private var choices: [Choice] = []
    private var byteCount = 0
    private let signsCalls: Bool

    init(_ options: EncoderOptions) { (head, signsCalls) = (AnswerHead(options), options.signsCalls) }

    var isOverLimit: Bool { byteCount > Self.byteLimit }
    /// In the order of their numbers, and at least one.
    var sorted: [Choice] {
        choices.isEmpty
            ? [Choice(state: ChoiceState(index: 0))] : choices.sorted { $0.state.index < $1.state.index }
    }
    /// For formats that have one message.
    var message: Choice { choices.first { $0.state.index == 0 } ?? Choice(state: ChoiceState(index: 0)) }

    // MARK: - Collecting

    mutating func take(_ event: TokenEvent, _ batch: borrowing EventBatch) {
        switch event {
        case .start(let id, let model, let created): head.take(batch.bytes(id), batch.bytes(model), created)
        case .usage(let counts): usage = counts
        case .text(let choice, let text): append(.text, batch.bytes(text), note(event, choice))
        case .refusal(let choice, let text): append(.refusal, batch.bytes(text), note(event, choice))
        case .reasoning(let choice, let text): append(.reasoning, batch.bytes(text), note(event, choice))
        case .reasoningSignature(let choice, let proof):
            let position = note(event, choice)
            add(Part(kind: .signature, bytes: Array(copying: batch.bytes(proof))), position)
        case .toolCallStart(let choice, let index, let id, let name):
            let (id, name) = (Array(copying: batch.bytes(id)), Array(copying: batch.bytes(name)))
            let position = note(event, choice)
            var part = Part(kind: .call(index), id: id, name: name)
            if signsCalls, let last = choices[position].parts.last, last.kind == .signature {
                part.signature = last.bytes
            }
            add(part, position)
        case .toolCallArguments(let choice, let index, let fragment):
            append(batch.bytes(fragment), toCall: index, note(event, choice))
        case .finish(let choice, _, _): _ = note(event, choice)
        default: break
        }
    }

    private mutating func note(_ event: TokenEvent, _ choice: Int) -> Int {
        let position = choices.firstIndex { $0.state.index == choice } ?? choices.count
        if position == choices.count { choices.append(Choice(state: ChoiceState(index: choice))) }
        choices[position].state.note(event)
        return position
    }

    private mutating func add(_ part: Part, _ position: Int) {
        // A part costs something even with nothing in it.
        byteCount &+= 128 &+ part.bytes.count &+ part.id.count &+ part.name.count
        guard !isOverLimit else { return }
        if part.callIndex != nil { choices[position].callPositions.append(choices[position].parts.count) }
        choices[position].parts.append(part)
    }

    private mutating func append(_ kind: Part.Kind, _ text: Span<UInt8>, _ position: Int) {
        if choices[position].parts.last?.kind != kind { add(Part(kind: kind), position) }
        byteCount &+= text.count
        guard !isOverLimit else { return }
        choices[position].parts[choices[position].parts.count - 1].bytes.append(text)
    }

    private mutating func append(_ fragment: Span<UInt8>, toCall index: Int, _ position: Int) {
        byteCount &+= fragment.count
        guard !isOverLimit, choices[position].callPositions.indices.contains(index) else { return }
        choices[position].parts[choices[position].callPositions[index]].bytes.append(fragment)
    }
}

extension CollectedAnswer.Choice {
    typealias Part = CollectedAnswer.Part

    var calls: [Part] { parts.filter { $0.callIndex != nil } }
    func has(_ kinds: Part.Kind...) -> Bool { parts.contains { kinds.contains($0.kind) } }

    /// All parts of some kinds as one string, quoted.
    func appendQuoted(_ kinds: Part.Kind..., into out: inout ByteQueue) {
        out.append(ASCII.quote)
        for part in parts where kinds.contains(part.kind) { JSONText.appendEscaped(part.bytes.span, into: &out) }
        out.append(ASCII.quote)
    }

    /// `[{"id","type":"function","function":{"name","arguments":"…"}}…]`.
    func appendCalls(_ head: AnswerHead, into out: inout ByteQueue) {
        out.append(ASCII.leftBracket)
        for (position, call) in calls.enumerated() {
            out.append(position == 0 ? "{\"id\":" as StaticString : ",{\"id\":")
            head.appendCallID(call.id.span, prefix: "call_", index: call.callIndex ?? 0, into: &out)
            out.append(",\"type\":\"function\",\"function\":{\"name\":")
            JSONText.appendQuoted(call.name.span, into: &out)
            out.append(",\"arguments\":")
            call.appendArguments(into: &out)
            out.append(ASCII.rightBrace)
            OpenAIChatEncoder.appendSignature(call.signature.span, into: &out)
            out.append(ASCII.rightBrace)
        }
        out.append(ASCII.rightBracket)
    }
}

extension CollectedAnswer.Part {
    /// The arguments' text, quoted; that of an object with no members, if the provider sent none.
    func appendArguments(into out: inout ByteQueue) {
        if bytes.isEmpty { out.append("\"{}\"") } else { JSONText.appendQuoted(bytes.span, into: &out) }
    }
}
