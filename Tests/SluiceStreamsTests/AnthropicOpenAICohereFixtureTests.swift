import Foundation
import SluiceBytes
import SluiceStreams
import SluiceTesting
import Testing

/// Recorded streams of Anthropic, of OpenAI's Responses and of Cohere.
@Suite struct AnthropicOpenAICohereFixtureTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let dialect: Dialect
        let name: String

        var folder: String { dialect.rawValue }
        var fileExtension: String { dialect == .cohereV1 ? "ndjson" : "sse" }
        var testDescription: String { "\(folder)/\(name)" }
        var decoder: any StreamDecoder { StreamDecoders.make(dialect, eventBytes: 1 << 20) }

        func bytes() throws -> [UInt8] { try FixtureReader.bytes(folder, name, fileExtension) }
        func expected() throws -> [String: Any] { try FixtureReader.expected(folder, name) }
    }

    static let cases: [Case] = [
        (Dialect.anthropicMessages, "sse"), (.anthropicCompletion, "sse"), (.openAIResponses, "sse"),
        (.cohereV1, "ndjson"), (.cohereV2, "sse"),
    ].flatMap { (dialect: Dialect, fileExtension: String) in
        FixtureReader.cases(dialect.rawValue, fileExtension).map { Case(dialect: dialect, name: $0) }
    }

    @Test func thereAreCases() {
        func count(_ dialect: Dialect) -> Int { Self.cases.count { $0.dialect == dialect } }
        #expect(count(.anthropicMessages) >= 32 && count(.openAIResponses) >= 29)
        #expect(count(.cohereV1) >= 6 && count(.cohereV2) >= 10 && count(.anthropicCompletion) >= 2)
    }

    @Test(arguments: cases) func decodesToWhatIsExpected(which: Case) throws {
        let expected = try which.expected()
        let (seen, progress) = try Telling.of(which.decoder, [which.bytes()])
        #expect(seen.text[0] ?? "" == expected["text"] as? String)
        #expect(seen.reasoning[0] ?? "" == expected["reasoning"] as? String)
        #expect(seen.refusal[0] ?? "" == expected["refusal"] as? String ?? "")
        #expect(seen.words[0] == expected["finish_reason"] as? String)
        try expectReason(seen, expected)
        #expect(progress.sawEnd == expected["terminated"] as? Bool)
        #expect(progress.sawFinish == expected["finish_reason"] is String)
        #expect(progress.eventCount == expected["chunks"] as? Int)
        try expectCalls(seen.calls[0] ?? [], expected["tool_calls"])
        let error = expected["error"] as? [String: Any]
        #expect(seen.errors == (error?["message"] as? String).map { [$0] } ?? [])
        #expect(progress.sawError == (error != nil))
        #expect(seen.usage == usage(which.dialect, expected["usage"] as? [String: Any]))
        #expect(seen.lines.first { $0 != "ping" }?.hasPrefix("start ") == true)
        #expect(seen.lines.count { $0.hasPrefix("start ") } == 1)
        #expect(seen.ends == (progress.sawEnd ? 1 : 0))
    }

    private func expectReason(_ seen: Transcript, _ expected: [String: Any]) throws {
        guard let word = seen.words[0] else { return #expect(seen.reasons[0] == nil) }
        let calls = expected["tool_calls"] as? [Any] ?? []
        let wanted: FinishReason? =
            switch word {
            case "max_tokens", "MAX_TOKENS": .length
            case "incomplete": expected["finish_detail"] as? String == "max_output_tokens" ? .length : .contentFilter
            case "refusal": .contentFilter
            case "failed", "ERROR": .error
            case "tool_use", "TOOL_CALL": .toolCalls
            case "end_turn", "stop_sequence", "pause_turn", "completed", "COMPLETE":
                calls.isEmpty ? .stop : .toolCalls
            default: nil
            }
        #expect(wanted != nil && seen.reasons[0] == wanted)
    }

    private func expectCalls(_ calls: [Transcript.Call], _ expected: Any?) throws {
        let wanted = expected as? [[String: Any]] ?? []
        #expect(calls.count == wanted.count)
        for (call, want) in zip(calls, wanted) {
            #expect(call.id == want["id"] as? String ?? "")
            #expect(call.name == want["name"] as? String ?? "")
            #expect(call.hasEnded)
            #expect(call.arguments == want["arguments"] as? String)
        }
    }

    private func usage(_ dialect: Dialect, _ raw: [String: Any]?) -> Usage {
        guard let raw else { return Usage() }
        func count(_ key: String, in part: String? = nil) -> Int? {
            (part.map { raw[$0] as? [String: Any] } ?? raw)?[key] as? Int
        }
        switch dialect {
        case .anthropicMessages:
            let cached = count("cache_read_input_tokens")
            let all = (count("input_tokens") ?? 0) + (cached ?? 0) + (count("cache_creation_input_tokens") ?? 0)
            return Usage(input: all, output: count("output_tokens"), cached: cached)
        case .openAIResponses:
            return Usage(
                input: count("input_tokens"), output: count("output_tokens"),
                cached: count("cached_tokens", in: "input_tokens_details"),
                reasoning: count("reasoning_tokens", in: "output_tokens_details"))
        case .cohereV2:
            return Usage(
                input: count("input_tokens", in: "tokens"), output: count("output_tokens", in: "tokens"),
                cached: count("cached_tokens"))
        default: return Usage(input: count("input_tokens"), output: count("output_tokens"))
        }
    }

    @Test(arguments: cases, [1, 2, 3, 61, 1460]) func piecesGiveTheSameEvents(which: Case, size: Int) throws {
        let bytes = try which.bytes()
        let (whole, progress) = try Telling.of(which.decoder, [bytes])
        let (cut, cutProgress) = try Telling.of(which.decoder, Cutter.pieces(bytes, of: size))
        #expect(whole.lines == cut.lines)
        #expect(progress == cutProgress)
    }

    /// Most positions of a short stream, fewer of a long one; the step is odd, so that the cuts drift over all parts of
    /// an event.
    @Test(arguments: cases) func cutsGiveTheSameEvents(which: Case) throws {
        let bytes = try which.bytes()
        let (whole, progress) = try Telling.of(which.decoder, [bytes])
        let step = (bytes.count * bytes.count / 120_000) | 1
        for cut in stride(from: bytes.count % 7, through: bytes.count, by: step) {
            let (seen, other) = try Telling.of(which.decoder, [Array(bytes[..<cut]), Array(bytes[cut...])])
            if seen.lines != whole.lines || other != progress { Issue.record("cut at byte \(cut)") }
        }
    }

    /// A stream that breaks off has no end, wherever it does: nothing is made up.
    @Test(arguments: cases) func aStreamThatBreaksOffIsNotComplete(which: Case) throws {
        let bytes = try which.bytes()
        for part in [bytes.count / 3, bytes.count / 2] {
            let (_, progress) = try Telling.of(which.decoder, [Array(bytes[..<part])])
            #expect(!progress.isComplete, "cut at byte \(part)")
        }
    }

    /// Bytes that change on the way break no reader, and what it makes of them hangs on no cut.
    @Test(arguments: cases) func changedBytesDoNoHarm(which: Case) throws {
        let original = Array(try which.bytes().prefix(3000))
        let marks = Array("\"\\{}[],:0\nnu".utf8)
        var random = SplitMix(state: UInt64(original.count))
        for _ in 0..<8 {
            var bytes = original
            for _ in 0..<3 {
                let position = Int(random.next() % UInt64(bytes.count))
                bytes[position] = marks[Int(random.next() % UInt64(marks.count))]
            }
            let whole = try? Telling.of(which.decoder, [bytes]).0.lines
            let cut = try? Telling.of(which.decoder, Cutter.pieces(bytes, of: 97)).0.lines
            #expect(whole == cut)
        }
    }

    @Test func webCitationsAreSources() throws {
        func sources(_ dialect: Dialect, _ name: String) throws -> [String] {
            let which = Case(dialect: dialect, name: name)
            return try Telling.of(which.decoder, [which.bytes()]).0.lines.filter { $0.hasPrefix("source ") }
        }
        let mountain = "https://www.britannica.com/place/Mount-Columbia?utm_source=openai"
        #expect(
            try sources(.openAIResponses, "annotations")
                == ["source \(mountain) Mount Columbia | mountain, Alberta, Canada | Britannica"])
        let weather = try sources(.anthropicMessages, "web-search")
        #expect(weather.count == 5 && weather.allSatisfy { $0.hasPrefix("source https://") })
    }

    @Test func aSignatureFollowsItsReasoning() throws {
        let which = Case(dialect: .anthropicMessages, name: "thinking")
        let lines = try Telling.of(which.decoder, [which.bytes()]).0.lines
        let signature = try #require(lines.firstIndex { $0.hasPrefix("signature 0 ") })
        #expect(lines[signature].count > 100)
        #expect(try signature > #require(lines.lastIndex { $0.hasPrefix("reasoning ") }))
        #expect(try signature < #require(lines.firstIndex { $0.hasPrefix("text ") }))
    }
}

/// A transcript whose lines say what sources and signatures say, and not where their bytes stand.
enum Telling {
    static func of(_ decoder: any StreamDecoder, _ pieces: [[UInt8]]) throws -> (Transcript, StreamProgress) {
        var decoder = decoder
        var batch = EventBatch()
        var transcript = Transcript()
        for piece in pieces {
            try decoder.feed(piece.span, into: &batch)
            take(batch, &transcript)
            batch.removeAll()
        }
        try decoder.finish(into: &batch)
        take(batch, &transcript)
        return (transcript, decoder.progress)
    }

    static func of(_ decoder: any StreamDecoder, _ text: String) throws -> (Transcript, StreamProgress) {
        try of(decoder, [Array(text.utf8)])
    }

    private static func take(_ batch: borrowing EventBatch, _ transcript: inout Transcript) {
        let start = transcript.lines.count
        transcript.take(batch)
        for (position, event) in batch.events.enumerated() {
            switch event {
            case .source(let url, let title):
                transcript.lines[start + position] = "source \(batch.string(url)) \(batch.string(title))"
            case .reasoningSignature(let choice, let range):
                transcript.lines[start + position] = "signature \(choice) \(batch.string(range))"
            default: continue
            }
        }
    }
}
