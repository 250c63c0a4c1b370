import SluiceBytes
import SluiceStreams
import Testing

@testable import SluiceConfig
@testable import SluiceProxy

/// The bytes themselves; that others read them as they are meant, `Tests/EndToEnd/test_traces.py` shows.
@Suite struct OTLPTests {
    private func span() -> TraceSpan {
        var span = TraceSpan(
            traceID: "0102030405060708090a0b0c0d0e0f10", spanID: "1112131415161718", parentID: "", state: "a=1",
            flags: 0x101,
            name: "n", kind: .server, start: 1, end: 0x0102)
        span.set("s", "v")
        span.set("i", 300)
        span.set("minus", -1)
        span.set("zero", 0)
        span.set("d", 1.5)
        span.add("f", .flag(false))
        span.add("l", .texts(["x", "y"]))
        span.events = [.init(time: 2, name: "e")]
        span.failure = "eof"
        return span
    }

    @Test func protobuf() {
        let body = OTLPProtobuf.request([span()], [.init(name: "r", value: .text(""))], version: "9")
        func attribute(_ name: String, _ value: [UInt8]) -> [UInt8] {
            let key = [0x0A, UInt8(name.utf8.count)] + Array(name.utf8)
            let inner = key + [0x12, UInt8(value.count)] + value
            return [0x4A, UInt8(inner.count)] + inner
        }
        let minus = [0x18] + [UInt8](repeating: 0xFF, count: 9) + [1]
        var wanted: [UInt8] = [0x0A, 16] + Array(1...16) + [0x12, 8] + Array(0x11...0x18)
        wanted += [0x1A, 3] + Array("a=1".utf8) + [0x2A, 1, 0x6E, 0x30, 2]
        wanted += [0x39, 1, 0, 0, 0, 0, 0, 0, 0, 0x41, 2, 1, 0, 0, 0, 0, 0, 0]
        wanted += attribute("s", [0x0A, 1, 0x76]) + attribute("i", [0x18, 0xAC, 2]) + attribute("minus", minus)
        wanted += attribute("zero", [0x18, 0]) + attribute("d", [0x21, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F])
        wanted +=
            attribute("f", [0x10, 0]) + attribute("l", [0x2A, 10, 0x0A, 3, 0x0A, 1, 0x78, 0x0A, 3, 0x0A, 1, 0x79])
        wanted += [0x5A, 12, 0x09, 2, 0, 0, 0, 0, 0, 0, 0, 0x12, 1, 0x65]
        wanted += [0x7A, 7, 0x12, 3, 0x65, 0x6F, 0x66, 0x18, 2]
        wanted += [0x85, 1, 1, 1, 0, 0]
        let resource: [UInt8] = [0x0A, 9, 0x0A, 7, 0x0A, 1, 0x72, 0x12, 2, 0x0A, 0]
        let scope: [UInt8] = [0x0A, 11, 0x0A, 6] + Array("sluice".utf8) + [0x12, 1, 0x39]
        func run(_ tag: UInt8, _ bytes: [UInt8]) -> [UInt8] {
            let count = bytes.count
            return [tag] + (count < 128 ? [UInt8(count)] : [UInt8(count & 0x7F) | 0x80, UInt8(count >> 7)]) + bytes
        }
        #expect(body == run(0x0A, resource + run(0x12, scope + run(0x12, wanted))))
    }

    @Test func json() throws {
        let body = OTLPJSON.request([span()], [.init(name: "r", value: .integer(1))], version: "9")
        let group = try #require(JSONValue.parse(strictly: body)?["resourceSpans"]?.elements?.first)
        let read = try #require(group["scopeSpans"]?.elements?.first?["spans"]?.elements?.first)
        #expect(read["traceId"] == "0102030405060708090a0b0c0d0e0f10" && read["parentSpanId"] == nil)
        #expect(read["startTimeUnixNano"] == "1" && read["kind"] == 2 && read["flags"] == 257)
        #expect(read["status"] == ["message": "eof", "code": 2])
        let values = read["attributes"]?.elements?.compactMap { $0["value"] } ?? []
        #expect(values.first == ["stringValue": "v"] && values[1] == ["intValue": "300"])
        #expect(values[4] == ["doubleValue": .number("1.5")] && values[5] == ["boolValue": false])
        #expect(values[6] == ["arrayValue": ["values": [["stringValue": "x"], ["stringValue": "y"]]]])
        #expect(group["resource"]?["attributes"]?.elements?.first == ["key": "r", "value": ["intValue": "1"]])
    }

