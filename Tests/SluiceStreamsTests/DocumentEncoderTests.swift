import Foundation
import SluiceBytes
import SluiceStreams
import SluiceTesting
import Testing

/// One document instead of a stream, in every format; and errors as documents.
@Suite struct DocumentEncoderTests {
    static let cases = OpenAIChatFixtureTests.cases
    static let formats = StreamFormat.allCases.filter { $0 != .passthrough }

    private func convert(_ bytes: [UInt8], to format: StreamFormat, size: Int) throws -> ([UInt8], BodyEnding) {
        let encoder = try ProviderEventTests.make(format, isDocument: true)
        let decoder = StreamDecoders.make(.openAIChat, eventBytes: 1 << 20)
        var bridge = StreamBridge(decoder: decoder, encoder: encoder)
        var batch = EventBatch()
        var out = ByteQueue()
        let isDocument = bridge.isDocument
        #expect(isDocument && bridge.contentType == "application/json")
        for piece in Cutter.pieces(bytes, of: size) { try bridge.consume(piece.span, batch: &batch, into: &out) }
        #expect(out.array.isEmpty)
        let ending = try bridge.finish(batch: &batch, into: &out)
        return (out.array, ending)
    }

    @Test(arguments: cases) func readsBack(name: String) throws {
        let bytes = try FixtureReader.bytes("openai-chat", name)
        let expected = ExpectedAnswer(try FixtureReader.expected("openai-chat", name))
        let (source, progress) = try Transcript.of(StreamDecoders.make(.openAIChat, eventBytes: 1 << 20), [bytes])
        for format in Self.formats {
            let (out, ending) = try convert(bytes, to: format, size: 1460)
            #expect(ending == .complete)
            let document = json(String(decoding: out, as: UTF8.self))
            guard progress.isComplete else {
                var answer = ReadAnswer()
                if !answer.takeError(document) {
                    answer.errors = [document["message"] as? String ?? document["detail"] as? String ?? ""]
                }
                #expect(answer.errors == source.errors)
                continue
            }
            let answer = try ReadAnswer.read(document: document, format)
            if ReadAnswer.neutral.contains(format) {
                try expected.expect(neutral: answer)
            } else {
                try expected.expect(answer, format, isWhole: true)
            }
            ExpectedUsage.expect(answer.usage, source.usage, format)
        }
    }

    @Test(arguments: ["text", "refusal", "deepseek-tool", "tool-parallel", "length", "syn-content-filter"])
    func aResponseIsTheOneThatEndsTheStream(name: String) throws {
        let bytes = try FixtureReader.bytes("openai-chat", name)
        let (out, _) = try convert(bytes, to: .openAIResponses, size: 1000)
        let (stream, _) = try Conversion.run(.openAIResponses, [bytes])
        let last = json(WireEvent.read(stream).last?.data ?? "")["response"] as? [String: Any]
        #expect(json(String(decoding: out, as: UTF8.self)) as NSDictionary == last as NSDictionary?)
    }

    private func encode(
        _ format: StreamFormat, _ steps: [ProviderEventTests.Step]
    ) throws -> (document: [String: Any], ending: BodyEnding) {
        var encoder = try ProviderEventTests.make(format, isDocument: true)
        var out = ByteQueue()
        ProviderEventTests.feed(&encoder, steps, into: &out)
        #expect(out.array.isEmpty)
        let ending = encoder.end(into: &out)
        let written = out.array
        #expect(encoder.end(into: &out) == ending && out.array == written)
        #expect(encoder.fail(StreamFailure(.timeout, "late"), into: &out) == ending && out.array == written)
        return (json(out.text), ending)
    }

