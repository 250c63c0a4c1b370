import Foundation
import SluiceBytes
import SluiceStreams
import SluiceTesting
import Testing

/// Recorded streams of OpenAI and of those who speak like it.
@Suite struct OpenAIChatFixtureTests {
    static let cases = FixtureReader.cases("openai-chat")
    private var decoder: any StreamDecoder { StreamDecoders.make(.openAIChat, eventBytes: 1 << 20) }

    @Test func thereAreCases() { #expect(Self.cases.count > 60) }

    @Test(arguments: cases) func decodesToWhatIsExpected(name: String) throws {
        let bytes = try FixtureReader.bytes("openai-chat", name)
        let expected = try FixtureReader.expected("openai-chat", name)
        let (seen, progress) = try Transcript.of(decoder, [bytes])
        #expect(seen.text[0] ?? "" == expected["text"] as? String)
        #expect(seen.reasoning[0] ?? "" == expected["reasoning"] as? String)
        #expect(seen.refusal[0] ?? "" == expected["refusal"] as? String ?? "")
        #expect(seen.words[0] == expected["finish_reason"] as? String)
        #expect(progress.sawEnd == expected["terminated"] as? Bool)
        #expect(progress.eventCount == expected["chunks"] as? Int)
        try expectCalls(seen.calls[0] ?? [], expected["tool_calls"])
        for case let choice as [String: Any] in expected["choices"] as? [Any] ?? [] {
            let index = try #require(choice["index"] as? Int)
            #expect(seen.text[index] ?? "" == choice["text"] as? String)
            #expect(seen.words[index] == choice["finish_reason"] as? String)
            try expectCalls(seen.calls[index] ?? [], choice["tool_calls"])
        }
        let error = expected["error"] as? [String: Any]
        #expect(seen.errors == (error?["message"] as? String).map { [$0] } ?? [])
        #expect(progress.sawError == (error != nil))
        expectUsage(seen.usage, expected["usage"] as? [String: Any])
        #expect(seen.lines.first { $0 != "ping" }?.hasPrefix("start ") == true)
        #expect(seen.lines.count { $0.hasPrefix("start ") } == 1)
    }

    private func expectCalls(_ calls: [Transcript.Call], _ expected: Any?) throws {
        let wanted = expected as? [[String: Any]] ?? []
        #expect(calls.count == wanted.count)
        for (call, want) in zip(calls, wanted) {
            #expect(call.id == want["id"] as? String ?? "")
            #expect(call.name == want["name"] as? String ?? "")
            #expect(call.hasEnded)
            let arguments = try #require(want["arguments"] as? String)
            if call.arguments != arguments {
                #expect(json(call.arguments) as NSDictionary == json(arguments) as NSDictionary)
            }
        }
    }

    private func expectUsage(_ usage: Usage, _ expected: [String: Any]?) {
        let prompt = expected?["prompt_tokens_details"] as? [String: Any]
        let completion = expected?["completion_tokens_details"] as? [String: Any]
        let reasoning = completion?["reasoning_tokens"] as? Int
        var output = expected?["completion_tokens"] as? Int
        // xAI's total shows that its reasoning stands beside the completion.
        if let input = expected?["prompt_tokens"] as? Int, let text = output, let reasoning, reasoning > 0,
            expected?["total_tokens"] as? Int == input + text + reasoning
        {
            output = text + reasoning
        }
        #expect(usage.input == expected?["prompt_tokens"] as? Int)
        #expect(usage.output == output)
        #expect(usage.cached == prompt?["cached_tokens"] as? Int)
        #expect(usage.reasoning == reasoning)
    }

    @Test(arguments: cases, [1, 2, 3, 61, 1460])
    func piecesGiveTheSameEvents(name: String, size: Int) throws {
        let bytes = try FixtureReader.bytes("openai-chat", name)
        let (whole, progress) = try Transcript.of(decoder, [bytes])
        let (cut, cutProgress) = try Transcript.of(decoder, Cutter.pieces(bytes, of: size))
        #expect(whole.lines == cut.lines)
        #expect(progress == cutProgress)
    }

    /// Cuts the stream in two at each position. What stands before an event is fed once and copied, and an event is
    /// fed as far as the blank line behind it, where nothing of it is left in the decoder: that keeps it linear.
    /// Positions past 16 KiB are sampled.
    @Test(arguments: cases) func everyCutGivesTheSameEvents(name: String) throws {
        let bytes = try FixtureReader.bytes("openai-chat", name)
        let wanted = Set(Cutter.positions(bytes.count))
        var base = decoder
        var batch = EventBatch()
        var start = 0
        while start < bytes.count {
            let end = Self.blankLineEnd(bytes, from: start)
            let event = Array(bytes[start..<end])
            var next = base
            try next.feed(event.span, into: &batch)
            let (events, progress) = (batch.events, next.progress)
            let whole = events.isEmpty ? Transcript() : Self.transcript(batch)
            batch.removeAll()
            for cut in 1..<max(2, event.count) where wanted.contains(start + cut) && cut < event.count {
                var other = base
                try other.feed(event.span.extracting(first: cut), into: &batch)
                try other.feed(event.span.extracting(droppingFirst: cut), into: &batch)
                if batch.events != events || Self.transcript(batch) != whole || other.progress != progress {
                    Issue.record("cut at byte \(start + cut)")
                }
                batch.removeAll()
            }
            (base, start) = (next, end)
        }
    }

    private static func transcript(_ batch: borrowing EventBatch) -> Transcript {
        var transcript = Transcript()
        transcript.take(batch)
        return transcript
    }

    private static func blankLineEnd(_ bytes: [UInt8], from start: Int) -> Int {
        var index = start
        while index + 1 < bytes.count {
            if bytes[index] == ASCII.lf, bytes[index + 1] == ASCII.lf { return index + 2 }
            if index + 3 < bytes.count, bytes[index..<(index + 4)].elementsEqual([13, 10, 13, 10]) { return index + 4 }
            index += 1
        }
        return bytes.count
    }

    /// The first 700 bytes of each stream, so that the state across events is cut as well.
    @Test(arguments: cases) func everyCutOfAShortStreamGivesTheSame(name: String) throws {
        let bytes = Array(try FixtureReader.bytes("openai-chat", name).prefix(700))
        let (whole, _) = try Transcript.of(decoder, [bytes])
        for cut in 0...bytes.count {
            let (seen, _) = try Transcript.of(decoder, [Array(bytes[..<cut]), Array(bytes[cut...])])
            #expect(seen.lines == whole.lines, "cut at byte \(cut)")
        }
    }
}
