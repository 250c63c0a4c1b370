import SluiceBytes
import SluiceStreams
import Testing

@Suite struct ChainRequestTests {
    private func read(
        _ body: String, _ format: RequestFormat, items: [(name: String, value: String)] = [], conversation: Bool = false
    ) throws -> ChainRequest {
        var hints = RequestHints()
        if format == .prompt { hints.parameters = PromptParameters(items) }
        return try RequestTranslator.read(
            Array(body.utf8), from: format, hints, items: items, needsConversation: conversation)
    }

    private func value(_ request: ChainRequest, _ path: String...) -> String? {
        request.input.value(at: path).map { String(decoding: $0, as: UTF8.self) }
    }

    @Test func membersOfABodyAreTheInput() throws {
        let body = """
            {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "old"},
             {"role": "assistant", "content": "so"}, {"role": "user", "content": [{"type": "text", "text": "ne\\"w"}]}],
             "number": 1.50, "flag": false, "nothing": null, "list": [1, {"a": "ü"}], "stream": true, "prompt": "own"}
            """
        let request = try read(body, .openAIChat)
        #expect(value(request) == "ne\"w" && value(request, "prompt") == "ne\"w" && value(request, "system") == "S")
        #expect(value(request, "number") == "1.50" && value(request, "flag") == "false")
        #expect(value(request, "nothing") == nil && value(request, "absent") == nil)
        #expect(value(request, "number", "x") == nil)
        #expect(value(request, "list", "1", "a") == "ü" && value(request, "list", "2") == nil)
        #expect(value(request, "list") == #"[1,{"a":"ü"}]"#)
        #expect(value(request, "messages", "0", "content") == "S")
        #expect(request.answer.wantsStream)
    }

