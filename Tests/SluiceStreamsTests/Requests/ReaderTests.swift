import Foundation
import SluiceStreams
import Testing

/// Every client format, read and shown in the words of OpenAI's chat.
@Suite struct ReaderTests {
    private static let rich: [RequestFormat] = [
        .openAIChat, .openAIResponses, .anthropic, .gemini, .ollamaChat, .cohere, .vercelUI, .agUI,
    ]

    /// OpenAI's own client is relayed, so it takes a way round.
    private func neutral(_ format: RequestFormat) throws -> Document {
        let body = try #require(RichRequest.body(format))
        guard format == .openAIChat else { return try sent(body, format, .openAIChat, .init(), RichRequest.hints) }
        let round = try translated(body, .openAIChat, .anthropicMessages)
        return try Document(
            try RequestTranslator.translate(round.body, from: .anthropic, to: .openAIChat, .init(), .init()).body)
    }

    @Test(arguments: rich) func theSameConversationIsReadFromEach(format: RequestFormat) throws {
        let body = try neutral(format)
        let messages = try #require(body["messages"])
        try expectSame(
            messages,
            """
            [{"role":"system","content":"Be brief."},
             {"role":"user","content":[{"type":"text","text":"What is this?"},
              {"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]},
             {"role":"assistant","content":"A cat."},{"role":"user","content":"And the weather?"},
             {"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function",
              "function":{"name":"weather","arguments":"{\\"city\\":\\"Paris\\"}"}}]},
             {"role":"tool","tool_call_id":"call_1","content":"18 degrees"},{"role":"user","content":"Thanks."}]
            """)
        if format == .vercelUI { return }
        try expectSame(
            try #require(body["tools"]),
            """
            [{"type":"function","function":{"name":"weather","description":"It",
              "parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}]
            """)
        if format == .agUI { return }
        #expect(body["temperature"]?.description == "0.5" && body["top_p"]?.description == "0.9")
        #expect(body["max_tokens"]?.description == "100" && body["model"]?.description == "\"m\"")
    }

    // MARK: - One by one

