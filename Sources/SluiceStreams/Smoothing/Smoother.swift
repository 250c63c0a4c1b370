import SluiceBytes

/// Paces what a model says for a typing effect: visible text, reasoning and refusals leave in whole words, either as soon as each
/// is whole or one after the other at an interval.
///
/// A pure machine between a decoder and an encoder: events and the time go in, events come out in the same order, cut anew. What
/// leaves at a time is one event, so that no format makes much of little. Only text is held, and what stands between texts; a
/// tool call, a finish, an error and the end let all that is held leave before them, at once. What was said is never changed:
/// joined, the pieces are the text that came.
public struct Smoother: ~Copyable {
    public enum Pace: Sendable, Equatable {
        /// Words leave as soon as they are whole.
        case word
        /// One word each interval, and more where they would wait for about a second.
        case interval(Interval)

        /// From about as often as the loop's timers turn to as long as anything may wait.
        public static let intervals = Interval.milliseconds(5)...Interval.seconds(1)
    }

    /// The first text of a stream leaves as it comes, so that nobody waits longer for a first token.
    private var hasBegun = false
    private let pace: Pace
    private let limitBytes: Int
    /// What waits, from `front` on. The last event grows while text of its kind comes.
    private var held = EventBatch()
    private var front = 0
    /// Bytes of the front event that have left.
    private var cut = 0
    /// Of the texts that wait, and of what stands between them.
    private var (textBytes, otherBytes) = (0, 0)
    /// Counted with text that waits. It has no place between two texts, and some providers count with each: so it parts no words.
    private var usage: Usage?
    /// The front event begins with a whole piece.
    private var isReady = false

    private var lastText = Instant(nanoseconds: 0)
    /// Since when the same unfinished piece is at the front.
    private var frontSince = Instant(nanoseconds: 0)
    private var nextTick = Instant(nanoseconds: 0)
    /// So many bytes must leave each interval for none to wait longer than `patience`. It only grows until nothing waits: then
    /// what came at any time has left `patience` later.
    private var bytesPerTick = 0

    /// A piece that may be unfinished leaves when so long nothing has come.
    static let silence = Interval.milliseconds(100)
    /// Nothing waits much longer.
    static let patience = Interval.seconds(1)
    static let eventWeight = 64

    /// `limitBytes`: beyond it the oldest of what is held leaves at once, and the upstream is not slowed down.
    public init(_ pace: Pace, limitBytes: Int) { (self.pace, self.limitBytes) = (pace, limitBytes) }

    /// When `advance` has something to do, if nothing comes before; nil if nothing waits.
    public var due: Instant? {
        if isEmpty { return nil }
        let overdue = min(lastText + Self.silence, frontSince + Self.patience)
        if case .word = pace { return overdue }
        return isReady ? nextTick : max(nextTick, overdue)
    }

    /// What is held, as the bound counts it.
    public var heldBytes: Int { textBytes + otherBytes + (held.events.count - front) * Self.eventWeight }

    /// Takes the events of one read; those whose time has come are appended to `out`.
    public mutating func take(_ batch: borrowing EventBatch, at now: Instant, into out: inout EventBatch) {
        for event in batch.events {
            switch event {
            case .text(_, let text), .reasoning(_, let text), .refusal(_, let text):
                if text.isEmpty { continue }
                hold(event, text, of: batch, at: now)
                if !hasBegun { begin(at: now, into: &out) }
                advance(to: now, into: &out)
            case .usage(let counts) where !isEmpty: usage = counts
            case .reasoningSignature where !isEmpty, .source where !isEmpty: hold(event, of: batch)
            case .ping, .unknown, .usage, .reasoningSignature, .source: out.append(event, of: batch)
            case .start, .toolCallStart, .toolCallArguments, .toolCallEnd, .finish, .error, .end:
                releaseAll(into: &out)
                out.append(event, of: batch)
            }
            while heldBytes > limitBytes { release(atLeast: heldBytes - limitBytes, force: true, into: &out) }
        }
    }

    /// Lets go of what is due at `now`.
    public mutating func advance(to now: Instant, into out: inout EventBatch) {
        let wasReady = isReady
        look()
        if isEmpty { return }
        let before = textBytes
        let isOverdue = now >= lastText + Self.silence || now >= frontSince + Self.patience
        switch pace {
        case .word:
            while isReady { release(atLeast: .max, force: false, into: &out) }
            if isOverdue, !isEmpty { release(atLeast: .max, force: true, into: &out) }
        case .interval(let interval):
            // Nothing could have left before now.
            if !wasReady, nextTick < now { nextTick = now }
            guard now >= nextTick, isReady || isOverdue else { return }
            tick(interval, at: now, isOverdue: isOverdue, into: &out)
        }
        if textBytes != before { frontSince = now }
        if !isReady { bytesPerTick = 0 }
    }

