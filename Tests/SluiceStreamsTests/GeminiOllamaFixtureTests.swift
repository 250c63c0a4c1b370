import Foundation
import SluiceBytes
import SluiceStreams
import SluiceTesting
import Testing

/// Recorded streams of Gemini in both framings, Ollama, TGI, Replicate and watsonx.
@Suite struct GeminiOllamaFixtureTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let folder: String
        let name: String
        let ending: String
        let dialect: Dialect

        var testDescription: String { "\(folder)/\(name)" }
        var decoder: any StreamDecoder { StreamDecoders.make(dialect, eventBytes: 1 << 20) }

        func bytes() throws -> [UInt8] { try FixtureReader.bytes(folder, name, ending) }
    }

    static let cases: [Case] = [
        ("gemini-sse", "sse", Dialect.gemini), ("gemini-array", "json", .gemini),
        ("ollama-chat", "ndjson", .ollamaChat), ("ollama-generate", "ndjson", .ollamaGenerate), ("tgi", "sse", .tgi),
        ("replicate", "sse", .replicate), ("watsonx", "sse", .watsonx),
    ].flatMap { folder, ending, dialect in
        FixtureReader.cases(folder, ending).filter { !$0.hasSuffix(".expected") }
            .map { Case(folder: folder, name: $0, ending: ending, dialect: dialect) }
    }

    @Test func thereAreCases() {
        let counts = Dictionary(grouping: Self.cases, by: \.folder).mapValues(\.count)
        #expect(
            counts == [
                "gemini-sse": 30, "gemini-array": 8, "ollama-chat": 4, "ollama-generate": 2, "tgi": 2, "replicate": 1,
                "watsonx": 1,
            ])
    }

    @Test(arguments: cases) func decodesToWhatIsExpected(fixture: Case) throws {
        let expected = try FixtureReader.expected(fixture.folder, fixture.name)
        let (seen, progress) = try Transcript.of(fixture.decoder, [fixture.bytes()])
        #expect(seen.text[0] ?? "" == expected["text"] as? String)
        #expect(seen.reasoning[0] ?? "" == expected["reasoning"] as? String)
        #expect(seen.words[0] ?? "" == Self.word(expected))
        #expect(progress.eventCount == expected["chunks"] as? Int)
        #expect((progress.sawFinish || progress.sawEnd) == expected["terminated"] as? Bool)
        try expectCalls(seen.calls[0] ?? [], expected["tool_calls"])
        let error = (expected["error"] as? [String: Any])?["message"] ?? expected["error"]
        #expect(seen.errors == (error as? String).map { [$0] } ?? [])
        #expect(progress.sawError == !seen.errors.isEmpty)
        #expect(progress.isComplete == (seen.errors.isEmpty && expected["terminated"] as? Bool == true))
        expectUsage(seen.usage, expected["usage"] as? [String: Any] ?? [:])
        #expect(seen.lines.first { $0 != "ping" }?.hasPrefix("start ") == true)
        #expect(seen.lines.count { $0.hasPrefix("start ") } == 1)
        #expect(!seen.lines.contains("unknown"))
    }

    /// A blocked prompt has no finish of its own, and ends for the reason of the block.
    private static func word(_ expected: [String: Any]) -> String {
        if let number = expected["finish_reason"] as? Int { return "\(number)" }
        return (expected["finish_reason"] as? String) ?? (expected["prompt_block_reason"] as? String) ?? ""
    }

    private func expectCalls(_ calls: [Transcript.Call], _ expected: Any?) throws {
        let wanted = expected as? [[String: Any]] ?? []
        #expect(calls.count == wanted.count)
        for (call, want) in zip(calls, wanted) {
            #expect(call.id == want["id"] as? String ?? "")
            #expect(call.name == want["name"] as? String)
            #expect(call.hasEnded)
            let arguments = try #require(want["arguments"] as? String)
            #expect(json(call.arguments) as NSDictionary == json(arguments) as NSDictionary)
        }
    }

    private func expectUsage(_ usage: Usage, _ expected: [String: Any]) {
        func figure(_ names: String...) -> Int? { names.lazy.compactMap { expected[$0] as? Int }.first }
        let thoughts = figure("thoughtsTokenCount")
        let output = figure("candidatesTokenCount", "eval_count", "generated_token_count")
        #expect(usage.input == figure("promptTokenCount", "prompt_eval_count", "input_token_count"))
        #expect(usage.output == (output == nil && thoughts == nil ? nil : (output ?? 0) + (thoughts ?? 0)))
        #expect(usage.cached == figure("cachedContentTokenCount"))
        #expect(usage.reasoning == thoughts)
    }

    @Test(arguments: cases, [1, 2, 3, 61, 1460])
    func piecesGiveTheSameEvents(fixture: Case, size: Int) throws {
        let bytes = try fixture.bytes()
        let (whole, progress) = try Transcript.of(fixture.decoder, [bytes])
        let (cut, cutProgress) = try Transcript.of(fixture.decoder, Cutter.pieces(bytes, of: size))
        #expect(whole.lines == cut.lines)
        #expect(progress == cutProgress)
    }

    /// Cuts at so many places, evenly spread, that all cases cost about the same.
    @Test(arguments: cases) func aCutGivesTheSameEvents(fixture: Case) throws {
        let bytes = try fixture.bytes()
        let (whole, progress) = try Transcript.of(fixture.decoder, [bytes])
        let step = max(1, bytes.count * bytes.count / 200_000) | 1
        for cut in stride(from: 0, through: bytes.count, by: step) {
            let (seen, other) = try Transcript.of(fixture.decoder, [Array(bytes[..<cut]), Array(bytes[cut...])])
            #expect(seen.lines == whole.lines && other == progress, "cut at byte \(cut)")
        }
    }

    /// Nothing that is cut off anywhere is taken for complete, unless its provider's own ending came before.
    @Test(arguments: cases) func aStreamThatEndsEarlyIsNotComplete(fixture: Case) throws {
        let bytes = try fixture.bytes()
        let (_, progress) = try Transcript.of(fixture.decoder, [bytes])
        guard progress.isComplete else { return }
        let ending = try #require(Self.ending(of: fixture, bytes))
        let step = max(1, ending * bytes.count / 200_000) | 1
        for cut in stride(from: 0, to: ending, by: step) {
            let (_, seen) = try Transcript.of(fixture.decoder, [Array(bytes[..<cut])])
            #expect(!seen.isComplete, "cut at byte \(cut)")
        }
    }

    /// Where the last event begins.
    private static func ending(of fixture: Case, _ bytes: [UInt8]) -> Int? {
        let mark: String
        switch fixture.folder {
        case "gemini-array": return bytes.lastIndex(of: ASCII.rightBracket)
        case "gemini-sse", "tgi": mark = "data:"
        case "replicate": mark = "event: done"
        case "watsonx": mark = "data:"
        default: mark = "{\"model\""
        }
        return Data(bytes).range(of: Data(mark.utf8), options: .backwards)?.lowerBound
    }
}
