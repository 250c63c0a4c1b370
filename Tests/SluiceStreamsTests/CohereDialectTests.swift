import SluiceBytes
import SluiceStreams
import Testing

/// What no recording of Cohere's v1 shows.
@Suite struct CohereV1DialectTests {
    private func read(_ lines: String...) throws -> (seen: Transcript, progress: StreamProgress) {
        let wire = lines.map { $0 + "\n" }.joined()
        return try Telling.of(StreamDecoders.make(.cohereV1, eventBytes: 1 << 16), wire)
    }

    private func document(_ text: String) throws -> [String] {
        let decoder = try #require(StreamDecoders.makeDocument(.cohereV1, eventBytes: 1 << 16))
        return try Telling.of(decoder, text).0.lines
    }

    private let start = #"{"is_finished":false,"event_type":"stream-start","generation_id":"g"}"#

    private func text(_ text: String) -> String {
        #"{"is_finished":false,"event_type":"text-generation","text":"\#(text)"}"#
    }

    private func end(_ reason: String, _ response: String = "{}") -> String {
        #"{"is_finished":true,"event_type":"stream-end","finish_reason":"\#(reason)","response":\#(response)}"#
    }

    @Test func keysComeInAnyOrder() throws {
        let (seen, progress) = try read(
            start, #"{"text":"a","event_type":"text-generation","is_finished":false}"#,
            #"{"response":{"text":"a"},"finish_reason":"COMPLETE","event_type":"stream-end","is_finished":true}"#)
        #expect(seen.lines == ["start g  -1", "text 0 a", "finish 0 stop COMPLETE", "end"] && progress.isComplete)
    }

    @Test func charactersThatTwoLinesShareAreJoined() throws {
        #expect(
            try read(start, text(#"a\ud83d"#), text(#"\ude00"#), text(#"\ud83d"#), end("COMPLETE")).seen.text[0]
                == "a😀\u{FFFD}")
    }

    @Test func callsInFragmentsAreNotToldAgain() throws {
        func chunk(_ members: String) -> String {
            #"{"is_finished":false,"event_type":"tool-calls-chunk","tool_call_delta":{\#(members)}}"#
        }
        let calls = #"[{"name":"f","parameters":{"a":1}},{"name":"h","parameters":{"b": 2}}]"#
        let (seen, _) = try read(
            start, #"{"is_finished":false,"event_type":"tool-calls-chunk","text":"I will"}"#,
            chunk(#""index":0,"name":"f""#), chunk(#""index":0,"parameters":"{\"a\"""#),
            chunk(#""index":0,"parameters":":1}""#),
            #"{"is_finished":false,"event_type":"tool-calls-generation","text":"I will","tool_calls":\#(calls)}"#,
            end("COMPLETE", #"{"text":"I will","tool_calls":\#(calls)}"#))
        #expect(
            seen.calls[0] == [
                .init(name: "f", arguments: #"{"a":1}"#, hasEnded: true),
                .init(name: "h", arguments: #"{"b":2}"#, hasEnded: true),
            ])
        #expect(seen.text.isEmpty && seen.reasons[0] == .toolCalls)
    }

    @Test func theLastLineIsNewsOnlyIfNothingCameBeforeIt() throws {
        let response =
            #"{"text":"whole","tool_calls":[{"name":"f","parameters":{}}],"meta":{"tokens":{"input_tokens":4}}}"#
        let (alone, _) = try read(start, end("COMPLETE", response))
        #expect(alone.text[0] == "whole" && alone.calls[0]?.map(\.name) == ["f"] && alone.usage == Usage(input: 4))
        #expect(try read(start, text("a"), end("COMPLETE", response)).seen.text[0] == "a")
        let generations = #"{"id":"i","generations":[{"text":"x","finish_reason":"MAX_TOKENS"}]}"#
        let (generated, _) = try read(#"{"is_finished":true,"finish_reason":"COMPLETE","response":\#(generations)}"#)
        #expect(generated.lines == ["start i  -1", "text 0 x", "finish 0 length MAX_TOKENS", "end"])
    }

    @Test func severalGenerations() throws {
        let generations = #"[{"index":1,"finish_reason":"MAX_TOKENS"},{"index":0,"finish_reason":"COMPLETE"}]"#
        let (seen, progress) = try read(
            #"{"text":"a","index":0,"is_finished":false}"#, #"{"text":"b","index":1,"is_finished":false}"#,
            #"{"index":0,"text":"c","is_finished":false}"#,
            #"{"is_finished":true,"finish_reason":"COMPLETE","response":{"generations":\#(generations)}}"#)
        #expect(seen.text == [0: "ac", 1: "b"] && seen.reasons == [0: .stop, 1: .length] && progress.isComplete)
    }

    @Test func choicesMayEndOneByOne() throws {
        let first = #"{"index":0,"is_finished":true,"finish_reason":"COMPLETE"}"#
        let (half, progress) = try read(
            #"{"text":"a","index":0,"is_finished":false}"#, #"{"text":"b","index":1,"is_finished":false}"#, first)
        #expect(half.reasons == [0: .stop] && !progress.isComplete)
    }

    @Test func searchResultsAreSources() throws {
        let results =
            #"{"event_type":"search-results","documents":[{"id":"d","url":"https://x","title":"X"},{"id":"e"}]}"#
        let (seen, _) = try read(start, #"{"event_type":"citation-generation","citations":[{"text":"a"}]}"#, results)
        #expect(seen.lines == ["start g  -1", "unknown", "source https://x X"])
    }

    @Test(arguments: [
        ("COMPLETE", FinishReason.stop), ("STOP_SEQUENCE", .stop), ("MAX_TOKENS", .length), ("ERROR_LIMIT", .length),
        ("ERROR_TOXIC", .contentFilter), ("ERROR", .error), ("TIMEOUT", .error), ("USER_CANCEL", .other), ("x", .other),
    ])
    func reasonsToStop(word: String, reason: FinishReason) throws {
        let (seen, progress) = try read(start, text("a"), end(word))
        #expect(seen.reasons[0] == reason && seen.words[0] == word && seen.ends == 1)
        #expect(progress.sawError == (reason == .error) && seen.errors.count == (reason == .error ? 1 : 0))
    }

    @Test func errors() throws {
        let failure = #"{"is_finished":true,"event_type":"stream-error","finish_reason":"ERROR","err":"no GPU"}"#
        let (seen, progress) = try read(start, text("a"), failure)
        #expect(seen.errors == ["no GPU"] && progress.sawError && seen.words[0] == "ERROR")
        #expect(try read(#"{"message":"too many tokens"}"#).seen.errors == ["too many tokens"])
        #expect(throws: StreamError.self) { try read("<html>") }
        #expect(throws: StreamError.self) { try read("{\"text\":") }
        #expect(throws: StreamError.self) { try read("[1]") }
    }

    @Test func documents() throws {
        let chat =
            #"{"text":"a","generation_id":"g","finish_reason":"COMPLETE","tool_calls":[{"name":"f","#
            + #""parameters":{"b": 1}}],"meta":{"billed_units":{"input_tokens":1,"output_tokens":2},"#
            + #""tokens":{"input_tokens":60}}}"#
        #expect(
            try document(chat) == [
                "start g  -1", "text 0 a", "call 0 0  f", #"arguments 0 0 {"b":1}"#, "call end 0 0",
                "finish 0 toolCalls COMPLETE", "usage \(Usage(input: 1, output: 2))", "end",
            ])
        let generate =
            #"{"id":"i","generations":[{"text":"a","finish_reason":"COMPLETE"},"#
            + #"{"text":"b","finish_reason":"MAX_TOKENS"}]}"#
        #expect(
            try document(generate) == [
                "start i  -1", "text 0 a", "finish 0 stop COMPLETE", "text 1 b", "finish 1 length MAX_TOKENS", "end",
            ])
        #expect(try document(#"{"message":"invalid api token"}"#).last == "error provider invalid api token ")
        #expect(throws: StreamError.self) { try document("{}") }
    }
}

/// What no recording of Cohere's v2 shows.
@Suite struct CohereV2DialectTests {
    private func read(_ events: String...) throws -> (seen: Transcript, progress: StreamProgress) {
        let wire = events.map { "data: \($0)\n\n" }.joined()
        return try Telling.of(StreamDecoders.make(.cohereV2, eventBytes: 1 << 16), wire)
    }

    private func document(_ text: String) throws -> [String] {
        let decoder = try #require(StreamDecoders.makeDocument(.cohereV2, eventBytes: 1 << 16))
        return try Telling.of(decoder, text).0.lines
    }

    private let start = #"{"id":"m","type":"message-start","delta":{"message":{"role":"assistant","content":[]}}}"#

    private func message(_ kind: String, _ members: String, index: Int = 0) -> String {
        #"{"type":"\#(kind)","index":\#(index),"delta":{"message":{\#(members)}}}"#
    }

    private func text(_ text: String) -> String { message("content-delta", #""content":{"text":"\#(text)"}"#) }

    private func end(_ reason: String, _ members: String = "") -> String {
        #"{"type":"message-end","delta":{"finish_reason":"\#(reason)"\#(members)}}"#
    }

    @Test func keysComeInAnyOrder() throws {
        let (seen, progress) = try read(
            #"{"type":"message-start","id":"m"}"#,
            #"{"delta":{"message":{"content":{"text":"a"}}},"index":0,"type":"content-delta"}"#,
            #"{"delta":{"usage":{"tokens":{"output_tokens":2,"input_tokens":1}},"finish_reason":"COMPLETE"},"#
                + #""type":"message-end"}"#,
            "[DONE]")
        #expect(
            seen.lines == [
                "start m  -1", "text 0 a", "finish 0 stop COMPLETE", "usage \(Usage(input: 1, output: 2))", "end",
            ])
        #expect(progress.isComplete && progress.eventCount == 3)
    }

    @Test func charactersThatTwoDeltasShareAreJoined() throws {
        let (seen, _) = try read(start, text(#"a\ud83d"#), text(#"\ude00"#), text(#"\ud83d"#), end("COMPLETE"))
        #expect(seen.text[0] == "a😀\u{FFFD}")
    }

    @Test func contentMayBeginWithItsText() throws {
        let (seen, _) = try read(
            start, message("content-start", #""content":{"type":"thinking","thinking":"h"}"#),
            message("content-delta", #""content":{"thinking":"m"}"#),
            message("content-start", #""content":{"type":"text","text":"a"}"#, index: 1), text("b"),
            message("tool-plan-delta", #""tool_plan":"p""#))
        #expect(seen.reasoning[0] == "hm" && seen.text[0] == "ab" && seen.lines.last == "unknown")
    }

    @Test func callsMayInterleave() throws {
        func call(_ kind: String, _ members: String, _ index: Int) -> String {
            message(kind, #""tool_calls":{\#(members)}"#, index: index)
        }
        let (seen, _) = try read(
            start, call("tool-call-start", #""id":"a","function":{"name":"f","arguments":"{"}"#, 0),
            call("tool-call-start", #""function":{"arguments":"","name":"g"},"id":"b""#, 1),
            call("tool-call-delta", #""function":{"arguments":"}"}"#, 0),
            call("tool-call-delta", #""function":{"arguments":"[]"}"#, 1), end("COMPLETE"))
        #expect(
            seen.calls[0] == [
                .init(id: "a", name: "f", arguments: "{}", hasEnded: true),
                .init(id: "b", name: "g", arguments: "[]", hasEnded: true),
            ])
        #expect(seen.reasons[0] == .toolCalls)
    }

    @Test func citationsOfTheWebAreSources() throws {
        let sources =
            #"[{"type":"tool","tool_output":{"url":"no"}},"#
            + #"{"type":"document","document":{"title":"X","url":"https://x"}},7]"#
        let (seen, _) = try read(start, message("citation-start", #""citations":{"start":0,"sources":\#(sources)}"#))
        #expect(seen.lines == ["start m  -1", "source https://x X"])
    }

    @Test(arguments: [
        ("COMPLETE", FinishReason.stop), ("STOP_SEQUENCE", .stop), ("MAX_TOKENS", .length), ("TOOL_CALL", .toolCalls),
        ("ERROR", .error), ("TIMEOUT", .error), ("x", .other),
    ])
    func reasonsToStop(word: String, reason: FinishReason) throws {
        let (seen, progress) = try read(start, text("a"), end(word))
        #expect(seen.reasons[0] == reason && seen.words[0] == word && seen.lines.last == "end")
        #expect(progress.isComplete == (reason != .error) && seen.errors.count == (reason == .error ? 1 : 0))
    }

    @Test func errors() throws {
        let (seen, progress) = try read(start, end("ERROR", #","error":"m","error_type":"invalid_tool""#))
        #expect(
            seen.lines == ["start m  -1", "error invalidRequest m invalid_tool", "finish 0 error ERROR", "end"])
        #expect(!progress.isComplete)
        #expect(try read(start, #"{"id":"x","message":"too many tokens"}"#).seen.errors == ["too many tokens"])
        #expect(try read(start, #"{"error":{"code":429,"message":"m"}}"#).seen.lines.last == "error rateLimited m ")
        #expect(throws: StreamError.self) { try read("<html>") }
    }

    @Test func documents() throws {
        let whole = #"""
            {"id":"m","finish_reason":"TOOL_CALL","message":{"role":"assistant","tool_plan":"p","content":[
              {"type":"thinking","thinking":"h"},{"type":"text","text":"a"}],
             "tool_calls":[{"id":"t","type":"function","function":{"name":"f","arguments":"{\"b\":1}"}}],
             "citations":[{"sources":[{"type":"document","document":{"url":"https://x"}}]}]},
             "usage":{"billed_units":{"input_tokens":1},"tokens":{"input_tokens":60,"output_tokens":2},
              "cached_tokens":3}}
            """#
        #expect(
            try document(whole) == [
                "start m  -1", "reasoning 0 h", "text 0 a", "source https://x ", "call 0 0 t f",
                #"arguments 0 0 {"b":1}"#, "call end 0 0", "finish 0 toolCalls TOOL_CALL",
                "usage \(Usage(input: 60, output: 2, cached: 3))", "end",
            ])
        #expect(try document(#"{"id":"x","message":"no such model"}"#).last == "error provider no such model ")
        #expect(throws: StreamError.self) { try document("{}") }
    }
}
