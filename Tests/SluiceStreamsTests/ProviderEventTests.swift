import Foundation
import SluiceBytes
import SluiceStreams
import Testing

/// The encoders of the providers' formats, fed with events that recorded streams do not have.
@Suite struct ProviderEventTests {
    static let formats = ProviderEncoderTests.formats

    /// One event in a shorter form; texts are stored by whoever feeds it.
    enum Step {
        case start(String, String)
        case text(String), reasoning(String), signature(String), refusal(String)
        case call(Int, String, String), arguments(Int, String), endCall(Int)
        case finish(FinishReason), usage(Usage), error(StreamErrorKind, String)
    }

    static func make(_ format: StreamFormat, isDocument: Bool = false) throws -> any StreamEncoder {
        var options = EncoderOptions()
        (options.id, options.model, options.created) = ("own", "own-model", 951_782_399)
        (options.includeUsage, options.isDocument) = (true, isDocument)
        return try #require(StreamEncoders.make(format, options: options))
    }

    /// Each step as a batch of its own.
    static func feed(_ encoder: inout any StreamEncoder, _ steps: [Step], into out: inout ByteQueue) {
        for step in steps {
            var batch = EventBatch()
            switch step {
            case .start(let id, let model):
                let (id, model) = (batch.store(id), batch.store(model))
                batch.append(.start(id: id, model: model, created: 5))
            case .text(let text): batch.append(.text(choice: 0, batch.store(text)))
            case .reasoning(let text): batch.append(.reasoning(choice: 0, batch.store(text)))
            case .signature(let text): batch.append(.reasoningSignature(choice: 0, batch.store(text)))
            case .refusal(let text): batch.append(.refusal(choice: 0, batch.store(text)))
            case .call(let index, let id, let name):
                let (id, name) = (batch.store(id), batch.store(name))
                batch.append(.toolCallStart(choice: 0, index: index, id: id, name: name))
            case .arguments(let index, let text):
                batch.append(.toolCallArguments(choice: 0, index: index, batch.store(text)))
            case .endCall(let index): batch.append(.toolCallEnd(choice: 0, index: index))
            case .finish(let reason): batch.append(.finish(choice: 0, reason, raw: .empty))
            case .usage(let counts): batch.append(.usage(counts))
            case .error(let kind, let message):
                batch.append(.error(kind, message: batch.store(message), type: .empty, retryAfterSeconds: nil))
            }
            encoder.encode(batch, into: &out)
        }
    }

    private func encode(
        _ format: StreamFormat, _ steps: [Step]
    ) throws -> (answer: ReadAnswer, out: [UInt8], ending: BodyEnding) {
        var encoder = try Self.make(format)
        var out = ByteQueue()
        Self.feed(&encoder, steps, into: &out)
        let ending = encoder.end(into: &out)
        return (try ReadAnswer.read(format, out.array), out.array, ending)
    }

    private static let tools: [StreamFormat] = [.openAIResponses, .anthropic, .gemini, .ollamaChat, .cohere, .mlflow]

    // MARK: - Tool calls

    /// Whatever mixes on the way in, each call comes out whole.
    @Test(arguments: tools) func callsThatOverlap(format: StreamFormat) throws {
        let (answer, _, _) = try encode(
            format,
            [
                .text("a"), .call(0, "id0", "f"), .arguments(0, "{\"x\""), .call(1, "id1", "g"),
                .arguments(1, "{\"y\":"),
                .text("b"), .arguments(0, ":1}"), .arguments(1, "2}"), .text("c"), .call(2, "id2", "h"), .endCall(1),
                .endCall(0), .endCall(2), .text("d"), .finish(.toolCalls),
            ])
        #expect(answer.isWhole && answer.text[0] == "abcd")
        let calls = (answer.calls[0] ?? []).sorted { $0.id < $1.id }
        #expect(calls.map(\.id) == ["id0", "id1", "id2"] && calls.map(\.name) == ["f", "g", "h"])
        #expect(calls.map(\.arguments).prefix(2) == ["{\"x\":1}", "{\"y\":2}"])
        #expect(["", "{}"].contains(calls.last?.arguments))
    }

