import SluiceBytes
import SluiceStreams
import Testing

/// What hosts do to OpenAI's format that no recording shows alone.
@Suite struct OpenAIChatDialectTests {
    private func read(_ events: String...) throws -> (seen: Transcript, progress: StreamProgress) {
        let wire = events.map { "data: \($0)\n\n" }.joined()
        return try Transcript.of(StreamDecoders.make(.openAIChat, eventBytes: 1 << 16), wire)
    }

    private func delta(_ members: String, choice: Int = 0, more: String = "") -> String {
        #"{"id":"c","model":"m","created":5,"choices":[{"index":\#(choice),"delta":{\#(members)}\#(more)}]}"#
    }

    private func finish(_ reason: String = "stop", choice: Int = 0) -> String {
        delta("", choice: choice, more: #","finish_reason":"\#(reason)""#)
    }

    @Test func choicesAndDeltasMayBeMissingNullOrEmpty() throws {
        let (seen, progress) = try read(
            #"{"id":"c"}"#, #"{"id":"c","choices":null}"#, #"{"id":"c","choices":[]}"#, #"{"choices":[null,1,"x"]}"#,
            #"{"choices":[{"index":0}]}"#, #"{"choices":[{"index":0,"delta":null,"finish_reason":null}]}"#,
            delta(#""content":null,"tool_calls":null,"function_call":null,"refusal":null,"reasoning":null"#),
            #"{"choices":[{"delta":{"content":"hi"}}]}"#)
        #expect(seen.lines == ["start c  -1", "text 0 hi"])
        #expect(progress.eventCount == 8 && !progress.isComplete)
    }

    @Test func theStartWaitsForAnIDWhileThereIsNothingToSay() throws {
        let (seen, _) = try read(
            #"{"id":"","model":"","choices":[],"prompt_filter_results":[]}"#, delta(#""content":"x""#))
        #expect(seen.lines == ["start c m 5", "text 0 x"])
    }

    @Test(arguments: [
        ("0", -1), ("1700000000", 1_700_000_000), ("1700000000123", 1_700_000_000), ("17.9", 17), ("null", -1),
    ])
    func timesComeInManyUnits(text: String, seconds: Int) throws {
        let (seen, _) = try read(#"{"id":"c","model":"m","created":\#(text),"choices":[]}"#)
        #expect(seen.lines == ["start c m \(seconds)"])
    }

    @Test func keysComeInAnyOrder() throws {
        let (seen, _) = try read(
            #"{"choices":[{"finish_reason":"stop","delta":{"content":"x","role":"assistant"},"index":1}],"id":"c"}"#)
        #expect(seen.lines == ["start c  -1", "text 1 x", "finish 1 stop stop"])
    }

    @Test func contentMayBeAnArray() throws {
        let thinking = #"{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}"#
        let (seen, _) = try read(delta(#""content":[\#(thinking),{"type":"text","text":"a"},7,{"type":"x","y":[1]}]"#))
        #expect(seen.reasoning[0] == "hm" && seen.text[0] == "a")
    }

    @Test func reasoningTwinsCountOnce() throws {
        let details =
            #""reasoning_details":[{"type":"reasoning.text","text":"t"},{"type":"reasoning.encrypted","data":"z"}]"#
        #expect(try read(delta(#""reasoning":"t",\#(details)"#)).seen.reasoning[0] == "t")
        #expect(try read(delta(#""reasoning":"t","reasoning_content":"t""#)).seen.reasoning[0] == "t")
        #expect(try read(delta(#""reasoning":"",\#(details)"#)).seen.reasoning[0] == "t")
    }

    // MARK: - Tool calls

    @Test func callsMergeByIndex() throws {
        let (seen, _) = try read(
            delta(#""tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":""}}]"#),
            delta(
                #""tool_calls":[{"index":0,"id":"a","function":{"name":"f"}},{"index":1,"function":{"arguments":"{}"}}]"#
            ),
            delta(#""tool_calls":[{"index":0,"id":"","function":{"name":"f","arguments":"{\"a\""}}]"#),
            delta(#""tool_calls":[{"index":0,"id":"a","function":{"arguments":":1}"}}]"#), finish("stop"))
        #expect(
            seen.calls[0] == [
                .init(id: "b", name: "g", arguments: "{}", hasEnded: true),
                .init(id: "a", name: "f", arguments: #"{"a":1}"#, hasEnded: true),
            ])
        #expect(seen.reasons[0] == .toolCalls && seen.words[0] == "stop")
    }

    @Test func callsWithoutIndexGoByID() throws {
        let (seen, _) = try read(
            delta(#""tool_calls":[{"id":"a","function":{"name":"f","arguments":"1"}}]"#),
            delta(#""tool_calls":[{"function":{"arguments":"2"}}]"#),
            delta(#""tool_calls":[{"id":"b","function":{"name":"f","arguments":{"x":[9007199254740993]}}}]"#),
            delta(#""tool_calls":[{"id":"a","function":{"arguments":"3"}}]"#))
        #expect(seen.calls[0]?.map(\.arguments) == ["123", #"{"x":[9007199254740993]}"#])
    }

    @Test func aNameMayComeBehindTheID() throws {
        let (seen, _) = try read(
            delta(#""tool_calls":[{"index":0,"id":"a"}]"#),
            delta(#""tool_calls":[{"index":0,"function":{"name":"f","arguments":null}}]"#), finish("tool_calls"))
        #expect(seen.calls[0] == [.init(id: "a", name: "f", arguments: "", hasEnded: true)])
    }

    @Test func theOldFunctionCallIsACall() throws {
        let (seen, _) = try read(
            delta(#""function_call":{"name":"f","arguments":""}"#), delta(#""function_call":{"arguments":"{}"}"#),
            finish("function_call"))
        #expect(seen.calls[0] == [.init(id: "", name: "f", arguments: "{}", hasEnded: true)])
        #expect(seen.reasons[0] == .toolCalls)
    }

    // MARK: - Split characters

    @Test func halvesWaitForEachTextOfEachChoice() throws {
        let high = #"\ud83d"#
        let (seen, _) = try read(
            delta(#""content":"\#(high)","reasoning":"\#(high)","refusal":"\#(high)""#),
            delta(#""content":"\#(high)""#, choice: 1), finish(choice: 2),
            delta(#""content":"\ude00""#, choice: 1), delta(#""refusal":"\ude02","reasoning":"\ude01""#), finish())
        #expect(seen.text == [0: "\u{FFFD}", 1: "😀"])
        #expect(seen.reasoning[0] == "😁" && seen.refusal[0] == "😂")
    }

    @Test func aHalfThatNothingCompletesIsReplacedAtTheEnd() throws {
        for tail in ["[DONE]", #"{"choices":[]}"#] {
            #expect(try read(delta(#""content":"a\ud83d""#), tail).seen.text[0] == "a\u{FFFD}")
        }
        let (seen, _) = try read(
            delta(#""tool_calls":[{"index":0,"function":{"name":"f","arguments":"\"\ud83d"}}]"#), finish())
        #expect(seen.calls[0]?.first?.arguments == "\"\u{FFFD}")
    }

    // MARK: - Usage, errors, endings

    @Test func usageIsToldWhenItChanges() throws {
        func usage(_ text: String) -> String { #"{"id":"c","choices":[],"usage":\#(text)}"# }
        let (seen, _) = try read(
            usage(#"{"prompt_tokens":3,"completion_tokens":1}"#), usage(#"{"prompt_tokens":3,"completion_tokens":1}"#),
            usage("null"),
            usage(#"{"prompt_tokens":3,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1}}"#),
            usage(#"{"prompt_tokens":null,"completion_tokens":2}"#), usage("{}"))
        #expect(seen.lines.count { $0.hasPrefix("usage") } == 2)
        #expect(seen.usage == Usage(input: 3, output: 2, cached: 1))
        let inChoice = try read(delta("", more: #","usage":{"completion_tokens":4}"#))
        #expect(inChoice.seen.usage == Usage(output: 4))
    }

    @Test func errorsAreFoundWhereverTheyStand() throws {
        let wire = [
            "data: {\"error\":{\"message\":\"m\",\"code\":429}}\n\n",
            "event: error\ndata: {\"message\":\"m\",\"code\":\"429\"}\n\n",
            "data: {\"choices\":[],\"x_groq\":{\"error\":\"m\"}}\n\n", "data: {\"error\":\"m\"}\n\n",
            "event: error\ndata: m\n\n",
            "data: {\"error\":{\"message\":\"m\",\"type\":\"overloaded_error\"}}\n\ndata: [DONE]\n\n",
        ]
        for text in wire {
            let (seen, progress) = try Transcript.of(StreamDecoders.make(.openAIChat, eventBytes: 1 << 16), text)
            #expect(seen.errors == ["m"], "\(text)")
            #expect(progress.sawError && !progress.isComplete)
        }
        for empty in [#"{"id":"c","error":null}"#, #"{"id":"c","error":""}"#] {
            #expect(try read(empty).seen.errors.isEmpty)
        }
    }

    @Test func aFinishForAnErrorIsAnError() throws {
        let (seen, progress) = try read(delta(#""content":"x""#), finish("error"), "[DONE]")
        #expect(seen.errors.count == 1 && !progress.isComplete)
        let both = try read(#"{"id":"c","error":{"message":"m"},"choices":[{"index":0,"finish_reason":"error"}]}"#)
        #expect(both.seen.errors == ["m"])
    }

    @Test(arguments: [
        ("stop", FinishReason.stop), ("length", .length), ("model_length", .length), ("tool_calls", .toolCalls),
        ("function_call", .toolCalls), ("content_filter", .contentFilter), ("eos_token", .stop), ("weird", .other),
    ])
    func reasonsMap(word: String, reason: FinishReason) throws {
        let (seen, progress) = try read(delta(#""content":"x""#), finish(word), finish("length"))
        #expect(seen.reasons[0] == reason && seen.words[0] == word && progress.isComplete)
    }

    @Test func everyChoiceThatBeganMustFinish() throws {
        #expect(try !read(finish(choice: 0), delta(#""content":"x""#, choice: 1)).progress.isComplete)
        #expect(try read(finish(choice: 0), finish(choice: 1)).progress.isComplete)
        #expect(try read(delta(#""content":"x""#), "[DONE]").progress.isComplete)
        #expect(try !read(delta(#""content":"x""#)).progress.isComplete)
    }

    @Test func aLastEventWithoutBlankLineCountsIfItIsWhole() throws {
        let whole = "data: " + finish()
        for count in 0...whole.utf8.count {
            let bytes = Array(whole.utf8.prefix(count))
            let (_, progress) = try Transcript.of(StreamDecoders.make(.openAIChat, eventBytes: 1 << 16), [bytes])
            #expect(progress.isComplete == (count == whole.utf8.count), "\(count) bytes")
        }
        let (_, progress) = try Transcript.of(StreamDecoders.make(.openAIChat, eventBytes: 1 << 16), "data: [DONE]")
        #expect(progress.sawEnd)
    }

    @Test func commentsAreTheProvidersKeepalive() throws {
        let (seen, progress) = try Transcript.of(
            StreamDecoders.make(.openAIChat, eventBytes: 1 << 16),
            ": OPENROUTER PROCESSING\n\n: keep-alive\n\ndata: {}\n\n")
        #expect(seen.pings == 2 && progress.eventCount == 1)
    }

    @Test(arguments: [
        "data: nonsense\n\n", "data: [1]\n\n", "data: {\"choices\":[}\n\n", "data: {} {}\n\n", "data: {\"a\":\n\n",
    ])
    func whatIsNotAChunkIsMalformed(text: String) throws {
        let wire = "data: {}\n\n" + text
        for cut in 0...wire.utf8.count {
            let pieces = [Array(wire.utf8.prefix(cut)), Array(wire.utf8.dropFirst(cut))]
            #expect(throws: StreamError.malformed("an event is not a JSON object", offset: 10)) {
                try Transcript.of(StreamDecoders.make(.openAIChat, eventBytes: 1 << 16), pieces)
            }
        }
    }

    @Test func choicesAndCallsAreBounded() {
        let choices = (0..<129).map { #"{"index":\#($0)}"# }.joined(separator: ",")
        #expect(throws: StreamError.self) { try read(#"{"choices":[\#(choices)]}"#) }
        let calls = (0..<1025).map { #"{"index":\#($0),"id":"x"}"# }.joined(separator: ",")
        #expect(throws: StreamError.self) { try read(delta(#""tool_calls":[\#(calls)]"#)) }
    }

    /// Encoders look for a call among all that are open.
    @Test func callsOfAllChoicesAreBoundedTogether() throws {
        func chunk(_ count: Int) -> String {
            let calls = (0..<count).map { #"{"index":\#($0),"id":"x","function":{"name":"f"}}"# }.joined(separator: ",")
            let choices = (0..<2).map { #"{"index":\#($0),"delta":{"tool_calls":[\#(calls)]}}"# }
            return #"{"choices":[\#(choices.joined(separator: ","))]}"#
        }
        _ = try read(chunk(512))
        #expect(throws: StreamError.self) { try read(chunk(513)) }
    }
}
