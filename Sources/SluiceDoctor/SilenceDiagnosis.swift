import SluiceBytes
import SluiceStreams

/// What becomes of streams that are silent, long, or left by their client.
extension ProbeDiagnosis {
    /// A cut that comes no sooner hurts only those who say nothing for so long.
    private static let patient = Interval.seconds(60)

    private func ok(_ stream: Observation) -> Bool {
        stream.isDone && (stream.ending == .whole || stream.ending == .untilClose)
    }

    private static func cutFigures(_ after: Interval) -> [(key: String, value: JSONValue)] {
        [(key: "cut_after_seconds", value: .number(Words.seconds(after)))]
    }

    /// Not the time since the last bytes: what was held back may come at the moment of the cut.
    private static func longestSilence(_ stream: Observation) -> Interval {
        var moments = [stream.requested]
        if let head = stream.headArrived { moments.append(head) }
        moments += stream.reads.map(\.at)
        moments.append(stream.ended)
        return zip(moments.dropFirst(), moments).map { $0 - $1 }.max() ?? .zero
    }

    var silence: Finding? {
        guard let idle = evidence[.idle], evidence.idle > .zero else { return nil }
        let wanted = Words.time(evidence.idle)
        guard idle.isProbe else { return unanswered("idle", idle) }
        if ok(idle) { return Finding("idle", .well, "\(wanted) of silence in a stream are endured") }
        let after = Self.longestSilence(idle)
        if idle.ending == .timedOut {
            return Finding(
                "idle", .harmful,
                "after \(wanted) of silence nothing came any more: the stream was lost without a word",
                advice: Advice.idle.lines(hops))
        }
        var text = "cut after \(Words.time(after)) of silence: \(Words.ending(idle.ending))"
        var advice = isDirect ? [] : Advice.idle.lines(hops)
        let isSaved = evidence[.kept].map { $0.isProbe && ok($0) } ?? false
        if isSaved, let pace = evidence[.kept]?.plan?.keepalive {
            text += "; comments every \(Words.time(pace)) keep it alive"
            advice.append(
                "Sluice: keepalive: \(max(1, after.milliseconds / 3_000))s on routes that send events (15s where nothing is said)"
            )
        }
        let isPatient = after >= Self.patient && isSaved
        return Finding(
            "idle", isPatient ? .warning : .harmful, text, advice: advice, measured: Self.cutFigures(after))
    }

    /// What a model does that thinks before its first token.
    var slowHead: Finding? {
        guard let slow = evidence[.slowHead], evidence.idle > .zero else { return nil }
        let wanted = Words.time(evidence.idle)
        if slow.isProbe, ok(slow) {
            return Finding("first_byte", .well, "\(wanted) without a first byte are endured")
        }
        let after = (slow.headArrived ?? slow.ended) - slow.requested
        if let status = slow.head?.status, status == 429 || status == 403 { return unanswered("first_byte", slow) }
        let what = slow.head.map { "status \($0.status)" } ?? Words.ending(slow.ending)
        return Finding(
            "first_byte", after >= Self.patient ? .warning : .harmful,
            "a wait for the first byte ends after \(Words.time(after)): \(what)",
            advice: (isDirect ? [] : Advice.head.lines(hops)) + [
                "Sluice: early_headers: \(max(1, after.milliseconds / 3_000))s on routes whose models think before they speak"
            ],
            measured: Self.cutFigures(after))
    }

    var duration: Finding? {
        guard let long = evidence[.duration], evidence.duration > .zero else { return nil }
        guard long.isProbe else { return unanswered("duration", long) }
        if ok(long) {
            return Finding("duration", .well, "a busy stream lasts \(Words.time(evidence.duration))")
        }
        let after = long.ended - long.requested
        return Finding(
            "duration", .harmful, "a busy stream is cut after \(Words.time(after)): \(Words.ending(long.ending))",
            advice: Advice.idle.lines(hops), measured: Self.cutFigures(after))
    }

    var cancellation: Finding? {
        guard let seen = evidence.cancellation else { return nil }
        if let noticed = seen.noticed {
            return Finding(
                "cancel", noticed > .seconds(1) ? .warning : .well,
                "Sluice noticed after \(Words.time(noticed)) that the client had left",
                advice: noticed > .seconds(1) ? Advice.cancel.lines(hops) : [],
                measured: [(key: "noticed_seconds", value: .number(Words.seconds(noticed)))])
        }
        guard seen.isKnown else {
            return Finding(
                "cancel", .unknown,
                "whether Sluice notices that a client leaves cannot be told: another Sluice answered than the one that was left"
            )
        }
        return Finding(
            "cancel", .harmful,
            "the client left, and \(Words.time(seen.waited)) later Sluice did not know: a provider would go on, and be paid",
            advice: Advice.cancel.lines(hops))
    }

    /// A probe that got another answer than a probe's.
    func unanswered(_ check: String, _ stream: Observation) -> Finding {
        let what = stream.head.map { "status \($0.status)" } ?? Words.ending(stream.ending)
        return Finding(check, .unknown, "could not be looked at: \(what)")
    }
}
