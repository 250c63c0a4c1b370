import Foundation
import SluiceBytes
import SluiceStreams
import SluiceTesting
import Testing

/// Every recorded stream in the formats of the providers, read back by readers that share no code with the
/// encoders, and compared with what the fixtures say.
@Suite struct ProviderEncoderTests {
    static let cases = OpenAIChatFixtureTests.cases
    static let formats: [StreamFormat] = [
        .openAIResponses, .openAICompletions, .anthropic, .gemini, .ollamaChat, .ollamaGenerate, .cohere, .mlflow,
    ]

    @Test(arguments: cases, formats) func readsBack(name: String, format: StreamFormat) throws {
        let bytes = try FixtureReader.bytes("openai-chat", name)
        let expected = ExpectedAnswer(try FixtureReader.expected("openai-chat", name))
        let decoder = StreamDecoders.make(.openAIChat, eventBytes: 1 << 20)
        let (source, progress) = try Transcript.of(decoder, [bytes])
        let (out, ending) = try Conversion.run(format, [bytes], includeUsage: true)
        #expect(ending == .complete)
        for size in [bytes.count < 4096 ? 1 : 1460] {
            let (again, endingAgain) = try Conversion.run(
                format, Cutter.pieces(bytes, of: size), includeUsage: true)
            #expect(again == out && endingAgain == ending, "in pieces of \(size)")
        }
        let answer = try ReadAnswer.read(format, out)
        #expect(answer.isWhole == progress.isComplete)
        #expect(answer.errors == source.errors)
        try expected.expect(answer, format, isWhole: progress.isComplete)
        if progress.isComplete { ExpectedUsage.expect(answer.usage, source.usage, format) }
    }

    /// The streams of all other providers, whose decoders are tested on their own: what they understood must arrive.
    static let others: [(dialect: Dialect, folder: String, kind: String)] = [
        (.openAICompletions, "openai-completions", "sse"), (.openAIResponses, "openai-responses", "sse"),
        (.anthropicMessages, "anthropic-messages", "sse"), (.anthropicCompletion, "anthropic-completion", "sse"),
        (.cohereV1, "cohere-v1", "ndjson"), (.cohereV2, "cohere-v2", "sse"), (.gemini, "gemini-sse", "sse"),
        (.gemini, "gemini-array", "json"), (.ollamaChat, "ollama-chat", "ndjson"),
        (.ollamaGenerate, "ollama-generate", "ndjson"), (.tgi, "tgi", "sse"), (.watsonx, "watsonx", "sse"),
    ]

    @Test(arguments: others.indices) func readsBackFromOtherProviders(position: Int) throws {
        let (dialect, folder, kind) = Self.others[position]
        let names = FixtureReader.cases(folder, kind)
        #expect(!names.isEmpty)
        for name in names {
            let bytes = try FixtureReader.bytes(folder, name, kind)
            let (source, progress) = try Transcript.of(StreamDecoders.make(dialect, eventBytes: 1 << 20), [bytes])
            let isWhole = progress.isComplete && progress.eventCount > 0
            for format in Self.formats {
                let (out, ending) = try Conversion.run(format, [bytes], from: dialect)
                let (again, _) = try Conversion.run(format, Cutter.pieces(bytes, of: 1460), from: dialect)
                #expect(again == out && ending == .complete, "\(folder)/\(name) \(format)")
                let answer = try ReadAnswer.read(format, out)
                // A custom tool of OpenAI's takes any text, and a call can be cut by the token limit.
                if [.gemini, .ollamaChat].contains(format), source.calls[0]?.contains(where: isBroken) == true {
                    let isCut = source.reasons[0] == .length
                    #expect(answer.calls.isEmpty && answer.isWhole == (isCut || format == .gemini))
                    if format == .gemini {
                        #expect(answer.finish[0] == (isCut ? "MAX_TOKENS" : "MALFORMED_FUNCTION_CALL"))
                    }
                    continue
                }
                #expect(answer.isWhole == isWhole, "\(folder)/\(name) \(format)")
                #expect(answer.errors.isEmpty == isWhole)
                try ExpectedAnswer(source).expect(answer, format, isWhole: isWhole, "\(folder)/\(name) \(format)")
                if isWhole, format != .openAICompletions { ExpectedUsage.expect(answer.usage, source.usage, format) }
            }
        }
    }

