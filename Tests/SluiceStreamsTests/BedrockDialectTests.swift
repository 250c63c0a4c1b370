import Foundation
import SluiceBytes
import Testing

@testable import SluiceStreams

/// What no recording shows: other orders, other models, failures.
@Suite struct BedrockDialectTests {
    private func converse(_ frames: [UInt8]...) throws -> (Transcript, StreamProgress) {
        try Transcript.of(StreamDecoders.make(.bedrockConverse, eventBytes: 1 << 20), frames)
    }

    private func invoke(_ events: String...) throws -> (Transcript, StreamProgress) {
        let frames = events.map { json in
            AWSFrames.event("chunk", #"{"p":"abc","bytes":"\#(Data(json.utf8).base64EncodedString())"}"#)
        }
        return try Transcript.of(StreamDecoders.make(.bedrockInvoke, eventBytes: 1 << 20), frames)
    }

    private func document(_ dialect: Dialect, _ json: String) throws -> (Transcript, StreamProgress) {
        let decoder = try #require(StreamDecoders.makeDocument(dialect, eventBytes: 1 << 20))
        return try Transcript.of(decoder, json)
    }

    // MARK: - Converse

    @Test func usageBeforeTheStopEndsTheStreamToo() throws {
        let (seen, progress) = try converse(
            AWSFrames.event("messageStart", #"{"role":"assistant"}"#),
            AWSFrames.event("metadata", #"{"usage":{"inputTokens":3,"outputTokens":4,"totalTokens":7}}"#),
            AWSFrames.event("messageStop", #"{"stopReason":"max_tokens"}"#))
        #expect(seen.lines.suffix(2) == ["finish 0 length max_tokens", "end"])
        #expect(seen.usage == Usage(input: 3, output: 4))
        #expect(progress.isComplete)
    }

    @Test func aStopWithoutUsageIsAnEndingButNoTerminator() throws {
        let (seen, progress) = try converse(AWSFrames.event("messageStop", #"{"stopReason":"end_turn"}"#))
        #expect(seen.ends == 0)
        #expect(progress.isComplete)
    }

    @Test func aCallWithoutArgumentsHasAnEmptyObject() throws {
        let (seen, _) = try converse(
            AWSFrames.event(
                "contentBlockStart", #"{"start":{"toolUse":{"name":"now","toolUseId":"t1"}},"contentBlockIndex":4}"#),
            AWSFrames.event("contentBlockDelta", #"{"delta":{"toolUse":{"input":""}},"contentBlockIndex":4}"#),
            AWSFrames.event("contentBlockStop", #"{"contentBlockIndex":4}"#))
        #expect(seen.calls[0] == [Transcript.Call(id: "t1", name: "now", arguments: "{}", hasEnded: true)])
    }

    @Test func aSurrogateIsJoinedOverTwoEvents() throws {
        let (seen, _) = try converse(
            AWSFrames.event("contentBlockDelta", #"{"delta":{"text":"a\uD83D"},"contentBlockIndex":0}"#),
            AWSFrames.event("contentBlockDelta", #"{"contentBlockIndex":0,"delta":{"text":"\uDE00"}}"#))
        #expect(seen.text[0] == "a😀")
    }

    @Test func citationsOfTheWebAreSources() throws {
        let (seen, _) = try converse(
            AWSFrames.event(
                "contentBlockDelta",
                """
                {"delta":{"citation":{"title":"T","location":{"web":{"url":"https://a.example","domain":"a"}}}},\
                "contentBlockIndex":0}
                """),
            AWSFrames.event(
                "contentBlockDelta", #"{"delta":{"citation":{"title":"T","location":{"documentPage":{"start":1}}}}}"#))
        #expect(seen.lines.filter { $0.hasPrefix("source") } == ["source https://a.example T"])
    }

    @Test func cachedTokensAreAddedWhereTheyStandBeside() throws {
        let beside = #"{"inputTokens":1,"cacheReadInputTokens":20,"cacheWriteInputTokens":300,"outputTokens":4}"#
        let inside = #"{"inputTokens":10,"cacheReadInputTokens":8,"outputTokens":4,"totalTokens":14}"#
        let first = try converse(AWSFrames.event("metadata", #"{"usage":\#(beside)}"#)).0
        let second = try converse(AWSFrames.event("metadata", #"{"usage":\#(inside)}"#)).0
        #expect(first.usage == Usage(input: 321, output: 4, cached: 20))
        #expect(second.usage == Usage(input: 10, output: 4, cached: 8))
    }

    @Test(arguments: [
        ("throttlingException", StreamErrorKind.rateLimited), ("serviceUnavailableException", .overloaded),
        ("modelTimeoutException", .overloaded), ("validationException", .invalidRequest),
        ("internalServerException", .provider), ("modelStreamErrorException", .provider), ("newException", .provider),
    ])
    func exceptionsAreErrors(type: String, kind: StreamErrorKind) throws {
        let frame = AWSFrames.frame(
            [(":message-type", "exception"), (":exception-type", type)], #"{"message":"no \"more\" \n"}"#)
        let (seen, progress) = try converse(frame)
        #expect(seen.lines == ["start   -1", "error \(kind) no \"more\" \n \(type)"])
        #expect(progress.sawError && !progress.isComplete)
    }

    @Test func wordsOfOtherShapesAreToldAsTheyAre() throws {
        let error = AWSFrames.frame(
            [(":message-type", "error"), (":error-code", "InternalError"), (":error-message", #"a \n "b""#)], "")
        #expect(try converse(error).0.lines.last == #"error provider a \n "b" InternalError"#)
        let plain = AWSFrames.frame(
            [(":message-type", "exception"), (":exception-type", "validationException")], "not JSON")
        #expect(try converse(plain).0.lines.last == "error invalidRequest not JSON validationException")
    }

    @Test func anUnknownEventIsPassedOver() throws {
        let (seen, _) = try converse(AWSFrames.event("newEvent", "anything"))
        #expect(seen.lines == ["unknown"])
        let strange = AWSFrames.frame([(":message-type", "news")], "")
        #expect(try converse(strange).0.lines == ["unknown"])
    }

    @Test(arguments: ["", "{", "[]", "1", #"{"delta":{"text":"a}"#, #"{"delta":{"text":"a" "b"}}"#, "{}x"])
    func whatIsNoObjectIsAFault(payload: String) {
        #expect(throws: StreamError.malformed("an event is not a JSON object", offset: 0)) {
            try converse(AWSFrames.event("contentBlockDelta", payload))
        }
    }

    @Test func aFailedFinishIsAnError() throws {
        let (seen, progress) = try converse(AWSFrames.event("messageStop", #"{"stopReason":"malformed_tool_use"}"#))
        #expect(seen.reasons[0] == .error)
        #expect(progress.sawError)
        let (late, _) = try converse(
            AWSFrames.event("metadata", "{}"), AWSFrames.event("messageStop", #"{"stopReason":"malformed_tool_use"}"#))
        #expect(late.lines.map { $0.prefix { $0 != " " } } == ["start", "finish", "error", "end"])
    }

    @Test func aWholeAnswerSaysTheSame() throws {
        let (seen, progress) = try document(
            .bedrockConverse,
            """
            {"output":{"message":{"role":"assistant","content":[
             {"reasoningContent":{"reasoningText":{"text":"Hm","signature":"sig"}}},{"text":"Hi é"},
             {"toolUse":{"toolUseId":"s","name":"own","input":{},"type":"server_tool_use"}},
             {"toolUse":{"toolUseId":"t","name":"f","input":{ "a": [1.50, "x"] }}},
             {"citationsContent":{"content":[{"text":"!"}],"citations":[{"title":"T","location":{"web":{"url":"u"}}}]}}
            ]}},"stopReason":"tool_use","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}
            """)
        #expect(seen.text[0] == "Hi é!")
        #expect(seen.reasoning[0] == "Hm")
        #expect(seen.calls[0] == [Transcript.Call(id: "t", name: "f", arguments: #"{"a":[1.50,"x"]}"#, hasEnded: true)])
        #expect(seen.lines.contains("signature 0 sig") && seen.lines.contains("source u T"))
        #expect(seen.lines.suffix(2) == ["usage \(Usage(input: 1, output: 2))", "end"])
        #expect(seen.words[0] == "tool_use" && progress.isComplete)
        #expect(throws: StreamError.self) { try document(.bedrockConverse, #"{"message":"no"}"#) }
    }

    // MARK: - Invoke

    @Test func mistralHasOutputs() throws {
        let (seen, progress) = try invoke(
            #"{"outputs":[{"text":"Bon","stop_reason":null}]}"#,
            """
            {"outputs":[{"text":"jour","stop_reason":"length"}],
            "amazon-bedrock-invocationMetrics":{"inputTokenCount":5,"outputTokenCount":2}}
            """)
        #expect(seen.text[0] == "Bonjour")
        #expect(seen.lines.suffix(3).first == "finish 0 length length")
        #expect(seen.usage == Usage(input: 5, output: 2) && progress.sawEnd)
    }

    @Test func choicesAreReadWithTheirCalls() throws {
        let (seen, progress) = try invoke(
            #"{"choices":[{"delta":{"role":"assistant","content":""},"index":0}],"id":"c1","model":"qwen"}"#,
            #"{"id":"c1","choices":[{"index":0,"delta":{"reasoning_content":"Hm"}}]}"#,
            """
            {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}},\
            {"index":1,"id":"b","function":{"name":"g","arguments":{"x": 1}}}]}}]}
            """,
            #"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}"#,
            #"{"choices":[{"index":0,"message":{"content":"ok"},"stop_reason":"tool_calls"}]}"#,
            #"{"amazon-bedrock-invocationMetrics":{"inputTokenCount":5,"outputTokenCount":2}}"#)
        #expect(seen.lines.first == "start c1 qwen -1")
        #expect(seen.text[0] == "ok" && seen.reasoning[0] == "Hm")
        #expect(seen.calls[0]?.map(\.arguments) == ["{}", #"{"x":1}"#])
        #expect(seen.reasons[0] == .toolCalls && progress.isComplete && seen.lines.last == "end")
    }

    @Test func llamaCountsWithoutMetrics() throws {
        let (seen, progress) = try invoke(
            #"{"generation":"a","prompt_token_count":9,"generation_token_count":1,"stop_reason":null}"#,
            #"{"generation":"b","prompt_token_count":null,"generation_token_count":2,"stop_reason":"stop"}"#)
        #expect(seen.lines.count { $0.hasPrefix("usage") } == 1)
        #expect(seen.usage == Usage(input: 9, output: 2))
        #expect(progress.isComplete && !progress.sawEnd)
    }

    @Test func bytesThatAreNoneAreAFault() {
        for (payload, words) in [
            ("{}", "a chunk has no bytes"), (#"{"bytes":"?"}"#, "a chunk's bytes are not base64"),
            (#"{"bytes":"W10="}"#, "a chunk is not a JSON object"), ("", "a chunk has no bytes"),
        ] {
            #expect(throws: StreamError.malformed(words, offset: 0)) {
                let decoder = StreamDecoders.make(.bedrockInvoke, eventBytes: 1 << 20)
                _ = try Transcript.of(decoder, [AWSFrames.event("chunk", payload)])
            }
        }
    }

    @Test(arguments: [
        #"{"generation":"Hi","prompt_token_count":1,"generation_token_count":2,"stop_reason":"stop"}"#,
        #"{"inputTextTokenCount":1,"results":[{"tokenCount":2,"outputText":"Hi","completionReason":"FINISH"}]}"#,
        #"{"outputs":[{"text":"Hi","stop_reason":"stop"}]}"#, #"{"completion":"Hi","stop_reason":"stop_sequence"}"#,
        #"{"id":"x","generations":[{"id":"y","text":"Hi","finish_reason":"COMPLETE"}],"prompt":"p"}"#,
        #"{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}"#,
        #"{"output":{"message":{"content":[{"text":"Hi"}]}},"stopReason":"end_turn"}"#,
    ])
    func wholeAnswersOfAllModels(json: String) throws {
        let (seen, progress) = try document(.bedrockInvoke, json)
        #expect(seen.text[0] == "Hi" && seen.reasons[0] == .stop && progress.isComplete)
        if json.contains("oken") { #expect(seen.usage == Usage(input: 1, output: 2)) }
    }

    @Test func otherDocumentsAreNoAnswers() {
        #expect(throws: StreamError.self) { try document(.bedrockInvoke, #"{"message":"no"}"#) }
    }
}
