import Foundation
import SluiceStreams
import Testing

/// Every format against every dialect, round trips, and what broken bodies do.
@Suite struct TranslationTests {
    static let rich: [RequestFormat] = [
        .openAIChat, .openAIResponses, .anthropic, .gemini, .ollamaChat, .cohere, .vercelUI, .agUI,
    ]
    static let chats: [(dialect: Dialect, format: RequestFormat)] = [
        (.openAIResponses, .openAIResponses), (.anthropicMessages, .anthropic), (.gemini, .gemini),
        (.ollamaChat, .ollamaChat), (.cohereV2, .cohere),
    ]

    @Test(arguments: rich, Dialect.allCases) func textsArriveOrTheFieldIsNamed(format: RequestFormat, dialect: Dialect)
        throws
    {
        if dialect == .raw { return }
        let body = try #require(RichRequest.body(format))
        for model in ["m", "anthropic.claude-3", "amazon.nova", "meta.llama", "amazon.titan"] {
            if model != "m", dialect != .bedrockInvoke { continue }
            do {
                let found = "\(try sent(body, format, dialect, rules { $0.model = model }, RichRequest.hints))"
                for text in RichRequest.texts + ["Paris", "iVBORw0KGgo="] { #expect(found.contains(text), "\(text)") }
            } catch RequestError.unsupported(let fields, let named) {
                #expect(!fields.isEmpty && named == dialect)
                for field in fields { #expect(Self.stands(field, in: body), "\(field)") }
                // What is left goes through on a route that lets it.
                var lenient = rules { $0.model = model }
                lenient.dropsUnsupported = true
                let found = try translated(body, format, dialect, lenient, RichRequest.hints)
                #expect(found.dropped == fields)
                let text = "\(try Document(found.body))"
                for said in ["Be brief.", "A cat.", "Thanks."] { #expect(text.contains(said), "\(said)") }
            }
        }
    }

    /// A path such as `messages[2].content[0].image_url`, in the client's own body.
    private static func stands(_ path: String, in body: String) -> Bool {
        guard var value = try? JSONSerialization.jsonObject(with: Data(body.utf8)) else { return false }
        let steps = path.replacing("[", with: ".").replacing("]", with: "").split(separator: ".").map(String.init)
        for (index, step) in steps.enumerated() {
            if let array = value as? [Any], let position = Int(step), array.indices.contains(position) {
                value = array[position]
            } else if let object = value as? [String: Any], let member = object[step] {
                value = member
            } else {
                // A part is named by its type too.
                return index == steps.count - 1 && (value as? [String: Any])?["type"] as? String == step
            }
        }
        return true
    }

    /// Through another provider's words and back.
    @Test(arguments: rich, chats.indices) func roundTripsKeepTheConversation(format: RequestFormat, way: Int) throws {
        let (dialect, back) = Self.chats[way]
        if format.rawValue == back.rawValue { return }
        let body = try #require(RichRequest.body(format))
        let direct = try Self.throughAnthropic(body, format)
        let there = try translated(body, format, dialect, rules { $0.model = "m" }, RichRequest.hints)
        let text = String(decoding: there.body, as: UTF8.self)
        let again = try Self.throughAnthropic(text, back)
        #expect(direct == again, "\(direct)\nbecame\n\(again)")
    }

    /// One picture of any request: what an Anthropic upstream gets of it. Calls without ids are given the same ones.
    private static func throughAnthropic(_ body: String, _ format: RequestFormat) throws -> Document {
        if format == .anthropic {
            let neutral = try translated(body, .anthropic, .openAIChat, rules { $0.model = "m" })
            return try throughAnthropic(String(decoding: neutral.body, as: UTF8.self), .openAIChat)
        }
        return try sent(body, format, .anthropicMessages, rules { $0.model = "m" }, RichRequest.hints)
    }

    @Test func harmlessFieldsAreNoReasonToRefuse() {
        let body = """
            {"messages":[{"role":"user","content":"q","name":"n"}],"user":"u","metadata":{"a":"b"},"store":true,"id":"x",
             "trigger":"t","stream_options":{"include_usage":true},"parallel_tool_calls":true,"n":1,"tool_choice":"auto",
             "service_tier":"flex","logprobs":false,"logit_bias":{},"modalities":["text"],"verbosity":"medium",
             "response_format":{"type":"text"},"stop":null,"seed":null,"tools":[],"prediction":{"type":"content"}}
            """
        for dialect in Dialect.allCases where dialect != .raw {
            let found = unsupported(body, .openAIChat, dialect, rules { $0.model = "m" })
            #expect(found.isEmpty, "\(dialect): \(found)")
        }
    }

    @Test func everyFieldThatIsLostIsNamedAtOnce() {
        let body = """
            {"messages":[{"role":"user","content":[{"type":"video_url"},{"type":"image_url","image_url":{"url":"https://x"}}]}],
             "logit_bias":{"1":2},"logprobs":true,"n":2,"seed":1,"tools":[{"type":"function","function":{"name":"f"}}],
             "tool_choice":"required","stream":true}
            """
        #expect(
            unsupported(body, .openAIChat, .ollamaChat) == [
                "messages[0].content[0].video_url", "logit_bias", "logprobs", "messages[0].content[1].image_url", "n",
                "tool_choice",
            ])
        let message = complaint(body, .openAIChat, .ollamaChat) ?? ""
        #expect(message.hasPrefix("ollama-chat has no equivalent of: messages[0].content[0].video_url, logit_bias"))
    }

    @Test(arguments: [
        (RequestFormat.openAIChat, "", "the body is empty"), (.openAIChat, "{", "the body is not JSON"),
        (.openAIChat, "[]", "the body is no JSON object"), (.openAIChat, "{}", "messages: is missing"),
        (.openAIChat, #"{"messages":[]}"#, "messages: is empty"),
        (.openAIChat, #"{"messages":{}}"#, "messages: is no array"),
        (.openAIChat, #"{"messages":[1]}"#, "messages[0]: is no object"),
        (.openAIChat, #"{"messages":[{"content":""}]}"#, "messages[0].role: is missing"),
        (
            .openAIChat, #"{"messages":[{"role":"user","content":"a"},{"role":"foo","content":"b"}]}"#,
            "messages[1].role: 'foo' is not one of system, developer, user, assistant, tool"
        ),
        (.openAIChat, #"{"messages":[{"role":"user"}]}"#, "messages[0].content: is missing"),
        (
            .openAIChat, #"{"messages":[{"role":"user","content":5}]}"#,
            "messages[0].content: is neither a string nor an array"
        ),
        (
            .openAIChat, #"{"messages":[{"role":"user","content":[{"type":"text"}]}]}"#,
            "messages[0].content[0].text: is missing"
        ),
        (
            .openAIChat, #"{"messages":[{"role":"user","content":"a"}],"temperature":"hot"}"#,
            "temperature: is no number"
        ),
        (.openAIChat, #"{"messages":[{"role":"user","content":"a"}],"stop":[1]}"#, "stop[0]: is no string"),
        (
            .openAIChat, #"{"messages":[{"role":"user","content":"a"}],"stream":"yes"}"#,
            "stream: is neither true nor false"
        ),
        (
            .openAIChat, #"{"messages":[{"role":"user","content":"a"}],"tool_choice":"maybe"}"#,
            "tool_choice: 'maybe' is not one of auto, none, required"
        ),
        (.openAIChat, #"{"messages":[{"role":"user","content":"a"}],"tools":[{}]}"#, "tools[0].function: is missing"),
        (.openAIChat, #"{"model":"a","messages":[],"model":"b"}"#, "model: is there twice"),
        (
            .openAIChat,
            #"{"messages":[{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":"{\"a\""}}]}]}"#,
            "messages[0].tool_calls[0]: the arguments are no JSON object"
        ),
        (
            .anthropic, #"{"messages":[{"role":"user","content":[{"type":"image"}]}]}"#,
            "messages[0].content[0].source: is missing"
        ),
        (.gemini, #"{"contents":[{"role":"bot","parts":[]}]}"#, "contents[0].role: 'bot' is not one of user, model"),
        (.vercelUI, #"{"messages":[{"role":"user"}]}"#, "messages[0].parts: is missing, and so is content"),
        (.run, #"{"input":{}}"#, "input: holds neither prompt, message nor messages"),
        (.run, #"{"workflow_id":"x"}"#, "input: is missing"),
        (.run, #"{"input":{"prompt":1}}"#, "input.prompt: is no string"),
        (.agUI, #"{"messages":[{"role":"tool","content":"x"}]}"#, "messages[0].toolCallId: is missing"),
        (.openAIResponses, #"{"input":[{"type":"function_call","name":"f"}]}"#, "input[0].call_id: is missing"),
    ])
    func brokenRequestsSayWhereAndWhy(format: RequestFormat, body: String, wanted: String) {
        let dialect: Dialect = format == .anthropic ? .bedrockConverse : .anthropicMessages
        #expect(complaint(body, format, dialect) == wanted)
    }

    @Test func aModelIsNeededWhereItStandsInThePath() {
        let body = #"{"messages":[{"role":"user","content":"q"}]}"#
        for dialect in [Dialect.gemini, .bedrockConverse, .bedrockInvoke] {
            #expect(complaint(body, .openAIChat, dialect) == "model: is missing, and the route names none")
        }
        #expect(complaint(body, .openAIChat, .anthropicMessages) == nil)
    }

    @Test func aResultNeedsItsCall() {
        let body = #"{"messages":[{"role":"tool","tool_call_id":"x","content":"r"}]}"#
        #expect(
            complaint(body, .openAIChat, .gemini, rules { $0.model = "m" })
                == "messages[0].content: no call has the id 'x'")
    }

    /// Bytes changed, taken out and doubled at random: an answer or an error, and never a crash.
    @Test(arguments: rich) func mangledBodiesAreAnsweredOrRefused(format: RequestFormat) throws {
        var generator = SplitMix(state: 11)
        let body = Array(try #require(RichRequest.body(format)).utf8)
        let bits = Array("{}[]\",:\\x0-9.e\u{0}é".utf8)
        var passed = 0
        for _ in 0..<150 {
            var mangled = body
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                let place = Int.random(in: 0..<mangled.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: mangled[place] = bits.randomElement(using: &generator) ?? 0
                case 1: mangled.remove(at: place)
                default:
                    let end = min(mangled.count, place + Int.random(in: 1...40, using: &generator))
                    mangled.insert(contentsOf: mangled[place..<end], at: place)
                }
            }
            let dialect = Dialect.allCases.randomElement(using: &generator) ?? .gemini
            let found = try? RequestTranslator.translate(
                mangled, from: format, to: dialect, rules { $0.dropsUnsupported = true }, RichRequest.hints)
            guard let found else { continue }
            passed += 1
            if dialect != .raw { #expect(JSONValue.parse(found.body) != nil) }
        }
        #expect(passed > 0)
    }

    /// The same with whole values put in the place of others: what is JSON and yet not the format.
    @Test(arguments: rich) func valuesOfTheWrongKindAreAnsweredOrRefused(format: RequestFormat) throws {
        var generator = SplitMix(state: 12)
        let text = try #require(RichRequest.body(format))
        let body = try #require(JSONValue.parse(text))
        let values: [JSONValue] = [nil, true, 0, -1, "", "x", [], [:], ["a"], [[:]], ["type": "text"], [nil]]
        func changed(_ value: JSONValue) -> JSONValue {
            if Int.random(in: 0..<40, using: &generator) == 0 { return values.randomElement(using: &generator) ?? nil }
            switch value {
            case .array(let elements): return .array(elements.map(changed))
            case .object(let members): return .object(members.map { (key: $0.key, value: changed($0.value)) })
            default: return value
            }
        }
        for _ in 0..<120 {
            let mangled = changed(body).serialized()
            let dialect = Dialect.allCases.randomElement(using: &generator) ?? .gemini
            _ = try? RequestTranslator.translate(
                mangled, from: format, to: dialect, rules { $0.dropsUnsupported = true }, RichRequest.hints)
        }
    }
}
