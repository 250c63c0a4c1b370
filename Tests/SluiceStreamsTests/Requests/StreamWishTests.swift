import SluiceStreams
import Testing

/// Whether the client wants a stream, and whether the upstream is asked for one.
@Suite struct StreamWishTests {
    private static let bodies: [RequestFormat: String] = [
        .openAIChat: #"{"messages":[{"role":"user","content":"q"}]}"#, .openAIResponses: #"{"input":"q"}"#,
        .openAICompletions: #"{"prompt":"q"}"#,
        .anthropic: #"{"max_tokens":1,"messages":[{"role":"user","content":"q"}]}"#,
        .gemini: #"{"contents":"q"}"#, .ollamaChat: #"{"messages":[{"role":"user","content":"q"}]}"#,
        .ollamaGenerate: #"{"prompt":"q"}"#, .cohere: #"{"messages":[{"role":"user","content":"q"}]}"#,
        .vercelUI: #"{"messages":[{"role":"user","content":"q"}]}"#,
        .agUI: #"{"messages":[{"role":"user","content":"q"}]}"#, .prompt: #"{"prompt":"q"}"#, .run: #"{"input":"q"}"#,
    ]

    private func wish(_ format: RequestFormat, flag: Bool? = nil, _ hints: RequestHints = .init()) throws -> Bool {
        var body = try #require(Self.bodies[format])
        if let flag { body = "{\"stream\":\(flag)," + body.dropFirst() }
        return try translated(body, format, .tgi, .init(), hints).wantsStream
    }

    @Test func eachFormatHasItsDefault() throws {
        for format in [RequestFormat.openAIChat, .openAIResponses, .openAICompletions, .anthropic, .cohere, .gemini] {
            #expect(try !wish(format), "\(format)")
        }
        for format in [RequestFormat.ollamaChat, .ollamaGenerate, .vercelUI, .agUI, .prompt, .run] {
            #expect(try wish(format), "\(format)")
        }
    }

    @Test func bodyThenTargetThenAcceptDecide() throws {
        let noStream = hints { ($0.streamQuery, $0.accept) = ("false", "text/event-stream") }
        let stream = hints { ($0.streamQuery, $0.accept) = ("1", "application/json") }
        #expect(try !wish(.openAIChat, noStream) && wish(.openAIChat, stream))
        #expect(try wish(.openAIChat, flag: true, noStream) && !wish(.ollamaChat, flag: false, stream))
        #expect(try wish(.openAIChat, hints { $0.accept = "text/event-stream" }))
        #expect(try wish(.anthropic, hints { $0.accept = "application/x-ndjson, */*" }))
        #expect(try !wish(.prompt, hints { $0.accept = "application/json" }))
        #expect(try wish(.prompt, hints { $0.accept = "application/json, */*" }))
        #expect(try wish(.vercelUI, hints { $0.accept = "application/json" }))
        #expect(try !wish(.vercelUI, noStream) && !wish(.agUI, noStream))
        // A field of the application's own.
        #expect(try wish(.vercelUI, flag: false))
    }

    @Test func googlesMethodsDecide() throws {
        func google(_ path: String, alt: String? = nil) throws -> (stream: Bool, array: Bool, model: String) {
            let hints = hints { ($0.path, $0.altQuery) = (path, alt) }
            let found = try translated(#"{"contents":"q"}"#, .gemini, .openAIChat, .init(), hints)
            return (found.wantsStream, found.wantsArray, found.model)
        }
        #expect(try google("/v1beta/models/g-2.0:generateContent") == (false, false, "g-2.0"))
        #expect(try google("/v1beta/models/g:streamGenerateContent") == (true, true, "g"))
        #expect(
            try google("/v1/projects/p/publishers/google/models/g:streamGenerateContent", alt: "sse") == (
                true, false, "g"
            ))
        #expect(try google("/api/models/") == (false, false, ""))
    }

    @Test func documentsOfTheClientsOwnProviderAreAskedFor() throws {
        for (format, dialect) in RelayTests.pairs {
            let document = hints { ($0.path, $0.streamQuery) = ("/models/m:generateContent", "false") }
            let found = try translated(try #require(Self.bodies[format]), format, dialect, .init(), document)
            #expect(!found.asksForStream && !found.wantsStream, "\(format)")
            let body = try Document(found.body)
            let says = format == .ollamaChat || format == .ollamaGenerate
            #expect(body.keys.contains("stream") == says, "\(body)")
        }
        // What comes through another's words is made of a stream.
        let found = try translated(try #require(Self.bodies[.openAIChat]), .openAIChat, .anthropicMessages)
        #expect(found.asksForStream && !found.wantsStream)
        #expect(String(decoding: found.body, as: UTF8.self).contains("\"stream\":true"))
    }

    @Test func flagsStandWhereTheDialectHasThem() throws {
        for dialect in Dialect.allCases where dialect != .raw {
            let body = try sent(#"{"prompt":"q"}"#, .prompt, dialect, rules { $0.model = "m" })
            let has = "\(body)".contains("\"stream\":true")
            let pathSays = [.gemini, .bedrockConverse, .bedrockInvoke, .tgi, .watsonx].contains(dialect)
            #expect(has != pathSays, "\(dialect)")
            let counts = [.openAIChat, .openAICompletions, .auto].contains(dialect)
            #expect((body["stream_options"] != nil) == counts, "\(dialect)")
        }
    }

    @Test func aRouteMayAskForDocuments() throws {
        let rules = rules { $0.overrides = ["stream": false] }
        let found = try translated(
            #"{"messages":[],"stream":true,"stream_options":{"include_usage":true}}"#, .openAIChat, .openAIChat, rules)
        #expect(!found.asksForStream && found.wantsStream && found.includeUsage)
        try expectSame(try Document(found.body), #"{"messages":[],"stream":false}"#)
    }

    @Test func usageIsForThoseWhoAsked() throws {
        let body =
            #"{"messages":[{"role":"user","content":"q"}],"stream":true,"stream_options":{"include_usage":true}}"#
        #expect(try translated(body, .openAIChat, .anthropicMessages).includeUsage)
        #expect(try !translated(try #require(Self.bodies[.openAIChat]), .openAIChat, .anthropicMessages).includeUsage)
    }
}
