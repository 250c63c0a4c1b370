import Foundation
import SluiceStreams
import Testing

/// Every upstream's dialect, written from one rich request.
@Suite struct WriterTests {
    private func rich(_ dialect: Dialect, model: String = "m") throws -> Document {
        // OpenAI's own upstream would get the client's body as it is.
        let format: RequestFormat = dialect == .openAIChat || dialect == .mlflow ? .anthropic : .openAIChat
        let body = try #require(RichRequest.body(format))
        return try sent(body, format, dialect, rules { $0.model = model })
    }
    private let tools = """
        [{"type":"function","function":{"name":"weather","description":"It",
          "parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}]
        """
    private let schema = #"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}"#

    @Test func openAIResponses() throws {
        try expectSame(
            try rich(.openAIResponses),
            """
            {"model":"m","instructions":"Be brief.","store":false,"input":[
              {"role":"user","content":[{"type":"input_text","text":"What is this?"},
               {"type":"input_image","image_url":"data:image/png;base64,iVBORw0KGgo="}]},
              {"role":"assistant","content":[{"type":"output_text","text":"A cat."}]},
              {"role":"user","content":[{"type":"input_text","text":"And the weather?"}]},
              {"type":"function_call","call_id":"call_1","name":"weather","arguments":"{\\"city\\":\\"Paris\\"}"},
              {"type":"function_call_output","call_id":"call_1","output":"18 degrees"},
              {"role":"user","content":[{"type":"input_text","text":"Thanks."}]}],
             "tools":[{"type":"function","name":"weather","description":"It","strict":false,"parameters":\(schema)}],
             "temperature":0.5,"top_p":0.9,"max_output_tokens":100,"stream":true}
            """)
    }

    @Test func anthropicMessages() throws {
        try expectSame(try rich(.anthropicMessages), RichRequest.anthropic)
    }

    @Test func mlflowHasNoModelOfTheClient() throws {
        let body = try sent(RichRequest.anthropic, .anthropic, .mlflow)
        #expect(body["model"] == nil && body["stream_options"] == nil && body["max_tokens"]?.description == "100")
        #expect(try translated(RichRequest.anthropic, .anthropic, .mlflow).model == "m")
    }

    @Test func gemini() throws {
        let body = try rich(.gemini, model: "g")
        try expectSame(
            body,
            """
            {"systemInstruction":{"parts":[{"text":"Be brief."}]},"contents":[
              {"role":"user","parts":[{"text":"What is this?"},
               {"inlineData":{"mimeType":"image/png","data":"iVBORw0KGgo="}}]},
              {"role":"model","parts":[{"text":"A cat."}]},{"role":"user","parts":[{"text":"And the weather?"}]},
              {"role":"model","parts":[{"functionCall":{"name":"weather","args":{"city":"Paris"}}}]},
              {"role":"user","parts":[{"functionResponse":{"name":"weather","response":{"result":"18 degrees"}}},
               {"text":"Thanks."}]}],
             "tools":[{"functionDeclarations":[{"name":"weather","description":"It",
              "parametersJsonSchema":\(schema)}]}],
             "generationConfig":{"temperature":0.5,"topP":0.9,"maxOutputTokens":100}}
            """)
    }

    @Test func ollamaChat() throws {
        try expectSame(
            try rich(.ollamaChat),
            """
            {"model":"m","messages":[{"role":"system","content":"Be brief."},
              {"role":"user","content":"What is this?","images":["iVBORw0KGgo="]},
              {"role":"assistant","content":"A cat."},{"role":"user","content":"And the weather?"},
              {"role":"assistant","content":"",
               "tool_calls":[{"function":{"name":"weather","arguments":{"city":"Paris"}}}]},
              {"role":"tool","tool_name":"weather","content":"18 degrees"},{"role":"user","content":"Thanks."}],
             "tools":\(tools),"options":{"temperature":0.5,"top_p":0.9,"num_predict":100},"stream":true}
            """)
    }

