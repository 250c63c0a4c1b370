import SluiceBytes
import SluiceStreams
import SluiceTesting
import Testing

/// Notes what a stream of events says.
private struct Recorder: SSEHandler {
    var events: [WireEvent] = []
    var offsets: [Int] = []
    var comments = 0

    mutating func event(_ event: borrowing SSEEvent, offset: Int, into batch: inout EventBatch) {
        func text(_ bytes: Span<UInt8>) -> String {
            bytes.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
        }
        let type = text(event.type)
        events.append(
            WireEvent(type: type.isEmpty ? "message" : type, data: text(event.data), id: text(event.lastEventID)))
        offsets.append(offset)
    }

    mutating func comment(into batch: inout EventBatch) { comments += 1 }
}

/// The event-stream grammar, strictly as the standard has it.
@Suite struct SSEDecoderTests {
    static let cases = FixtureReader.cases("sse-wire")

    private func read(
        _ pieces: [[UInt8]], limit: Int = 1024, isWhole: Bool = false
    ) throws -> (Recorder, retry: Int?) {
        var decoder = SSEDecoder(eventBytes: limit)
        var recorder = Recorder()
        var batch = EventBatch()
        for piece in pieces { try decoder.feed(piece.span, to: &recorder, into: &batch) }
        try decoder.finish(to: &recorder, into: &batch) { _ in isWhole }
        return (recorder, decoder.retry)
    }

    private func read(_ text: String) throws -> Recorder { try read([Array(text.utf8)]).0 }

    @Test(arguments: cases) func readsTheWireHoweverItIsCut(name: String) throws {
        let bytes = try FixtureReader.bytes("sse-wire", name)
        let expected = try FixtureReader.expected("sse-wire", name)
        let events = (expected["events"] as? [[String: Any]] ?? []).map { event in
            WireEvent(
                type: event["event"] as? String ?? "", data: event["data"] as? String ?? "", id: event["id"] as? String)
        }
        let comments = expected["comments"] as? [String] ?? []
        let (whole, _) = try read([bytes])
        for cut in 0...bytes.count {
            let (seen, retry) = try read([Array(bytes[..<cut]), Array(bytes[cut...])])
            #expect(seen.events == events, "cut at byte \(cut)")
            #expect(seen.offsets == whole.offsets, "cut at byte \(cut)")
            #expect(seen.comments == comments.count)
            #expect(retry == expected["retry"] as? Int)
        }
        let (single, _) = try read(Cutter.pieces(bytes, of: 1))
        #expect(single.events == events)
    }

    @Test func thereAreCases() { #expect(Self.cases.count >= 12) }

    @Test func onlyOneByteOrderMarkIsStripped() throws {
        let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
        let line = Array("data: a\n\n".utf8)
        #expect(try read([mark + line]).0.events.map(\.data) == ["a"])
        #expect(try read([mark + mark + line]).0.events.isEmpty)
        #expect(try read([[0xEF, 0xBB], line]).0.events.isEmpty)
        #expect(try read(Cutter.pieces(mark + line, of: 1)).0.events.map(\.data) == ["a"])
    }

    @Test func otherSeparatorsEndNoLine() throws {
        #expect(try read("data: a\u{2028}b\u{0085}c\u{000B}d\n\n").events.map(\.data) == ["a\u{2028}b\u{85}c\u{B}d"])
    }

    @Test func aTypeWithoutDataIsForgotten() throws {
        #expect(try read("event: gone\n\ndata: x\n\n").events == [WireEvent(data: "x", id: "")])
    }

    @Test func anIDWithNULIsIgnoredAndAnEmptyOneResets() throws {
        let ids = try read("id: 1\ndata: a\n\nid: 2\u{0}\ndata: b\n\nid\ndata: c\n\n").events.map(\.id)
        #expect(ids == ["1", "1", ""])
    }

    @Test func aPendingEventIsDroppedAtTheEndUnlessItIsWhole() throws {
        let bytes = Array("data: a\n\nevent: last\ndata: b".utf8)
        #expect(try read([bytes]).0.events.map(\.data) == ["a"])
        let (kind, _) = try read([bytes], isWhole: true)
        #expect(kind.events.map(\.data) == ["a", "b"])
        #expect(kind.events.last?.type == "last")
    }

    @Test(arguments: [
        "data: 0123456789\n\n", "data: 01\ndata: 23456789\n\n", "event: 0123456789012\n\n", ":a\n:b\n:c\n:d\n:e\n",
        "id: 1\nid: 2\nid: 3\n", ":\("x".repeated(40))\n",
    ])
    func theLimitHoldsForEveryCut(text: String) throws {
        let bytes = Array(text.utf8)
        for cut in 0...bytes.count {
            #expect(throws: StreamError.eventTooLarge(Limit("event_bytes", 12)), "cut at byte \(cut)") {
                try read([Array(bytes[..<cut]), Array(bytes[cut...])], limit: 12)
            }
        }
    }

    @Test(arguments: ["data: 01234\n\n", "data: 01234\r\n\r\n", "data: 01234\r\r"])
    func theLargestEventPassesForEveryCut(text: String) throws {
        let bytes = Array(text.utf8)
        for cut in 0...bytes.count {
            let (seen, _) = try read([Array(bytes[..<cut]), Array(bytes[cut...])], limit: 12)
            #expect(seen.events.map(\.data) == ["01234"], "cut at byte \(cut)")
        }
    }

    @Test func theLimitIsForOneEventNotForTheStream() throws {
        let (seen, _) = try read([Array("data: 0123456789\n\n".repeated(100).utf8)], limit: 20)
        #expect(seen.events.count == 100)
    }

    @Test func carriageReturnsAloneAreReadInLinearTime() throws {
        // 256 KiB of empty lines: searched anew for a line feed each time, this would take minutes.
        let bytes = [UInt8](repeating: ASCII.cr, count: 1 << 18) + Array("data: x\r\r".utf8)
        #expect(try read([bytes]).0.events.map(\.data) == ["x"])
    }
}

extension String {
    func repeated(_ count: Int) -> String { String(repeating: self, count: count) }
}