    @Test(arguments: ["n3", "n-tools", "text", "tools-parallel-2", "syn-error-object", "deepseek-reasoning"])
    func geminiAsAnArray(name: String) throws {
        let bytes = try FixtureReader.bytes("openai-chat", name)
        let expected = ExpectedAnswer(try FixtureReader.expected("openai-chat", name))
        var options = EncoderOptions()
        options.isArray = true
        let encoder = try #require(StreamEncoders.make(.gemini, options: options))
        #expect(encoder.contentType.description == "application/json")
        let decoder = StreamDecoders.make(.openAIChat, eventBytes: 1 << 20)
        var bridge = StreamBridge(decoder: decoder, encoder: encoder)
        var batch = EventBatch()
        var out = ByteQueue()
        try bridge.consume(bytes.span, batch: &batch, into: &out)
        let ending = try bridge.finish(batch: &batch, into: &out)
        #expect(ending == .complete && out.text.hasPrefix("[{"))
        let array = try JSONSerialization.jsonObject(with: Data(out.array)) as? [[String: Any]]
        let answer = ReadAnswer.gemini(try #require(array))
        try expected.expect(answer, .gemini, isWhole: answer.errors.isEmpty)
        #expect(answer.errors.isEmpty == (name != "syn-error-object"))
    }

    private func isBroken(_ call: Transcript.Call) -> Bool {
        let text = call.arguments.isEmpty ? "{}" : call.arguments
        return (try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]) == nil
    }
}

/// What `<case>.expected.json` says, in the terms of the formats.
struct ExpectedAnswer {
    struct Choice {
        let text: String
        let reason: String?
        let calls: [[String: Any]]
    }
    let choices: [Int: Choice]
    let reasoning: String
    let refusal: String

    init(_ expected: [String: Any]) {
        func choice(_ object: [String: Any]) -> Choice {
            Choice(
                text: object["text"] as? String ?? "", reason: object["finish_reason"] as? String,
                calls: object["tool_calls"] as? [[String: Any]] ?? [])
        }
        var choices = [0: choice(expected)]
        for case let object as [String: Any] in expected["choices"] as? [Any] ?? [] {
            choices[object["index"] as? Int ?? -1] = choice(object)
        }
        self.choices = choices
        reasoning = expected["reasoning"] as? String ?? ""
        refusal = expected["refusal"] as? String ?? ""
    }

    /// What a decoder understood.
    init(_ source: Transcript) {
        let words: [FinishReason: String] = [
            .stop: "stop", .length: "length", .toolCalls: "tool_calls", .contentFilter: "content_filter",
        ]
        var choices: [Int: Choice] = [:]
        for index in Set(source.text.keys).union(source.calls.keys).union(source.reasons.keys).union([0]) {
            let calls: [[String: Any]] = (source.calls[index] ?? []).map {
                ["id": $0.id, "name": $0.name, "arguments": $0.arguments]
            }
            let reason = source.reasons[index].map { words[$0] ?? "other" } ?? (calls.isEmpty ? "stop" : "tool_calls")
            choices[index] = Choice(text: source.text[index] ?? "", reason: reason, calls: calls)
        }
        (self.choices, reasoning, refusal) = (choices, source.reasoning[0] ?? "", source.refusal[0] ?? "")
    }

    func expect(
        _ answer: ReadAnswer, _ format: StreamFormat, isWhole: Bool, _ comment: Comment? = nil
    ) throws {
        let hasChoices = [.openAIChat, .openAICompletions, .gemini, .mlflow].contains(format)
        let hasReasoning = ![.openAICompletions, .mlflow].contains(format)
        let hasRefusal = [.openAIResponses, .openAIChat].contains(format)
        for (index, choice) in choices where hasChoices || index == 0 {
            let text = hasRefusal ? choice.text : choice.text + (index == 0 ? refusal : "")
            #expect(answer.text[index] ?? "" == text, comment)
            guard isWhole else { continue }
            #expect(answer.finish[index] == word(choice, format), comment)
            if format != .openAICompletions, format != .ollamaGenerate {
                try expect(answer.calls[index] ?? [], choice.calls, format)
            }
        }
        #expect(answer.text.keys.allSatisfy { hasChoices ? choices[$0] != nil : $0 == 0 })
        #expect(answer.reasoning[0] ?? "" == (hasReasoning ? reasoning : ""), comment)
        if isWhole { #expect(answer.refusal[0] ?? "" == (hasRefusal ? refusal : "")) }
    }

    private func expect(_ calls: [ReadAnswer.Call], _ wanted: [[String: Any]], _ format: StreamFormat) throws {
        #expect(calls.count == wanted.count)
        for (call, want) in zip(calls, wanted) {
            if let id = want["id"] as? String, !id.isEmpty {
                #expect(call.id == id)
            } else if format != .gemini, format != .ollamaChat {
                #expect(!call.id.isEmpty)
            }
            #expect(call.name == want["name"] as? String ?? "")
            let arguments = try #require(want["arguments"] as? String)
            if call.arguments == arguments { continue }
            let wantedObject = arguments.isEmpty ? [:] : json(arguments)
            let object = try #require(
                JSONSerialization.jsonObject(with: Data(call.arguments.utf8)) as? [String: Any])
            #expect(object as NSDictionary == wantedObject as NSDictionary)
        }
    }