    @Test func openAIChatHasManyForms() throws {
        let body = """
            {"messages":[{"role":"developer","content":[{"type":"text","text":"S"}]},
             {"role":"user","name":"bob","content":[{"type":"image_url","image_url":"https://x/y.png"},
              {"type":"input_audio","input_audio":{"data":"UklG","format":"wav"}},
              {"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBE"}}]},
             {"role":"assistant","content":"","function_call":{"name":"f","arguments":""}},
             {"role":"function","name":"f","content":"42"}],
             "functions":[{"name":"f"}],"function_call":{"name":"f"},"user":"u","stop":"END","n":1,
             "reasoning_effort":"low","response_format":{"type":"json_schema","json_schema":{"name":"o","schema":{}}}}
            """
        let dropping = rules { ($0.model, $0.dropsUnsupported) = ("g", true) }
        #expect(
            try translated(body, .openAIChat, .gemini, dropping).dropped == ["messages[1].content[0].image_url"])
        try expectSame(
            try sent(body, .openAIChat, .gemini, dropping),
            """
            {"systemInstruction":{"parts":[{"text":"S"}]},"contents":[
              {"role":"user","parts":[{"inlineData":{"mimeType":"audio/wav","data":"UklG"}},
               {"inlineData":{"mimeType":"application/pdf","data":"JVBE"}}]},
              {"role":"model","parts":[{"functionCall":{"name":"f","args":{}}}]},
              {"role":"user","parts":[{"functionResponse":{"name":"f","response":{"result":"42"}}}]}],
             "tools":[{"functionDeclarations":[{"name":"f"}]}],
             "toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f"]}},
             "generationConfig":{"stopSequences":["END"],"candidateCount":1,"responseMimeType":"application/json",
              "responseJsonSchema":{},"thinkingConfig":{"thinkingBudget":2048}}}
            """)
    }

    @Test func responsesItemsBecomeMessages() throws {
        let body = """
            {"input":[{"role":"developer","content":"S"},{"type":"reasoning","id":"r","summary":[{"text":"think"}]},
             {"type":"message","role":"assistant","content":[{"type":"output_text","text":"a","annotations":[]}]},
             {"type":"function_call","call_id":"c1","name":"f","arguments":"{}"},
             {"type":"function_call","call_id":"c2","name":"g","arguments":"{}"},
             {"type":"function_call_output","call_id":"c1","output":"1"},
             {"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"2"}]}],
             "text":{"format":{"type":"json_object"},"verbosity":"medium"},"reasoning":{"effort":"high"},
             "tool_choice":{"type":"function","name":"f"},"tools":[{"type":"function","name":"f"}],
             "store":true,"include":["reasoning.encrypted_content"],"parallel_tool_calls":true,"truncation":"auto"}
            """
        let found = try sent(body, .openAIResponses, .openAIChat)
        try expectSame(
            found,
            """
            {"messages":[{"role":"system","content":"S"},{"role":"assistant","content":"a","tool_calls":[
              {"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}},
              {"id":"c2","type":"function","function":{"name":"g","arguments":"{}"}}]},
              {"role":"tool","tool_call_id":"c1","content":"1"},{"role":"tool","tool_call_id":"c2","content":"2"}],
             "response_format":{"type":"json_object"},"reasoning_effort":"high","parallel_tool_calls":true,
             "tool_choice":{"type":"function","function":{"name":"f"}},
             "tools":[{"type":"function","function":{"name":"f"}}],"stream":true,"stream_options":{"include_usage":true}}
            """)
        try expectSame(
            try messages(#"{"input":"hi"}"#, .openAIResponses), #"[{"role":"user","content":"hi"}]"#)
    }

    @Test func completionsArePrompts() throws {
        try expectSame(
            try sent(
                #"{"prompt":["Once"],"max_tokens":5,"echo":false,"logprobs":null,"best_of":1,"suffix":""}"#,
                .openAICompletions, .ollamaGenerate),
            #"{"prompt":"Once","options":{"num_predict":5},"stream":true}"#)
        #expect(unsupported(#"{"prompt":[1,2]}"#, .openAICompletions, .openAIChat) == ["prompt[0]"])
        #expect(
            unsupported(#"{"prompt":["a","b"],"echo":true}"#, .openAICompletions, .openAIChat) == ["prompt[1]", "echo"])
    }

    @Test func anthropicBlocksKeepTheirOrder() throws {
        let body = """
            {"max_tokens":9,"system":[{"type":"text","text":"A","cache_control":{"type":"ephemeral"}},
              {"type":"text","text":"B"}],"metadata":{"user_id":"u"},"stop_sequences":["x"],"top_k":null,
             "messages":[{"role":"user","content":[{"type":"document","source":{"type":"text","data":"D",
               "media_type":"text/plain"}},{"type":"text","text":"q"}]},
              {"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},
               {"type":"redacted_thinking","data":"x"},{"type":"text","text":"a"},
               {"type":"tool_use","id":"1","name":"f","input":{"a":1}},{"type":"tool_use","id":"2","name":"f","input":{}}]},
              {"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"r"}]},
               {"type":"tool_result","tool_use_id":"2","is_error":true,"content":"e"},{"type":"text","text":"go"}]}],
             "tools":[{"name":"f","input_schema":{"type":"object"}}],
             "tool_choice":{"type":"any","disable_parallel_tool_use":true},
             "thinking":{"type":"enabled","budget_tokens":9000},"context_management":{"edits":[1]}}
            """
        try expectSame(
            try sent(body, .anthropic, .openAIChat),
            """
            {"messages":[{"role":"system","content":"A\\n\\nB"},
              {"role":"user","content":[{"type":"text","text":"D"},{"type":"text","text":"q"}]},
              {"role":"assistant","content":"a","tool_calls":[
               {"id":"1","type":"function","function":{"name":"f","arguments":"{\\"a\\":1}"}},
               {"id":"2","type":"function","function":{"name":"f","arguments":"{}"}}]},
              {"role":"tool","tool_call_id":"1","content":"r"},{"role":"tool","tool_call_id":"2","content":"e"},
              {"role":"user","content":"go"}],
             "max_tokens":9,"stop":["x"],"user":"u","tool_choice":"required","parallel_tool_calls":false,
             "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],
             "reasoning_effort":"high","stream":true,"stream_options":{"include_usage":true}}
            """)
        let claude = rules { ($0.model, $0.dropsUnsupported) = ("us.anthropic.claude-x", true) }
        let back = try sent(body, .anthropic, .bedrockConverse, claude)
        #expect("\(back)".contains(#"{"reasoningContent":{"reasoningText":{"signature":"s","text":"t"}}}"#))
    }

    @Test func geminiPairsCallsWithoutIDs() throws {
        let body = """
            {"system_instruction":{"parts":[{"text":"S"}]},"contents":[{"parts":[{"text":"q"}]},
             {"role":"model","parts":[{"text":"hm","thought":true},{"functionCall":{"name":"f","args":{"n":1}}},
               {"functionCall":{"name":"g"}},{"functionCall":{"name":"f","args":{"n":2}},"thoughtSignature":"c2ln"}]},
             {"role":"function","parts":[{"functionResponse":{"name":"g","response":{"x":[1]}}},
               {"functionResponse":{"name":"f","response":{"output":"one"}}},
               {"functionResponse":{"name":"f","response":{"error":"two"}}}]}],
             "safetySettings":[{"category":"x"}],"toolConfig":{"functionCallingConfig":{"mode":"NONE"}},
             "tools":[{"function_declarations":[{"name":"f","parametersJsonSchema":{"type":"object"}}]}],
             "generationConfig":{"topK":4,"responseMimeType":"application/json","responseModalities":["TEXT"],
              "responseSchema":{"type":"ARRAY","items":{"type":"STRING","enum":["STRING"]}},
              "thinkingConfig":{"thinkingBudget":-1}}}
            """
        try expectSame(
            try sent(body, .gemini, .openAIChat, rules { $0.dropsUnsupported = true }, RichRequest.hints),
            """
            {"model":"m","messages":[{"role":"system","content":"S"},{"role":"user","content":"q"},
              {"role":"assistant","content":null,"tool_calls":[
               {"id":"call_1","type":"function","function":{"name":"f","arguments":"{\\"n\\":1}"}},
               {"id":"call_2","type":"function","function":{"name":"g","arguments":"{}"}},
               {"id":"call_3","type":"function","function":{"name":"f","arguments":"{\\"n\\":2}"},
                "extra_content":{"google":{"thought_signature":"c2ln"}}}]},
              {"role":"tool","tool_call_id":"call_2","content":"{\\"x\\":[1]}"},
              {"role":"tool","tool_call_id":"call_1","content":"one"},
              {"role":"tool","tool_call_id":"call_3","content":"two"}],
             "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],"tool_choice":"none",
             "response_format":{"type":"json_schema","json_schema":{"name":"response",
              "schema":{"type":"array","items":{"type":"string","enum":["STRING"]}}}},
             "stream":true,"stream_options":{"include_usage":true}}
            """)
        #expect(
            unsupported(body, .gemini, .openAIChat, .init(), RichRequest.hints) == ["generationConfig.topK"])
        #expect(
            unsupported(
                #"{"contents":"hi","tools":[{"googleSearch":{}}],"cachedContent":"c"}"#, .gemini, .openAIChat)
                == ["tools[0].googleSearch", "cachedContent"])
    }

    @Test func geminiSignaturesGoBackWithTheirCalls() throws {
        let body = """
            {"messages":[{"role":"user","content":"q"},{"role":"assistant","tool_calls":[{"id":"a","type":"function",
             "function":{"name":"f","arguments":""},"extra_content":{"google":{"thought_signature":"c2ln"}}}]},
             {"role":"tool","tool_call_id":"a","content":"[1]"}]}
            """
        let found = try sent(body, .openAIChat, .gemini, rules { $0.model = "g" })
        try expectSame(
            try #require(found["contents"]),
            """
            [{"role":"user","parts":[{"text":"q"}]},
             {"role":"model","parts":[{"functionCall":{"name":"f","args":{}},"thoughtSignature":"c2ln"}]},
             {"role":"user","parts":[{"functionResponse":{"name":"f","response":{"result":"[1]"}}}]}]
            """)
    }

    @Test func ollamaGuessesImagesAndKeepsOptions() throws {
        let body = """
            {"model":"m","messages":[{"role":"user","content":"q","images":["/9j/4AAQ","R0lGODlh"]},
             {"role":"assistant","content":"a","thinking":"t"}],"format":{"type":"object"},"think":"high",
             "options":{"num_predict":-1,"seed":3,"stop":["a","b"],"num_gpu":1}}
            """
        try expectSame(
            try sent(body, .ollamaChat, .openAIChat),
            """
            {"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"q"},
              {"type":"image_url","image_url":{"url":"data:image/jpeg;base64,/9j/4AAQ"}},
              {"type":"image_url","image_url":{"url":"data:image/gif;base64,R0lGODlh"}}]},
              {"role":"assistant","content":"a"}],
             "response_format":{"type":"json_schema","json_schema":{"name":"response","schema":{"type":"object"}}},
             "reasoning_effort":"high","seed":3,"stop":["a","b"],"stream":true,"stream_options":{"include_usage":true}}
            """)
        #expect(
            unsupported(#"{"prompt":"q","options":{"mirostat":1},"context":[1]}"#, .ollamaGenerate, .openAIChat)
                == ["options.mirostat", "context"])
        try expectSame(
            try messages(
                #"{"prompt":"q","system":"s","images":["UklGRg"],"raw":false,"template":""}"#, .ollamaGenerate),
            """
            [{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"q"},
             {"type":"image_url","image_url":{"url":"data:image/webp;base64,UklGRg"}}]}]
            """)
    }

    @Test func cohereDocumentsAreResults() throws {
        let body = """
            {"model":"m","messages":[{"role":"user","content":"q"},{"role":"assistant","tool_plan":"I look.",
             "tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"{}"}}]},
             {"role":"tool","tool_call_id":"x","content":[{"type":"document","document":{"data":{"a":1}}}]}],
             "k":4,"safety_mode":"OFF","thinking":{"type":"disabled"},"tool_choice":"REQUIRED",
             "tools":[{"type":"function","function":{"name":"f"}}],
             "response_format":{"type":"json_object","json_schema":{"type":"object"}}}
            """
        try expectSame(
            try sent(body, .cohere, .anthropicMessages),
            """
            {"model":"m","messages":[{"role":"user","content":"q"},{"role":"assistant","content":[
              {"type":"text","text":"I look."},{"type":"tool_use","id":"x","name":"f","input":{}}]},
              {"role":"user","content":[{"type":"tool_result","tool_use_id":"x","content":"{\\"a\\":1}"}]}],
             "top_k":4,"thinking":{"type":"disabled"},"tool_choice":{"type":"any"},"max_tokens":4096,"stream":true,
             "tools":[{"name":"f","input_schema":{"type":"object","properties":{}}}],
             "output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}}
            """)
    }

    @Test func vercelStepsBecomeTurns() throws {
        let body = """
            {"messages":[{"role":"user","parts":[{"type":"text","text":"q"},{"type":"data-x","data":{}},
              {"type":"source-url","sourceId":"s","url":"u"},
              {"type":"file","mediaType":"application/pdf","filename":"a.pdf","url":"data:application/pdf;base64,JVBE"}]},
             {"role":"assistant","parts":[{"type":"step-start"},{"type":"text","text":"one"},
              {"type":"tool-f","toolCallId":"1","state":"output-available","input":{"a":1},"output":{"b":2}},
              {"type":"tool-f","toolCallId":"9","state":"input-available","input":{}},
              {"type":"step-start"},{"type":"dynamic-tool","toolName":"g","toolCallId":"2","state":"output-error",
               "input":{},"errorText":"bad"},{"type":"text","text":"two"}]}],"userId":7,"temperature":1}
            """
        try expectSame(
            try messages(body, .vercelUI),
            """
            [{"role":"user","content":[{"type":"text","text":"q"},
              {"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBE"}}]},
             {"role":"assistant","content":"one","tool_calls":[
              {"id":"1","type":"function","function":{"name":"f","arguments":"{\\"a\\":1}"}}]},
             {"role":"tool","tool_call_id":"1","content":"{\\"b\\":2}"},
             {"role":"assistant","content":null,"tool_calls":[
              {"id":"2","type":"function","function":{"name":"g","arguments":"{}"}}]},
             {"role":"tool","tool_call_id":"2","content":"bad"},{"role":"assistant","content":"two"}]
            """)
    }

    @Test func vercelOfOldIsUnderstood() throws {
        let body = """
            {"system":"S","messages":[{"role":"user","content":"q","experimental_attachments":[
              {"name":"a.png","contentType":"image/png","url":"https://x/a.png"}]},
             {"role":"assistant","content":"a","toolInvocations":[
              {"state":"result","toolCallId":"1","toolName":"f","args":{},"result":[1]},
              {"state":"call","toolCallId":"2","toolName":"f","args":{}}]},
             {"role":"data","content":"x"},
             {"role":"assistant","content":"b","parts":[{"type":"text","text":"b"},{"type":"tool-invocation",
              "toolInvocation":{"state":"result","toolCallId":"3","toolName":"f","args":{},"result":"r"}}]}]}
            """
        try expectSame(
            try messages(body, .vercelUI),
            """
            [{"role":"system","content":"S"},{"role":"user","content":[{"type":"text","text":"q"},
              {"type":"image_url","image_url":{"url":"https://x/a.png"}}]},
             {"role":"assistant","content":"a","tool_calls":[
              {"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},
             {"role":"tool","tool_call_id":"1","content":"[1]"},
             {"role":"assistant","content":"b","tool_calls":[
              {"id":"3","type":"function","function":{"name":"f","arguments":"{}"}}]},
             {"role":"tool","tool_call_id":"3","content":"r"}]
            """)
        try expectSame(try messages(#"{"prompt":"p"}"#, .vercelUI), #"[{"role":"user","content":"p"}]"#)
    }

    @Test func agUIBringsItsNamesAndContext() throws {
        let body = """
            {"threadId":"t-1","runId":"r-1","messages":[{"id":"1","role":"user","content":"q"},
             {"id":"2","role":"activity","content":{}},{"id":"3","role":"user","content":[
              {"type":"image","source":{"type":"url","value":"https://x/a.png"}}]}],
             "context":[{"description":"The page","value":"/cart"}],"tools":[],"state":{"a":1}}
            """
        let found = try translated(body, .agUI, .openAIChat)
        #expect(found.threadID == "t-1" && found.runID == "r-1")
        try expectSame(
            try messages(body, .agUI),
            """
            [{"role":"system","content":"The page: /cart"},{"role":"user","content":"q"},
             {"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/a.png"}}]}]
            """)
    }

    @Test(arguments: [
        (#"{"prompt":"hi \u00e9"}"#, "hi é"), (#"{"message":"hi"}"#, "hi"), ("plain text", "plain text"),
        ("{broken \"json\"", "{broken \"json\""), ("\"quoted\"", "quoted"), ("42", "42"),
        ("line\nline\t\u{1}", "line\nline\t\u{1}"),
    ])
    func promptsComeInManyForms(body: String, text: String) throws {
        let found = try sent(body, .prompt, .replicate)
        #expect(found["input"]?["prompt"] == (try Document(JSONValue(text).serialized())))
    }

    @Test func promptsComeInTheTargetToo() throws {
        let inTarget = hints { $0.parameters.prompt = "from the target" }
        try expectSame(
            try messages("", .prompt, inTarget), #"[{"role":"user","content":"from the target"}]"#)
        try expectSame(
            try messages(#"{"model":"m"}"#, .prompt, inTarget), #"[{"role":"user","content":"from the target"}]"#)
        let plain = hints { $0.isPlainText = true }
        try expectSame(
            try messages(#"{"prompt":"x"}"#, .prompt, plain), #"[{"role":"user","content":"{\"prompt\":\"x\"}"}]"#)
        #expect(complaint("", .prompt, .openAIChat) == "prompt: is missing")
        #expect(complaint("{}", .prompt, .openAIChat) == "prompt: is missing")
    }

    @Test(arguments: [
        #"{"input":"hi"}"#, #"{"input":{"prompt":"hi"},"output_only":true}"#, #"{"input":{"message":"hi"}}"#,
        #"{"workflow_id":"w","input":{"messages":[{"role":"user","content":"hi"}]}}"#,
    ])
    func runsHaveInputs(body: String) throws {
        try expectSame(try messages(body, .run), #"[{"role":"user","content":"hi"}]"#)
    }

    /// As protobuf's JSON may be written, and Google's own library does in part.
    @Test func snakeCaseOfGoogle() throws {
        let body = #"""
            {"system_instruction":{"parts":[{"text":"s"}]},
             "contents":[{"parts":[{"inline_data":{"mime_type":"image/png","data":"-_8"}},
                                   {"function_response":{"name":"snake_name","response":{"a_b":1}}}]}],
             "tools":[{"function_declarations":[{"name":"f","parameters_json_schema":{"type":"object","a_b":{}}}]}],
             "tool_config":{"function_calling_config":{"mode":"ANY","allowed_function_names":["f"]}},
             "generation_config":{"max_output_tokens":7,"stop_sequences":["x"],"response_mime_type":"application/json",
                                  "top_p":0.5,"thinking_config":{"thinking_budget":0}}}
            """#
        let sent = try sent(body, .gemini, .openAIChat)
        #expect(try sent["max_tokens"] == Document("7") && sent["top_p"] == Document("0.5"))
        #expect(try sent["stop"] == Document(#"["x"]"#))
        #expect(try sent["tool_choice"] == Document(#"{"type":"function","function":{"name":"f"}}"#))
        let tool = #"{"name":"f","parameters":{"type":"object","a_b":{}}}"#
        #expect(try sent["tools"] == Document(#"[{"type":"function","function":\#(tool)}]"#))
        #expect(try sent["response_format"] == Document(#"{"type":"json_object"}"#))
        // Bytes in the alphabet for addresses become what everybody else reads.
        let text = "\(String(describing: sent["messages"]))"
        #expect(text.contains("data:image/png;base64,+/8=") && text.contains(#"a_b"#))
    }

    @Test func placesAreNamedAsTheClientWroteThem() {
        let body = #"{"contents":[{"parts":[{"text":"a"}]}],"generation_config":{"max_output_tokens":"x"}}"#
        #expect(complaint(body, .gemini, .openAIChat) == "generation_config.max_output_tokens: is no number")
    }

    @Test func modelsInGooglesPathsMayHaveColons() throws {
        var hints = RequestHints()
        hints.path = "/v1beta/models/llama3:8b:streamGenerateContent"
        let body = #"{"contents":[{"parts":[{"text":"a"}]}]}"#
        #expect(try translated(body, .gemini, .ollamaChat, .init(), hints).model == "llama3:8b")
    }
}
