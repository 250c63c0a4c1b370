import Foundation
import SluiceBytes
import SluiceStreams
import Testing

@testable import SluiceDemo

@Suite struct RecordingTests {
    private func record(
        _ path: String, _ text: String, times: String? = nil, dialect: Dialect? = nil, speed: Double = 1
    ) throws(Recording.Fault) -> Recording {
        var pace = Recording.Pace()
        pace.speed = speed
        return try Recording(
            path: path, bytes: Array(text.utf8), times: times.map { Array($0.utf8) }, dialect: dialect, pace: pace)
    }

    @Test(arguments: [
        (
            "a.sse", "data: 1\n\ndata: 2\r\n\r\n: c\r\rdata: 3",
            ["data: 1\n\n", "data: 2\r\n\r\n", ": c\r\r", "data: 3"]
        ),
        ("a.sse", "\n\ndata: 1\n\n\n", ["\n", "\n", "data: 1\n\n", "\n"]),
        ("a.ndjson", "{}\n{\"a\":1}\r\n{", ["{}\n", "{\"a\":1}\r\n", "{"]),
        ("a.json", "[{\"a\":\"}]\\\"\"}\n,\n{\"b\":[{}]}\n]", ["[{\"a\":\"}]\\\"\"}", "\n,\n{\"b\":[{}]}", "\n]"]),
        ("a.json", "{\"a\":{},\"b\":{}}", ["{\"a\":{},\"b\":{}}"]),
        ("a.json", "]]}}", ["]]}}"]),
        ("a.sse", "", []),
    ])
    func isCutWhereItsEventsEnd(path: String, text: String, events: [String]) throws {
        let recording = try record(path, text)
        #expect(recording.events.map { String(decoding: $0, as: UTF8.self) } == events)
    }

    @Test func framesAreCutByTheirLengths() throws {
        let frames = [AWSFrame.event("a", []), AWSFrame.event("b", [1, 2, 3])]
        #expect(EventCutter.cut(frames[0] + frames[1], .awsEventStream) == frames)
        #expect(EventCutter.cut(frames[0] + [0, 0], .awsEventStream) == [frames[0], [0, 0]])
        #expect(EventCutter.cut(frames[0] + [0, 0, 0, 0, 9], .awsEventStream) == [frames[0], [0, 0, 0, 0, 9]])
    }

    @Test func whateverItIsCutItStaysTheSame() throws {
        let bytes = (0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 7 ^ $0 >> 3) }
        for framing in FormatCatalog.Framing.allCases + [nil] {
            #expect(EventCutter.cut(bytes, framing).flatMap(\.self) == bytes)
        }
        #expect(EventCutter.cut(bytes, nil).map(\.count) == [1024, 1024, 1024, 1024, 904])
    }

    @Test(arguments: [
        ("x/a.sse", nil, "text/event-stream"), ("cohere-v1/a.ndjson", nil, "application/stream+json"),
        ("x/a.ndjson", nil, "application/x-ndjson"), ("x/a.bin", nil, "application/vnd.amazon.eventstream"),
        ("gemini/a.json", nil, "application/json"), ("a.json", Dialect.gemini, "application/json"),
        ("a", Dialect.gemini, "text/event-stream"), ("ollama-chat/a", nil, "application/x-ndjson"),
        ("a.sse", Dialect.text, "text/plain; charset=utf-8"), ("a.xyz", nil, "application/octet-stream"),
    ])
    func itsContentTypeIsTheDialects(path: String, dialect: Dialect?, type: String) throws {
        #expect(try record(path, "x", dialect: dialect).contentType == type)
    }

    @Test func playsInItsOwnTimeOrInEvenSteps() throws {
        let text = "{}\n{}\n{}\n"
        #expect(try record("a.ndjson", text).delays == [.zero, .milliseconds(20), .milliseconds(20)])
        let timed = try record("a.ndjson", text, times: "500 12.5\n0\n", speed: 2)
        #expect(timed.delays == [.milliseconds(250), Interval(nanoseconds: 6_250_000), .zero])
        #expect(throws: Recording.Fault.self) { try record("a.ndjson", text, times: "1 2") }
        for times in ["1 2 x", "1 2 -3", "1 2 inf", "1 2 nan", "1 2 1e300"] {
            #expect(throws: Recording.Fault.self) { try record("a.ndjson", text, times: times) }
        }
    }

    @Test func isChosenByNameElseInTurn() throws {
        let recordings = try [record("p/a.sse", "1"), record("q/b.c.sse", "2"), record("r/a.sse", "3")]
        var turn = ReplayTurn(recordings)
        func text(_ script: DemoScript) -> String { String(decoding: script.steps.flatMap(\.bytes), as: UTF8.self) }
        #expect(text(turn.answer("GET", "/a")) == "1")
        #expect(text(turn.answer("POST", "/b.c")) == "2")
        #expect(text(turn.answer("GET", "/r/a")) == "3")
        #expect((0..<4).map { _ in text(turn.answer("POST", "/v1/chat/completions")) } == ["1", "2", "3", "1"])
        #expect(turn.answer("PUT", "/a").status == 405)
    }
}
