import SluiceBytes

/// What one answer has shown so far, whoever sends it: makes the events of a dialect in the order and with the promises that
/// all encoders count on.
///
/// `start` comes once and first. Text leaves in whole characters: a high surrogate at the end of a delta waits for the next one
/// of its channel. Tool calls are numbered from 0 in each choice and closed before its finish. Nothing is made up: no finish, no
/// usage, no end that the provider did not send.
///
/// Strings are handed in raw, as they stand between their quotes in JSON.
struct AnswerState {
    /// More choices or tool calls than anybody asks for: their states are all that a long stream could make grow.
    static let choiceLimit = 128
    static let callLimit = 1024

    var progress = StreamProgress()
    /// Why the event being read is not to be believed; whoever reads it throws.
    private(set) var fault: StaticString?
    private(set) var hasStarted = false
    private var choices: [Choice] = []
    /// Of all choices.
    private var callTotal = 0
    private var lastUsage = Usage()
    private var failedFinish: TextRange?

    /// Runs of text that the event being read has had, and where the last one stands in memory: for `ChunkTemplate`.
    var contentCount = 0
    var content: ChunkTemplate.Place?

    private struct Choice {
        let index: Int
        var calls: [Call] = []
        var hasFinished = false
        var textHalf: UInt16?
        var reasoningHalf: UInt16?
        var refusalHalf: UInt16?
    }
    private struct Call {
        /// The provider's own number for it.
        let key: Int
        var hasArguments = false
        var hasEnded = false
        var argumentsHalf: UInt16?
    }

    // MARK: - Start

    /// `created` in seconds or milliseconds; 0 is "unknown".
    mutating func start(
        id: Span<UInt8> = Span(), model: Span<UInt8> = Span(), created: Int? = nil, into batch: inout EventBatch
    ) {
        guard !hasStarted else { return }
        hasStarted = true
        var created = created
        if let time = created, time > 100_000_000_000 { created = time / 1000 }
        let (id, model) = (Self.store(id, into: &batch), Self.store(model, into: &batch))
        batch.append(.start(id: id, model: model, created: created == 0 ? nil : created))
    }

    // MARK: - Text

    mutating func text(_ raw: Span<UInt8>, choice: Int = 0, into batch: inout EventBatch) {
        contentCount += 1
        content = ChunkTemplate.Place(raw)
        guard !raw.isEmpty, let position = open(choice, into: &batch) else { return }
        var half = choices[position].textHalf
        let hadHalf = half != nil
        let stored = Self.store(raw, &half, into: &batch)
        // Almost never, and writing it means to ask whether the list is shared.
        if hadHalf || half != nil { choices[position].textHalf = half }
        if !stored.isEmpty { batch.append(.text(choice: choice, stored)) }
    }

    /// The same for text that is no JSON string, and whole.
    mutating func plainText(_ text: Span<UInt8>, choice: Int = 0, into batch: inout EventBatch) {
        guard !text.isEmpty, open(choice, into: &batch) != nil else { return }
        let stored = batch.store { out in text.withUnsafeBufferPointer { UTF8Text.append($0, into: &out) } }
        batch.append(.text(choice: choice, stored))
    }

    mutating func reasoning(_ raw: Span<UInt8>, choice: Int = 0, into batch: inout EventBatch) {
        guard !raw.isEmpty, let position = open(choice, into: &batch) else { return }
        var half = choices[position].reasoningHalf
        let hadHalf = half != nil
        let stored = Self.store(raw, &half, into: &batch)
        // Almost never, and writing it means to ask whether the list is shared.
        if hadHalf || half != nil { choices[position].reasoningHalf = half }
        if !stored.isEmpty { batch.append(.reasoning(choice: choice, stored)) }
    }

    mutating func refusal(_ raw: Span<UInt8>, choice: Int = 0, into batch: inout EventBatch) {
        guard !raw.isEmpty, let position = open(choice, into: &batch) else { return }
        let stored = Self.store(raw, &choices[position].refusalHalf, into: &batch)
        if !stored.isEmpty { batch.append(.refusal(choice: choice, stored)) }
    }

    /// The provider's proof of the reasoning before it.
    mutating func signature(_ raw: Span<UInt8>, choice: Int = 0, into batch: inout EventBatch) {
        guard !raw.isEmpty, open(choice, into: &batch) != nil else { return }
        batch.append(.reasoningSignature(choice: choice, Self.store(raw, into: &batch)))
    }

    mutating func source(url: Span<UInt8>, title: Span<UInt8> = Span(), into batch: inout EventBatch) {
        guard !url.isEmpty else { return }
        start(into: &batch)
        let (url, title) = (Self.store(url, into: &batch), Self.store(title, into: &batch))
        batch.append(.source(url: url, title: title))
    }

    // MARK: - Tool calls

