import SluiceBytes
import SluiceHTTP
import SluiceStreams
import Testing

@testable import SluiceDoctor

/// Evidence that is made up, and what is said of it.
@Suite struct DiagnosisTests {
    private let url = DoctorURL("http://a.example/")
    private let start = Instant(nanoseconds: 1_000_000_000)

    private func at(_ milliseconds: Int) -> Instant {
        Instant(nanoseconds: start.nanoseconds + UInt64(milliseconds) * 1_000_000)
    }

    /// A probe stream as `ProbeScript` plays it, of which each portion comes when `delay` lets it: milliseconds after it left.
    private func stream(
        _ plan: ProbePlan, fields more: [(String, String)] = [],
        hello: String = "\"http\":\"1.1\",\"peer\":\"10.0.0.9:1\"",
        cut: Int? = nil, ending: Observation.Ending = .whole, delay: (Int) -> Int = { _ in 0 }
    ) -> Observation {
        var recorder = StreamRecorder(requested: start, plan: plan)
        var fields = HeaderFields()
        for (name, value) in more { fields.append(name, value) }
        let usual = [
            ("Content-Type", plan.framing.contentType), ("Cache-Control", "no-cache, no-transform"),
            ("Sluice-Probe", plan.id),
        ]
        for (name, value) in usual where !more.contains(where: { $0.0 == name }) { fields.append(name, value) }
        var (script, last, hasHead) = (ProbeScript(plan), 0, false)
        while let due = script.due, Int(due.milliseconds) <= cut ?? .max {
            var out = ByteQueue()
            script.play(at: due, hello: hello, into: &out)
            last = Int(due.milliseconds) + delay(Int(due.milliseconds))
            if !hasHead { recorder.head(ResponseHead(status: 200, fields: fields), at: at(last)) }
            hasHead = true
            recorder.body(out.span, at: at(last))
        }
        recorder.end(ending, at: at(cut ?? last))
        return recorder.observation
    }

    private func tokens(_ id: String) -> ProbePlan {
        ProbePlan(id: id, groups: [.init(16, every: .milliseconds(100), bytes: 48)])
    }

    private func silent(_ id: String, _ seconds: UInt64, keepalive: UInt64 = 0) -> ProbePlan {
        var plan = ProbePlan(id: id, groups: [.init(2, every: .milliseconds(100), bytes: 16)])
        (plan.silence, plan.keepalive) = (.seconds(seconds), .milliseconds(keepalive))
        return plan
    }

    private func diagnose(_ streams: [Evidence.Purpose: Observation], _ change: (inout Evidence) -> Void = { _ in })
        throws
        -> Diagnosis
    {
        var evidence = Evidence()
        evidence.streams = streams
        change(&evidence)
        return Diagnosis(evidence, of: try #require(url))
    }

    private func finding(_ diagnosis: Diagnosis, _ check: String) throws -> Finding {
        try #require(diagnosis.findings.first { $0.check == check }, "no finding \(check)")
    }

    @Test func aWayThatDoesNothing() throws {
        var main = stream(tokens("a"), hello: "\"http\":\"1.1\",\"peer\":\"10.0.0.1:5\",\"client\":\"10.0.0.1\"")
        main.transport.local = "10.0.0.1:5"
        let diagnosis = try diagnose([.main: main, .plain: stream(tokens("b")), .coded: stream(tokens("c"))])
        #expect(
            diagnosis.outcome == .well && diagnosis.isExact && diagnosis.findings.allSatisfy { $0.verdict == .well })
        #expect(diagnosis.path.contains { $0 == "straight to Sluice: nothing in between" })
        #expect(try finding(diagnosis, "buffering").verdict == .well)
    }

