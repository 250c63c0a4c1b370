import SluiceBytes

/// Decode and encode for one answer: an upstream's body bytes in, the client's out. Steps 3 to 5 of a token's life.
///
/// It also judges the ending: `finish` writes a true end only if the upstream sent its own, and a failure otherwise.
public struct StreamBridge {
    private var decoder: any StreamDecoder
    private var encoder: (any StreamEncoder)?
    /// The bytes go through as they are, and the decoder only watches.
    private let isRelay: Bool
    /// The last bytes of what was relayed: LF LF is between two events.
    private var lastBytes: (UInt8, UInt8) = (ASCII.lf, ASCII.lf)

    /// The first error that the provider sent inside the stream.
    public private(set) var errorKind: StreamErrorKind?
    public private(set) var errorMessage = "the provider reported an error"
    public private(set) var usage: Usage?
    public private(set) var finishReason: FinishReason?
    /// Runs of visible text and of reasoning: about as many as the provider sent tokens.
    public private(set) var tokenCount = 0
    /// `finish` found that the provider had ended the stream itself.
    public private(set) var endedTruly = false

    /// Converts from one dialect to one format.
    public init(decoder: any StreamDecoder, encoder: any StreamEncoder) {
        (self.decoder, self.encoder, isRelay) = (decoder, encoder, false)
    }

    /// Relays the bytes untouched. A failure is told by `encoder`, if the client's dialect is known, else by a cut.
    public init(relaying decoder: any StreamDecoder, failingAs encoder: (any StreamEncoder)? = nil) {
        (self.decoder, self.encoder, isRelay) = (decoder, encoder, true)
    }

    public var progress: StreamProgress { decoder.progress }
    public var contentType: String { encoder?.contentType.description ?? "application/octet-stream" }

    /// Takes one run of body bytes; what it means is appended to `out`. `batch` is scratch and left empty.
    public mutating func consume(
        _ chunk: Span<UInt8>, batch: inout EventBatch, into out: inout ByteQueue
    ) throws(StreamError) {
        if isRelay { relay(chunk, into: &out) }
        defer { batch.removeAll() }
        do throws(StreamError) {
            try decoder.feed(chunk, into: &batch)
        } catch {
            // What was understood before the fault is still the client's.
            take(batch, into: &out)
            throw error
        }
        take(batch, into: &out)
    }

    /// The body has ended as HTTP says it must.
    public mutating func finish(batch: inout EventBatch, into out: inout ByteQueue) throws(StreamError) -> BodyEnding {
        defer { batch.removeAll() }
        try decoder.finish(into: &batch)
        take(batch, into: &out)
        let progress = decoder.progress
        if !isRelay, progress.isComplete, progress.eventCount == 0 {
            return fail(StreamFailure(.malformed, "the provider's stream held no events"), into: &out)
        }
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
        guard encoder != nil, !isRelay || isBetweenEvents else { return .abort }
        return encoder?.fail(failure, into: &out) ?? .abort
    }

    /// Appends a keepalive, if the format has one and the client is between two events.
    public mutating func keepalive(into out: inout ByteQueue) -> Bool {
        guard !isRelay || isBetweenEvents else { return false }
        return encoder?.keepalive(into: &out) ?? false
    }

    private var isBetweenEvents: Bool { lastBytes == (ASCII.lf, ASCII.lf) }

    private mutating func relay(_ chunk: Span<UInt8>, into out: inout ByteQueue) {
        out.append(chunk)
        for index in max(0, chunk.count - 3)..<chunk.count where chunk[index] != ASCII.cr {
            lastBytes = (lastBytes.1, chunk[index])
        }
    }

    private mutating func take(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        if !isRelay { encoder?.encode(batch, into: &out) }
        for event in batch.events {
            switch event {
            case .text, .reasoning, .refusal: tokenCount &+= 1
            case .usage(let counts): usage = counts
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