    @Test func cohereV2() throws {
        try expectSame(
            try rich(.cohereV2),
            """
            {"model":"m","messages":[{"role":"system","content":"Be brief."},
              {"role":"user","content":[{"type":"text","text":"What is this?"},
               {"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]},
              {"role":"assistant","content":"A cat."},{"role":"user","content":"And the weather?"},
              {"role":"assistant","tool_calls":[{"id":"call_1","type":"function",
               "function":{"name":"weather","arguments":"{\\"city\\":\\"Paris\\"}"}}]},
              {"role":"tool","tool_call_id":"call_1","content":"18 degrees"},{"role":"user","content":"Thanks."}],
             "tools":\(tools),"temperature":0.5,"p":0.9,"max_tokens":100,"stream":true}
            """)
    }

    @Test func cohereV1() throws {
        let textOnly = RichRequest.openAIChat.replacing(
            #/,\s*\{"type":"image_url","image_url":\{[^}]*\}\}/#, with: "")
        let history = """
            {"role":"USER","message":"What is this?"},{"role":"CHATBOT","message":"A cat."},
            {"role":"USER","message":"And the weather?"},
            {"role":"CHATBOT","message":"","tool_calls":[{"name":"weather","parameters":{"city":"Paris"}}]}
            """
        let results = """
            [{"call":{"name":"weather","parameters":{"city":"Paris"}},"outputs":[{"result":"18 degrees"}]}]
            """
        let rest = """
            "model":"m","preamble":"Be brief.","temperature":0.5,"p":0.9,"max_tokens":100,"stream":true,
            "tools":[{"name":"weather","description":"It",
             "parameter_definitions":{"city":{"type":"str","required":true}}}]
            """
        try expectSame(
            try sent(textOnly, .openAIChat, .cohereV1),
            """
            {"message":"Thanks.","chat_history":[\(history),{"role":"TOOL","tool_results":\(results)}],\(rest)}
            """)
        // The answer to the results themselves.
        try expectSame(
            try sent(
                textOnly.replacing(#",{"role":"user","content":"Thanks."}"#, with: ""), .openAIChat, .cohereV1),
            #"{"message":"","chat_history":[\#(history)],"tool_results":\#(results),\#(rest)}"#)
        #expect(
            unsupported(RichRequest.openAIChat, .openAIChat, .cohereV1) == ["messages[1].content[1].image_url"])
    }

    @Test func bedrockConverse() throws {
        try expectSame(
            try rich(.bedrockConverse, model: "anthropic.claude-3"),
            """
            {"system":[{"text":"Be brief."}],"messages":[
              {"role":"user","content":[{"text":"What is this?"},
               {"image":{"format":"png","source":{"bytes":"iVBORw0KGgo="}}}]},
              {"role":"assistant","content":[{"text":"A cat."}]},{"role":"user","content":[{"text":"And the weather?"}]},
              {"role":"assistant","content":[{"toolUse":{"toolUseId":"call_1","name":"weather",
               "input":{"city":"Paris"}}}]},
              {"role":"user","content":[{"toolResult":{"toolUseId":"call_1","content":[{"text":"18 degrees"}]}},
               {"text":"Thanks."}]}],
             "toolConfig":{"tools":[{"toolSpec":{"name":"weather","description":"It",
              "inputSchema":{"json":\(schema)}}}]},
             "inferenceConfig":{"temperature":0.5,"topP":0.9,"maxTokens":100}}
            """)
    }

    @Test func bedrockConverseKnowsClaudesOwnWords() throws {
        let body = """
            {"max_tokens":4000,"messages":[{"role":"user","content":"q"}],"top_k":5,"temperature":0.2,
             "thinking":{"type":"enabled","budget_tokens":2000}}
            """
        try expectSame(
            try sent(body, .anthropic, .bedrockConverse, rules { $0.model = "eu.anthropic.claude-3" }),
            """
            {"messages":[{"role":"user","content":[{"text":"q"}]}],"inferenceConfig":{"maxTokens":4000},
             "additionalModelRequestFields":{"thinking":{"type":"enabled","budget_tokens":2000}}}
            """)
        #expect(
            unsupported(body, .anthropic, .bedrockConverse, rules { $0.model = "meta.llama3" })
                == ["thinking", "top_k"])
    }

    @Test(arguments: [
        (
            "us.anthropic.claude-3-haiku",
            """
            {"anthropic_version":"bedrock-2023-05-31","system":"S","messages":[{"role":"user","content":"q"}],
             "max_tokens":7,"temperature":0.1}
            """
        ),
        (
            "anthropic.claude-v2:1",
            #"{"prompt":"S\n\nHuman: q\n\nAssistant:","max_tokens_to_sample":7,"temperature":0.1}"#
        ),
        ("meta.llama3-8b", #"{"prompt":"S\n\nq","max_gen_len":7,"temperature":0.1}"#),
        ("mistral.mistral-7b", #"{"prompt":"S\n\nq","max_tokens":7,"temperature":0.1}"#),
        (
            "amazon.titan-text",
            #"{"inputText":"S\n\nq","textGenerationConfig":{"maxTokenCount":7,"temperature":0.1}}"#
        ),
        (
            "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0",
            """
            {"schemaVersion":"messages-v1","system":[{"text":"S"}],"messages":[{"role":"user","content":[{"text":"q"}]}],
             "inferenceConfig":{"maxTokens":7,"temperature":0.1}}
            """
        ),
        ("cohere.command-r-v1", #"{"preamble":"S","message":"q","max_tokens":7,"temperature":0.1}"#),
        ("cohere.command-text", #"{"prompt":"S\n\nq","max_tokens":7,"temperature":0.1}"#),
        (
            "openai.gpt-oss-20b",
            """
            {"messages":[{"role":"system","content":"S"},{"role":"user","content":"q"}],"max_tokens":7,
             "temperature":0.1}
            """
        ),
    ])
    func bedrockInvokeSpeaksEachFamilysWords(model: String, wanted: String) throws {
        let body = #"{"max_tokens":7,"system":"S","temperature":0.1,"messages":[{"role":"user","content":"q"}]}"#
        let found = try translated(body, .anthropic, .bedrockInvoke, rules { $0.model = model })
        try expectSame(try Document(found.body), wanted)
        #expect(found.model == model)
    }

    // MARK: - Prompts

    private static let simple = """
        {"model":"m","messages":[{"role":"system","content":"S"},{"role":"user","content":"q"}],
         "temperature":0.1,"max_tokens":7,"stop":["x","y"],"top_p":0.9,"top_k":3}
        """

    @Test(arguments: [
        (
            Dialect.openAICompletions,
            """
            {"model":"m","prompt":"S\\n\\nq","temperature":0.1,"max_tokens":7,"stop":["x","y"],"top_p":0.9,
             "stream":true,"stream_options":{"include_usage":true}}
            """
        ),
        (
            .anthropicCompletion,
            """
            {"model":"m","prompt":"S\\n\\nHuman: q\\n\\nAssistant:","temperature":0.1,"max_tokens_to_sample":7,
             "stop_sequences":["x","y"],"top_p":0.9,"top_k":3,"stream":true}
            """
        ),
        (
            .ollamaGenerate,
            """
            {"model":"m","system":"S","prompt":"q","stream":true,
             "options":{"temperature":0.1,"num_predict":7,"stop":["x","y"],"top_p":0.9,"top_k":3}}
            """
        ),
        (
            .tgi,
            """
            {"inputs":"S\\n\\nq",
             "parameters":{"temperature":0.1,"max_new_tokens":7,"stop":["x","y"],"top_p":0.9,"top_k":3}}
            """
        ),
        (
            .llamaCPP,
            """
            {"prompt":"S\\n\\nq","temperature":0.1,"n_predict":7,"stop":["x","y"],"top_p":0.9,"top_k":3,
             "stream":true}
            """
        ),
        (
            .replicate,
            """
            {"input":{"prompt":"q","system_prompt":"S","temperature":0.1,"max_tokens":7,"stop_sequences":"x,y",
             "top_p":0.9,"top_k":3},"stream":true}
            """
        ),
        (
            .watsonx,
            """
            {"model_id":"m","input":"S\\n\\nq","parameters":{"temperature":0.1,"max_new_tokens":7,
             "stop_sequences":["x","y"],"top_p":0.9,"top_k":3,"decoding_method":"sample"}}
            """
        ),
    ])
    func promptsAreWritten(dialect: Dialect, wanted: String) throws {
        var rules = RequestRules()
        rules.dropsUnsupported = dialect == .openAICompletions
        try expectSame(try sent(Self.simple, .openAIChat, dialect, rules), wanted)
    }

    @Test func severalTurnsAreATranscript() throws {
        let body = """
            {"messages":[{"role":"user","content":"a \\"b\\""},{"role":"assistant","content":"c"},
             {"role":"user","content":[{"type":"text","text":"d"},{"type":"text","text":"e"}]}]}
            """
        #expect(
            try sent(body, .openAIChat, .tgi)["inputs"]
                == Document(#""User: a \"b\"\n\nAssistant: c\n\nUser: d\ne\n\nAssistant:""#))
        #expect(
            try sent(body, .openAIChat, .anthropicCompletion)["prompt"]
                == Document(#""\n\nHuman: a \"b\"\n\nAssistant: c\n\nHuman: d\ne\n\nAssistant:""#))
        let begun = #"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"Once"}]}"#
        #expect(try sent(begun, .openAIChat, .llamaCPP)["prompt"] == Document(#""User: a\n\nAssistant: Once""#))
    }

    // MARK: - Details

    @Test func anthropicWantsItsLimitsKept() throws {
        func body(_ more: String) throws -> Document {
            try sent(#"{"messages":[{"role":"user","content":"q"}],\#(more)}"#, .openAIChat, .anthropicMessages)
        }
        #expect(try body(#""temperature":1.7"#)["temperature"]?.description == "1")
        #expect(try body(#""temperature":0.70"#)["temperature"]?.description == "0.7")
        #expect(try body(#""n":1"#)["max_tokens"]?.description == "4096")
        let high = try body(#""reasoning_effort":"high","temperature":0.3,"top_p":0.2"#)
        try expectSame(
            high,
            """
            {"messages":[{"role":"user","content":"q"}],"max_tokens":28672,"stream":true,
             "thinking":{"type":"enabled","budget_tokens":24576}}
            """)
        // Thinking may not take all of the answer, and gives way to a forced tool.
        let short = try body(#""reasoning_effort":"high","max_tokens":4000"#)
        try expectSame(try #require(short["thinking"]), #"{"type":"enabled","budget_tokens":2000}"#)
        #expect(try body(#""reasoning_effort":"high","max_tokens":500"#)["thinking"] == nil)
        let forced = try body(
            #""reasoning_effort":"low","tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required""#)
        #expect(forced["thinking"] == nil)
        try expectSame(try #require(forced["tool_choice"]), #"{"type":"any"}"#)
    }

    @Test func turnsAreMergedWhereTheyMustAlternate() throws {
        let body = """
            {"messages":[{"role":"assistant","content":"Hi!"},{"role":"user","content":"a"},{"role":"user","content":"b"},
             {"role":"assistant","content":"","tool_calls":[
              {"id":"1","type":"function","function":{"name":"f","arguments":"{}"}},
              {"id":"2","type":"function","function":{"name":"f","arguments":"{}"}}]},
             {"role":"tool","tool_call_id":"1","content":"x"},{"role":"tool","tool_call_id":"2","content":"y"}]}
            """
        let found = try sent(body, .openAIChat, .anthropicMessages)
        try expectSame(
            try #require(found["messages"]),
            """
            [{"role":"user","content":"Hello."},{"role":"assistant","content":"Hi!"},
             {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
             {"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f","input":{}},
              {"type":"tool_use","id":"2","name":"f","input":{}}]},
             {"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"x"},
              {"type":"tool_result","tool_use_id":"2","content":"y"}]}]
            """)
    }

    @Test func toolChoicesAreMapped() throws {
        func choice(_ choice: String, _ dialect: Dialect) throws -> Document {
            let tool = #"{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}"#
            return try sent(
                #"{"messages":[{"role":"user","content":"q"}],"tools":[\#(tool)],"tool_choice":\#(choice)}"#,
                .openAIChat,
                dialect, rules { $0.model = "amazon.x" })
        }
        let one = #"{"type":"function","function":{"name":"f"}}"#
        #expect(try choice("\"none\"", .ollamaChat)["tools"] == nil)
        #expect(try choice("\"auto\"", .ollamaChat)["tools"] != nil)
        #expect(try choice("\"none\"", .bedrockConverse)["toolConfig"] == nil)
        #expect(try choice("\"required\"", .cohereV2)["tool_choice"] == Document("\"REQUIRED\""))
        let cohere = try choice(one, .cohereV2)
        #expect("\(cohere)".contains("\"f\"") && !"\(cohere)".contains("\"g\""))
        try expectSame(
            try #require(try choice(one, .bedrockConverse)["toolConfig"]?["toolChoice"]), #"{"tool":{"name":"f"}}"#)
        try expectSame(
            try #require(try choice(one, .openAIResponses)["tool_choice"]), #"{"type":"function","name":"f"}"#)
        try expectSame(
            try #require(try choice("\"none\"", .gemini)["toolConfig"]), #"{"functionCallingConfig":{"mode":"NONE"}}"#)
    }

    @Test func newModelsOfOpenAIHaveAnotherLimit() throws {
        func keys(_ model: String) throws -> Set<String> {
            try sent(RichRequest.anthropic, .anthropic, .openAIChat, rules { $0.model = model }).keys
        }
        #expect(try keys("gpt-4o").contains("max_tokens"))
        for model in ["o3-mini", "gpt-5.1", "openai/o1"] {
            let keys = try keys(model)
            #expect(keys.contains("max_completion_tokens") && !keys.contains("max_tokens"))
        }
    }

    // MARK: - What the providers' own libraries send

    private static let calls = #"""
        {"model":"m","messages":[{"role":"user","content":"q"},{"role":"assistant","content":"","tool_calls":[
            {"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},
            {"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]},
            {"role":"tool","tool_call_id":"a","content":"1"},{"role":"tool","tool_call_id":"b","content":"2"}],
         "tools":[{"type":"function","function":{"name":"f","strict":true}}]}
        """#

    @Test func resultsOfOneTurnStandTogetherForCohere() throws {
        let body = try sent(Self.calls, .openAIChat, .cohereV1)
        let calls = #"[{"name":"f","parameters":{"x":1}},{"name":"g","parameters":{}}]"#
        let results =
            #"[{"call":{"name":"f","parameters":{"x":1}},"outputs":[{"result":"1"}]},"#
            + #"{"call":{"name":"g","parameters":{}},"outputs":[{"result":"2"}]}]"#
        #expect(try body["tool_results"] == Document(results))
        let history = #"[{"role":"USER","message":"q"},{"role":"CHATBOT","message":"","tool_calls":\#(calls)}]"#
        #expect(try body["chat_history"] == Document(history))
    }

    @Test func anEmptyTextBesideCallsIsNoMessage() throws {
        let body = try sent(Self.calls, .openAIChat, .openAIResponses)
        let items = (body["input"]?.value as? [[String: Any]]) ?? []
        #expect(items.map { $0["role"] as? String } == ["user", nil, nil, nil, nil])
    }

    @Test func strictIsNoFieldOfCoheresTools() throws {
        let body = try sent(Self.calls, .openAIChat, .cohereV2)
        #expect(try body["tools"] == Document(#"[{"type":"function","function":{"name":"f"}}]"#))
    }

    /// A signature that the client brings goes back; in place of one that was lost stands Google's word for that, where the model
    /// insists on one.
    @Test(arguments: [("gemini-2.5-pro", nil), ("gemini-3-pro", "skip_thought_signature_validator"), ("g", nil)])
    func signaturesOfCalls(model: String, placeholder: String?) throws {
        let rules = rules { ($0.model, $0.dropsUnsupported) = (model, true) }
        let signed = Self.calls.replacing(
            #""id":"a","#, with: #""id":"a","extra_content":{"google":{"thought_signature":"c2ln"}},"#)
        for (body, first) in [(Self.calls, placeholder), (signed, "c2ln")] {
            let turns = try sent(body, .openAIChat, .gemini, rules)["contents"]?.value as? [[String: Any]] ?? []
            let parts = turns.count > 1 ? turns[1]["parts"] as? [[String: Any]] ?? [] : []
            #expect(parts.map { $0["thoughtSignature"] as? String } == [first, nil])
        }
    }
}