    @Test func aBufferAndWhoHasIt() throws {
        let main = stream(tokens("a"), fields: [("Server", "nginx/1.22.1")]) { 1_700 - $0 }
        let diagnosis = try diagnose([.main: main])
        let buffering = try finding(diagnosis, "buffering")
        #expect(buffering.verdict == .harmful && diagnosis.outcome == .harmful && diagnosis.hops == [.nginx])
        #expect(
            buffering.message.hasPrefix("nginx holds streams back: 16 events that left over 1.5 s came all at once"))
        #expect(buffering.advice.first?.hasPrefix("nginx: proxy_buffering off") == true)
    }

    @Test func aBufferThatIsOnlySwitchedOff() throws {
        let diagnosis = try diagnose([.main: stream(tokens("a")), .plain: stream(tokens("b")) { 1_700 - $0 }])
        #expect(diagnosis.outcome == .well)
        let byDefault = try finding(diagnosis, "buffering_default")
        #expect(byDefault.verdict == .warning && byDefault.message.containsText("X-Accel-Buffering: no"))
        // Nobody has signed: those that never do are named.
        #expect(byDefault.advice.contains { $0.hasPrefix("if it is HAProxy:") })
    }

    @Test func oneFramingThatIsHeld() throws {
        var plan = tokens("b")
        plan.framing = .text
        let diagnosis = try diagnose([.main: stream(tokens("a")), .text: stream(plan) { 1_700 - $0 }])
        #expect(try finding(diagnosis, "formats").verdict == .harmful)
        #expect(try finding(diagnosis, "buffering").verdict == .well)
    }

    @Test func silenceThatIsCut() throws {
        let idle = stream(silent("b", 10), cut: 5_200, ending: .closed)
        let kept = stream(silent("c", 10, keepalive: 2_500))
        let diagnosis = try diagnose([.main: stream(tokens("a")), .idle: idle, .kept: kept]) { $0.idle = .seconds(10) }
        let cut = try finding(diagnosis, "idle")
        #expect(
            cut.verdict == .harmful && cut.message.hasPrefix("cut after 5.0 s of silence: the connection was closed"))
        #expect(cut.message.hasSuffix("comments every 2.5 s keep it alive"))
        #expect(cut.advice.contains { $0.hasPrefix("Sluice: keepalive: 1s") })
        #expect(cut.measured.first?.value == .number("5.000"))
    }

    @Test func aPatientProxyIsOnlyAWarningWhereCommentsPass() throws {
        let idle = stream(silent("b", 90), cut: 60_200, ending: .streamReset(2))
        let kept = stream(silent("c", 90, keepalive: 2_500))
        let saved = try diagnose([.main: stream(tokens("a")), .idle: idle, .kept: kept]) { $0.idle = .seconds(90) }
        #expect(try finding(saved, "idle").verdict == .warning)
        #expect(try finding(saved, "idle").message.containsText("RST_STREAM INTERNAL_ERROR"))
        let lost = try diagnose([.main: stream(tokens("a")), .idle: idle]) { $0.idle = .seconds(90) }
        #expect(try finding(lost, "idle").verdict == .harmful)
    }

    @Test func aFirstByteThatIsNotAwaited() throws {
        var slow = Observation(requested: start, plan: silent("b", 10))
        (slow.head, slow.headArrived) = (ResponseHead(status: 504), at(5_003))
        (slow.ending, slow.ended) = (.whole, at(5_004))
        let diagnosis = try diagnose([.main: stream(tokens("a")), .slowHead: slow]) { $0.idle = .seconds(10) }
        #expect(try finding(diagnosis, "first_byte").verdict == .harmful)
        #expect(
            try finding(diagnosis, "first_byte").message == "a wait for the first byte ends after 5.0 s: status 504")
    }

    @Test func endings() throws {
        let cases: [(Observation.Ending, Int?, Finding.Verdict, String)] = [
            (.whole, nil, .well, "and so did the end"), (.untilClose, nil, .warning, "cannot tell the end from a cut"),
            (.closed, 800, .harmful, "cut after 800 ms"), (.reset("ECONNRESET"), 800, .harmful, "ECONNRESET"),
            (.whole, 800, .harmful, "made it look complete"),
        ]
        for (ending, cut, verdict, words) in cases {
            let found = try finding(
                try diagnose([.main: stream(tokens("a"), cut: cut, ending: ending)]), "ending")
            #expect(found.verdict == verdict && found.message.containsText(words), "\(found)")
        }
    }

    @Test func headsThatAreChanged() throws {
        let main = stream(
            tokens("a"), fields: [("Content-Type", "text/html"), ("Age", "2"), ("Cache-Control", "max-age=9")])
        let heads = try finding(try diagnose([.main: main]), "headers")
        #expect(
            heads.verdict == .harmful && heads.message.containsText("text/html") && heads.message.containsText("cache"))
        let thin = stream(tokens("a"), fields: [("Cache-Control", "no-cache")])
        #expect(try finding(try diagnose([.main: thin]), "headers").verdict == .warning)
    }

    @Test func leaving() throws {
        func cancel(_ seen: Evidence.Cancellation) throws -> Finding.Verdict {
            try finding(try diagnose([.main: stream(tokens("a"))]) { $0.cancellation = seen }, "cancel").verdict
        }
        #expect(try cancel(.init(noticed: .milliseconds(3), isKnown: true)) == .well)
        #expect(try cancel(.init(noticed: .milliseconds(1_500), isKnown: true)) == .warning)
        #expect(try cancel(.init(isKnown: true, waited: .seconds(5))) == .harmful)
        #expect(try cancel(.init(isKnown: false, waited: .seconds(5))) == .unknown)
    }

    @Test func whomSluiceTakesForTheClient() throws {
        func verdict(_ client: String, _ forwarded: String?) throws -> Finding.Verdict {
            let field = forwarded.map { ",\"fields\":[[\"cookie\"],[\"x-forwarded-for\",\"\($0)\"]]" } ?? ""
            let main = stream(
                tokens("a"), hello: "\"http\":\"1.1\",\"peer\":\"10.0.0.9:1\",\"client\":\"\(client)\"" + field)
            return try finding(try diagnose([.main: main]), "client_address").verdict
        }
        #expect(try verdict("7.7.7.7", "7.7.7.7") == .well)
        #expect(try verdict("10.0.0.9", "7.7.7.7") == .warning)
        #expect(try verdict("10.0.0.9", nil) == .warning)
        #expect(try verdict("10.0.0.9", "10.0.0.9") == .well)
    }

    @Test func anAnswerForSomebodyElse() throws {
        let main = stream(tokens("a"), fields: [("Sluice-Probe", "other")])
        #expect(try finding(try diagnose([.main: main]), "cache").verdict == .harmful)
    }

    @Test func noStreamAtAll() throws {
        var main = Observation(requested: start, plan: tokens("a"))
        main.ending = .unreachable("no connection: refused")
        #expect(try diagnose([.main: main]).outcome == .unreachable)
        main.head = ResponseHead(status: 404)
        main.opening = Array(#"{"error":{"message":"no route"}}"#.utf8)
        let diagnosis = try diagnose([.main: main])
        #expect(diagnosis.outcome == .unreachable)
        #expect(try finding(diagnosis, "status").message == "there is no stream there: status 404: no route")
    }

    @Test func changedBytesAreNoticed() throws {
        let plan = ProbePlan(id: "a", groups: [.init(1, every: .zero, bytes: 4)])
        var recorder = StreamRecorder(requested: start, plan: plan)
        var fields = HeaderFields()
        fields.append("Sluice-Probe", "a")
        fields.append("Content-Type", "text/event-stream")
        recorder.head(ResponseHead(status: 200, fields: fields), at: start)
        for byte in "data: {\"n\":1,\"t\":0,\"pad\":\"zzzz\"}\r\n\r\n: comment\n\n".utf8 {
            recorder.body([byte].span, at: start)
        }
        let seen = recorder.observation
        #expect(seen.events.map(\.isIntact) == [false] && seen.comments.count == 1)
    }
}
