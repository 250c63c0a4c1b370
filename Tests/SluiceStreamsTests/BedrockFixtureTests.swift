import Foundation
import SluiceBytes
import SluiceTesting
import Testing

@testable import SluiceStreams

/// Recorded streams of Bedrock, in the frames of AWS.
@Suite struct BedrockFixtureTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let dialect: Dialect
        let name: String
        var testDescription: String { "\(dialect.rawValue)/\(name)" }
        var bytes: [UInt8] { get throws { try FixtureReader.bytes(dialect.rawValue, name, "bin") } }
        var expected: [String: Any] { get throws { try FixtureReader.expected(dialect.rawValue, name) } }
        var decoder: any StreamDecoder { StreamDecoders.make(dialect, eventBytes: 1 << 20) }
    }
    static let cases = [Dialect.bedrockConverse, .bedrockInvoke].flatMap { dialect in
        FixtureReader.cases(dialect.rawValue, "bin").map { Case(dialect: dialect, name: $0) }
    }

    @Test func thereAreCases() { #expect(Self.cases.count == 25) }

    @Test(arguments: cases) func decodesToWhatIsExpected(of fixture: Case) throws {
        let expected = try fixture.expected
        let (seen, progress) = try Transcript.of(fixture.decoder, [fixture.bytes])
        #expect(seen.text[0] ?? "" == expected["text"] as? String)
        #expect(seen.reasoning[0] ?? "" == expected["reasoning"] as? String)
        #expect(seen.words[0] == expected["finish_reason"] as? String)
        #expect(progress.sawEnd == expected["terminated"] as? Bool)
        #expect(seen.ends == (progress.sawEnd ? 1 : 0))
        #expect(progress.isComplete == expected["terminated"] as? Bool)
        #expect(progress.eventCount == expected["chunks"] as? Int)
        let error = expected["error"] as? [String: Any]
        #expect(seen.errors == (error?["message"] as? String).map { [$0] } ?? [])
        #expect(progress.sawError == (error != nil))
        #expect(seen.lines.first?.hasPrefix("start ") == true)
        #expect(seen.lines.count { $0.hasPrefix("start ") } == 1)
        try expectCalls(seen.calls[0] ?? [], expected["tool_calls"])
        expectUsage(seen.usage, expected["usage"] as? [String: Any])
    }

    private func expectCalls(_ calls: [Transcript.Call], _ expected: Any?) throws {
        let wanted = expected as? [[String: Any]] ?? []
        #expect(calls.count == wanted.count)
        for (call, want) in zip(calls, wanted) {
            #expect(call.id == want["id"] as? String)
            #expect(call.name == want["name"] as? String)
            #expect(call.hasEnded)
            let arguments = try #require(want["arguments"] as? String)
            #expect(json(call.arguments) as NSDictionary == json(arguments) as NSDictionary)
        }
    }

    private func expectUsage(_ usage: Usage, _ expected: [String: Any]?) {
        func count(_ names: String...) -> Int? { names.lazy.compactMap { expected?[$0] as? Int }.first }
        var input = count("inputTokens", "inputTokenCount", "input_tokens")
        let read = count("cacheReadInputTokens", "cacheReadInputTokenCount")
        let written = count("cacheWriteInputTokens", "cacheWriteInputTokenCount")
        input = input.map { $0 + (read ?? 0) + (written ?? 0) }
        #expect(usage.input == input)
        #expect(usage.output == count("outputTokens", "outputTokenCount", "output_tokens"))
        #expect(usage.cached == read)
        #expect(usage.reasoning == nil)
    }

    @Test(arguments: cases, [1, 2, 3, 61, 1460]) func piecesGiveTheSameEvents(of fixture: Case, size: Int) throws {
        let bytes = try fixture.bytes
        let (whole, progress) = try Transcript.of(fixture.decoder, [bytes])
        let (cut, cutProgress) = try Transcript.of(fixture.decoder, Cutter.pieces(bytes, of: size))
        #expect(whole.lines == cut.lines)
        #expect(progress == cutProgress)
    }

    @Test(arguments: cases) func cutsInTwoGiveTheSameEvents(of fixture: Case) throws {
        let bytes = try fixture.bytes
        let (whole, progress) = try Transcript.of(fixture.decoder, [bytes])
        for cut in Cutter.positions(bytes.count, full: 24, stride: max(1, bytes.count / 25) | 1) {
            let (seen, cutProgress) = try Transcript.of(fixture.decoder, [Array(bytes[..<cut]), Array(bytes[cut...])])
            #expect(seen.lines == whole.lines && progress == cutProgress, "cut at byte \(cut)")
        }
    }

    /// The checksums let no changed byte through.
    @Test(arguments: ["max-tokens", "syn-exception"]) func anyChangedByteIsFound(name: String) throws {
        let fixture = Case(dialect: .bedrockConverse, name: name)
        let bytes = try fixture.bytes
        let (whole, _) = try Transcript.of(fixture.decoder, [bytes])
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= UInt8(1) << UInt8(index & 7)
            #expect(throws: StreamError.self, "byte \(index)") {
                let (seen, _) = try Transcript.of(fixture.decoder, [changed])
                Issue.record("byte \(index) says \(seen.lines) where it said \(whole.lines)")
            }
        }
    }

    /// With its checksum put right, a changed payload reaches the dialect: an error or other events, never a trap.
    @Test(arguments: cases) func changedPayloadsAreSurvived(of fixture: Case) throws {
        let bytes = try fixture.bytes
        for (number, range) in AWSFrames.ranges(bytes).enumerated().prefix(24) {
            let frame = Array(bytes[range])
            for index in stride(from: 12 + number % 7, to: frame.count - 4, by: 7) {
                var changed = frame
                changed[index] = UInt8(truncatingIfNeeded: index &* 31 &+ number &+ 7)
                AWSFrames.repair(&changed)
                _ = try? Transcript.of(fixture.decoder, [changed])
            }
        }
    }

    @Test(arguments: cases) func aCutStreamIsNotComplete(of fixture: Case) throws {
        let bytes = try fixture.bytes
        let frames = AWSFrames.ranges(bytes)
        let last = try #require(frames.last)
        let (seen, progress) = try Transcript.of(fixture.decoder, [Array(bytes[..<(last.upperBound - 1)])])
        #expect(seen.ends == 0)
        #expect(!progress.sawEnd)
    }

    @Test func aLimitStandsForEachEvent() throws {
        let bytes = try FixtureReader.bytes("bedrock-converse", "text", "bin")
        let longest = AWSFrames.ranges(bytes).map(\.count).max() ?? 0
        _ = try Transcript.of(StreamDecoders.make(.bedrockConverse, eventBytes: longest), [bytes])
        #expect(throws: StreamError.eventTooLarge(Limit("event_bytes", longest - 1))) {
            try Transcript.of(StreamDecoders.make(.bedrockConverse, eventBytes: longest - 1), [bytes])
        }
    }
}

