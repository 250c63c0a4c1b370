import Foundation
import SluiceBytes
import SluiceStreams
import SluiceTesting
import Testing

/// Every recorded stream in every format, read back by readers that share no code with the encoders.
@Suite struct EncoderFixtureTests {
    static let cases = OpenAIChatFixtureTests.cases

    /// What the provider's stream meant, and what the client is sent for it.
    private func convert(
        _ name: String, to format: StreamFormat, includeUsage: Bool = true
    ) throws -> (source: Transcript, progress: StreamProgress, out: [UInt8], ending: BodyEnding) {
        let bytes = try FixtureReader.bytes("openai-chat", name)
        let decoder = StreamDecoders.make(.openAIChat, eventBytes: 1 << 20)
        let (source, progress) = try Transcript.of(decoder, [bytes])
        let (out, ending) = try Conversion.run(format, [bytes], includeUsage: includeUsage)
        for size in [1, 1000] {
            let pieces = Cutter.pieces(bytes, of: size)
            let (again, endingAgain) = try Conversion.run(format, pieces, includeUsage: includeUsage)
            #expect(again == out && endingAgain == ending, "in pieces of \(size)")
        }
        return (source, progress, out, ending)
    }

    private func visible(_ source: Transcript) -> String { (source.text[0] ?? "") + (source.refusal[0] ?? "") }

    @Test(arguments: cases) func textIsTheTextAndNothingElse(name: String) throws {
        let expected = try FixtureReader.expected("openai-chat", name)
        let (_, progress, out, ending) = try convert(name, to: .text)
        let text = (expected["text"] as? String ?? "") + (expected["refusal"] as? String ?? "")
        #expect(out == Array(text.utf8))
        #expect(ending == (progress.isComplete ? .complete : .abort))
    }

