import Foundation
import SluiceBytes
import SluiceStreams
import SluiceTesting
import Testing

private let fixtures = Fixture.all("openai-chat")

@Suite struct OpenAIChatFixtureTests {
    @Test func theRecordingsAreThere() { #expect(fixtures.count == 68) }

    @Test(arguments: fixtures) func decodesToWhatWasRecorded(fixture: Fixture) throws {
        let whole = try transcript(fixture.bytes, [])
        check(whole, fixture)
        #expect(whole.isWellFormed)
    }

    @Test(arguments: fixtures) func byteByByte(fixture: Fixture) throws {
        let whole = try transcript(fixture.bytes, [])
        var decoder = StreamDecoders.make(.openAIChat, eventBytes: 8 << 20)
        var batch = EventBatch()
        var got = Transcript()
        for byte in fixture.bytes { try feed([byte], &decoder, &batch, &got) }
        try finish(&decoder, &batch, &got)
        #expect(got == whole)
    }

    /// At every position: what the next 256 bytes mean in one piece is what they meant byte by byte. Decoders are values,
    /// so the one that has seen everything before the cut is copied.
    @Test(arguments: fixtures) func everyCut(fixture: Fixture) throws {
        let bytes = fixture.bytes
        var byBytes: [[String]] = []
        var decoder = StreamDecoders.make(.openAIChat, eventBytes: 8 << 20)
        var batch = EventBatch()
        for byte in bytes { byBytes.append(try described([byte], &decoder, &batch)) }
        var front = StreamDecoders.make(.openAIChat, eventBytes: 8 << 20)
        for cut in bytes.indices {
            let end = min(bytes.count, cut + 256)
            var copy = front
            let got = try described(Array(bytes[cut..<end]), &copy, &batch)
            if got != Array(byBytes[cut..<end].joined()) { Issue.record("cut at byte \(cut)") }
            _ = try described([bytes[cut]], &front, &batch)
        }
    }

    private func described(
        _ bytes: [UInt8], _ decoder: inout any StreamDecoder, _ batch: inout EventBatch
    ) throws -> [String] {
        batch.removeAll()
        try decoder.feed(bytes.span, into: &batch)
        if batch.isEmpty { return [] }
        var all: [String] = []
        for event in batch.events {
            switch event {
            case .text(let choice, let range): all.append("text \(choice) \(batch.string(range))")
            case .reasoning(let choice, let range): all.append("reasoning \(choice) \(batch.string(range))")
            case .toolCallArguments(let choice, let index, let range):
                all.append("arguments \(choice) \(index) \(batch.string(range))")
            case .toolCallStart(let choice, let index, let id, let name):
                all.append("call \(choice) \(index) \(batch.string(id)) \(batch.string(name))")
            case .finish(let choice, let reason, _): all.append("finish \(choice) \(reason)")
            case .usage(let usage): all.append("\(usage)")
            default: all.append("\(event)".prefix { $0 != "(" }.description)
            }
        }
        return all
    }

    @Test(arguments: fixtures) func theTextFormatIsTheTextAndNothingElse(fixture: Fixture) throws {
        let expected = fixture.json["text"] as? String ?? ""
        let refusal = fixture.json["refusal"] as? String ?? ""
        for step in [fixture.bytes.count, 1, 7, 1000] {
            var bridge = try bridge(.text)
            var batch = EventBatch()
            var out = ByteQueue()
            var start = 0
            while start < fixture.bytes.count {
                let end = min(fixture.bytes.count, start + step)
                let chunk = Array(fixture.bytes[start..<end])
                try bridge.consume(chunk.span, batch: &batch, into: &out)
                start = end
            }
            let ending = try bridge.finish(batch: &batch, into: &out)
            let written = out.withUnsafeBytes { Array($0) }
            #expect(written == Array((expected + refusal).utf8))
            let isWhole = !(fixture.json["error"] is [String: Any]) && isComplete(fixture)
            #expect(ending == (isWhole ? .complete : .abort))
        }
    }

    // MARK: - Helpers

    private func isComplete(_ fixture: Fixture) -> Bool {
        fixture.json["terminated"] as? Bool == true || fixture.json["finish_reason"] is String
    }

    private func bridge(_ format: StreamFormat) throws -> StreamBridge {
        let encoder = try #require(StreamEncoders.make(format, options: EncoderOptions()))
        return StreamBridge(decoder: StreamDecoders.make(.openAIChat, eventBytes: 8 << 20), encoder: encoder)
    }

    private func transcript(_ bytes: [UInt8], _ cuts: [Int]) throws -> Transcript {
        var decoder = StreamDecoders.make(.openAIChat, eventBytes: 8 << 20)
        var batch = EventBatch()
        var got = Transcript()
        try feed(bytes, &decoder, &batch, &got)
        try finish(&decoder, &batch, &got)
        return got
    }

    private func feed(
        _ bytes: [UInt8], _ decoder: inout any StreamDecoder, _ batch: inout EventBatch, _ got: inout Transcript
    ) throws {
        batch.removeAll()
        try decoder.feed(bytes.span, into: &batch)
        got.add(batch)
    }

    private func finish(
        _ decoder: inout any StreamDecoder, _ batch: inout EventBatch, _ got: inout Transcript
    ) throws {
        batch.removeAll()
        try decoder.finish(into: &batch)
        got.add(batch)
    }

    private func check(_ got: Transcript, _ fixture: Fixture) {
        let expected = fixture.json
        let first = got.choices[0] ?? Transcript.Choice()
        #expect(first.text == expected["text"] as? String ?? "")
        #expect(first.reasoning == expected["reasoning"] as? String ?? "")
        #expect(first.refusal == expected["refusal"] as? String ?? "")
        #expect(first.finish == expected["finish_reason"] as? String)
        checkCalls(first.calls, expected["tool_calls"])
        checkUsage(got.usage, expected["usage"] as? [String: Any])
        #expect(got.errors.isEmpty == !(expected["error"] is [String: Any]))
        for choice in expected["choices"] as? [[String: Any]] ?? [] {
            let other = got.choices[choice["index"] as? Int ?? -1] ?? Transcript.Choice()
            #expect(other.text == choice["text"] as? String)
            #expect(other.finish == choice["finish_reason"] as? String)
            checkCalls(other.calls, choice["tool_calls"])
        }
    }

    private func checkCalls(_ got: [Transcript.Call], _ expected: Any?) {
        let calls = expected as? [[String: Any]] ?? []
        #expect(got.count == calls.count)
        for (call, wanted) in zip(got, calls) {
            #expect(call.id == wanted["id"] as? String ?? "")
            #expect(call.name == wanted["name"] as? String ?? "")
            let arguments = wanted["arguments"] as? String ?? ""
            if call.arguments != arguments {
                #expect(JSONValue.parse(call.arguments) == JSONValue.parse(arguments), "\(call.arguments)")
            }
        }
    }

    private func checkUsage(_ got: Usage?, _ expected: [String: Any]?) {
        #expect(got?.input == expected?["prompt_tokens"] as? Int)
        let input = expected?["prompt_tokens_details"] as? [String: Any]
        let output = expected?["completion_tokens_details"] as? [String: Any]
        var completion = expected?["completion_tokens"] as? Int
        // xAI counts reasoning apart; everybody else counts it in, and so does `Usage.output`.
        if let own = completion, let reasoning = output?["reasoning_tokens"] as? Int, reasoning > own {
            completion = own + reasoning
        }
        #expect(got?.output == completion)
        #expect(got?.cached == input?["cached_tokens"] as? Int)
        #expect(got?.reasoning == output?["reasoning_tokens"] as? Int)
    }
}