    @Test func aRunsInputIsTheInput() throws {
        #expect(value(try read(#"{"input": "text"}"#, .run)) == "text")
        let request = try read(#"{"input": {"topic": "cats", "model": "m"}, "topic": "no"}"#, .run)
        #expect(value(request, "topic") == "cats" && value(request) == #"{"topic":"cats","model":"m"}"#)
        #expect(value(request, "prompt") == nil && request.chat.messages.isEmpty && request.chat.model == "m")
        #expect(throws: RequestError.self) { try read(#"{"topic": "cats"}"#, .run) }
    }

    @Test func aQueryIsTheInput() throws {
        let request = try read("", .prompt, items: [("topic", "cats"), ("topic", "dogs"), ("model", "m")])
        #expect(value(request, "topic") == "cats" && request.chat.model == "m" && value(request) == nil)
        #expect(value(try read("", .prompt, items: [("message", "hi")]), "prompt") == "hi")
        // A body comes before the query, and may be text.
        #expect(value(try read(#"{"prompt": "p"}"#, .prompt, items: [("topic", "x")]), "topic") == nil)
        #expect(value(try read("just text", .prompt)) == "just text")
    }

    @Test func whoNeedsTheConversationAsksForIt() {
        #expect(throws: RequestError.self) { try read("", .prompt, items: [("topic", "x")], conversation: true) }
        #expect(throws: RequestError.self) { try read(#"{"input": {"a": 1}}"#, .run, conversation: true) }
        #expect(throws: RequestError.self) { try read(#"{"topic": "x"}"#, .openAIChat) }
        #expect(throws: RequestError.self) { try read("[1]", .vercelUI) }
    }

    private let rich = #"""
        {"model": "m", "temperature": 0.5, "max_tokens": 7, "topic": "t", "other": 1, "tool_choice": "required",
         "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
         "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": null, "tool_calls":
         [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
         {"role": "tool", "tool_call_id": "c1", "content": "12"}]}
        """#

    @Test func anEarlierStepHasTheConversationAndNoSettings() throws {
        let chat = try read(rich, .openAIChat).chat.conversation
        let written = try Document(try RequestTranslator.compose(chat, to: .openAIChat, rules()).body)
        #expect(written["temperature"] == nil && written["max_tokens"] == nil && written["other"] == nil)
        // What was called is told, and not called again.
        #expect(written["tools"] != nil && written["tool_choice"]?.description == "\"none\"")
        #expect(written["stream"]?.description == "true" && "\(written)".contains("include_usage"))
        for dialect in Dialect.allCases where dialect != .raw {
            do {
                let body = try RequestTranslator.compose(chat, to: dialect, rules()).body
                #expect(try !"\(Document(body))".contains("temperature"), "\(dialect)")
            } catch RequestError.unsupported(let fields, let named) {
                // A dialect that knows no tools cannot be told of them.
                #expect(!fields.isEmpty && named == dialect)
            }
        }
        let plain = try read(#"{"messages": [{"role": "user", "content": "hi"}], "tools": []}"#, .openAIChat)
        #expect(plain.chat.conversation.tools.isEmpty && plain.chat.conversation.toolChoice == nil)
    }

    @Test func theLastStepHasTheSettingsAndOtherWords() throws {
        let client = try read(rich, .openAIChat).chat
        let said = [ChatRequest.Message(.user, [.text("other words")], at: "steps.answer")]
        let chat = client.saying(said, without: ["topic"])
        var quiet = rules()
        quiet.asksForUsage = false
        quiet.system = "S"
        quiet.dropsUnsupported = true
        let request = try RequestTranslator.compose(chat, to: .openAIChat, quiet)
        let written = try Document(request.body)
        #expect(request.dropped == ["other"] && written["stream_options"] == nil && written["temperature"] != nil)
        let messages = #"[{"content":"S","role":"system"},{"content":"other words","role":"user"}]"#
        #expect(written["messages"]?.description == messages)
        quiet.dropsUnsupported = false
        #expect(throws: RequestError.unsupported(fields: ["other"], dialect: .openAIChat)) {
            try RequestTranslator.compose(chat, to: .openAIChat, quiet)
        }
    }

    private func rules() -> RequestRules {
        var rules = RequestRules()
        rules.fallbackModel = "fallback"
        return rules
    }

    // MARK: - Outputs

    @Test func theTextOfAnAnswerIsCollectedToItsLimit() throws {
        let chunks = ["He", "llo ", "wörld"].map { text in
            #"data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"\#(text)"}},{"index":1,"delta":{"content":"no"}}]}"#
        }
        for (limit, expected) in [(1000, "Hello wörld"), (12, "Hello wörld"), (11, "Hello ")] {
            let output = StepOutput(limitBytes: limit)
            var bridge = StreamBridge(
                decoder: StreamDecoders.make(.openAIChat, eventBytes: 1 << 20), collecting: output)
            var batch = EventBatch()
            var out = ByteQueue()
            for chunk in chunks {
                let bytes = Array((chunk + "\n\n").utf8)
                try bridge.consume(bytes.span, batch: &batch, into: &out)
            }
            #expect(String(decoding: output.bytes, as: UTF8.self) == expected && output.isOverLimit == (limit == 11))
            let (sent, isDocument) = (out.count, bridge.isDocument)
            #expect(sent == 0 && isDocument)
        }
    }

    private static let outputs: [(String, [String], String?)] = [
        (#"{"a": {"b": [1, "x"]}}"#, ["a", "b", "1"], "x"), ("```json\n{\"a\": 1}\n```\n", ["a"], "1"),
        (" \n```\n[\"x\"]\n``` ", ["0"], "x"), (#"{"a": {"b": 1}}"#, ["a"], #"{"b":1}"#), (#""text""#, ["a"], nil),
        ("no json", ["a"], nil), ("``````", ["a"], nil), ("```json```", ["a"], nil), ("", ["a"], nil),
        ("```\n```", ["a"], nil),
        (#"{"a": null}"#, ["a"], nil), (#"{"a": 01}"#, ["a"], nil), ("   ", ["a"], nil), ("`````", ["a"], nil),
    ]

    @Test(arguments: outputs)
    func fieldsOfAnOutput(output: String, path: [String], expected: String?) {
        let found = StepOutput.value(in: Array(output.utf8), at: path)
        #expect(found.map { String(decoding: $0, as: UTF8.self) } == expected)
    }
}
