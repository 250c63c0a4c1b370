import SluiceBytes
import SluiceIO
import SluiceStreams

/// From probe streams to findings: what left Sluice when, and what came of it. Pure.
struct ProbeDiagnosis {
    let evidence: Evidence
    let main: Observation
    let hops: [Hop]
    /// Sluice sees the very socket that we hold.
    let isDirect: Bool

    init?(_ evidence: Evidence) {
        guard let main = evidence[.main], main.isProbe else { return nil }
        (self.evidence, self.main) = (evidence, main)
        let peer = main.hello?["peer"]?.string?.text ?? ""
        isDirect = !peer.isEmpty && peer == main.transport.local
        hops = isDirect ? [] : Hop.recognise(Array(evidence.streams.values))
    }

    /// Who is to blame, as the subject of a sentence.
    private var between: String {
        hops.isEmpty ? "what stands in between" : Words.list(hops.map(\.name))
    }

    func diagnose(into diagnosis: inout Diagnosis) {
        diagnosis.isExact = true
        diagnosis.hops = hops
        diagnosis.path.append(way)
        diagnosis.add(protocolToSluice)
        diagnosis.add(delivery)
        diagnosis.add(defaultDelivery)
        diagnosis.add(framings)
        diagnosis.add(compression)
        diagnosis.add(heads)
        diagnosis.add(wholeness)
        diagnosis.add(silence)
        diagnosis.add(slowHead)
        diagnosis.add(duration)
        diagnosis.add(cancellation)
        diagnosis.add(latency)
        diagnosis.add(address)
    }

    private var way: String {
        if isDirect { return "straight to Sluice: nothing in between" }
        let version = main.hello?["http"]?.string?.text ?? "?"
        let named = hops.isEmpty ? "something that does not say what it is" : Words.list(hops.map(\.name))
        return "through \(named), which asks Sluice over HTTP/\(version)"
    }

    // MARK: - Delivery

    /// How the paced events came, without the first, the large and the last one.
    private static func delivery(_ observation: Observation) -> Delivery {
        var last = 0
        for group in observation.plan?.groups ?? [] where group.bytes <= 4096 { last += group.count }
        return Delivery(
            observation.events.filter { (1...max(1, last)).contains($0.number) },
            slow: observation.plan?.groups.first?.count ?? .max)
    }

    private var delivery: Finding? {
        let delivery = Self.delivery(main)
        guard delivery.count >= 3 else { return nil }
        let measured = Self.figures(delivery)
        switch delivery.verdict {
        case .prompt:
            return Finding(
                "buffering", .well,
                "\(delivery.count) events over \(Words.time(delivery.span)) came one by one, the worst "
                    + "\(Words.time(delivery.worstLateness)) late", measured: measured)
        case .merged:
            return Finding(
                "buffering", .warning,
                "events come in groups, though soon: \(delivery.count) at \(Words.count(delivery.arrivals, "moment")), at most "
                    + "\(Words.time(delivery.worstLateness)) late",
                advice: Advice.buffering.lines(hops), measured: measured)
        case .held:
            return Finding(
                "buffering", .harmful, isDirect ? Self.slowMachine(delivery) : held(delivery, "streams"),
                advice: isDirect ? [] : Advice.buffering.lines(hops), measured: measured)
        }
    }

    private static func slowMachine(_ delivery: Delivery) -> String {
        "events came late (half of them \(Words.time(delivery.medianLateness)) or more) with nothing in between: one of the machines "
            + "is overloaded, or the network is"
    }

    private func held(_ delivery: Delivery, _ what: String) -> String {
        var text =
            "\(between) holds \(what) back: \(delivery.count) events that left over \(Words.time(delivery.span)) came "
        text += delivery.arrivals == 1 ? "all at once" : "at \(delivery.arrivals) moments"
        text += ", half of them \(Words.time(delivery.medianLateness)) late or more"
        if let bytes = delivery.blockBytes { text += "; in blocks of about \(bytes) bytes" }
        return text
    }

