import SluiceBytes
import SluiceStreams
import Testing

/// What no recording of Anthropic shows.
@Suite struct AnthropicDialectTests {
    private func read(_ events: String...) throws -> (seen: Transcript, progress: StreamProgress) {
        let wire = events.map { "data: \($0)\n\n" }.joined()
        return try Telling.of(StreamDecoders.make(.anthropicMessages, eventBytes: 1 << 16), wire)
    }

    private func document(_ text: String) throws -> (seen: Transcript, progress: StreamProgress) {
        let decoder = try #require(StreamDecoders.makeDocument(.anthropicMessages, eventBytes: 1 << 16))
        return try Telling.of(decoder, text)
    }

    private let start = #"{"type":"message_start","message":{"id":"m","model":"c","usage":{"input_tokens":3}}}"#

    private func delta(_ members: String, _ kind: String, at index: Int = 0) -> String {
        #"{"type":"content_block_delta","index":\#(index),"delta":{"type":"\#(kind)",\#(members)}}"#
    }

    private func block(_ members: String, at index: Int = 0) -> String {
        #"{"type":"content_block_start","index":\#(index),"content_block":{\#(members)}}"#
    }

    private func stop(_ index: Int = 0) -> String { #"{"type":"content_block_stop","index":\#(index)}"# }

    private func finish(_ reason: String) -> String {
        #"{"type":"message_delta","delta":{"stop_reason":"\#(reason)"}}"#
    }

    // MARK: - Streams

    /// Encoders close a call when it ends, and some could not say more of it.
    @Test func nothingIsAddedToACallThatHasEnded() throws {
        let call = block(#""type":"tool_use","id":"t","name":"f","input":{}"#)
        let arguments = delta(#""partial_json":"{}""#, "input_json_delta")
        let (seen, progress) = try read(
            start, call, arguments, stop(), arguments, finish("tool_use"), call, arguments, #"{"type":"message_stop"}"#)
        #expect(seen.calls[0] == [.init(id: "t", name: "f", arguments: "{}", hasEnded: true)])
        #expect(progress.isComplete)
    }

    @Test func keysComeInAnyOrderAndEventsNeedNoName() throws {
        let (seen, progress) = try read(
            #"{"message":{"usage":{"output_tokens":1,"input_tokens":3},"model":"c","id":"m"},"type":"message_start"}"#,
            #"{"delta":{"text":"a","type":"text_delta"},"index":0,"type":"content_block_delta"}"#,
            #"{"usage":{"output_tokens":7},"delta":{"stop_reason":"end_turn"},"type":"message_delta"}"#,
            #"{"type":"message_stop"}"#)
        let lines = seen.lines.filter { !$0.hasPrefix("usage") }
        #expect(lines == ["start m c -1", "text 0 a", "finish 0 stop end_turn", "end"])
        #expect(seen.usage == Usage(input: 3, output: 7) && progress.isComplete)
    }

    @Test func theNameOfTheEventCountsWhereTheDataHasNone() throws {
        let wire = "event: ping\ndata: {}\n\nevent: ping\ndata:\n\nevent: message_stop\ndata: {}\n\n"
        let (seen, _) = try Telling.of(StreamDecoders.make(.anthropicMessages, eventBytes: 1 << 16), wire)
        #expect(seen.lines == ["ping", "ping", "start   -1", "end"])
    }

    @Test func charactersThatTwoDeltasShareAreJoined() throws {
        let (seen, _) = try read(
            start, delta(#""text":"a\ud83d""#, "text_delta"), delta(#""text":"\ude00b""#, "text_delta"),
            delta(#""thinking":"\ud83d""#, "thinking_delta"), delta(#""text":"c\ud83d""#, "text_delta"),
            finish("end_turn"))
        #expect(seen.text[0] == "a😀bc\u{FFFD}" && seen.reasoning[0] == "\u{FFFD}")
    }

    @Test func aBlockMayBeginWithItsText() throws {
        let (seen, _) = try read(
            start, block(#""type":"text","text":"ab""#), delta(#""text":"cd""#, "text_delta"), stop(),
            block(#""type":"thinking","thinking":"x","signature":"s""#, at: 1), stop(1))
        #expect(seen.text[0] == "abcd" && seen.reasoning[0] == "x" && seen.lines.contains("signature 0 s"))
    }

    @Test func argumentsOfTheStartCountOnceAndOnlyWithoutDeltas() throws {
        let tool = #""type":"tool_use","id":"t","name":"f","input":{ "a": [1, "b c"] }"#
        let (whole, _) = try read(start, block(tool), stop())
        #expect(whole.calls[0] == [.init(id: "t", name: "f", arguments: #"{"a":[1,"b c"]}"#, hasEnded: true)])
        let (both, _) = try read(start, block(tool), delta(#""partial_json":"{}""#, "input_json_delta"), stop())
        #expect(both.calls[0]?[0].arguments == "{}")
        let (cut, _) = try read(start, block(tool), finish("tool_use"))
        #expect(cut.calls[0]?[0].arguments == #"{"a":[1,"b c"]}"# && cut.calls[0]?[0].hasEnded == true)
        let (next, _) = try read(
            start, block(tool), block(#""type":"tool_use","id":"u","name":"g","input":{}"#, at: 1), stop(1))
        #expect(next.calls[0]?.map(\.arguments) == [#"{"a":[1,"b c"]}"#, "{}"])
    }

    @Test func whatTheProviderRunsItselfIsNoCall() throws {
        let (seen, _) = try read(
            start, block(#""type":"server_tool_use","id":"s","name":"web_search","input":{}"#),
            delta(#""partial_json":"{}""#, "input_json_delta"), stop(),
            block(#""type":"redacted_thinking","data":"x""#, at: 1), stop(1),
            delta(#""content":"summary""#, "compaction_delta", at: 2), delta(#""text":"no""#, "later_delta", at: 3))
        #expect(seen.calls.isEmpty && seen.text.isEmpty && seen.reasoning.isEmpty)
        #expect(seen.lines.count { $0 == "unknown" } == 4)
    }

    @Test func aMessageStartsOnce() throws {
        #expect(try read(start, start).seen.lines.count == 2)
        let other = #"{"type":"message_start","message":{"id":"n"}}"#
        #expect(throws: StreamError.self) { try read(start, other) }
    }

    @Test func laterCountsReplaceEarlierOnesAndNullReplacesNothing() throws {
        let first =
            #"{"input_tokens":1,"cache_read_input_tokens":10,"cache_creation_input_tokens":100,"output_tokens":1}"#
        let second = #"{"input_tokens":null,"cache_read_input_tokens":20,"output_tokens":9}"#
        let (seen, _) = try read(
            #"{"type":"message_start","message":{"id":"m","usage":\#(first)}}"#,
            #"{"type":"message_delta","delta":{"stop_reason":null},"usage":\#(second)}"#)
        #expect(seen.usage == Usage(input: 121, output: 9, cached: 20) && seen.words.isEmpty)
    }

    @Test(arguments: [
        ("end_turn", FinishReason.stop), ("stop_sequence", .stop), ("pause_turn", .stop), ("tool_use", .toolCalls),
        ("max_tokens", .length), ("model_context_window_exceeded", .length), ("refusal", .contentFilter), ("x", .other),
    ])
    func reasonsToStop(word: String, reason: FinishReason) throws {
        #expect(try read(start, finish(word)).seen.reasons[0] == reason)
    }

    @Test(arguments: [
        (#"{"type":"overloaded_error","message":"m"}"#, "error overloaded m overloaded_error"),
        (#"{"type":"rate_limit_error","message":"m"}"#, "error rateLimited m rate_limit_error"),
        (#"{"type":"invalid_request_error","message":"m"}"#, "error invalidRequest m invalid_request_error"),
        (#"{"type":"api_error","message":"m"}"#, "error provider m api_error"), (#""m""#, "error provider m "),
    ])
    func errors(object: String, line: String) throws {
        let (seen, progress) = try read(start, #"{"type":"error","error":\#(object)}"#)
        #expect(seen.lines.last == line && progress.sawError && !progress.isComplete)
        #expect(try read(#"{"error":\#(object)}"#).seen.lines == ["start   -1", line])
        #expect(try document(#"{"type":"error","error":\#(object)}"#).seen.lines == ["start   -1", line])
    }

    @Test func anErrorEventMayHoldAnything() throws {
        let wire = "event: error\ndata: upstream went away\n\n"
        let (seen, progress) = try Telling.of(StreamDecoders.make(.anthropicMessages, eventBytes: 1 << 16), wire)
        #expect(seen.errors == ["upstream went away"] && progress.sawError)
    }

    @Test(arguments: ["[1]", "{\"type\":", "{\"type\":\"ping\"} x", "7", "<html>", "{\"a\" 1}"])
    func whatIsNoObjectIsMalformed(event: String) {
        #expect(throws: StreamError.self) { try read(event) }
    }

    // MARK: - Documents

    @Test func aWholeMessage() throws {
        let (seen, progress) = try document(
            #"""
            {"id":"m","type":"message","role":"assistant","model":"c","content":[
              {"type":"thinking","thinking":"hm","signature":"s"},
              {"type":"text","text":"a\nb","citations":[{"type":"x","url":"https://x","title":"X"}]},
              {"type":"server_tool_use","id":"s","name":"web_search","input":{}},
              {"type":"tool_use","id":"t","name":"f","input":{"n": 12345678901234567890}}],
             "stop_reason":"tool_use","usage":{"input_tokens":2,"cache_read_input_tokens":3,"output_tokens":4}}
            """#)
        #expect(
            seen.lines == [
                "start m c -1", "reasoning 0 hm", "signature 0 s", "text 0 a\nb", "source https://x X", "unknown",
                "call 0 0 t f", #"arguments 0 0 {"n":12345678901234567890}"#, "call end 0 0",
                "finish 0 toolCalls tool_use", "usage \(Usage(input: 5, output: 4, cached: 3))", "end",
            ])
        #expect(progress.isComplete)
    }

    @Test(arguments: [#"{}"#, "[]", "7", #"{"type":"message"}"#, #"{"content":"x"}"#, "{"])
    func whatIsNoMessageIsMalformed(text: String) { #expect(throws: StreamError.self) { try document(text) } }
}

/// Anthropic's legacy completions.
@Suite struct AnthropicCompletionDialectTests {
    private func read(_ wire: String) throws -> (seen: Transcript, progress: StreamProgress) {
        try Telling.of(StreamDecoders.make(.anthropicCompletion, eventBytes: 1 << 16), wire)
    }

    private func unnamed(_ texts: String..., reason: String = "null") -> String {
        let last = texts.count - 1
        return texts.enumerated()
            .map {
                let reason = $0.offset == last ? reason : "null"
                return "data: {\"completion\": \"\($0.element)\", \"stop_reason\": \(reason), \"model\": \"c\"}\r\n\r\n"
            }
            .joined()
    }

    @Test func eventsWithoutNamesHoldTheWholeText() throws {
        let wire = unnamed("", " a", " a b", " a b", " a b\\nc", " a b\\ncd", " a b\\ncde", reason: "\"stop_sequence\"")
        let (seen, progress) = try read(wire + "data: [DONE]\r\n\r\n")
        #expect(
            seen.lines == [
                "start  c -1", "text 0  a", "text 0  b", "text 0 \nc", "text 0 d", "text 0 e",
                "finish 0 stop stop_sequence", "end",
            ])
        #expect(progress.isComplete && progress.eventCount == 7)
    }

    @Test func charactersCutInTheWholeTextAreJoined() throws {
        let (seen, _) = try read(unnamed("a", "a\\ud83d", "a\\ud83d\\ude00", "a\\ud83d\\ude00b"))
        #expect(seen.text[0] == "a😀b")
    }

    @Test func eventsWithoutNamesMayHoldWhatIsNew() throws {
        let (seen, _) = try read(unnamed(" a", " b", " b", " b", " c", reason: "\"max_tokens\""))
        #expect(seen.text[0] == " a b b b c" && seen.reasons[0] == .length)
    }

    @Test func aWholeTextTakesNothingBack() throws {
        #expect(throws: StreamError.self) { try read(unnamed("a", "ab", "xy")) }
    }

    @Test func eventsWithNamesHoldWhatIsNew() throws {
        let event = "event: completion\ndata: {\"completion\": \"a\", \"stop_reason\": null, \"model\": \"c\"}\n\n"
        #expect(try read(event + event + event + event).seen.text[0] == "aaaa")
    }

    @Test func pingsAndErrors() throws {
        #expect(try read("data: {\"type\":\"ping\"}\n\nevent: ping\ndata:\n\n").seen.lines == ["ping", "ping"])
        let (seen, progress) = try read("event: error\ndata: {\"type\":\"rate_limit_error\",\"message\":\"m\"}\n\n")
        #expect(seen.lines.last == "error rateLimited m rate_limit_error" && progress.sawError)
        #expect(try read("data: {\"later\":1}\n\n").seen.lines == ["unknown"])
        #expect(throws: StreamError.self) { try read("data: x\n\n") }
    }

    @Test func documents() throws {
        func document(_ text: String) throws -> [String] {
            let decoder = try #require(StreamDecoders.makeDocument(.anthropicCompletion, eventBytes: 1 << 16))
            return try Telling.of(decoder, text).0.lines
        }
        let whole = #"{"id":"i","type":"completion","completion":" Hi","stop_reason":"stop_sequence","model":"c"}"#
        #expect(try document(whole) == ["start i c -1", "text 0  Hi", "finish 0 stop stop_sequence", "end"])
        #expect(try document(#"{"error":{"type":"api_error","message":"m"}}"#).last == "error provider m api_error")
        #expect(throws: StreamError.self) { try document("{}") }
    }
}
