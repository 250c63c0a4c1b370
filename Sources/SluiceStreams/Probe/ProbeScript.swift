import SluiceBytes

/// The events of a probe stream and when each is due. Pure: it is told how much time has gone by since the request came, and writes
/// what is due by then.
///
/// Each event says its number `n` and when it left, `t`, in microseconds since the request; what lies between is then known to be
/// the way's doing. The first one, `n` 0, tells how the request arrived; the last says `done`.
public struct ProbeScript: Sendable {
    private let plan: ProbePlan
    private var group = 0
    private var inGroup = 0
    private var number = 0
    private var hasBegun = false
    private var silenceBegan: Interval?
    private var nextComment = Interval.zero
    /// Since the request; nil: it is over.
    public private(set) var due: Interval?

    public init(_ plan: ProbePlan) {
        self.plan = plan
        due = plan.wait
    }

    public var isOver: Bool { due == nil }
    /// Events behind the first.
    public var sentEvents: Int { number }

    /// Writes what is due at `elapsed`. `hello` is what the first event says besides number and time: JSON, without braces.
    public mutating func play(at elapsed: Interval, hello: String, into out: inout ByteQueue) {
        while let due, due <= elapsed { step(due, elapsed, hello, into: &out) }
    }

    private mutating func step(_ due: Interval, _ elapsed: Interval, _ hello: String, into out: inout ByteQueue) {
        if !hasBegun {
            hasBegun = true
            write(0, elapsed, ",\"probe\":{\(hello)}", padding: 0, into: &out)
            scheduleNext(after: due)
            if self.due == nil { finish(elapsed, into: &out) }
            return
        }
        if let began = silenceBegan {
            guard due < began + plan.silence else {
                number += 1
                write(number, elapsed, "", padding: 0, into: &out)
                return finish(elapsed, into: &out)
            }
            out.append(":\n\n")
            nextComment = due + plan.keepalive
            self.due = min(nextComment, began + plan.silence)
            return
        }
        number += 1
        write(number, elapsed, "", padding: plan.groups[group].bytes, into: &out)
        inGroup += 1
        if inGroup >= plan.groups[group].count { (group, inGroup) = (group + 1, 0) }
        scheduleNext(after: due)
        if self.due == nil { finish(elapsed, into: &out) }
    }

    /// Behind the last group comes the silence, if there is any; else nothing.
    private mutating func scheduleNext(after time: Interval) {
        if group < plan.groups.count {
            due = time + plan.groups[group].interval
        } else if plan.silence > .zero {
            silenceBegan = time
            let comments = plan.framing == .sse && plan.keepalive > .zero
            due = time + (comments ? min(plan.keepalive, plan.silence) : plan.silence)
        } else {
            due = nil
        }
    }

    private mutating func finish(_ elapsed: Interval, into out: inout ByteQueue) {
        due = nil
        write(number + 1, elapsed, ",\"done\":true", padding: 0, into: &out)
    }

    private func write(
        _ number: Int, _ elapsed: Interval, _ more: String, padding: Int, into out: inout ByteQueue
    ) {
        if plan.framing == .sse { out.append("data: ") }
        out.append("{\"n\":")
        out.append(decimal: number)
        out.append(",\"t\":")
        out.append(decimal: Int(clamping: elapsed.nanoseconds / 1_000))
        out.append(more)
        if padding > 0 {
            out.append(",\"pad\":\"")
            Self.pad(number, padding, into: &out)
            out.append(ASCII.quote)
        }
        out.append(plan.framing == .sse ? "}\n\n" : "}\n")
    }

    /// Letters that an event's number determines: the reader knows what it should have got, and they do not shrink to nothing when
    /// they are compressed.
    public static func pad(_ number: Int, _ count: Int, into out: inout ByteQueue) {
        var state = UInt32(truncatingIfNeeded: number) &* 2_654_435_761 | 1
        for _ in 0..<count {
            state = state &* 1_664_525 &+ 1_013_904_223
            out.append(UInt8(truncatingIfNeeded: 0x61 + (state >> 16) % 26))
        }
    }
}

extension Interval {
    fileprivate static func + (left: Interval, right: Interval) -> Interval {
        let (sum, overflow) = left.nanoseconds.addingReportingOverflow(right.nanoseconds)
        return Interval(nanoseconds: overflow ? .max : sum)
    }
}
