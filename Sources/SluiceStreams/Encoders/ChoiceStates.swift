/// What an encoder remembers of one choice until its end.
struct ChoiceState {
    let index: Int
    private(set) var reason: FinishReason?
    private(set) var hasCalls = false
    private(set) var isRefused = false
    /// For encoders that write something first (a role).
    var hasBegun = false
    /// For encoders that write the finish when it comes.
    var hasFinished = false

    init(index: Int) { self.index = index }

    /// Takes what the event says of this choice, which is known to be its own.
    mutating func note(_ event: TokenEvent) {
        switch event {
        case .refusal: isRefused = true
        case .toolCallStart: hasCalls = true
        // What follows a finish for an error is the error itself, and that is what clients take for a failure.
        case .finish(_, let reason, _) where reason != .error: self.reason = self.reason ?? reason
        default: break
        }
    }

    /// Why it ended. Clients wait for a word on that, even if the provider ended the stream without one.
    var ending: FinishReason { reason ?? (hasCalls ? .toolCalls : .stop) }

    /// The same, for formats where a refusal is text like any other and only the ending can tell.
    var endingOfText: FinishReason { isRefused && ending == .stop ? .contentFilter : ending }
}

/// The choices of an answer in the order in which they began. Their number is bounded by the decoders.
struct ChoiceStates {
    private(set) var all: [ChoiceState] = []

    subscript(choice: Int) -> ChoiceState {
        get { all.first { $0.index == choice } ?? ChoiceState(index: choice) }
        set { all[position(of: choice)] = newValue }
    }

    mutating func position(of choice: Int) -> Int {
        if let first = all.first, first.index == choice { return 0 }
        if let position = all.firstIndex(where: { $0.index == choice }) { return position }
        all.append(ChoiceState(index: choice))
        return all.count - 1
    }

    mutating func note(_ event: TokenEvent) {
        switch event {
        case .text(let choice, _), .reasoning(let choice, _), .refusal(let choice, _),
            .reasoningSignature(let choice, _),
            .toolCallStart(let choice, _, _, _), .finish(let choice, _, _):
            all[position(of: choice)].note(event)
        default: break
        }
    }

    /// In the order of their numbers; a stream that had no choice at all had one with nothing in it.
    var sorted: [ChoiceState] {
        all.isEmpty ? [ChoiceState(index: 0)] : all.sorted { $0.index < $1.index }
    }
}