    @Test(arguments: cases) func sseTextReadsBack(name: String) throws {
        let (source, progress, out, ending) = try convert(name, to: .sseText)
        let events = WireEvent.read(out)
        let text = events.filter { $0.type == "message" }.map(\.data).joined()
        let lineFeeds = visible(source).replacing("\r\n", with: "\n").replacing("\r", with: "\n")
        #expect(Array(text.utf8) == Array(lineFeeds.utf8))
        #expect(
            events.filter { $0.type == "message" }.map(\.id)
                == events.indices.prefix(events.count - 1).map { "\($0 + 1)" })
        #expect(events.last?.type == (progress.isComplete ? "done" : "error") && ending == .complete)
        var told = source
        if source.refusal[0] != nil, source.reasons[0] == .stop { told.reasons[0] = .contentFilter }
        expectEnd(json(events.last?.data ?? ""), told, progress)
    }

    private func expectEnd(_ last: [String: Any], _ source: Transcript, _ progress: StreamProgress) {
        guard progress.isComplete else {
            #expect((last["error"] as? [String: Any])?["message"] as? String == source.errors.first)
            return
        }
        #expect(last["done"] as? Bool == true)
        let words: [FinishReason: String] = [
            .stop: "stop", .length: "length", .toolCalls: "tool_calls", .contentFilter: "content_filter",
        ]
        #expect(last["finish_reason"] as? String == source.reasons[0].flatMap { words[$0] })
        let usage = last["usage"] as? [String: Any]
        #expect(usage?["input_tokens"] as? Int == source.usage.input)
        #expect(usage?["output_tokens"] as? Int == source.usage.output)
        #expect(usage?["cached_tokens"] as? Int == source.usage.cached)
        #expect(usage?["reasoning_tokens"] as? Int == source.usage.reasoning)
    }

    @Test(arguments: cases, [StreamFormat.sseJSON, .ndjson])
    func objectsReadBack(name: String, format: StreamFormat) throws {
        let (source, progress, out, ending) = try convert(name, to: format)
        let objects: [[String: Any]]
        if format == .ndjson {
            let lines = String(decoding: out, as: UTF8.self).unicodeScalars.split(separator: "\n")
            objects = lines.map { json(String($0)) }
        } else {
            let events = WireEvent.read(out)
            objects = events.map { json($0.data) }
            #expect(events.dropLast().allSatisfy { $0.type == "message" })
            #expect(events.last?.type == (progress.isComplete ? "message" : "error"))
        }
        var seen = Transcript()
        for object in objects.dropLast() {
            #expect(object.keys.allSatisfy { ["text", "reasoning", "refusal", "tool_call", "choice"].contains($0) })
            let choice = object["choice"] as? Int ?? 0
            if let text = object["text"] as? String { seen.text[choice, default: ""] += text }
            if let text = object["reasoning"] as? String { seen.reasoning[choice, default: ""] += text }
            if let text = object["refusal"] as? String { seen.refusal[choice, default: ""] += text }
            if let call = object["tool_call"] as? [String: Any] { seen.take(call, choice) }
        }
        #expect(seen.text == source.text && seen.reasoning == source.reasoning && seen.refusal == source.refusal)
        #expect(
            seen.calls
                == source.calls.mapValues {
                    $0.map { Transcript.Call(id: $0.id, name: $0.name, arguments: $0.arguments) }
                })
        expectEnd(objects.last ?? [:], source, progress)
        #expect(ending == .complete)
    }

    @Test(arguments: cases, [true, false])
    func openAIChatReadsBack(name: String, includeUsage: Bool) throws {
        let (source, progress, out, ending) = try convert(name, to: .openAIChat, includeUsage: includeUsage)
        #expect(ending == .complete)
        let events = WireEvent.read(out)
        #expect(events.allSatisfy { $0.type == "message" })
        #expect((events.last?.data == "[DONE]") == progress.isComplete)
        let chunks = events.map(\.data).filter { $0 != "[DONE]" }.map(json)
        let (errors, plain) = (chunks.filter { $0["error"] != nil }, chunks.filter { $0["error"] == nil })
        #expect(errors.count == (progress.isComplete ? 0 : 1))
        expectShape(plain, source, includeUsage: includeUsage, isComplete: progress.isComplete)
        // And back through the decoder: nothing was lost on the way.
        let (again, _) = try Transcript.of(StreamDecoders.make(.openAIChat, eventBytes: 1 << 20), [out])
        #expect(again.text == source.text && again.reasoning == source.reasoning && again.refusal == source.refusal)
        #expect(again.calls.mapValues { $0.map(\.name) } == source.calls.mapValues { $0.map(\.name) })
        #expect(again.calls.mapValues { $0.map(\.arguments) } == source.calls.mapValues { $0.map(\.arguments) })
        #expect(again.errors == source.errors)
        if includeUsage, progress.isComplete { #expect(again.usage == source.usage) }
    }

    /// What strict clients hold on to (one id, model and time; the role first; one finish for each choice).
    private func expectShape(
        _ chunks: [[String: Any]], _ source: Transcript, includeUsage: Bool, isComplete: Bool
    ) {
        for key in ["id", "object", "model"] { #expect(Set(chunks.map { $0[key] as? String }).count <= 1) }
        #expect(Set(chunks.map { $0["created"] as? Int }).count <= 1)
        #expect(chunks.allSatisfy { $0["object"] as? String == "chat.completion.chunk" && $0["id"] as? String != "" })
        let choices = chunks.compactMap { $0["choices"] as? [[String: Any]] }.flatMap { $0 }
        for index in Set(choices.compactMap { $0["index"] as? Int }) {
            let own = choices.filter { $0["index"] as? Int == index }
            let deltas = own.compactMap { $0["delta"] as? [String: Any] }
            #expect(deltas.count == own.count)
            #expect(deltas.first?["role"] as? String == "assistant")
            #expect(deltas.count { $0["role"] != nil } == 1)
            let finishes = own.compactMap { $0["finish_reason"] as? String }
            if isComplete {
                #expect(finishes.count == 1)
                #expect(own.last?["finish_reason"] is String)
            }
        }
        let usages = chunks.filter { $0["usage"] != nil }
        #expect(usages.count == (includeUsage && isComplete && source.usage != Usage() ? 1 : 0))
        #expect(usages.allSatisfy { ($0["choices"] as? [Any])?.isEmpty == true })
    }
}

extension Transcript {
    /// One `tool_call` object of `sse-json` and `ndjson`.
    mutating func take(_ call: [String: Any], _ choice: Int) {
        guard let index = call["index"] as? Int else { return }
        if let name = call["name"] as? String {
            calls[choice, default: []].append(Call(id: call["id"] as? String ?? "", name: name))
        }
        if index < calls[choice]?.count ?? 0 {
            calls[choice]?[index].arguments += call["arguments"] as? String ?? ""
        }
    }
}

/// A whole conversion, as the proxy and `sluice convert` do it.
enum Conversion {
    static func run(
        _ format: StreamFormat, _ pieces: [[UInt8]], includeUsage: Bool = false, from dialect: Dialect = .openAIChat
    ) throws -> ([UInt8], BodyEnding) {
        var bridge = bridge(format, includeUsage: includeUsage, from: dialect)
        var batch = EventBatch()
        var out = ByteQueue()
        for piece in pieces { try bridge.consume(piece.span, batch: &batch, into: &out) }
        let ending = try bridge.finish(batch: &batch, into: &out)
        return (out.array, ending)
    }

    static func bridge(
        _ format: StreamFormat, includeUsage: Bool = false, from dialect: Dialect = .openAIChat
    ) -> StreamBridge {
        var options = EncoderOptions()
        (options.id, options.model, options.created) = ("chatcmpl-own", "own-model", 77)
        options.includeUsage = includeUsage
        let decoder = StreamDecoders.make(dialect, eventBytes: 1 << 20)
        guard let encoder = StreamEncoders.make(format, options: options) else {
            return StreamBridge(relaying: decoder)
        }
        return StreamBridge(decoder: decoder, encoder: encoder)
    }
}
