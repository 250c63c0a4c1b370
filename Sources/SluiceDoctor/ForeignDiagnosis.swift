import SluiceBytes
import SluiceStreams

/// From a stream whose sending times nobody knows: what its arrival alone gives away, and what it cannot. Pure.
struct ForeignDiagnosis {
    private let seen: Observation
    private let hops: [Hop]

    init(_ seen: Observation) { (self.seen, hops) = (seen, Hop.recognise([seen])) }

    /// What one moment brought.
    private struct Burst {
        var at: Instant
        var bytes = 0
        var events = 0
    }

    private static let together = Interval.milliseconds(12)

    private var bursts: [Burst] {
        var (bursts, last) = ([Burst](), Instant(nanoseconds: 0))
        for read in seen.reads {
            if bursts.isEmpty || read.at - last > Self.together { bursts.append(Burst(at: read.at)) }
            bursts[bursts.count - 1].bytes += read.plainBytes
            bursts[bursts.count - 1].events += read.events
            last = read.at
        }
        return bursts
    }

    func diagnose(into diagnosis: inout Diagnosis) {
        diagnosis.hops = hops
        let named = hops.isEmpty ? "" : "; it shows " + Words.list(hops.map(\.name))
        diagnosis.path.append("no Sluice answers probes there, so only the times of arrival are known\(named)")
        diagnosis.add(compression)
        diagnosis.add(delivery)
        diagnosis.add(fields)
        diagnosis.add(ending)
        diagnosis.add(
            Finding(
                "unknown", .unknown,
                "when the events left, what a longer silence does, and whether the server learns that a client leaves",
                advice: [
                    "with `probe: on` in Sluice's configuration, or the demo behind the same proxy, all of it is measured"
                ]))
    }

    private var delivery: Finding {
        let bursts = bursts
        let events = bursts.reduce(0) { $0 + $1.events }
        let first = (seen.reads.first?.at ?? seen.ended) - seen.requested
        let span = (seen.reads.last?.at ?? seen.ended) - (seen.reads.first?.at ?? seen.ended)
        let measured: [(key: String, value: JSONValue)] = [
            (key: "events", value: JSONValue(events)), (key: "arrivals", value: JSONValue(bursts.count)),
            (key: "first_seconds", value: .number(Words.seconds(first))),
            (key: "span_seconds", value: .number(Words.seconds(span))),
        ]
        let wholes =
            "\(Words.count(events, "event")) at \(Words.count(bursts.count, "moment")) over \(Words.time(span)), the first after "
            + Words.time(first)
        if events < 3 { return Finding("buffering", .unknown, "too few events to tell: \(wholes)", measured: measured) }
        if events >= 8, span < .milliseconds(100), first > .milliseconds(500) {
            return Finding(
                "buffering", .harmful,
                "all at once: \(wholes). Either the server collected its answer, or something on the way did",
                advice: Advice.buffering.lines(hops), measured: measured)
        }
        if let block = Self.block(bursts) {
            return Finding(
                "buffering", .harmful,
                "in blocks of about \(block) bytes: \(wholes). That is a buffer's doing, and not a model's",
                advice: Advice.buffering.lines(hops),
                measured: measured + [(key: "block_bytes", value: JSONValue(block))])
        }
        if events > 3 * bursts.count, span > .seconds(1) {
            return Finding(
                "buffering", .warning, "several at a time: \(wholes). A server that sends them so looks the same",
                measured: measured)
        }
        return Finding("buffering", .well, wholes, measured: measured)
    }

    /// Several moments, all but the last of which brought about as much as a usual buffer holds, events cut wherever it was full.
    private static func block(_ bursts: [Burst]) -> Int? {
        let full = bursts.dropLast()
        guard full.count >= 3, bursts.reduce(0, { $0 + $1.events }) >= 2 * bursts.count else { return nil }
        let middle = full.map(\.bytes).sorted()[full.count / 2]
        return [4096, 8192, 16_384, 32_768].first { size in
            abs(middle - size) * 8 <= size
                && full.filter { abs($0.bytes - size) * 4 <= size }.count * 4 >= full.count * 3
        }
    }

    private var compression: Finding? {
        guard let coding = seen.field("content-encoding"), coding != "identity" else { return nil }
        return Finding(
            "compression", .warning, "compressed with \(coding), by whom cannot be told",
            advice: Advice.compression.lines(hops))
    }

    private var fields: Finding? {
        let type = seen.field("content-type") ?? "nothing"
        if let length = seen.field("content-length"), !type.hasPrefix("text/event-stream") {
            return Finding("headers", .warning, "one document of \(length) bytes (\(type)), and no stream")
        }
        if let age = seen.field("age") { return Finding("headers", .harmful, "it came from a cache (Age: \(age))") }
        return Finding("headers", .well, "Content-Type: \(type)")
    }

    private var ending: Finding? {
        let after = Words.time(seen.ended - seen.requested)
        switch seen.ending {
        case .whole: return Finding("ending", .well, "it ended whole after \(after)")
        case .untilClose:
            return Finding(
                "ending", .warning, "it ended where the connection closed, after \(after): a cut would look the same")
        case .timedOut: return Finding("ending", .unknown, "it was still going on after \(after); see --timeout")
        default: return Finding("ending", .harmful, "cut after \(after): \(Words.ending(seen.ending))")
        }
    }
}