    private static func figures(_ delivery: Delivery) -> [(key: String, value: JSONValue)] {
        var figures: [(key: String, value: JSONValue)] = [
            (key: "events", value: JSONValue(delivery.count)), (key: "arrivals", value: JSONValue(delivery.arrivals)),
            (key: "median_late_seconds", value: .number(Words.seconds(delivery.medianLateness))),
            (key: "worst_late_seconds", value: .number(Words.seconds(delivery.worstLateness))),
        ]
        if let bytes = delivery.blockBytes { figures.append((key: "block_bytes", value: JSONValue(bytes))) }
        return figures
    }

    private func isHeld(_ purpose: Evidence.Purpose) -> Bool {
        guard let stream = evidence[purpose], stream.isProbe else { return false }
        return Self.delivery(stream).verdict == .held
    }

    /// What would become of a stream whose server does not ask for mercy.
    private var defaultDelivery: Finding? {
        guard let plain = evidence[.plain], !isDirect, !isHeld(.main) else { return nil }
        guard plain.isProbe else { return unanswered("buffering_default", plain) }
        let delivery = Self.delivery(plain)
        guard delivery.verdict == .held else {
            return Finding("buffering_default", .well, "the same without X-Accel-Buffering and no-transform")
        }
        var measured = Self.figures(delivery)
        measured.append((key: "saved_by", value: "X-Accel-Buffering"))
        return Finding(
            "buffering_default", .warning,
            "streams pass only since Sluice sends X-Accel-Buffering: no. Without it "
                + held(delivery, "them"),
            advice: Advice.buffering.lines(hops), measured: measured)
    }

    private var framings: Finding? {
        let wanted: [(Evidence.Purpose, String)] = [(.ndjson, "application/x-ndjson"), (.text, "text/plain")]
        let seen = wanted.filter { evidence[$0.0]?.isProbe == true }
        guard !seen.isEmpty else { return nil }
        let bad = isHeld(.main) ? [] : seen.filter { isHeld($0.0) }
        guard let first = bad.first, let stream = evidence[first.0] else {
            if isHeld(.main) { return nil }
            return Finding("formats", .well, "the same for \(Words.list(seen.map(\.1)))")
        }
        return Finding(
            "formats", .harmful, held(Self.delivery(stream), Words.list(bad.map(\.1))),
            advice: Advice.buffering.lines(hops))
    }

    // MARK: - Compression

    /// Sluice never compresses a probe: who did stands in between.
    private var compression: Finding? {
        if let coding = main.field("content-encoding"), coding != "identity" {
            return Finding(
                "compression", .harmful, "\(between) compresses with \(coding) though nobody asked for it",
                advice: Advice.compression.lines(hops))
        }
        guard let coded = evidence[.coded] else { return nil }
        guard coded.isProbe else { return unanswered("compression", coded) }
        guard let coding = coded.field("content-encoding"), coding != "identity" else {
            return Finding("compression", .well, "nobody compresses on the way")
        }
        let isLate = coded.events.isEmpty ? Self.comesInFewPieces(coded) : isHeld(.coded)
        let measured: [(key: String, value: JSONValue)] = [
            (key: "coding", value: JSONValue(coding)), (key: "flushed", value: .bool(!isLate)),
        ]
        if isLate {
            return Finding(
                "compression", .harmful,
                "\(between) compresses with \(coding), and events stay inside of the compressor", measured: measured
            ).with(Advice.compression.lines(hops))
        }
        return Finding(
            "compression", .warning,
            "\(between) compresses with \(coding), against Cache-Control: no-transform; each event still leaves at once",
            measured: measured
        ).with(Advice.compression.lines(hops))
    }

    /// For codings that are not undone here.
    private static func comesInFewPieces(_ observation: Observation) -> Bool {
        var (moments, last) = (0, Instant(nanoseconds: 0))
        for read in observation.reads where read.at - last > .milliseconds(30) {
            (moments, last) = (moments + 1, read.at)
        }
        return moments * 3 < observation.plan?.eventCount ?? 0
    }

    // MARK: - Heads

