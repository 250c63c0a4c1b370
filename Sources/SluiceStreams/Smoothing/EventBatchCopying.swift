import SluiceBytes

extension EventBatch {
    /// Appends an event of another batch, with a copy of what it points to.
    mutating func append(_ event: TokenEvent, of other: borrowing EventBatch) {
        switch event {
        case .start(let id, let model, let created):
            append(.start(id: copy(id, of: other), model: copy(model, of: other), created: created))
        case .text(let choice, let text): append(.text(choice: choice, copy(text, of: other)))
        case .reasoning(let choice, let text): append(.reasoning(choice: choice, copy(text, of: other)))
        case .reasoningSignature(let choice, let proof):
            append(.reasoningSignature(choice: choice, copy(proof, of: other)))
        case .refusal(let choice, let text): append(.refusal(choice: choice, copy(text, of: other)))
        case .toolCallStart(let choice, let index, let id, let name):
            let (id, name) = (copy(id, of: other), copy(name, of: other))
            append(.toolCallStart(choice: choice, index: index, id: id, name: name))
        case .toolCallArguments(let choice, let index, let text):
            append(.toolCallArguments(choice: choice, index: index, copy(text, of: other)))
        case .source(let url, let title): append(.source(url: copy(url, of: other), title: copy(title, of: other)))
        case .finish(let choice, let reason, let raw):
            append(.finish(choice: choice, reason, raw: copy(raw, of: other)))
        case .error(let kind, let message, let type, let seconds):
            let (message, type) = (copy(message, of: other), copy(type, of: other))
            append(.error(kind, message: message, type: type, retryAfterSeconds: seconds))
        case .toolCallEnd, .usage, .ping, .unknown, .end: append(event)
        }
    }

    private mutating func copy(_ text: TextRange, of other: borrowing EventBatch) -> TextRange {
        text.isEmpty ? .empty : store(other.bytes(text))
    }

    /// More of the text that the last event is.
    mutating func extendLast(with text: Span<UInt8>) {
        guard let last = events.last else { return }
        switch last {
        case .text(_, let range), .reasoning(_, let range), .refusal(_, let range):
            let more = store(text)
            replaceLast(with: last.withText(TextRange(start: range.start, count: range.count + more.count)))
        default: break
        }
    }
}

extension TokenEvent {
    /// The same with another text, if it is text of the model's.
    func withText(_ range: TextRange) -> TokenEvent {
        switch self {
        case .text(let choice, _): .text(choice: choice, range)
        case .reasoning(let choice, _): .reasoning(choice: choice, range)
        case .refusal(let choice, _): .refusal(choice: choice, range)
        default: self
        }
    }
}