    @Test func callsAndSignaturesInTheirPlaces() throws {
        let steps: [ProviderEventTests.Step] = [
            .reasoning("r"), .signature("cw=="), .text("a"), .call(0, "", "f"), .call(1, "i", "g"),
            .arguments(0, "{\"x\":1}"),
            .text("b"), .finish(.toolCalls),
        ]
        let (anthropic, _) = try encode(.anthropic, steps)
        let content = anthropic["content"] as? [[String: Any]] ?? []
        #expect(content.map { $0["type"] as? String } == ["thinking", "text", "tool_use", "tool_use", "text"])
        #expect(content[0]["signature"] as? String == "cw==" && content[2]["id"] as? String == "toolu_own_0")
        #expect(
            content[2]["input"] as? [String: Int] == ["x": 1] && (content[3]["input"] as? [String: Any])?.count == 0)
        let (gemini, _) = try encode(.gemini, steps)
        let candidate = (gemini["candidates"] as? [[String: Any]])?.first?["content"] as? [String: Any]
        let parts = candidate?["parts"] as? [[String: Any]] ?? []
        #expect(parts.map { $0["thoughtSignature"] as? String } == [nil, "cw==", nil, nil, nil, nil])
        let (chat, _) = try encode(.openAIChat, steps)
        let message = (chat["choices"] as? [[String: Any]])?.first?["message"] as? [String: Any]
        #expect(message?["content"] as? String == "ab" && (message?["tool_calls"] as? [Any])?.count == 2)
    }

    @Test func aCallThatTheFormatHasNoFormFor() throws {
        let steps: [ProviderEventTests.Step] = [.text("a"), .call(0, "i", "f"), .arguments(0, "{\"x")]
        for format in [StreamFormat.anthropic, .ollamaChat] {
            let (cut, ending) = try encode(format, steps + [.finish(.length)])
            #expect(ending == .complete && cut["error"] == nil)
            let (broken, failed) = try encode(format, steps + [.finish(.toolCalls)])
            #expect(failed == .abort && broken["error"] != nil)
        }
        let (gemini, ending) = try encode(.gemini, steps + [.finish(.toolCalls)])
        let candidate = (gemini["candidates"] as? [[String: Any]])?.first
        #expect(ending == .complete && candidate?["finishReason"] as? String == "MALFORMED_FUNCTION_CALL")
    }

    @Test(arguments: formats) func failures(format: StreamFormat) throws {
        var encoder = try ProviderEventTests.make(format, isDocument: true)
        var out = ByteQueue()
        ProviderEventTests.feed(&encoder, [.text("x")], into: &out)
        #expect(encoder.fail(StreamFailure(.timeout, "too long"), into: &out) == .complete)
        #expect(encoder.end(into: &out) == .complete)
        #expect(out.text.contains("\"too long\"") && !out.text.contains("\"x\"") && !json(out.text).isEmpty)
    }

    @Test func anAnswerOverTheLimit() throws {
        var encoder = try ProviderEventTests.make(.openAIChat, isDocument: true)
        var out = ByteQueue()
        var batch = EventBatch()
        batch.append(.text(choice: 0, batch.store(String(repeating: "x", count: 1 << 20))))
        for _ in 0..<33 { encoder.encode(batch, into: &out) }
        #expect(encoder.end(into: &out) == .abort)
        #expect(out.count < 1000 && json(out.text)["error"] != nil)
    }

    @Test func geminiAsAnArrayOfOne() throws {
        for steps: [ProviderEventTests.Step] in [[.text("x")], [.error(.provider, "no")]] {
            var options = EncoderOptions()
            (options.isDocument, options.isArray) = (true, true)
            var encoder = try #require(StreamEncoders.make(.gemini, options: options))
            var out = ByteQueue()
            ProviderEventTests.feed(&encoder, steps, into: &out)
            #expect(encoder.end(into: &out) == .complete)
            let array = try JSONSerialization.jsonObject(with: Data(out.array)) as? [[String: Any]]
            #expect(array?.count == 1)
        }
    }

    // MARK: - Errors

    private func error(_ format: StreamFormat, _ status: Int) -> [String: Any] {
        var out = ByteQueue()
        ErrorDocument.append(
            format, status: status, type: "rate_limit_error", code: "limit", message: "a \"b\"\n", into: &out)
        #expect(out.text.hasSuffix("}\n"))
        return json(out.text)
    }

    @Test(arguments: StreamFormat.allCases) func errorDocuments(format: StreamFormat) {
        let document = error(format, 429) as NSDictionary
        let message = "a \"b\"\n"
        let wanted: [String: Any] =
            switch format {
            case .anthropic: ["type": "error", "error": ["type": "rate_limit_error", "message": message]]
            case .gemini: ["error": ["code": 429, "message": message, "status": "RESOURCE_EXHAUSTED"] as [String: Any]]
            case .ollamaChat, .ollamaGenerate: ["error": message]
            case .cohere: ["message": message]
            case .mlflow: ["detail": message]
            default:
                [
                    "error": ["message": message, "type": "rate_limit_error", "param": NSNull(), "code": "limit"]
                        as [String: Any]
                ]
            }
        #expect(document == wanted as NSDictionary)
    }

    @Test(arguments: [
        (400, "invalid_request_error", "INVALID_ARGUMENT"), (401, "authentication_error", "UNAUTHENTICATED"),
        (403, "permission_error", "PERMISSION_DENIED"), (404, "not_found_error", "NOT_FOUND"),
        (413, "request_too_large", "INVALID_ARGUMENT"), (429, "rate_limit_error", "RESOURCE_EXHAUSTED"),
        (500, "api_error", "INTERNAL"), (502, "api_error", "INTERNAL"), (503, "overloaded_error", "UNAVAILABLE"),
        (504, "api_error", "DEADLINE_EXCEEDED"), (529, "overloaded_error", "UNAVAILABLE"),
    ])
    func wordsOfAStatus(status: Int, anthropic: String, gemini: String) {
        #expect((error(.anthropic, status)["error"] as? [String: Any])?["type"] as? String == anthropic)
        #expect((error(.gemini, status)["error"] as? [String: Any])?["status"] as? String == gemini)
    }
}