    /// How many calls the choice has had: the next key for providers that do not number them.
    func callCount(choice: Int = 0) -> Int { choices.first { $0.index == choice }?.calls.count ?? 0 }

    /// `key` is the provider's own number for the call; a key that is known opens nothing.
    mutating func openCall(
        key: Int, id: Span<UInt8> = Span(), name: Span<UInt8>, choice: Int = 0, into batch: inout EventBatch
    ) {
        guard let position = open(choice, into: &batch) else { return }
        let calls = choices[position].calls.count
        if choices[position].calls.contains(where: { $0.key == key }) { return }
        guard callTotal < Self.callLimit else {
            fault = "more tool calls than the limit of 1024"
            return
        }
        callTotal += 1
        choices[position].calls.append(Call(key: key))
        let (id, name) = (Self.store(id, into: &batch), Self.store(name, into: &batch))
        batch.append(.toolCallStart(choice: choice, index: calls, id: id, name: name))
    }

    /// A fragment of the arguments' JSON text, in a JSON string. A key that is not known goes with no call.
    mutating func arguments(key: Int, _ raw: Span<UInt8>, choice: Int = 0, into batch: inout EventBatch) {
        guard !raw.isEmpty, let (position, call) = find(key, choice) else { return }
        let stored = Self.store(raw, &choices[position].calls[call].argumentsHalf, into: &batch)
        choices[position].calls[call].hasArguments = true
        if !stored.isEmpty { batch.append(.toolCallArguments(choice: choice, index: call, stored)) }
    }

    /// The arguments as a JSON value of their own: its text, without the white space between its parts.
    mutating func arguments(key: Int, value json: Span<UInt8>, choice: Int = 0, into batch: inout EventBatch) {
        guard !json.isEmpty, let (position, call) = find(key, choice) else { return }
        choices[position].calls[call].hasArguments = true
        let stored = batch.store { JSONText.appendCompact(json, into: &$0) }
        batch.append(.toolCallArguments(choice: choice, index: call, stored))
    }

    /// Whether anything has come for the call's arguments.
    func hasArguments(key: Int, choice: Int = 0) -> Bool {
        guard let (position, call) = find(key, choice) else { return false }
        return choices[position].calls[call].hasArguments
    }

    mutating func closeCall(key: Int, choice: Int = 0, into batch: inout EventBatch) {
        guard let (position, call) = find(key, choice) else { return }
        close(call: call, of: position, into: &batch)
    }

    private func find(_ key: Int, _ choice: Int) -> (position: Int, call: Int)? {
        guard let position = choices.firstIndex(where: { $0.index == choice }),
            let call = choices[position].calls.firstIndex(where: { $0.key == key })
        else { return nil }
        return (position, call)
    }

    private mutating func close(call: Int, of position: Int, into batch: inout EventBatch) {
        guard !choices[position].calls[call].hasEnded else { return }
        choices[position].calls[call].hasEnded = true
        let choice = choices[position].index
        if let text = Self.orphan(&choices[position].calls[call].argumentsHalf, into: &batch) {
            batch.append(.toolCallArguments(choice: choice, index: call, text))
        }
        batch.append(.toolCallEnd(choice: choice, index: call))
    }

    // MARK: - Endings

    /// The choice's finish, once. A choice with tool calls that merely stopped has finished for them. A reason that is a failure
    /// becomes an error too, in `settle`.
    mutating func finish(
        _ reason: FinishReason, raw: Span<UInt8>, choice: Int = 0, into batch: inout EventBatch
    ) {
        start(into: &batch)
        guard let position = position(of: choice), !choices[position].hasFinished else { return }
        close(position, into: &batch)
        choices[position].hasFinished = true
        progress.sawFinish = choices.allSatisfy(\.hasFinished)
        let isForCalls = reason == .stop && !choices[position].calls.isEmpty
        let word = Self.store(raw, into: &batch)
        batch.append(.finish(choice: choice, isForCalls ? .toolCalls : reason, raw: word))
        if reason == .error { failedFinish = word }
    }

    /// An event has been read: a finish that is a failure becomes an error, unless the provider told one in its own words.
    mutating func settle(into batch: inout EventBatch) {
        guard let word = failedFinish else { return }
        failedFinish = nil
        guard !progress.sawError else { return }
        progress.sawError = true
        let kind: StreamErrorKind =
            ASCII.equal(batch.bytes(word), "insufficient_system_resource") ? .overloaded : .provider
        let message = batch.store("the provider ended the answer with an error")
        batch.append(.error(kind, message: message, type: word, retryAfterSeconds: nil))
    }

    func hasFinished(choice: Int = 0) -> Bool { choices.first { $0.index == choice }?.hasFinished ?? false }

