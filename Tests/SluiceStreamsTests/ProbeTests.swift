import SluiceBytes
import SluiceStreams
import Testing

@Suite struct ProbeTests {
    private func text(_ queue: borrowing ByteQueue) -> String {
        queue.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    @Test func aPlanSurvivesItsOwnField() throws {
        var plan = ProbePlan(
            id: "a1", groups: [.init(20, every: .milliseconds(100), bytes: 64), .init(1, every: .zero, bytes: 4096)])
        (plan.framing, plan.wait, plan.silence) = (.ndjson, .milliseconds(5), .seconds(6))
        (plan.keepalive, plan.isPlain) = (.milliseconds(1500), true)
        #expect(try #require(ProbePlan(plan.text)) == plan)
        #expect(plan.duration == .milliseconds(8_005) && plan.eventCount == 21)
        #expect(ProbePlan("id=a1; framing=text ; events=1x0x0")?.framing == .text)
    }

    @Test(arguments: [
        "", "id=", "id=a b", "id=a1;events=", "id=a1;events=1x2", "id=a1;events=0x1x1", "id=a1;events=1x1x-1",
        "id=a1;what=1",
        "id=a1;framing=xml", "id=a1;wait=x", "id=a1;keepalive=1", "id=a1;events=2001x1x0", "id=a1;events=2x1x1000000",
        "id=a1;silence=600001", "id=a1;events=99999999999x1x1", "events=1x1x1",
        "id=a1;wait=99999999999999999999",
    ])
    func whatIsNoPlanOrCostsTooMuch(text: String) { #expect(ProbePlan(text) == nil) }

    @Test func eventsLeaveWhenTheyAreDueAndSayWhen() throws {
        var plan = ProbePlan(id: "a1", groups: [.init(2, every: .milliseconds(100), bytes: 3)])
        plan.wait = .milliseconds(50)
        var script = ProbeScript(plan)
        var out = ByteQueue()
        script.play(at: .milliseconds(49), hello: "\"x\":1", into: &out)
        let early = text(out)
        #expect(early.isEmpty && script.due == .milliseconds(50))
        script.play(at: .milliseconds(50), hello: "\"x\":1", into: &out)
        let hello = text(out)
        #expect(hello == "data: {\"n\":0,\"t\":50000,\"probe\":{\"x\":1}}\n\n")
        out.removeAll()
        // A timer that is late delays no event but its own, and the event says when it left in truth.
        script.play(at: .milliseconds(170), hello: "", into: &out)
        #expect(script.due == .milliseconds(250))
        let late = text(out)
        let first = try #require(JSONValue.parse(String(late.dropFirst(6))))
        #expect(first["n"]?.integer == 1 && first["t"]?.integer == 170_000)
        #expect(first["pad"]?.string?.text.utf8.count == 3)
        out.removeAll()
        script.play(at: .milliseconds(250), hello: "", into: &out)
        let parts = text(out).split(separator: "\n\n")
        #expect(parts.count == 2 && parts[1] == "data: {\"n\":3,\"t\":250000,\"done\":true}")
        #expect(script.isOver && script.sentEvents == 2)
    }

    @Test func silenceIsBrokenByCommentsWhereTheFramingHasThem() {
        func lines(_ framing: ProbePlan.Framing, keepalive: UInt64) -> [String] {
            var plan = ProbePlan(id: "a1", groups: [.init(1, every: .zero, bytes: 0)])
            (plan.framing, plan.silence, plan.keepalive) = (framing, .milliseconds(1_000), .milliseconds(keepalive))
            var (script, times) = (ProbeScript(plan), [String]())
            while let due = script.due {
                var out = ByteQueue()
                script.play(at: due, hello: "", into: &out)
                times.append("\(due.milliseconds):\(text(out) == ":\n\n" ? "comment" : "data")")
            }
            return times
        }
        #expect(lines(.sse, keepalive: 400) == ["0:data", "400:comment", "800:comment", "1000:data"])
        #expect(lines(.sse, keepalive: 0) == ["0:data", "1000:data"])
        #expect(lines(.ndjson, keepalive: 400) == ["0:data", "1000:data"])
    }

    @Test func aPlanWithoutEventsStillEndsWhole() {
        var script = ProbeScript(ProbePlan(id: "a1"))
        var out = ByteQueue()
        script.play(at: .zero, hello: "", into: &out)
        let whole = text(out)
        #expect(script.isOver && whole.hasSuffix("{\"n\":1,\"t\":0,\"done\":true}\n\n"))
    }
}
