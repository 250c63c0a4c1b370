import SluiceBytes
import SluiceHTTP
import SluiceStreams
import Testing

@testable import SluiceDoctor

/// Servers that say what nobody should: to the terminal that shows it, and to arithmetic.
@Suite struct HostileServerTests {
    private let start = Instant(nanoseconds: 1_000_000_000)
    private static let canary = "\u{1b}]0;x\u{07}\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\u{2066}\u{85}\r\nFAKE"

    private func isHarmless(_ text: String) -> Bool {
        text.unicodeScalars.allSatisfy { $0 == "\n" || !Printable.isControl($0) }
    }

    @Test func controlsAreShownAsWhatTheyAre() {
        #expect(
            Printable.line("a\u{1b}[2J\u{9b}\u{202e}\n\r\t\0\u{7f}z")
                == #"a\u{1b}[2J\u{9b}\u{202e}\u{a}\u{d}\u{9}\u{0}\u{7f}z"#)
        #expect(Printable.line("→ ✓ Grüße, 世界 👩‍🚀") == "→ ✓ Grüße, 世界 👩‍🚀")
        #expect(Printable.json("\u{7f}\u{9b}\u{202e}") == #"\u007f\u009b\u202e"#)
        #expect(Printable.quoted("a'b") == #"'a'\''b'"#)
    }

    /// Wherever the server may put them.
    @Test func noControlReachesTheTerminal() throws {
        let url = try #require(DoctorURL("http://a.example/"))
        var (fields, moved, failed) = (HeaderFields(), HeaderFields(), Observation(requested: start))
        fields.append("Content-Type", "text/event-stream;" + Self.canary)
        moved.append("Location", "http://b.example/" + Self.canary)
        failed.head = ResponseHead(status: 500)
        failed.opening = Array("{\"error\":\"".utf8) + JSONString(Self.canary).raw + Array("\"}".utf8)
        var (redirected, stream) = (failed, failed)
        redirected.head = ResponseHead(status: 302, fields: moved)
        stream.head = ResponseHead(status: 200, fields: fields)
        stream.transport.certificate = .init(subject: "CN=" + Self.canary, issuer: Self.canary, daysLeft: 1)
        stream.ending = .reset(Self.canary)
        for seen in [failed, redirected, stream] {
            var evidence = Evidence()
            evidence.streams = [.main: seen]
            let diagnosis = Diagnosis(evidence, of: url)
            let text = diagnosis.text(url)
            #expect(isHarmless(text) && text.containsText(#"\u{1b}[2J\u{9b}31m\u{7f}\u{202e}"#), "\(text)")
            let json = diagnosis.jsonText(url)
            #expect(isHarmless(json), "\(json)")
            #expect(JSONValue.parse(Array(json.utf8)) == diagnosis.json(url))
        }
    }

    @Test(arguments: [
        ("https://b.example/x", ["sluice doctor 'https://b.example/x'"]),
        ("http://b.example/$(reboot)';reboot;'", [#"sluice doctor 'http://b.example/$(reboot)'\'';reboot;'\'''"#]),
        ("http://b.example/a#'\u{9b}", ["sluice doctor 'http://b.example/a'"]),
        ("http://b.example/a b", []), ("/x; reboot", []), ("--ca=x", []), ("", []),
    ])
    func onlyAnAddressIsAdvised(location: String, advice: [String]) throws {
        var (fields, main, evidence) = (HeaderFields(), Observation(requested: start), Evidence())
        fields.append("Location", location)
        main.head = ResponseHead(status: 302, fields: fields)
        evidence.streams = [.main: main]
        let diagnosis = Diagnosis(evidence, of: try #require(DoctorURL("http://a.example/")))
        #expect(diagnosis.findings.map(\.advice) == [advice])
    }

    @Test(arguments: [("10.0.0.9", true), ("10.0.0.9\\\", \\\"0.0.0.0/0", false)])
    func onlyAnAddressIsTrusted(client: String, isAdvised: Bool) throws {
        let hello = "{\"n\":0,\"t\":0,\"probe\":{\"peer\":\"\(client):1\",\"client\":\"\(client)\"}}"
        var evidence = Evidence()
        evidence.streams = [.main: read([hello])]
        let diagnosis = Diagnosis(evidence, of: try #require(DoctorURL("http://a.example/")))
        let finding = try #require(diagnosis.findings.first { $0.check == "client_address" })
        #expect(finding.advice.contains { $0.containsText("trusted_proxies") } == isAdvised)
    }

    private func read(_ lines: [String]) -> Observation {
        var recorder = StreamRecorder(
            requested: start, plan: ProbePlan(id: "a", groups: [.init(16, every: .milliseconds(100), bytes: 0)]))
        var fields = HeaderFields()
        fields.append("Sluice-Probe", "a")
        recorder.head(ResponseHead(status: 200, fields: fields), at: start)
        for line in lines { recorder.body(Array("data: \(line)\n\n".utf8).span, at: start) }
        recorder.end(.whole, at: start)
        return recorder.observation
    }

    @Test func numbersOutOfTheirRangeAreNoEvents() throws {
        let (least, most) = (Int.min, Int.max)
        let wrong = [
            (least, 0), (most, 0), (-1, 0), (4_001, 0), (1, least), (1, most), (1, -1), (1, 1_000_000_000_001),
            (1 << 62, 1 << 62),
        ]
        let right = [(0, 0), (1, 1_000_000_000_000), (2, 0), (4_000, 3), (3, 1_000_000_000_000)]
        let seen = read((wrong + right).map { "{\"n\":\($0.0),\"t\":\($0.1),\"done\":true}" })
        #expect(seen.events.map(\.number) == right.map(\.0))
        #expect(read(wrong.map { "{\"n\":\($0.0),\"t\":\($0.1),\"done\":true}" }).isDone == false)
        let delivery = Delivery(seen.events)
        #expect(delivery.count == right.count && delivery.worstLateness > .zero)
        var evidence = Evidence()
        evidence.streams = Dictionary(uniqueKeysWithValues: Evidence.Purpose.allCases.map { ($0, seen) })
        #expect(Diagnosis(evidence, of: try #require(DoctorURL("http://a.example/"))).isExact)
    }
}