    @Test func limits() {
        var span = span()
        span.apply(.init(valueLength: 0, attributes: 1, events: 0))
        #expect(span.attributes == [.init(name: "s", value: .text(""))] && span.droppedAttributes == 6)
        #expect(span.events == [] && span.droppedEvents == 1)
    }

    // MARK: - What comes back

    @Test(
        arguments: [
            ([], 0, ""), ([0x0A, 0], 0, ""), ([0x0A, 6, 8, 3, 0x12, 2, 0x6E, 0x6F], 3, "no"),
            // Unknown fields of every kind, before and inside.
            ([0x10, 5, 0x1D, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8, 0x0A, 4, 0x18, 9, 8, 1], 1, ""),
            // A negative count, a length that is none, a varint that never ends.
            ([0x0A, 11, 8] + [UInt8](repeating: 0xFF, count: 9) + [1], 0, ""), ([0x0A, 200, 8, 3], 0, ""),
            ([UInt8](repeating: 0xFF, count: 40), 0, ""), ([0x0B, 1], 0, ""),
        ] as [([UInt8], Int, String)]) func partialSuccess(body: [UInt8], rejected: Int, message: String)
    {
        let answer = OTLPAnswer(status: 200, isJSON: false, body: body, retryAfter: nil)
        #expect(answer == .taken(rejected: rejected, message: message))
    }

    @Test(arguments: [
        ("{}", 0, ""), ("", 0, ""), (#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}"#, 3, "no"),
        (#"{"partialSuccess":{"rejectedSpans":2}}"#, 2, ""), (#"{"partialSuccess":{"rejectedSpans":-2}}"#, 0, ""),
        (#"{"partialSuccess":[]}"#, 0, ""),
    ]) func partialSuccessAsJSON(body: String, rejected: Int, message: String) {
        let answer = OTLPAnswer(status: 200, isJSON: true, body: Array(body.utf8), retryAfter: nil)
        #expect(answer == .taken(rejected: rejected, message: message))
    }

    @Test func onlySomeFailuresPass() {
        func isBusy(_ status: Int) -> Bool {
            if case .busy = OTLPAnswer(status: status, isJSON: false, body: [], retryAfter: nil) { return true }
            return false
        }
        #expect((300..<600).filter(isBusy) == [429, 502, 503, 504])
    }

    // MARK: - What is asked

    @Test(
        arguments: [
            (#"{"model":"m","max_tokens":5,"temperature":0.5,"top_p":1}"#, 5, 0.5, 1),
            (#"{"max_completion_tokens":7,"messages":[{"temperature":3}]}"#, 7, nil, nil),
            (#"{"options":{"num_predict":-1,"temperature":0}}"#, -1, 0, nil),
            (#"{"generationConfig":{"maxOutputTokens":3,"topP":0.25}}"#, 3, nil, 0.25),
            (#"{"max_tokens":"5","temperature":null,"top_p":true}"#, nil, nil, nil),
            (#"{"max_tokens":1e999,"temperature":1e999}"#, nil, nil, nil), (#"{"max_tokens":1.5}"#, nil, nil, nil),
            ("[]", nil, nil, nil), ("", nil, nil, nil), (#"{"temperature":0.1,"max_tok"#, nil, 0.1, nil),
        ] as [(String, Int?, Double?, Double?)])
    func settings(body: String, maxTokens: Int?, temperature: Double?, topP: Double?) {
        let bytes = Array(body.utf8)
        let read = RequestSettings(bytes.span)
        #expect(read.maxTokens == maxTokens && read.temperature == temperature && read.topP == topP)
    }
}