    private func word(_ choice: Choice, _ format: StreamFormat) -> String? {
        var reason = choice.reason ?? "stop"
        if !choice.calls.isEmpty, reason == "stop" { reason = "tool_calls" }
        let hasRefusal = [.openAIResponses, .openAIChat].contains(format)
        if !hasRefusal, !refusal.isEmpty, reason == "stop" { reason = "content_filter" }
        let words: [StreamFormat: [String: String]] = [
            .openAIResponses: [
                "stop": "completed", "tool_calls": "completed", "length": "max_output_tokens",
                "content_filter": "content_filter",
            ],
            .openAIChat: [
                "stop": "stop", "tool_calls": "tool_calls", "length": "length", "content_filter": "content_filter",
            ],
            .openAICompletions: [
                "stop": "stop", "tool_calls": "stop", "length": "length", "content_filter": "content_filter",
            ],
            .mlflow: [
                "stop": "stop", "tool_calls": "tool_calls", "length": "length", "content_filter": "content_filter",
            ],
            .anthropic: [
                "stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal",
            ],
            .gemini: ["stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"],
            .ollamaChat: ["stop": "stop", "tool_calls": "stop", "length": "length", "content_filter": "stop"],
            .ollamaGenerate: ["stop": "stop", "tool_calls": "stop", "length": "length", "content_filter": "stop"],
            .cohere: [
                "stop": "COMPLETE", "tool_calls": "TOOL_CALL", "length": "MAX_TOKENS", "content_filter": "COMPLETE",
            ],
        ]
        if reason == "other" { return format == .gemini ? "OTHER" : words[format]?["stop"] }
        return words[format]?[reason]
    }
}

/// The token counts in each format's own words.
enum ExpectedUsage {
    static func expect(_ usage: [String: Any], _ source: Usage, _ format: StreamFormat) {
        func at(_ path: String...) -> Int? {
            var value: Any? = usage
            for key in path { value = (value as? [String: Any])?[key] }
            return value as? Int
        }
        let total = source.input.flatMap { input in source.output.map { input + $0 } }
        switch format {
        case .openAIResponses:
            // All of them or none: the library's types leave nothing out.
            let (input, output) = (source.input ?? 0, source.output ?? 0)
            guard source != Usage() else { return #expect(usage.isEmpty) }
            #expect(at("input_tokens") == input && at("output_tokens") == output)
            #expect(at("input_tokens_details", "cached_tokens") == source.cached ?? 0)
            #expect(at("output_tokens_details", "reasoning_tokens") == source.reasoning ?? 0)
            #expect(at("total_tokens") == input + output)
        case .openAICompletions, .openAIChat:
            #expect(at("prompt_tokens") == source.input && at("completion_tokens") == source.output)
            #expect(at("prompt_tokens_details", "cached_tokens") == source.cached)
            #expect(at("completion_tokens_details", "reasoning_tokens") == source.reasoning)
            #expect(at("total_tokens") == total)
        case .mlflow:
            #expect(at("prompt_tokens") == source.input && at("completion_tokens") == source.output)
            #expect(at("total_tokens") == total)
        case .anthropic:
            #expect((at("input_tokens") ?? 0) + (at("cache_read_input_tokens") ?? 0) == source.input ?? 0)
            #expect(at("output_tokens") == source.output ?? 0 && at("cache_read_input_tokens") == source.cached)
        case .gemini:
            #expect(at("promptTokenCount") == source.input && at("cachedContentTokenCount") == source.cached)
            #expect(at("thoughtsTokenCount") == source.reasoning && at("totalTokenCount") == total)
            #expect(at("candidatesTokenCount").map { $0 + (source.reasoning ?? 0) } == source.output)
        case .ollamaChat, .ollamaGenerate:
            #expect(at("prompt_eval_count") == source.input && at("eval_count") == source.output)
        case .cohere:
            #expect(at("input_tokens") == source.input && at("output_tokens") == source.output)
            #expect(at("cached_tokens") == source.cached)
        default:
            #expect(at("input_tokens") == source.input && at("output_tokens") == source.output)
            #expect(at("cached_tokens") == source.cached && at("reasoning_tokens") == source.reasoning)
        }
    }
}