    private var heads: Finding? {
        var (faults, warnings): ([String], [String]) = ([], [])
        let type = main.field("content-type") ?? "nothing"
        if !type.hasPrefix("text/event-stream") { faults.append("Content-Type has become \(type)") }
        if main.field("content-length") != nil {
            faults.append("a Content-Length was put in: the whole was collected first")
        }
        if let age = main.field("age") { faults.append("Age: \(age): it came from a cache") }
        let control = main.field("cache-control")?.lowercased() ?? ""
        if !control.contains("no-transform") { warnings.append("Cache-Control lost its no-transform") }
        if !control.contains("no-cache"), !control.contains("no-store") {
            warnings.append("Cache-Control lost its no-cache")
        }
        let isPlain = faults.isEmpty && warnings.isEmpty
        if isPlain { return Finding("headers", .well, "the answer's head came as it left") }
        return Finding(
            "headers", faults.isEmpty ? .warning : .harmful, (faults + warnings).joined(separator: "; "),
            advice: Advice.cache.lines(hops))
    }

    // MARK: - The whole

    private var wholeness: Finding? {
        let broken = main.events.filter { !$0.isIntact }
        if let event = broken.first {
            return Finding("content", .harmful, "event \(event.number) is not what was sent: \(between) changes bodies")
        }
        let large = main.plan?.groups.last?.bytes ?? 0
        switch (main.isDone, main.ending) {
        case (true, .whole):
            return Finding("ending", .well, "an event of \(large >> 10) KiB came whole, and so did the end")
        case (true, .untilClose):
            return Finding(
                "ending", .warning,
                "the message ends where the connection closes: a client cannot tell the end from a cut")
        case (true, let ending):
            return Finding("ending", .harmful, "the last event came, but then \(Words.ending(ending))")
        case (false, .whole):
            return Finding(
                "ending", .harmful,
                "\(between) cut the stream after \(Words.time(main.ended - main.requested)) and made it look complete")
        case (false, let ending):
            return Finding(
                "ending", .harmful,
                "cut after \(Words.time(main.ended - main.requested)), \(Words.count(main.events.count, "event")) in: "
                    + Words.ending(ending))
        }
    }

    private var protocolToSluice: Finding? {
        guard let version = main.hello?["http"]?.string?.text, version == "1.0" else { return nil }
        return Finding(
            "http_to_sluice", .warning,
            "\(between) asks Sluice over HTTP/1.0: each request takes a connection of its own, and an answer ends where it closes",
            advice: Advice.http10.lines(hops))
    }

    private var latency: Finding? {
        guard let arrived = main.headArrived else { return nil }
        let took = arrived - main.requested
        let trip = main.transport.connectTime
        let measured: [(key: String, value: JSONValue)] = [
            (key: "head_seconds", value: .number(Words.seconds(took))),
            (key: "connect_seconds", value: .number(Words.seconds(trip))),
        ]
        let text = "the answer's head came after \(Words.time(took)); connecting took \(Words.time(trip))"
        let isSlow = took > trip + trip + .milliseconds(500)
        return Finding("latency", isSlow ? .warning : .well, text, measured: measured)
    }

    private var address: Finding? {
        guard !isDirect, let hello = main.hello, let client = hello["client"]?.string?.text,
            let peer = hello["peer"]?.string?.text
        else { return nil }
        let host = Self.host(peer)
        let told = main.arrivedField("x-forwarded-for")
        let last = told?.split { $0 == "," || $0 == " " }.last.map(String.init)
        guard client == host, client != last else {
            return Finding("client_address", .well, "Sluice takes \(client) for the client")
        }
        if let told {
            return Finding(
                "client_address", .warning,
                "Sluice takes \(client) for the client, and not \(told): logs and limits by address see one client",
                advice: Self.trust(client))
        }
        return Finding(
            "client_address", .warning,
            "Sluice takes \(client) for the client, and X-Forwarded-For did not come: logs and limits by address see one client",
            advice: Advice.address.lines(hops) + Self.trust(client))
    }

    /// Goes into a configuration: nothing but an address.
    private static func trust(_ client: String) -> [String] {
        guard client == "unix" || IPAddress(client) != nil else { return [] }
        return ["Sluice: trusted_proxies: [\"\(client)\"]"]
    }

    /// An address without its port.
    private static func host(_ address: String) -> String {
        guard let colon = address.lastIndex(of: ":"), !address.hasPrefix("unix:") else { return "unix" }
        let host = address[..<colon]
        return host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : String(host)
    }
}

extension Finding {
    func with(_ advice: [String]) -> Finding {
        var finding = self
        finding.advice = advice
        return finding
    }
}
