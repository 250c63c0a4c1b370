import Foundation
import SluiceBytes
import SluiceStreams
import Testing

/// Clients that speak the upstream's language: what they send is edited and not read.
@Suite struct RelayTests {
    static let pairs: [(RequestFormat, Dialect)] = [
        (.openAIChat, .openAIChat), (.openAIResponses, .openAIResponses), (.openAICompletions, .openAICompletions),
        (.anthropic, .anthropicMessages), (.gemini, .gemini), (.ollamaChat, .ollamaChat),
        (.ollamaGenerate, .ollamaGenerate), (.cohere, .cohereV2),
    ]

    @Test(arguments: pairs) func whatNobodyKnowsSurvives(format: RequestFormat, dialect: Dialect) throws {
        let stream = [.gemini, .ollamaChat, .ollamaGenerate].contains(format) ? "" : #""stream":true,"#
        let body = #"""
            {"z":[1.50,1e2,12345678901234567890123,"\u00e9\/"],"messages":[{"role":"alien","content":7}],"max_tokens":1,\#(stream)"a":{"k":null}}
            """#
        let found = try translated(
            body, format, dialect, .init(), hints { $0.path = "/models/m:streamGenerateContent" })
        #expect(String(decoding: found.body, as: UTF8.self) == body)
        #expect(found.asksForStream && found.wantsStream)
    }

    @Test func theRoutesModelStandsInPlaceOfTheClients() throws {
        let body = #"{"model":"a","messages":[{"role":"user","content":"q"}],"x":1}"#
        let other = try translated(body, .openAIChat, .openAIChat, rules { $0.model = "b" })
        #expect(String(decoding: other.body, as: UTF8.self) == body.replacing("\"a\"", with: "\"b\""))
        #expect(other.model == "b")
        #expect(try translated(body, .openAIChat, .openAIChat, rules { $0.fallbackModel = "c" }).model == "a")
        let none = body.replacing("\"a\"", with: "null")
        #expect(
            try sent(none, .openAIChat, .openAIChat, rules { $0.fallbackModel = "c" })["model"] == Document("\"c\""))
        #expect(try sent(body, .openAIChat, .mlflow)["model"] == nil)
        let google = try translated(
            #"{"contents":"q"}"#, .gemini, .gemini, rules { $0.model = "g2" }, hints { $0.path = "/v1beta/models/g1:x" }
        )
        #expect(google.model == "g2" && String(decoding: google.body, as: UTF8.self) == #"{"contents":"q"}"#)
    }

    @Test(arguments: [
        (
            RequestFormat.openAIChat, Dialect.openAIChat, #"{"messages":[{"role":"system","content":"own"}]}"#,
            #"{"messages":[{"role":"system","content":"S\n1"},{"role":"system","content":"own"}]}"#
        ),
        (.openAIResponses, .openAIResponses, #"{"instructions":"own"}"#, #"{"instructions":"S\n1\n\nown"}"#),
        (.openAICompletions, .openAICompletions, #"{"prompt":["a","b"]}"#, #"{"prompt":["S\n1\n\na","S\n1\n\nb"]}"#),
        (.anthropic, .anthropicMessages, #"{"max_tokens":1}"#, #"{"max_tokens":1,"system":"S\n1"}"#),
        (
            .anthropic, .anthropicMessages, #"{"max_tokens":1,"system":[{"type":"text","text":"own","x":1}]}"#,
            #"{"max_tokens":1,"system":[{"type":"text","text":"S\n1"},{"type":"text","text":"own","x":1}]}"#
        ),
        (
            .gemini, .gemini, #"{"systemInstruction":{"parts":[{"text":"own"}]}}"#,
            #"{"systemInstruction":{"parts":[{"text":"S\n1"},{"text":"own"}]}}"#
        ),
        (
            .ollamaChat, .ollamaChat, #"{"messages":[],"stream":false}"#,
            #"{"messages":[{"role":"system","content":"S\n1"}],"stream":false}"#
        ),
        (.ollamaGenerate, .ollamaGenerate, #"{"prompt":"q"}"#, #"{"prompt":"q","system":"S\n1"}"#),
    ])
    func theRoutesSystemTextComesFirst(format: RequestFormat, dialect: Dialect, body: String, wanted: String) throws {
        let rules = rules { $0.system = "S\n1" }
        try expectSame(try sent(body, format, dialect, rules, RichRequest.hints), wanted)
    }

    @Test func theRoutesSystemTextComesFirstInATranslationToo() throws {
        let found = try sent(RichRequest.vercel, .vercelUI, .anthropicMessages, rules { $0.system = "First." })
        #expect(found["system"] == (try Document(#""First.\n\nBe brief.""#)))
    }

    // MARK: - Defaults and overrides

    private func both(_ change: (inout RequestRules) -> Void = { _ in }) -> RequestRules {
        rules {
            $0.defaults = JSONValue.parse(#"{"temperature":0.25,"max_tokens":50,"stop":"D","extra":{"a":1,"b":2}}"#)
            $0.overrides = JSONValue.parse(#"{"top_p":0.75,"seed":7,"extra":{"c":3},"gone":null}"#)
            change(&$0)
        }
    }

    @Test func defaultsAndOverridesOfARelay() throws {
        let body = #"{"messages":[],"temperature":1,"top_p":1,"max_completion_tokens":9,"extra":{"a":9},"gone":1}"#
        try expectSame(
            try sent(body, .openAIChat, .openAIChat, both()),
            """
            {"messages":[],"temperature":1,"top_p":0.75,"max_completion_tokens":9,"seed":7,"stop":"D",
             "extra":{"a":9,"b":2,"c":3}}
            """)
        try expectSame(
            try sent(
                #"{"contents":"q","generationConfig":{"temperature":1,"topK":2},"gone":1}"#, .gemini, .gemini, both(),
                RichRequest.hints),
            """
            {"contents":"q","generationConfig":{"temperature":1,"topK":2,"topP":0.75,"maxOutputTokens":50,"seed":7,
             "stopSequences":["D"]},"extra":{"a":1,"b":2,"c":3}}
            """)
    }

    @Test func defaultsAndOverridesOfATranslation() throws {
        let body = #"{"prompt":"q","temperature":1}"#
        try expectSame(
            try sent(body, .prompt, .ollamaChat, both { $0.model = "m" }),
            """
            {"model":"m","messages":[{"role":"user","content":"q"}],"stream":true,
             "options":{"temperature":0.25,"num_predict":50,"stop":["D"],"top_p":0.75,"seed":7},
             "extra":{"a":1,"b":2,"c":3}}
            """)
        // The client's own wish wins over a default and loses against an override.
        let found = try sent(RichRequest.anthropic, .anthropic, .cohereV2, both())
        #expect(found["temperature"]?.description == "0.5" && found["p"]?.description == "0.75")
        #expect(found["max_tokens"]?.description == "100" && found["seed"]?.description == "7")
        // What only the upstream knows.
        let watson = try sent(
            body, .prompt, .watsonx, rules { $0.overrides = ["project_id": "p", "parameters": ["x": 1]] })
        try expectSame(watson, #"{"input":"q","project_id":"p","parameters":{"x":1}}"#)
    }

    @Test func settingsThatTheUpstreamLacksAreTheRoutesOwnFault() {
        let body = #"{"prompt":"q"}"#
        let seed = rules { $0.overrides = ["seed": 1] }
        #expect(unsupported(body, .prompt, .anthropicMessages, seed) == ["overrides.seed"])
        let own = #"{"max_tokens":1,"messages":[{"role":"user","content":"q"}]}"#
        #expect(unsupported(own, .anthropic, .anthropicMessages, seed) == ["overrides.seed"])
    }

    @Test func toolsOfARouteAreInOpenAIsWordsOrTheUpstreams() throws {
        let openAI = rules {
            $0.overrides = JSONValue.parse(
                #"{"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"none"}"#)
        }
        let own = rules { $0.overrides = JSONValue.parse(#"{"tools":[{"type":"web_search_20250305","name":"w"}]}"#) }
        let body = #"{"max_tokens":1,"messages":[{"role":"user","content":"q"}]}"#
        for format in [RequestFormat.anthropic, .openAIChat] {
            let first = try sent(body, format, .anthropicMessages, openAI)
            try expectSame(
                try #require(first["tools"]), #"[{"name":"f","input_schema":{"type":"object","properties":{}}}]"#)
            #expect(first["tool_choice"] == (try Document(#"{"type":"none"}"#)))
            try expectSame(
                try #require(try sent(body, format, .anthropicMessages, own)["tools"]),
                #"[{"type":"web_search_20250305","name":"w"}]"#)
        }
    }

    @Test func anthropicIsGivenALimit() throws {
        let found = try sent(#"{"messages":[]}"#, .anthropic, .anthropicMessages)
        #expect(found["max_tokens"]?.description == "4096")
        let thinking = rules { $0.overrides = ["reasoning_effort": "low"] }
        try expectSame(
            try sent(#"{"messages":[],"temperature":0.5}"#, .anthropic, .anthropicMessages, thinking),
            #"{"messages":[],"thinking":{"type":"enabled","budget_tokens":2048},"max_tokens":6144}"#)
    }

    @Test func whatPassesIsUntouched() throws {
        let bytes = Array("\u{0}any\r\nbytes {".utf8)
        let found = try RequestTranslator.translate(bytes, from: .passthrough, to: .openAIChat, both(), .init())
        #expect(found.body == bytes)
    }
}
