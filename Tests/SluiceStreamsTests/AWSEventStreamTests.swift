import SluiceBytes
import Testing

@testable import SluiceStreams

/// The framing itself: headers of all types, lengths, checksums, and where a fault is said to stand.
@Suite struct AWSEventStreamTests {
    private struct Collector: AWSFrameHandler {
        var frames: [String] = []

        mutating func frame(_ frame: borrowing AWSFrame, offset: Int, into batch: inout EventBatch) {
            let parts = [
                text(frame.messageType), text(frame.type), text(frame.errorMessage), text(frame.payload), "\(offset)",
            ]
            frames.append(parts.joined(separator: "|"))
        }

        private func text(_ bytes: Span<UInt8>) -> String {
            bytes.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
        }
    }

    private func read(_ pieces: [[UInt8]], limit: Int = 1 << 20) throws -> [String] {
        var (decoder, collector) = (AWSEventStreamDecoder(eventBytes: limit), Collector())
        var batch = EventBatch()
        for piece in pieces { try decoder.feed(piece.span, to: &collector, into: &batch) }
        return collector.frames
    }

    /// A header of each type that there is.
    private static let everyHeader: [UInt8] = {
        let zeros = { [UInt8](repeating: 0, count: $0) }
        var headers = AWSFrames.header(":message-type", 7, AWSFrames.counted("event"))
        for (type, count) in [0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16] {
            headers += AWSFrames.header("h\(type)", UInt8(type), zeros(count))
        }
        headers += AWSFrames.header("bytes", 6, [0, 3, 1, 2, 3])
        return headers + AWSFrames.header(":event-type", 7, AWSFrames.counted("chunk"))
    }()

    @Test func readsHeadersOfAllTypes() throws {
        let frame = AWSFrames.frame(headers: Self.everyHeader, Array("{}".utf8))
        #expect(try read([frame]) == ["event|chunk||{}|0"])
    }

    @Test func cutsDecideNothing() throws {
        var bytes = AWSFrames.event("first", "{}")
        let second = bytes.count
        bytes += AWSFrames.frame([(":message-type", "error"), (":error-code", "C"), (":error-message", "M")], "")
        let third = bytes.count
        bytes += AWSFrames.frame(headers: Self.everyHeader, [UInt8](repeating: 0x61, count: 40))
        let wanted = [
            "event|first||{}|0", "error|C|M||\(second)",
            "event|chunk||\(String(repeating: "a", count: 40))|\(third)",
        ]
        #expect(try read([bytes]) == wanted)
        #expect(try read(bytes.map { [$0] }) == wanted)
        for cut in 0...bytes.count { #expect(try read([Array(bytes[..<cut]), Array(bytes[cut...])]) == wanted) }
        for first in stride(from: 1, to: bytes.count, by: 5) {
            for second in stride(from: first, to: bytes.count, by: 9) {
                let pieces = [bytes[..<first], bytes[first..<second], bytes[second...]].map(Array.init)
                #expect(try read(pieces) == wanted)
            }
        }
    }

    @Test func aFaultIsSaidToStandWhereItsFrameBegins() throws {
        let good = AWSFrames.event("first", "{}")
        var bad = good
        bad[20] ^= 1
        let sum = StreamError.malformed("the checksum of a frame is wrong", offset: good.count)
        #expect(throws: sum) { try read([good + bad]) }
        #expect(throws: sum) { try read((good + bad).map { [$0] }) }
        bad = good
        bad[3] ^= 1
        let prelude = StreamError.malformed("the checksum of a frame's prelude is wrong", offset: good.count)
        #expect(throws: prelude) { try read([good + bad]) }
        #expect(throws: prelude) { try read((good + bad[..<12]).map { [$0] }) }
    }

    private func prelude(_ total: Int, _ headers: Int) -> [UInt8] {
        let lengths = AWSFrames.number(total) + AWSFrames.number(headers)
        return lengths + AWSFrames.number(AWSFrames.checksum(lengths[...]))
    }

    @Test(arguments: [
        (0, 0), (15, 0), (16, 1), (100, 85), (16, 0xFFFF_FFFF), (0xFFFF_FFFF, 0), (0x7FFF_FFFF, 0x7FFF_FFFF),
        (16 + (128 << 10) + 1, (128 << 10) + 1), (16 + (24 << 20) + 1, 0),
    ])
    func aLengthThatCannotBeIsAFault(total: Int, headers: Int) {
        #expect(throws: StreamError.malformed("a frame's length is impossible", offset: 0)) {
            try read([prelude(total, headers)], limit: .max)
        }
    }

    @Test func theLargestFrameIsWaitedFor() throws {
        #expect(try read([prelude(16 + (128 << 10) + (24 << 20), 128 << 10)], limit: 1 << 30) == [])
        #expect(throws: StreamError.eventTooLarge(Limit("event_bytes", 999))) {
            try read([prelude(1000, 0)], limit: 999)
        }
    }

    @Test(arguments: [
        [], [0], [3], [1, 0x61, 10], [1, 0x61, 7], [1, 0x61, 7, 0], [1, 0x61, 7, 0, 5, 1], [1, 0x61, 4, 0, 0, 0],
        [1, 0x61, 9, 0], [200, 0x61], [1, 0x61, 0],
    ])
    func headersThatAreNotWholeAreAFault(headers: [UInt8]) {
        #expect(throws: StreamError.malformed("the headers of a frame are not whole", offset: 0)) {
            try read([AWSFrames.frame(headers: headers, [])])
        }
    }
}