    @Test func aCallThatIsOpenHoldsTheBlocksBehindIt() throws {
        let (_, out, _) = try encode(
            .anthropic,
            [
                .call(0, "i", "f"), .text("x"), .text("y"), .reasoning("z"), .signature("s"), .reasoning("w"),
                .endCall(0),
                .reasoning("v"),
            ])
        let starts = WireEvent.read(out).filter { $0.type == "content_block_start" }.map { json($0.data) }
        #expect(
            starts.map { ($0["content_block"] as? [String: Any])?["type"] as? String } == [
                "tool_use", "text", "thinking", "thinking",
            ])
        let answer = try ReadAnswer.read(.anthropic, out)
        #expect(answer.text[0] == "xy" && answer.reasoning[0] == "zwv" && answer.signature == "s")
    }

    @Test(arguments: tools) func aCallWithoutIDOrEnd(format: StreamFormat) throws {
        let (answer, _, _) = try encode(format, [.start("ans", "m"), .call(0, "", "f"), .arguments(0, "{}")])
        let ids: [StreamFormat: String] = [
            .openAIResponses: "call_ans_0", .anthropic: "toolu_ans_0", .cohere: "call_ans_0", .mlflow: "call_ans_0",
        ]
        #expect(answer.isWhole && answer.calls[0]?.map(\.id) == [ids[format] ?? ""])
        let words: [StreamFormat: String] = [
            .openAIResponses: "completed", .anthropic: "tool_use", .gemini: "STOP", .ollamaChat: "stop",
            .cohere: "TOOL_CALL", .mlflow: "tool_calls",
        ]
        #expect(answer.finish[0] == words[format])
    }

    @Test(arguments: [
        "{\"a\":", "[1]", "\"x\"", "3", "{\"a\" 1}", "{\"a\":01}", "{\"a\":-00}", "{} x", "{\"a\":tru}", "{\"a\":1,}",
    ])
    func argumentsThatAreNoObject(arguments: String) throws {
        let steps: [Step] = [.text("a"), .call(0, "i", "f"), .arguments(0, arguments), .endCall(0), .text("b")]
        for (reason, word) in [(FinishReason.toolCalls, "MALFORMED_FUNCTION_CALL"), (.length, "MAX_TOKENS")] {
            let (gemini, _, _) = try encode(.gemini, steps + [.finish(reason)])
            #expect(gemini.calls.isEmpty && gemini.text[0] == "ab" && gemini.finish[0] == word)
            let (ollama, _, _) = try encode(.ollamaChat, steps + [.finish(reason)])
            #expect(ollama.calls.isEmpty && ollama.text[0] == "ab")
            #expect(ollama.isWhole == (reason == .length) && ollama.errors.isEmpty == (reason == .length))
        }
        let (response, out, _) = try encode(.openAIResponses, steps + [.finish(.length)])
        #expect(response.calls[0]?.first?.arguments == arguments && response.finish[0] == "max_output_tokens")
        let isCut = !String(decoding: out, as: UTF8.self).contains(
            "\"type\":\"function_call\",\"status\":\"completed\"")
        let isJSON = (try? JSONSerialization.jsonObject(with: Data(arguments.utf8), options: .fragmentsAllowed)) != nil
        if !isJSON, arguments.hasSuffix(":") { #expect(isCut) }
    }

    /// The white space between their parts goes, and what they mean stays.
    @Test(arguments: [
        ("", "{}"), (" \n", "{}"), ("null", "{}"), ("{ \"a\" : [ 1 , { } ] }", "{\"a\":[1,{}]}"),
        ("{\"n\":12345678901234567890.10}", "{\"n\":12345678901234567890.10}"),
        ("{\"s\":\"é\\u00e9 \\ud83d\\ude00\\n\"}", "{\"s\":\"é\\u00e9 \\ud83d\\ude00\\n\"}"),
        ("{\"k\\n\":0}", "{\"k\\n\":0}"),
        ("{\"z\":-0.5e-7}", "{\"z\":-0.5e-7}"),
    ])
    func argumentsAsAnObject(text: String, object: String) throws {
        let (_, out, _) = try encode(.gemini, [.call(0, "", "f"), .arguments(0, text), .endCall(0)])
        let written = String(decoding: out, as: UTF8.self)
        #expect(written.contains("{\"functionCall\":{\"name\":\"f\",\"args\":\(object)}}"), "\(written)")
        let (answer, _, _) = try encode(.ollamaChat, [.call(0, "", "f"), .arguments(0, text), .endCall(0)])
        #expect(answer.calls[0]?.count == 1 && answer.errors.isEmpty)
    }

    // MARK: - Reasoning and refusals

    @Test func signaturesStandWithWhatTheySign() throws {
        let steps: [Step] = [
            .signature("MA=="), .reasoning("a"), .signature("MQ=="), .text("b"), .signature("Mg=="),
        ]
        let (anthropic, _, _) = try encode(.anthropic, steps)
        #expect(anthropic.signature == "MQ==" && anthropic.reasoning[0] == "a" && anthropic.text[0] == "b")
        let (gemini, _, _) = try encode(.gemini, steps)
        #expect(gemini.signature == "MA==MQ==Mg==" && gemini.reasoning[0] == "a" && gemini.text[0] == "b")
        // Google's library reads base64 only, and fails at anything else.
        #expect(try encode(.gemini, [.reasoning("a"), .signature("sig_1"), .text("b")]).answer.signature.isEmpty)
        for format in Self.formats { #expect(try encode(format, steps).answer.text[0] == "b") }
    }

    @Test func partsOfAResponse() throws {
        let (answer, out, _) = try encode(
            .openAIResponses,
            [
                .reasoning("r"), .text("a"), .text("b"), .refusal("c"), .reasoning("s"), .text("d"),
                .finish(.contentFilter),
            ])
        #expect(answer.text[0] == "abd" && answer.refusal[0] == "c" && answer.reasoning[0] == "rs")
        #expect(answer.finish[0] == "content_filter")
        let last = json(WireEvent.read(out).last?.data ?? "")["response"] as? [String: Any]
        let items = last?["output"] as? [[String: Any]] ?? []
        #expect(items.map { $0["id"] as? String } == ["rs_own_0", "msg_own_1", "rs_own_2", "msg_own_3"])
        #expect(items.map { $0["status"] as? String } == [nil, "completed", nil, "incomplete"])
    }

    // MARK: - Usage and time

    @Test func theInputsTokensStandInFrontIfTheyAreKnown() throws {
        let (_, out, _) = try encode(
            .anthropic,
            [.start("i", "m"), .usage(Usage(input: 10, cached: 4)), .text("x"), .usage(Usage(input: 10, output: 3))])
        let text = String(decoding: out, as: UTF8.self)
        #expect(text.contains("\"usage\":{\"input_tokens\":6,\"cache_read_input_tokens\":4,\"output_tokens\":0}"))
        #expect(text.contains("\"usage\":{\"input_tokens\":10,\"output_tokens\":3}"))
    }

    @Test(arguments: formats) func unknownFiguresAreAbsent(format: StreamFormat) throws {
        let (answer, out, _) = try encode(format, [.text("x"), .usage(Usage(output: 2))])
        if format != .anthropic { ExpectedUsage.expect(answer.usage, Usage(output: 2), format) }
        // OpenAI's library has no response without them.
        #expect(String(decoding: out, as: UTF8.self).contains("cached") == (format == .openAIResponses))
        let (none, _, _) = try encode(format, [.text("x")])
        let known = none.usage.filter { $0.key.contains("token") || $0.key.hasSuffix("count") }
        #expect(known.isEmpty || (format == .anthropic && known["output_tokens"] as? Int == 0))
    }

    @Test func ollamasDurations() throws {
        for format in [StreamFormat.ollamaChat, .ollamaGenerate] {
            var encoder = try Self.make(format)
            var out = ByteQueue()
            encoder.clock(.milliseconds(400))
            Self.feed(&encoder, [.start("i", "m")], into: &out)
            encoder.clock(.milliseconds(1500))
            Self.feed(&encoder, [.text("a")], into: &out)
            encoder.clock(Interval(nanoseconds: 3_000_000_001))
            Self.feed(&encoder, [.text("b"), .finish(.stop)], into: &out)
            #expect(encoder.end(into: &out) == .complete)
            let lines = ReadAnswer.lines(out.array)
            // A second before a leap day.
            #expect(
                lines.map { $0["created_at"] as? String } == [
                    "2000-02-29T00:00:00.500000000Z", "2000-02-29T00:00:02.000000001Z",
                    "2000-02-29T00:00:02.000000001Z",
                ])
            let last = lines.last ?? [:]
            #expect(last["total_duration"] as? Int == 3_000_000_001 && last["load_duration"] as? Int == 0)
            #expect(last["prompt_eval_duration"] as? Int == 1_500_000_000)
            #expect(last["eval_duration"] as? Int == 1_500_000_001)
        }
    }

    @Test func ollamasTimesAreFoundations() throws {
        let formatter = ISO8601DateFormatter()
        var seconds = 0
        var step = 1
        while seconds < 253_402_300_800 {
            var options = EncoderOptions()
            options.created = seconds
            var encoder = try #require(StreamEncoders.make(.ollamaGenerate, options: options))
            var out = ByteQueue()
            #expect(encoder.end(into: &out) == .complete)
            let time = ReadAnswer.lines(out.array).first?["created_at"] as? String
            let wanted = formatter.string(from: Date(timeIntervalSince1970: TimeInterval(seconds)))
            #expect(time?.replacing(".000000000Z", with: "Z") == wanted)
            step = step &* 7 % 300_000_007
            seconds += step
        }
        for wrong in [Int.min, -1, Int.max] {
            var options = EncoderOptions()
            options.created = wrong
            var encoder = try #require(StreamEncoders.make(.ollamaChat, options: options))
            encoder.clock(Interval(nanoseconds: .max))
            var out = ByteQueue()
            #expect(encoder.end(into: &out) == .complete && out.text.contains("\"created_at\":\""))
        }
    }

    // MARK: - Endings

    @Test(arguments: formats) func anErrorIsToldOnce(format: StreamFormat) throws {
        var encoder = try Self.make(format)
        var out = ByteQueue()
        Self.feed(&encoder, [.start("i", "m"), .text("x"), .error(.rateLimited, "slow \"down\"\n")], into: &out)
        let told = out.array
        let answer = try ReadAnswer.read(format, told)
        #expect(answer.errors == ["slow \"down\"\n"] && !answer.isWhole && answer.text[0] == "x")
        Self.feed(
            &encoder, [.error(.provider, "again"), .text("y"), .finish(.stop), .usage(Usage(input: 1))], into: &out)
        #expect(encoder.fail(StreamFailure(.truncated, "later"), into: &out) == .complete)
        #expect(encoder.end(into: &out) == .complete)
        #expect(out.array == told)
    }

    @Test func errorsInTheWordsOfTheFormat() throws {
        let words: [StreamFormat: [(StreamErrorKind, String)]] = [
            .anthropic: [
                (.rateLimited, "rate_limit_error"), (.overloaded, "overloaded_error"), (.provider, "api_error"),
                (.invalidRequest, "invalid_request_error"), (.truncated, "api_error"),
            ],
            .gemini: [
                (.rateLimited, "\"code\":429"), (.rateLimited, "RESOURCE_EXHAUSTED"), (.timeout, "DEADLINE_EXCEEDED"),
                (.invalidRequest, "INVALID_ARGUMENT"), (.draining, "UNAVAILABLE"), (.malformed, "INTERNAL"),
            ],
            .openAIResponses: [(.rateLimited, "rate_limit_exceeded"), (.truncated, "server_error")],
            .openAICompletions: [(.truncated, "stream_truncated")], .mlflow: [(.timeout, "timeout_error")],
        ]
        for (format, pairs) in words {
            for (kind, word) in pairs {
                var encoder = try Self.make(format)
                var out = ByteQueue()
                #expect(encoder.fail(StreamFailure(kind, "why"), into: &out) == .complete)
                #expect(out.text.contains(word), "\(format) \(kind)")
            }
        }
    }

    @Test(arguments: formats) func anAnswerWithNothingInIt(format: StreamFormat) throws {
        let (answer, _, ending) = try encode(format, [])
        #expect(ending == .complete && answer.isWhole && answer.text[0] ?? "" == "" && answer.finish.count == 1)
    }

    @Test(arguments: [StreamFormat.openAIResponses, .anthropic, .gemini, .ollamaChat])
    func whatIsHeldIsBounded(format: StreamFormat) throws {
        var encoder = try Self.make(format)
        var out = ByteQueue()
        Self.feed(&encoder, [.call(0, "i", "f"), .call(1, "j", "g")], into: &out)
        var batch = EventBatch()
        batch.append(.toolCallArguments(choice: 0, index: 1, batch.store(String(repeating: " ", count: 1 << 20))))
        for _ in 0..<9 {
            encoder.encode(batch, into: &out)
            if format == .openAIResponses { continue }
            #expect(out.count < 1 << 16)
        }
        #expect(encoder.end(into: &out) == .complete)
        let text = out.text.suffix(1000)
        #expect(text.contains("larger") && !text.contains("message_stop") && !text.contains("finishReason"))
    }

    @Test func keepalives() throws {
        let texts: [StreamFormat: String] = [
            .openAIResponses: ":\n\n", .openAICompletions: ":\n\n", .cohere: ":\n\n",
            .anthropic: "event: ping\ndata: {\"type\": \"ping\"}\n\n",
        ]
        for format in Self.formats {
            var encoder = try Self.make(format)
            var out = ByteQueue()
            #expect(encoder.keepalive(into: &out) == (texts[format] != nil))
            #expect(out.text == texts[format] ?? "")
            let isLines = format == .ollamaChat || format == .ollamaGenerate
            #expect(encoder.contentType.description == (isLines ? "application/x-ndjson" : "text/event-stream"))
        }
    }
}
