import Foundation
import SluiceStreams
import Testing

@testable import SluiceDemo

/// One provider: where it is asked, how a request of its looks, and what its format has no place for.
struct DemoProvider: CustomTestStringConvertible, Sendable {
    let dialect: Dialect
    let path: String
    /// The body of a request around its prompt.
    let body: @Sendable (String) -> String
    var document: String?
    var hasTools = false
    var hasReasoning = false

    var testDescription: String { "\(dialect.rawValue) \(path)" }

    static let all: [DemoProvider] = [
        DemoProvider(
            dialect: .openAIChat, path: "/v1/chat/completions", body: messages, document: "", hasTools: true,
            hasReasoning: true),
        DemoProvider(
            dialect: .openAICompletions, path: "/v1/completions", body: { #"{"prompt":"\#($0)","stream":true}"# },
            document: ""),
        DemoProvider(
            dialect: .openAIResponses, path: "/v1/responses", body: { #"{"input":"\#($0)","stream":true}"# },
            document: "", hasTools: true, hasReasoning: true),
        DemoProvider(
            dialect: .anthropicMessages, path: "/v1/messages", body: messages, document: "", hasTools: true,
            hasReasoning: true),
        DemoProvider(
            dialect: .anthropicCompletion, path: "/v1/complete",
            body: { #"{"prompt":"\n\nHuman: \#($0)\n\nAssistant:","stream":true}"# }, document: ""),
        DemoProvider(
            dialect: .cohereV1, path: "/v1/chat", body: { #"{"message":"\#($0)","stream":true}"# }, document: "",
            hasTools: true),
        DemoProvider(
            dialect: .cohereV2, path: "/v2/chat", body: messages, document: "", hasTools: true, hasReasoning: true),
        DemoProvider(
            dialect: .gemini, path: "/v1beta/models/gemini-x:streamGenerateContent?alt=sse", body: contents,
            document: "/v1beta/models/gemini-x:generateContent", hasTools: true, hasReasoning: true),
        DemoProvider(
            dialect: .gemini, path: "/v1/projects/p/locations/l/publishers/google/models/x:streamGenerateContent",
            body: contents, hasTools: true, hasReasoning: true),
        DemoProvider(
            dialect: .ollamaChat, path: "/api/chat",
            body: { #"{"messages":[{"role":"user","content":"\#($0)"}]}"# }, document: "", hasTools: true,
            hasReasoning: true),
        DemoProvider(
            dialect: .ollamaGenerate, path: "/api/generate", body: { #"{"prompt":"\#($0)"}"# }, document: "",
            hasReasoning: true),
        DemoProvider(
            dialect: .bedrockConverse, path: "/model/anthropic.claude-3%3A0/converse-stream",
            body: { #"{"messages":[{"role":"user","content":[{"text":"\#($0)"}]}]}"# },
            document: "/model/m/converse", hasTools: true, hasReasoning: true),
        DemoProvider(
            dialect: .bedrockInvoke, path: "/model/anthropic.claude-3%3A0/invoke-with-response-stream",
            body: { #"{"messages":[{"role":"user","content":[{"type":"text","text":"\#($0)"}]}]}"# },
            document: "/model/m/invoke", hasTools: true, hasReasoning: true),
        DemoProvider(
            dialect: .tgi, path: "/generate_stream", body: { #"{"inputs":"\#($0)"}"# }, document: "/generate"),
        DemoProvider(
            dialect: .llamaCPP, path: "/completion", body: { #"{"prompt":"\#($0)","stream":true}"# }, document: ""),
        DemoProvider(
            dialect: .replicate, path: "/v1/predictions",
            body: { #"{"input":{"prompt":"\#($0)"},"stream":true}"# }, document: ""),
        DemoProvider(
            dialect: .replicate, path: "/v1/models/meta/llama/predictions",
            body: { #"{"input":{"prompt":"\#($0)"},"stream":true}"# }),
        DemoProvider(
            dialect: .watsonx, path: "/ml/v1/text/generation_stream", body: { #"{"input":"\#($0)"}"# },
            document: "/ml/v1/text/generation"),
        DemoProvider(
            dialect: .mlflow, path: "/gateway/chat/invocations", body: messages, document: "", hasTools: true),
    ]

    private static let messages: @Sendable (String) -> String = {
        #"{"model":"m","messages":[{"role":"user","content":"\#($0)"}],"stream":true}"#
    }
    private static let contents: @Sendable (String) -> String = {
        #"{"contents":[{"role":"user","parts":[{"text":"\#($0)"}]}]}"#
    }

    /// The tool `get_weather`, in the format's words.
    var tools: String {
        let schema = """
            {"type":"object","properties":{"city":{"type":"string"},"unit":{"type":"string","enum":["c","f"]},\
            "days":{"type":"integer"},"note":{"type":"string"}},"required":["city","unit","days"]}
            """
        switch dialect {
        case .openAIResponses: return #""tools":[{"type":"function","name":"get_weather","parameters":\#(schema)}]"#
        case .anthropicMessages, .bedrockInvoke: return #""tools":[{"name":"get_weather","input_schema":\#(schema)}]"#
        case .cohereV1:
            let definitions = """
                {"city":{"type":"str","required":true},"unit":{"type":"str","enum":["c"],"required":true},\
                "days":{"type":"int","required":true},"note":{"type":"str"}}
                """
            return #""tools":[{"name":"get_weather","description":"d","parameter_definitions":\#(definitions)}]"#
        case .gemini:
            return #""tools":[{"functionDeclarations":[{"name":"get_weather","parameters":\#(schema)}]}]"#
        case .bedrockConverse:
            let spec = #"{"name":"get_weather","inputSchema":{"json":\#(schema)}}"#
            return #""toolConfig":{"tools":[{"toolSpec":\#(spec)}]}"#
        default:
            return #""tools":[{"type":"function","function":{"name":"get_weather","parameters":\#(schema)}}]"#
        }
    }

    /// The request for `prompt`, with `extra` in front of its members.
    func request(_ prompt: String, extra: String = "") -> String {
        "{" + (extra.isEmpty ? "" : extra + ",") + body(prompt).dropFirst()
    }

    func ask(_ body: String, path: String? = nil) -> DemoScript {
        let parts = (path ?? self.path).split(separator: "?", maxSplits: 1).map(String.init)
        let bytes = Array(body.utf8)
        return DemoScript.answer(
            method: "POST", path: parts[0], query: parts.count > 1 ? parts[1] : "", body: bytes.span, serial: 3,
            time: 1_700_000_000, pace: DemoScript.Pace())
    }
}

/// What a decoder understood.
struct Heard: Equatable {
    var text = ""
    var reasoning = ""
    var call = ""
    var arguments = ""
    var finish: FinishReason?
    var usage: Usage?

    init(_ decoder: inout any StreamDecoder, _ script: DemoScript) throws {
        var batch = EventBatch()
        for step in script.steps { try decoder.feed(step.bytes.span, into: &batch) }
        try decoder.finish(into: &batch)
        for event in batch.events {
            switch event {
            case .text(_, let range): text += batch.string(range)
            case .reasoning(_, let range): reasoning += batch.string(range)
            case .toolCallStart(_, _, _, let name): call += batch.string(name)
            case .toolCallArguments(_, _, let range): arguments += batch.string(range)
            case .finish(_, let reason, _): finish = reason
            case .usage(let counts): usage = counts
            default: break
            }
        }
    }
}

@Suite struct DemoDialectTests {
    private func hear(_ provider: DemoProvider, _ script: DemoScript) throws -> (Heard, StreamProgress) {
        var decoder = StreamDecoders.make(provider.dialect, eventBytes: 1 << 20)
        let heard = try Heard(&decoder, script)
        return (heard, decoder.progress)
    }

    @Test(arguments: DemoProvider.all, ["hi", "code", "emoji", "a table"])
    func theStreamCarriesTheAnswer(provider: DemoProvider, prompt: String) throws {
        let script = provider.ask(provider.request(prompt))
        #expect(script.status == 200)
        let isArray = provider.dialect == .gemini && !provider.path.hasSuffix("sse")
        let type = isArray ? "application/json" : provider.dialect.contentType?.description ?? ""
        #expect(script.contentType.hasPrefix(type))
        let (heard, progress) = try hear(provider, script)
        #expect(heard.text == DemoAnswers.answer(to: prompt))
        #expect(heard.finish == .stop || provider.dialect == .replicate)
        #expect(heard.reasoning.isEmpty && heard.call.isEmpty)
        #expect(progress.isComplete)
        #expect(script.steps.count { $0.delay > .zero } >= DemoAnswers.tokens(of: heard.text).count - 1)
    }

    @Test(arguments: DemoProvider.all.filter(\.hasTools))
    func aToolIsCalledWhereThePromptAsksForIt(provider: DemoProvider) throws {
        let prompt = "What is the weather in Rome?"
        let (heard, progress) = try hear(provider, provider.ask(provider.request(prompt, extra: provider.tools)))
        #expect(heard.call == "get_weather")
        let arguments = try JSONSerialization.jsonObject(with: Data(heard.arguments.utf8)) as? [String: Any]
        #expect(arguments?["city"] as? String == "Rome")
        #expect(arguments?["unit"] as? String == "c")
        #expect(arguments?["days"] as? Int == 1)
        #expect(arguments?.count == 3)
        #expect(heard.text.isEmpty && heard.finish == .toolCalls && progress.isComplete)

        let (other, _) = try hear(provider, provider.ask(provider.request("hi", extra: provider.tools)))
        #expect(other.call.isEmpty && !other.text.isEmpty)
    }

    @Test(arguments: DemoProvider.all)
    func reasoningComesBeforeTheAnswer(provider: DemoProvider) throws {
        let script = provider.ask(provider.request("give a reason"))
        let (heard, _) = try hear(provider, script)
        #expect(heard.reasoning == (provider.hasReasoning ? DemoAnswers.reasoning(on: "give a reason") : ""))
        #expect(heard.text == DemoAnswers.answer(to: "give a reason"))
    }

    @Test(arguments: DemoProvider.all.filter { $0.document != nil })
    func aDocumentWhereNoStreamIsAskedFor(provider: DemoProvider) throws {
        let path = provider.document.flatMap { $0.isEmpty ? nil : $0 } ?? provider.path
        let streams = provider.request("code").replacing(#","stream":true"#, with: "")
        let body = provider.path.hasPrefix("/api/") ? #"{"stream":false,"# + streams.dropFirst() : streams
        let script = provider.ask(body, path: path)
        #expect(script.steps.count == 1 && script.contentType == "application/json" && script.status == 200)
        var decoder = try #require(StreamDecoders.makeDocument(provider.dialect, eventBytes: 1 << 20))
        let heard = try Heard(&decoder, script)
        #expect(heard.text.hasSuffix(DemoAnswers.answer(to: "code")))
        #expect(decoder.progress.isComplete)
    }

    @Test(arguments: DemoProvider.all)
    func aRequestWithoutAPromptIsRefused(provider: DemoProvider) throws {
        for body in ["{}", "nonsense"] {
            let script = provider.ask(body)
            #expect(script.status == 400)
            let document = script.steps.first.flatMap { JSONValue.parse($0.bytes) }
            let message = document?.errorMessage ?? document?.text(at: ["errors", "0", "message"])
            #expect(message?.isEmpty == false)
        }
    }

    @Test(arguments: [
        ("/v1/chat/completions", #"{"stream":true,"messages":[{"role":"tool","content":"21 C"}]}"#),
        ("/v1/responses", #"{"stream":true,"input":[{"type":"function_call_output","output":"21 C"}]}"#),
        (
            "/v1/messages",
            #"{"stream":true,"messages":[{"role":"user","content":[{"type":"tool_result","content":"21 C"}]}]}"#
        ),
        (
            "/v1beta/models/m:streamGenerateContent",
            #"{"contents":[{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"t":"21 C"}}}]}]}"#
        ),
        (
            "/model/m/converse-stream",
            #"{"messages":[{"role":"user","content":[{"toolResult":{"content":[{"json":{"t":"21 C"}}]}}]}]}"#
        ),
        ("/v1/chat", #"{"stream":true,"message":"","tool_results":[{"call":{},"outputs":[{"t":"21 C"}]}]}"#),
    ])
    func aToolsResultIsSpokenOf(path: String, body: String) throws {
        let dialect = try #require(DemoEndpoint(path: path)?.dialect)
        let provider = try #require(DemoProvider.all.first { $0.dialect == dialect })
        let (heard, _) = try hear(provider, provider.ask(body, path: path))
        #expect(heard.text.hasPrefix("The tool has answered") && heard.text.contains("21 C"))
    }

    @Test(arguments: [
        #""reasoning_effort":"low""#, #""thinking":{"type":"enabled","budget_tokens":1024}"#, #""think":true"#,
        #""reasoning":{"effort":"high"}"#,
    ])
    func reasoningIsAskedForInEachWay(member: String) throws {
        let provider = DemoProvider.all[0]
        let (heard, _) = try hear(provider, provider.ask(provider.request("hi", extra: member)))
        #expect(!heard.reasoning.isEmpty)
        let off = member.replacing(/"(low|enabled|high)"|true/, with: member.contains("think\"") ? "false" : #""none""#)
            .replacing(#""type":"none""#, with: #""type":"disabled""#)
        let (silent, _) = try hear(provider, provider.ask(provider.request("hi", extra: off)))
        #expect(silent.reasoning.isEmpty, "\(off)")
    }

    @Test func aToolThatTheClientInsistsOnIsCalled() throws {
        let provider = DemoProvider.all[0]
        for choice in [#""required""#, #"{"type":"function","function":{"name":"get_weather"}}"#] {
            let extra = provider.tools + #","tool_choice":\#(choice)"#
            let (heard, _) = try hear(provider, provider.ask(provider.request("hi", extra: extra)))
            #expect(heard.call == "get_weather")
        }
        let never = provider.tools + #","tool_choice":"none""#
        let (heard, _) = try hear(provider, provider.ask(provider.request("weather", extra: never)))
        #expect(heard.call.isEmpty)
    }

    @Test func framesHaveTheirChecksums() {
        // The check value of CRC-32/ISO-HDLC.
        #expect(AWSFrame.crc32(Array("123456789".utf8)) == 0xCBF4_3926)
        for text in ["", "f", "fo", "foo", "foob", "\u{00FF}\u{1F680}"] {
            #expect(Data(AWSFrame.base64(Array(text.utf8))) == Data(text.utf8).base64EncodedData())
        }
    }
}
