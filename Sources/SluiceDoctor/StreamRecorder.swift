import SluiceBytes
import SluiceHTTP
import SluiceStreams

/// Body bytes and the time → an `Observation`. Pure; undoes gzip, so that what is held back inside of a compressor shows as well.
public struct StreamRecorder: ~Copyable {
    public private(set) var observation: Observation
    private var inflater: Inflater?
    private var canRead = true
    private var pending = ByteQueue()
    private var plainBytes = 0
    private var isEventSource = false
    private var lineHasData = false

    /// An unfinished line may hold so much; behind it nothing more is looked into.
    private static let lineLimit = 4 << 20
    private static let openingLimit = 512
    /// Of a stream that goes on and on; and of one that says it is a probe, and sends more than any would.
    private static let readLimit = 100_000
    private static let eventLimit = 2 * ProbePlan.eventLimit
    /// Microseconds, more than eleven days; what says that it left later is no event of ours.
    static let sentLimit = 1_000_000_000_000

    public init(requested: Instant, plan: ProbePlan?) { observation = Observation(requested: requested, plan: plan) }

    public mutating func connected(_ transport: Observation.Transport) { observation.transport = transport }

    public mutating func requested(at now: Instant) { observation.requested = now }

    public mutating func head(_ head: ResponseHead, at now: Instant) {
        (observation.head, observation.headArrived, observation.ended) = (head, now, now)
        switch ContentCoding(head.fields) {
        case nil: break
        case .unsupported: canRead = false
        case .gzip: inflater = Inflater(.gzip)
        case .deflate: inflater = Inflater(.deflate)
        }
        // A probe is read as what it left as, whatever it is called by now.
        isEventSource =
            observation.isProbe
            ? observation.plan?.framing == .sse
            : head.fields.first("content-type")?.hasPrefix("text/event-stream") == true
    }

    public mutating func body(_ bytes: Span<UInt8>, at now: Instant) {
        guard bytes.count > 0 else { return }
        let (before, eventsBefore) = (plainBytes, eventCount)
        take(bytes, at: now)
        observation.ended = now
        guard observation.reads.count < Self.readLimit else { return }
        observation.reads.append(
            .init(at: now, bytes: bytes.count, plainBytes: plainBytes - before, events: eventCount - eventsBefore))
    }

    public mutating func end(_ ending: Observation.Ending, at now: Instant) {
        guard observation.ending == .running else { return }
        (observation.ending, observation.ended) = (ending, now)
    }

    // MARK: - Lines

    private var eventCount = 0

    private mutating func take(_ bytes: Span<UInt8>, at now: Instant) {
        if inflater == nil {
            if canRead { pending.append(bytes) }
            return readLines(at: now)
        }
        var (offset, hasMore) = (0, true)
        while hasMore, canRead {
            do throws(Inflater.Failure) {
                hasMore = try inflater?.next(bytes, at: &offset, limit: 64 << 10, into: &pending) ?? false
            } catch {
                canRead = false
            }
            readLines(at: now)
        }
    }

    private mutating func readLines(at now: Instant) {
        while let end = ASCII.firstIndex(of: ASCII.lf, in: pending.span) {
            let line = pending.span.extracting(0..<end).withUnsafeBufferPointer { Array($0) }
            pending.consume(end + 1)
            plainBytes += end + 1
            read(line, at: now)
        }
        if pending.count > Self.lineLimit {
            canRead = false
            pending.removeAll()
        }
    }

    private mutating func read(_ line: [UInt8], at now: Instant) {
        if observation.opening.count < Self.openingLimit {
            observation.opening += line.prefix(Self.openingLimit - observation.opening.count) + [ASCII.lf]
        }
        guard observation.plan != nil, observation.isProbe else { return count(line, at: now) }
        guard observation.events.count + observation.comments.count < Self.eventLimit else { return }
        if line.first == ASCII.colon { return observation.comments.append(now) }
        let json = isEventSource && line.starts(with: "data: ".utf8) ? Array(line.dropFirst(6)) : line
        guard let event = JSONValue.parse(json), let number = event["n"]?.integer, let sent = event["t"]?.integer,
            (0...Self.eventLimit).contains(number), (0...Self.sentLimit).contains(sent)
        else { return }
        if let hello = event["probe"] { observation.hello = hello }
        if event["done"]?.bool == true { observation.isDone = true }
        var pad = ByteQueue()
        let padding = Array((event["pad"]?.string?.text ?? "").utf8)
        ProbeScript.pad(number, padding.count, into: &pad)
        eventCount += 1
        observation.events.append(
            .init(
                number: number, sent: sent, arrived: now, bytesBefore: plainBytes,
                isIntact: ASCII.equal(pad.span, padding.span) && padding.count == wanted(number)))
    }

    /// The padding that the plan gives an event.
    private func wanted(_ number: Int) -> Int {
        var rest = number - 1
        for group in observation.plan?.groups ?? [] {
            if rest >= 0, rest < group.count { return group.bytes }
            rest -= group.count
        }
        return 0
    }

    /// A stream of somebody else: an event ends with an empty line in an event stream, and is a line elsewhere.
    private mutating func count(_ line: [UInt8], at now: Instant) {
        guard isEventSource else {
            if !line.isEmpty { eventCount += 1 }
            return
        }
        if line.isEmpty || line == [ASCII.cr] {
            if lineHasData { eventCount += 1 }
            lineHasData = false
        } else if line.first != ASCII.colon {
            lineHasData = true
        }
    }

    /// What stands at the end without a line end: the words of an error, perhaps.
    public mutating func finishOpening() {
        let room = Self.openingLimit - observation.opening.count
        guard room > 0, !pending.isEmpty else { return }
        let count = min(room, pending.count)
        observation.opening += pending.span.extracting(0..<count).withUnsafeBufferPointer { Array($0) }
    }
}
