import SluiceBytes

/// Decode and encode for one answer: an upstream's body bytes in, the client's out. Steps 3 to 5 of a token's life.
///
/// It also judges the ending: `finish` writes a true end only if the upstream sent its own, and a failure otherwise.
public struct StreamBridge: ~Copyable {
    private var decoder: any StreamDecoder
    private var encoder: (any StreamEncoder)?
    /// The bytes go through as they are, and the decoder only watches.
    private var isRelay: Bool
    /// Relaying: what ends an event.
    private let boundary: Boundary
    /// Relaying to a client whose dialect is known: the part of an event that has come so far. It leaves when the event is
    /// whole, so that a failure or a keepalive always stands between two events. Bounded by the decoder's event limit.
    private var heldEvent: [UInt8] = []
    /// Bytes of the body before the chunk that is being fed.
    private var relayedBytes = 0
    /// Set where text is paced for a typing effect.
    private var smoother: Smoother?
    /// What the smoother lets go of; empty between two calls.
    private var released = EventBatch()
    /// Since the request began.
    private var elapsed = Interval.zero

    /// The first error that the provider sent inside the stream.
    public private(set) var errorKind: StreamErrorKind?
    public private(set) var errorMessage = "the provider reported an error"
    public private(set) var usage: Usage?
    public private(set) var finishReason: FinishReason?
    /// Runs of visible text, of reasoning and of tool arguments: about as many as the provider sent tokens.
    public private(set) var tokenCount = 0
    /// So much of the visible text is kept in `transcript`.
    public var transcriptLimitBytes = 0
    public private(set) var transcript: [UInt8] = []
    /// `responseID` and `responseModel` are kept.
    public var notesNames = false
    /// As the provider calls the answer, and the model that makes it; "" where it does not say.
    public private(set) var responseID = ""
    public private(set) var responseModel = ""
    /// `finish` found that the provider had ended the stream itself.
    public private(set) var endedTruly = false

    /// What ends an event of a stream that is relayed: a blank line, or each line's end.
    public enum Boundary: Sendable { case blankLine, line }

    /// Converts from one dialect to one format.
    public init(decoder: any StreamDecoder, encoder: any StreamEncoder) {
        (self.decoder, self.encoder, isRelay, boundary) = (decoder, encoder, false, .blankLine)
    }

    /// Relays the bytes untouched. A failure is told by `encoder`, if the client's dialect is known, else by a cut.
    public init(
        relaying decoder: any StreamDecoder, failingAs encoder: (any StreamEncoder)? = nil,
        boundary: Boundary = .blankLine
    ) {
        (self.decoder, self.encoder, isRelay, self.boundary) = (decoder, encoder, true, boundary)
    }

    /// Before any byte: the upstream answers with something else than the stream that was expected, most likely one document. What
    /// it says is converted then, also where a stream would have been relayed.
    public mutating func convert(from decoder: any StreamDecoder) {
        self.decoder = decoder
        if encoder != nil { isRelay = false }
    }

    /// Before any byte: paces the text of a stream that is converted. See `Smoother`.
    public mutating func smooth(_ pace: Smoother.Pace, limitBytes: Int) {
        if !isRelay, encoder?.isDocument == false { smoother = Smoother(pace, limitBytes: limitBytes) }
    }

    /// When `releaseSmoothed` has something to do, as time since the request began; nil if no text waits.
    public var smoothingDue: Interval? {
        switch smoother {
        case .none: nil
        case .some(let smoother): smoother.due.map { Interval(nanoseconds: $0.nanoseconds) }
        }
    }

    /// Appends the text whose time has come by the time last told to `clock`.
    public mutating func releaseSmoothed(into out: inout ByteQueue) {
        smoother?.advance(to: Instant(nanoseconds: elapsed.nanoseconds), into: &released)
        encodeReleased(into: &out)
    }

    public var progress: StreamProgress { decoder.progress }
    public var contentType: String { encoder?.contentType.description ?? "application/octet-stream" }
    public var fields: [(name: StaticString, value: StaticString)] { encoder?.fields ?? [] }
    /// The client gets one document, and nothing before it is whole.
    public var isDocument: Bool { !isRelay && encoder?.isDocument ?? false }

    /// The time since the request began; before `consume`, `finish` and `fail`.
    public mutating func clock(_ elapsed: Interval) {
        self.elapsed = elapsed
        encoder?.clock(elapsed)
    }

    /// Takes one run of body bytes; what it means is appended to `out`. `batch` is scratch and left empty.
    public mutating func consume(
        _ chunk: Span<UInt8>, batch: inout EventBatch, into out: inout ByteQueue
    ) throws(StreamError) {
        // Where nobody knows how the client is told of a failure, the bytes are its own matter.
        if isRelay, encoder == nil { out.append(chunk) }
        // What was understood before a fault is still the client's.
        defer {
            take(batch, into: &out)
            batch.removeAll()
        }
        do throws(StreamError) {
            try decoder.feed(chunk, into: &batch)
        } catch {
            if isRelay, encoder != nil { relay(chunk, upTo: wholeEvents(in: chunk, before: error), into: &out) }
            throw error
        }
        guard isRelay, encoder != nil else { return }
        let end = endOfLastEvent(chunk)
        relay(chunk, upTo: end, into: &out)
        if end < chunk.count {
            chunk.extracting(end..<chunk.count).withUnsafeBufferPointer { heldEvent.append(contentsOf: $0) }
        }
        relayedBytes &+= chunk.count
    }