// MARK: - Readers

extension ReadAnswer {
    static let neutral: [StreamFormat] = [.text, .sseText, .sseJSON, .ndjson, .vercelUI, .vercelData, .agUI]

    static func read(document: [String: Any], _ format: StreamFormat) throws -> ReadAnswer {
        var answer = ReadAnswer()
        switch format {
        case .gemini: return gemini([document])
        case .ollamaChat, .ollamaGenerate: return ollama([document])
        case .openAIResponses: answer.takeResponse(document)
        case .openAIChat, .openAICompletions, .mlflow: try answer.takeChoices(document)
        case .anthropic: answer.takeMessage(document)
        case .cohere:
            let message = try #require(document["message"] as? [String: Any])
            answer.takeContent(message["content"])
            answer.takeCalls(message["tool_calls"], 0)
            answer.finish[0] = document["finish_reason"] as? String
            let usage = document["usage"] as? [String: Any] ?? [:]
            answer.usage = usage["tokens"] as? [String: Any] ?? [:]
            answer.usage["cached_tokens"] = usage["cached_tokens"]
        default:
            answer.text[0] = try #require(document["text"] as? String)
            answer.reasoning[0] = document["reasoning"] as? String
            answer.finish[0] = document["finish_reason"] as? String
            answer.usage = document["usage"] as? [String: Any] ?? [:]
            let calls = document["tool_calls"] as? [[String: Any]] ?? []
            answer.takeCalls(calls.map { ["id": $0["id"], "type": "function", "function": $0] }, 0)
        }
        return answer
    }

    private mutating func takeChoices(_ document: [String: Any]) throws {
        #expect(["chat.completion", "text_completion"].contains(document["object"] as? String))
        #expect(document["id"] is String && document["created"] is Int && document["model"] is String)
        usage = document["usage"] as? [String: Any] ?? [:]
        for choice in try #require(document["choices"] as? [[String: Any]]) {
            let index = choice["index"] as? Int ?? -1
            let message = choice["message"] as? [String: Any] ?? choice
            text[index] = message["content"] as? String ?? message["text"] as? String ?? ""
            refusal[index] = message["refusal"] as? String
            reasoning[index] = message["reasoning_content"] as? String
            takeCalls(message["tool_calls"], index)
            finish[index] = choice["finish_reason"] as? String
        }
    }

    private mutating func takeCalls(_ value: Any?, _ index: Int) {
        for call in value as? [[String: Any]] ?? [] {
            #expect(call["type"] as? String == "function")
            let function = call["function"] as? [String: Any] ?? [:]
            let arguments = function["arguments"] as? String ?? "no text"
            let (id, name) = (call["id"] as? String ?? "", function["name"] as? String ?? "")
            calls[index, default: []].append(Call(id: id, name: name, arguments: arguments))
        }
    }

    private mutating func takeContent(_ value: Any?) {
        for part in value as? [[String: Any]] ?? [] {
            text[0, default: ""] += part["text"] as? String ?? ""
            reasoning[0, default: ""] += part["thinking"] as? String ?? ""
            guard part["type"] as? String == "tool_use" else { continue }
            let arguments = Self.text(ofArguments: part["input"])
            let (id, name) = (part["id"] as? String ?? "", part["name"] as? String ?? "")
            calls[0, default: []].append(Call(id: id, name: name, arguments: arguments))
        }
    }

    private mutating func takeMessage(_ document: [String: Any]) {
        #expect(document["type"] as? String == "message" && document["role"] as? String == "assistant")
        takeContent(document["content"])
        finish[0] = document["stop_reason"] as? String
        usage = document["usage"] as? [String: Any] ?? [:]
    }
}

extension ExpectedAnswer {
    /// In the words of Sluice's own formats, where an unknown finish stays unknown.
    func expect(neutral answer: ReadAnswer) throws {
        let choice = try #require(choices[0])
        #expect(answer.text[0] == choice.text + refusal && answer.reasoning[0] ?? "" == reasoning)
        var reason = choice.reason
        if !choice.calls.isEmpty, reason == "stop" { reason = "tool_calls" }
        if !refusal.isEmpty, reason == "stop" { reason = "content_filter" }
        #expect(answer.finish[0] == reason)
        #expect(answer.calls[0]?.map(\.name) ?? [] == choice.calls.map { $0["name"] as? String ?? "" })
    }
}
