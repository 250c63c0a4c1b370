import SluiceBytes
import SluiceStreams
import SluiceTesting
import Testing

/// Notes what a stream of events says.
private struct Recorder: SSEHandler {
    var events: [WireEvent] = []

    mutating func event(_ event: borrowing SSEEvent, offset: Int, into batch: inout EventBatch) {
        func text(_ bytes: Span<UInt8>) -> String {
            bytes.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
        }
        events.append(WireEvent(type: text(event.type), data: text(event.data), id: text(event.lastEventID)))
    }

    mutating func comment(into batch: inout EventBatch) {}
}

/// Ids that say where to go on, in streams that come in any pieces.
@Suite struct EventStamperTests {
    private static let name = "0123456789abcdefghijkl"

    private func stamp(
        _ pieces: [[UInt8]], style: EventStamper.Style = .complete, closes: Bool = true
    ) -> (text: String, bytes: [UInt8], position: Int) {
        var stamper = EventStamper(name: Self.name, style: style)
        var out = ByteQueue()
        stamper.open(into: &out)
        for piece in pieces { stamper.stamp(piece.span, into: &out) }
        if closes { stamper.close(into: &out) }
        let bytes = out.withUnsafeBytes { Array($0) }
        return (String(decoding: bytes, as: UTF8.self), bytes, stamper.position)
    }

    private func stamp(_ text: String, style: EventStamper.Style = .inEvents) -> String {
        stamp([Array(text.utf8)], style: style).text
    }

    private func events(_ text: String) throws -> [WireEvent] {
        var decoder = SSEDecoder(eventBytes: 1 << 20)
        var recorder = Recorder()
        var batch = EventBatch()
        try decoder.feed(Array(text.utf8).span, to: &recorder, into: &batch)
        return recorder.events
    }

    /// Every id of ours in `text`, with the place behind the blank line that follows it.
    private func positions(_ bytes: [UInt8]) -> [(said: Int, isSo: Int)] {
        let mark = Array("id: \(Self.name)/".utf8)
        return bytes.indices.compactMap { index in
            guard bytes[index...].starts(with: mark) else { return nil }
            let digits = bytes[(index + mark.count)...].prefix { $0 >= 0x30 && $0 < 0x3A }
            guard let said = Int(String(decoding: digits, as: UTF8.self)) else { return nil }
            return (said, digits.endIndex + 2)
        }
    }

    @Test(arguments: FixtureReader.cases("sse-wire")) func saysTheSameHoweverItIsCut(name: String) throws {
        let bytes = try FixtureReader.bytes("sse-wire", name)
        let whole = stamp([bytes])
        for cut in 0...bytes.count {
            let seen = stamp([Array(bytes[..<cut]), Array(bytes[cut...])])
            #expect(seen == whole, "cut at byte \(cut)")
        }
        #expect(stamp(Cutter.pieces(bytes, of: 1)) == whole)
        #expect(whole.position == whole.bytes.count)
        let ids = positions(whole.bytes)
        #expect(ids.allSatisfy { $0.said == $0.isSo }, "\(ids)")
        // What a reader makes of it is what the provider said, and the event that was never ended, which the last block ends.
        let said = try events(String(decoding: bytes, as: UTF8.self) + "\n\n")
        let heard = try events(whole.text)
        #expect(heard.map(\.data) == said.map(\.data) && heard.map(\.type) == said.map(\.type))
        #expect(heard.allSatisfy { ($0.id ?? "").hasPrefix(Self.name + "/") })
    }

    @Test func aStreamBeginsAndEndsWithBlocksThatAreNoEvents() throws {
        let text = stamp([Array("data: a\n\ndata: b\n\n".utf8)]).text
        let first = "retry: 1000\nid: \(Self.name)/43\n\n"
        #expect(text.hasPrefix(first + "data: a\nid: \(Self.name)/82\n\n"))
        #expect(text.hasSuffix("\n\nid: \(Self.name)/end\n\n"))
        #expect(try events(text).map(\.data) == ["a", "b"])
    }

    @Test func positionsCountTheirOwnDigits() {
        for length in 1...1200 {
            let text = stamp("data: " + String(repeating: "x", count: length) + "\n\ndata: y\n\n")
            let ids = positions(Array(text.utf8))
            #expect(ids.count == 2 && ids.allSatisfy { $0.said == $0.isSo }, "\(length)")
        }
    }

    @Test func idsOfOthersGiveWay() {
        let id = "id: \(Self.name)/"
        #expect(stamp("id: 7\ndata: a\n\n") == "data: a\n\(id)39\n\n")
        #expect(stamp("data: a\nid\n\n") == "data: a\n\(id)39\n\n")
        #expect(stamp("id:7\n\nidea: b\ni\nidx\n\n") == "idea: b\ni\nidx\n\(id)45\n\n")
        #expect(stamp("\n\n\n") == "")
    }

    @Test func everyLineEndIsOne() {
        let id = "id: \(Self.name)/"
        for end in ["\n", "\r\n", "\r"] {
            #expect(stamp("event: e\(end)data: a\(end)\(end)") == "event: e\ndata: a\n\(id)48\n\n")
        }
    }

    @Test func insideEventsThereAreIdsAndNothingElse() {
        let text = stamp([Array("data: a\n\ndata: [DONE]".utf8)], style: .inEvents).text
        #expect(text == "data: a\nid: \(Self.name)/39\n\ndata: [DONE]")
    }
}
