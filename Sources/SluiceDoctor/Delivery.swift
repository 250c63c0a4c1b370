import SluiceBytes

/// How the events of a paced stream came through: how late each was against the promptest, and which came together that had left apart.
///
/// The two clocks are never compared: only how the distance between them changes from event to event counts, so the time that the way
/// itself takes is in no figure.
public struct Delivery: Equatable, Sendable {
    /// Half of the slow events at the beginning were at least so late; and the worst of all.
    public private(set) var medianLateness = Interval.zero
    public private(set) var worstLateness = Interval.zero
    /// Events that came with others that had left at least 30 ms before, as a share of all.
    public private(set) var mergedShare = 0.0
    /// Moments at which events came.
    public private(set) var arrivals = 0
    public private(set) var count = 0
    /// What most of the moments brought, in bytes, where that is always about the same; else nil.
    public private(set) var blockBytes: Int?
    /// From the first to the last event, as they left.
    public private(set) var span = Interval.zero

    /// Those nearer than this have arrived together; those nearer than the second have left together.
    private static let together = Interval.milliseconds(12)
    private static let apart = 30_000
    /// Below it a stream still looks like one: no larger than what a mobile network does.
    public static let tolerance = Interval.milliseconds(300)

    /// The first `slow` events go at the pace of tokens, and decide how late is late: a buffer that faster ones fill lets those through.
    public init(_ events: [Observation.Event], slow: Int = .max) {
        guard let first = events.first, let last = events.last, events.count > 1 else { return }
        count = events.count
        span = Interval(nanoseconds: UInt64(clamping: max(0, last.sent - first.sent)) * 1_000)
        measureLateness(events, from: first, slow: max(1, slow))
        measureBursts(events)
    }

    private mutating func measureLateness(
        _ events: [Observation.Event], from first: Observation.Event, slow: Int
    ) {
        // Relative to the first one; what is late in truth may come out negative, until the smallest is taken off.
        let delays = events.map { event in
            Int64(clamping: (event.arrived - first.arrived).nanoseconds) - Int64(event.sent - first.sent) * 1_000
        }
        let least = delays.min() ?? 0
        let late = delays.map { UInt64(clamping: $0 - least) }
        let tokens = late.prefix(slow).sorted()
        medianLateness = Interval(nanoseconds: tokens[tokens.count / 2])
        worstLateness = Interval(nanoseconds: late.max() ?? 0)
    }

    private mutating func measureBursts(_ events: [Observation.Event]) {
        var (merged, starts, blocks) = (0, 0, [Int]())
        var burstBegan = events[0]
        var bytesAtLastBurst = 0
        for (index, event) in events.enumerated() {
            let isNew = index == 0 || event.arrived - events[index - 1].arrived > Self.together
            if isNew {
                starts += 1
                if index > 0 {
                    blocks.append(events[index - 1].bytesBefore - bytesAtLastBurst)
                    bytesAtLastBurst = events[index - 1].bytesBefore
                }
                burstBegan = event
            } else if event.sent - burstBegan.sent >= Self.apart {
                merged += 1
            }
        }
        (arrivals, mergedShare) = (starts, Double(merged) / Double(max(1, events.count - 1)))
        blockBytes = mergedShare > 0.3 ? Self.common(blocks) : nil
    }

    /// The size that a buffer has, if most blocks are about as large: a proxy counts what it got, framing included, and an event that
    /// a border cuts is counted to the block that completes it.
    private static func common(_ blocks: [Int]) -> Int? {
        guard blocks.count >= 2 else { return nil }
        let middle = blocks.sorted()[blocks.count / 2]
        let near = blocks.filter { abs($0 - middle) * 3 <= middle }
        guard middle >= 1024, near.count * 3 >= blocks.count * 2 else { return nil }
        return [2048, 4096, 8192, 16_384, 32_768, 65_536].min { abs($0 - middle) < abs($1 - middle) }
    }

    public enum Verdict: Sendable {
        /// As they left.
        case prompt
        /// Several at a time, but soon: TCP and TLS do that too.
        case merged
        /// Held back.
        case held
    }

    public var verdict: Verdict {
        if count < 3 { return .prompt }
        if medianLateness >= Self.tolerance { return .held }
        return mergedShare > 0.5 ? .merged : .prompt
    }
}