    private mutating func tick(
        _ interval: Interval, at now: Instant, isOverdue: Bool, into out: inout EventBatch
    ) {
        // Those that a busy loop or a slow client has left out are made up for.
        let missed = (now - nextTick).nanoseconds / max(1, interval.nanoseconds)
        let wanted = max(1, bytesPerTick * (1 + Int(min(missed, 1 << 20))))
        var released = 0
        while isReady, released < wanted {
            released += release(atLeast: wanted - released, force: false, into: &out)
        }
        if released == 0, isOverdue { release(atLeast: .max, force: true, into: &out) }
        nextTick = missed == 0 ? nextTick + interval : now + interval
    }

    /// Everything leaves: what comes next must not overtake it.
    public mutating func releaseAll(into out: inout EventBatch) {
        while !isEmpty { release(atLeast: .max, force: true, into: &out) }
        bytesPerTick = 0
    }

    public var isEmpty: Bool { front == held.events.count }

    // MARK: - In

    private mutating func hold(
        _ event: TokenEvent, _ text: TextRange, of batch: borrowing EventBatch, at now: Instant
    ) {
        if isEmpty { frontSince = now }
        lastText = now
        textBytes += text.count
        if let last = held.events.last, !isEmpty, Lane(last) == Lane(event) {
            held.extendLast(with: batch.bytes(text))
        } else {
            held.append(event, of: batch)
        }
        guard case .interval(let interval) = pace else { return }
        let share = UInt64(min(textBytes, 1 << 30)) * min(interval, Self.patience).nanoseconds
        bytesPerTick = max(bytesPerTick, Int(share / Self.patience.nanoseconds))
    }

    private mutating func hold(_ event: TokenEvent, of batch: borrowing EventBatch) {
        let before = held.byteCount
        held.append(event, of: batch)
        otherBytes += held.byteCount - before
    }

    /// The first text: its first words or, if there is none that is whole, as much as there is.
    private mutating func begin(at now: Instant, into out: inout EventBatch) {
        hasBegun = true
        var wanted = Int.max
        if case .interval(let interval) = pace { (wanted, nextTick) = (1, now + interval) }
        if release(atLeast: wanted, force: false, into: &out) == 0 { release(atLeast: 1, force: true, into: &out) }
    }

    // MARK: - Out

    /// Whether a whole piece stands at the front.
    private mutating func look() { isReady = !isEmpty && wholeBytes(atLeast: 1) > 0 }

    /// Bytes of the front event that are whole words: `wanted`, up to the end of a word, or all that there are.
    private func wholeBytes(atLeast wanted: Int) -> Int {
        guard let text = Lane.text(of: held.events[front]) else { return 0 }
        let rest = held.bytes(text).extracting(cut..<text.count)
        var count = 0
        while count < wanted, count < rest.count {
            guard let piece = WordBreaks.first(in: rest.extracting(count..<rest.count)) else {
                // Another event behind it says that the last word is over.
                return front + 1 < held.events.count ? rest.count : count
            }
            count += piece
        }
        return count
    }

    /// Lets go of text of the front event, and of what follows it that is no text. Says how many bytes of text.
    @discardableResult
    private mutating func release(atLeast wanted: Int, force: Bool, into out: inout EventBatch) -> Int {
        guard !isEmpty, let text = Lane.text(of: held.events[front]) else { return 0 }
        var count = force && wanted >= text.count - cut ? text.count - cut : wholeBytes(atLeast: wanted)
        if count == 0, force { count = text.count - cut }
        if count == 0 { return 0 }
        let piece = TextRange(start: text.start + cut, count: count)
        out.append(held.events[front].withText(piece), of: held)
        cut += count
        textBytes -= count
        if cut >= text.count { (front, cut) = (front + 1, 0) }
        while cut == 0, !isEmpty, Lane.text(of: held.events[front]) == nil {
            out.append(held.events[front], of: held)
            front += 1
        }
        tidy()
        look()
        if isEmpty, let counts = usage {
            out.append(.usage(counts))
            usage = nil
        }
        return count
    }

    /// Gives back the room of what has left.
    private mutating func tidy() {
        if isEmpty {
            held.removeAll()
            (front, textBytes, otherBytes) = (0, 0, 0)
        } else if cut >= max(4096, textBytes) || front >= max(64, held.events.count / 2) {
            var rest = EventBatch()
            for (index, event) in held.events[front...].enumerated() {
                guard index == 0, let text = Lane.text(of: event) else {
                    rest.append(event, of: held)
                    continue
                }
                let uncut = TextRange(start: text.start + cut, count: text.count - cut)
                rest.append(event.withText(uncut), of: held)
            }
            swap(&held, &rest)
            (front, cut) = (0, 0)
            otherBytes = held.byteCount - textBytes
        }
    }
}

/// Whose text an event is: pieces of one lane that follow each other are one text.
private enum Lane: Equatable {
    case text(Int), reasoning(Int), refusal(Int)

    /// nil for what is no text.
    init?(_ event: TokenEvent) {
        switch event {
        case .text(let choice, _): self = .text(choice)
        case .reasoning(let choice, _): self = .reasoning(choice)
        case .refusal(let choice, _): self = .refusal(choice)
        default: return nil
        }
    }

    static func text(of event: TokenEvent) -> TextRange? {
        switch event {
        case .text(_, let text), .reasoning(_, let text), .refusal(_, let text): text
        default: nil
        }
    }
}