/// Frames made and mended by hand, with a checksum that owes nothing to the one that is tested.
enum AWSFrames {
    static func frame(_ headers: [(String, String)], _ payload: String) -> [UInt8] {
        frame(headers: headers.flatMap { header($0, 7, counted($1)) }, Array(payload.utf8))
    }

    static func event(_ type: String, _ payload: String) -> [UInt8] {
        frame([(":message-type", "event"), (":event-type", type)], payload)
    }

    static func header(_ name: String, _ type: UInt8, _ value: [UInt8]) -> [UInt8] {
        [UInt8(name.utf8.count)] + Array(name.utf8) + [type] + value
    }

    static func counted(_ text: String) -> [UInt8] {
        [UInt8(text.utf8.count >> 8), UInt8(text.utf8.count & 255)] + Array(text.utf8)
    }

    static func frame(headers: [UInt8], _ payload: [UInt8]) -> [UInt8] {
        var bytes = number(headers.count + payload.count + 16) + number(headers.count)
        bytes += number(checksum(bytes[...]))
        bytes += headers + payload
        return bytes + number(checksum(bytes[...]))
    }

    static func number(_ value: Int) -> [UInt8] { [24, 16, 8, 0].map { UInt8(value >> $0 & 255) } }

    static func ranges(_ bytes: [UInt8]) -> [Range<Int>] {
        var ranges: [Range<Int>] = []
        var start = 0
        while start + 16 <= bytes.count {
            let count = bytes[start..<(start + 4)].reduce(0) { $0 << 8 | Int($1) }
            guard count >= 16, start + count <= bytes.count else { break }
            ranges.append(start..<(start + count))
            start += count
        }
        return ranges
    }

    /// Puts right the checksums of all frames that can still be found.
    static func repair(_ bytes: inout [UInt8]) {
        for range in ranges(bytes) {
            let (start, end) = (range.lowerBound, range.upperBound - 4)
            bytes.replaceSubrange((start + 8)..<(start + 12), with: number(checksum(bytes[start..<(start + 8)])))
            bytes.replaceSubrange(end..<(end + 4), with: number(checksum(bytes[start..<end])))
        }
    }

    private static let remainders: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { crc, _ in crc >> 1 ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0) }
    }

    /// A byte at a time, by the remainders of the polynomial.
    static func checksum(_ bytes: ArraySlice<UInt8>) -> Int {
        Int(
            ~bytes.reduce(UInt32.max) { crc, byte in crc >> 8 ^ remainders[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] }
        )
    }
}