    /// The body has ended as HTTP says it must.
    public mutating func finish(batch: inout EventBatch, into out: inout ByteQueue) throws(StreamError) -> BodyEnding {
        do {
            defer {
                take(batch, into: &out)
                batch.removeAll()
            }
            try decoder.finish(into: &batch)
        }
        releaseAllSmoothed(into: &out)
        let progress = decoder.progress
        if !isRelay, progress.isComplete, progress.eventCount == 0 {
            return fail(StreamFailure(.malformed, "the provider's stream held no events"), into: &out)
        }
        if progress.isComplete || progress.sawError { releaseHeld(into: &out) }
        if progress.isComplete {
            endedTruly = true
            return isRelay ? .complete : encoder?.end(into: &out) ?? .complete
        }
        if progress.sawError {
            // The client has the provider's own words already; only its format decides how the body ends then.
            return isRelay ? .complete : encoder?.end(into: &out) ?? .abort
        }
        return fail(StreamFailure(.truncated, "the provider's stream ended before it was complete"), into: &out)
    }

    /// The stream has failed. Says how the body must end.
    public mutating func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding {
        heldEvent.removeAll()
        releaseAllSmoothed(into: &out)
        return encoder?.fail(failure, into: &out) ?? .abort
    }

    /// Appends a keepalive, if the format has one. The client is always between two events.
    public mutating func keepalive(into out: inout ByteQueue) -> Bool {
        encoder?.keepalive(into: &out) ?? false
    }

    private mutating func relay(_ chunk: Span<UInt8>, upTo end: Int, into out: inout ByteQueue) {
        guard end > 0 else { return }
        releaseHeld(into: &out)
        out.append(chunk.extracting(0..<end))
    }

    /// How much of `chunk` is whole events before the one that `error` is about.
    private func wholeEvents(in chunk: Span<UInt8>, before error: StreamError) -> Int {
        switch error {
        case .malformed(_, let offset): return min(chunk.count, max(0, offset - relayedBytes))
        case .eventTooLarge(let limit):
            var (start, end) = (-heldEvent.count, 0)
            for index in chunk.indices where endsEvent(chunk, at: index) {
                // Line ends do not count.
                if index + 1 - start > limit.value + 4 { break }
                (start, end) = (index + 1, index + 1)
            }
            return end
        }
    }

    private mutating func releaseHeld(into out: inout ByteQueue) {
        if heldEvent.isEmpty { return }
        out.append(heldEvent)
        heldEvent.removeAll()
    }

    /// Behind the last blank line of `chunk`, found from its end: 0 if there is none.
    private func endOfLastEvent(_ chunk: Span<UInt8>) -> Int {
        var index = chunk.count - 1
        while index >= 0 {
            if endsEvent(chunk, at: index) { return index + 1 }
            index -= 1
        }
        return 0
    }

    /// Whether the byte at `index` ends an event. A line ends in LF, CRLF or CR, and the one before may stand in `heldEvent`.
    @inline(__always)
    private func endsEvent(_ chunk: Span<UInt8>, at index: Int) -> Bool {
        func byte(_ index: Int) -> UInt8? {
            if index >= 0 { return chunk[index] }
            // What is held may be empty: then the stream, or an event, has just begun, and an LF ends nothing.
            let position = heldEvent.count + index
            return position >= 0 ? heldEvent[position] : nil
        }
        if boundary == .line { return chunk[index] == ASCII.lf }
        guard chunk[index] == ASCII.lf || chunk[index] == ASCII.cr else { return false }
        let isPair = chunk[index] == ASCII.lf && byte(index - 1) == ASCII.cr
        let before = byte(index - (isPair ? 2 : 1))
        return before == ASCII.lf || before == ASCII.cr
    }

    /// Ends between two characters, and a little over the limit at most.
    private mutating func keep(_ text: String) {
        transcript.append(contentsOf: text.utf8.prefix(max(0, transcriptLimitBytes - transcript.count)))
    }

    private mutating func releaseAllSmoothed(into out: inout ByteQueue) {
        guard smoother != nil else { return }
        smoother?.releaseAll(into: &released)
        encodeReleased(into: &out)
    }

    private mutating func encodeReleased(into out: inout ByteQueue) {
        guard !released.isEmpty else { return }
        encoder?.encode(released, into: &out)
        released.removeAll()
    }

    private mutating func take(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        if smoother != nil {
            smoother?.take(batch, at: Instant(nanoseconds: elapsed.nanoseconds), into: &released)
            encodeReleased(into: &out)
        } else if !isRelay {
            encoder?.encode(batch, into: &out)
        }
        for event in batch.events {
            switch event {
            case .text(_, let text), .refusal(_, let text):
                tokenCount &+= 1
                if transcript.count < transcriptLimitBytes { keep(batch.string(text)) }
            case .reasoning, .toolCallArguments: tokenCount &+= 1
            case .usage(let counts): usage = counts
            case .start(let id, let model, _) where notesNames:
                (responseID, responseModel) = (batch.string(id), batch.string(model))
            case .finish(choice: 0, let reason, _): finishReason = reason
            case .error(let kind, let message, _, _):
                guard errorKind == nil else { continue }
                errorKind = kind
                if !message.isEmpty { errorMessage = batch.string(message) }
            default: break
            }
        }
    }
}