    /// Figures are cumulative; nil takes nothing back. An event is made when one changes.
    mutating func usage(_ counts: Usage, into batch: inout EventBatch) {
        guard counts.input != nil || counts.output != nil || counts.cached != nil || counts.reasoning != nil else {
            return
        }
        var usage = lastUsage
        usage.input = counts.input ?? usage.input
        usage.output = counts.output ?? usage.output
        usage.cached = counts.cached ?? usage.cached
        usage.reasoning = counts.reasoning ?? usage.reasoning
        guard usage != lastUsage else { return }
        start(into: &batch)
        lastUsage = usage
        batch.append(.usage(usage))
    }

    /// What has been counted until now.
    var countedUsage: Usage { lastUsage }

    /// An error that the provider reports inside its stream.
    mutating func error(
        _ kind: StreamErrorKind, message raw: Span<UInt8>, type: Span<UInt8> = Span(), into batch: inout EventBatch
    ) {
        start(into: &batch)
        progress.sawError = true
        let (message, type) = (Self.store(raw, into: &batch), Self.store(type, into: &batch))
        batch.append(.error(kind, message: message, type: type, retryAfterSeconds: nil))
    }

    /// The same, where the data of an error event is no JSON.
    mutating func error(plain data: Span<UInt8>, into batch: inout EventBatch) {
        start(into: &batch)
        progress.sawError = true
        let message = batch.store { out in data.withUnsafeBufferPointer { UTF8Text.append($0, into: &out) } }
        batch.append(.error(.provider, message: message, type: .empty, retryAfterSeconds: nil))
    }

    /// The dialect's own terminator.
    mutating func end(into batch: inout EventBatch) {
        guard !progress.sawEnd else { return }
        start(into: &batch)
        settle(into: &batch)
        for position in choices.indices where !choices[position].hasFinished { close(position, into: &batch) }
        progress.sawEnd = true
        batch.append(.end)
    }

    /// The body has ended: what a split character still waits for never comes.
    mutating func finishHalves(into batch: inout EventBatch) {
        for position in choices.indices { dropHalves(position, into: &batch) }
    }

    // MARK: - Choices

    /// The choice has begun, though it may have said nothing yet: the stream is not finished before it is.
    mutating func open(_ choice: Int) { _ = position(of: choice) }

    /// A tool call has begun, though its name has not come yet.
    mutating func sawCall() { progress.sawContent = true }

    private mutating func open(_ choice: Int, into batch: inout EventBatch) -> Int? {
        if !hasStarted { start(into: &batch) }
        progress.sawContent = true
        return position(of: choice)
    }

    private mutating func position(of choice: Int) -> Int? {
        if !choices.isEmpty, choices[0].index == choice { return 0 }
        if let position = choices.firstIndex(where: { $0.index == choice }) { return position }
        guard choices.count < Self.choiceLimit else {
            fault = "more choices than the limit of 128"
            return nil
        }
        choices.append(Choice(index: choice))
        progress.sawFinish = false
        return choices.count - 1
    }

    /// Nothing more of this choice is expected.
    private mutating func close(_ position: Int, into batch: inout EventBatch) {
        dropHalves(position, into: &batch)
        for call in choices[position].calls.indices { close(call: call, of: position, into: &batch) }
    }

    private mutating func dropHalves(_ position: Int, into batch: inout EventBatch) {
        let choice = choices[position].index
        if let text = Self.orphan(&choices[position].textHalf, into: &batch) {
            batch.append(.text(choice: choice, text))
        }
        if let text = Self.orphan(&choices[position].reasoningHalf, into: &batch) {
            batch.append(.reasoning(choice: choice, text))
        }
        if let text = Self.orphan(&choices[position].refusalHalf, into: &batch) {
            batch.append(.refusal(choice: choice, text))
        }
        for call in choices[position].calls.indices {
            guard let text = Self.orphan(&choices[position].calls[call].argumentsHalf, into: &batch) else { continue }
            batch.append(.toolCallArguments(choice: choice, index: call, text))
        }
    }

    // MARK: - Storing

    private static func orphan(_ half: inout UInt16?, into batch: inout EventBatch) -> TextRange? {
        guard half != nil else { return nil }
        return batch.store { JSONText.dropHalf(&half, into: &$0) }
    }

    private static func store(_ raw: Span<UInt8>, into batch: inout EventBatch) -> TextRange {
        guard !raw.isEmpty else { return .empty }
        var half: UInt16?
        return batch.store { out in
            JSONText.append(raw, half: &half, into: &out)
            JSONText.dropHalf(&half, into: &out)
        }
    }

    /// Keeps a high surrogate at the end of `raw` in `half`.
    private static func store(_ raw: Span<UInt8>, _ half: inout UInt16?, into batch: inout EventBatch) -> TextRange {
        batch.store { JSONText.append(raw, half: &half, into: &$0) }
    }
}
