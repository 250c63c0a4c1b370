import SluiceBytes
import SluiceStreams
import Testing

/// What no recording of OpenAI's Responses shows.
@Suite struct OpenAIResponsesDialectTests {
    private func read(_ events: String...) throws -> (seen: Transcript, progress: StreamProgress) {
        let wire = events.map { "data: \($0)\n\n" }.joined()
        return try Telling.of(StreamDecoders.make(.openAIResponses, eventBytes: 1 << 20), wire)
    }

    private func document(_ text: String) throws -> (seen: Transcript, progress: StreamProgress) {
        let decoder = try #require(StreamDecoders.makeDocument(.openAIResponses, eventBytes: 1 << 16))
        return try Telling.of(decoder, text)
    }

    private let created =
        #"{"type":"response.created","response":{"id":"r","model":"g","created_at":17.5,"error":null}}"#

    private func event(_ kind: String, _ members: String, output: Int = 0, content: Int = 0) -> String {
        #"{"type":"response.\#(kind)","output_index":\#(output),"content_index":\#(content),\#(members)}"#
    }

    private func text(_ delta: String, output: Int = 0, content: Int = 0) -> String {
        event("output_text.delta", #""delta":"\#(delta)""#, output: output, content: content)
    }

    private func end(_ kind: String = "completed", _ members: String = #""x":1"#) -> String {
        #"{"type":"response.\#(kind)","response":{"id":"r","status":"\#(kind)",\#(members)}}"#
    }

    private let call = #""type":"function_call","id":"fc","call_id":"c1","name":"f""#

    // MARK: - Text

    @Test func keysComeInAnyOrder() throws {
        let (seen, progress) = try read(
            created, #"{"delta":"a","content_index":0,"output_index":0,"type":"response.output_text.delta"}"#,
            #"{"response":{"usage":{"output_tokens":2},"status":"completed"},"type":"response.completed"}"#)
        #expect(
            seen.lines == [
                "start r g 17", "text 0 a", "finish 0 stop completed", "usage \(Usage(output: 2))", "end",
            ])
        #expect(progress.isComplete)
    }

    @Test func charactersThatTwoDeltasShareAreJoined() throws {
        let (seen, _) = try read(
            created, text(#"a\ud83d"#), text(#"\ude00b"#), event("refusal.delta", #""delta":"\ud83d""#),
            event("reasoning_text.delta", #""delta":"\ud83d""#), event("refusal.delta", #""delta":"\ude00""#), end())
        #expect(seen.text[0] == "a😀b" && seen.refusal[0] == "😀" && seen.reasoning[0] == "\u{FFFD}")
    }

    /// Each of these says again what the one before it said.
    private var wholeTexts: [String] {
        let part = #"{"type":"output_text","text":"whole","annotations":[{"url":"https://x","title":"X"}]}"#
        return [
            event("output_text.done", #""text":"whole""#), event("content_part.done", #""part":\#(part)"#),
            event("output_item.done", #""item":{"type":"message","content":[\#(part)]}"#),
            end("completed", #""output":[{"type":"message","content":[\#(part)]}]"#),
        ]
    }

    @Test func wholeTextsAreToldOnceIfNoDeltasCame() throws {
        for first in wholeTexts.indices {
            let decoder = StreamDecoders.make(.openAIResponses, eventBytes: 1 << 16)
            let wire = ([created] + wholeTexts[first...]).map { "data: \($0)\n\n" }.joined()
            #expect(try Telling.of(decoder, wire).0.text[0] == "whole", "from \(first)")
        }
    }

    @Test func wholeTextsAreNotToldBehindDeltas() throws {
        let wire = ([created, text("wh"), text("ole")] + wholeTexts).map { "data: \($0)\n\n" }.joined()
        let (seen, _) = try Telling.of(StreamDecoders.make(.openAIResponses, eventBytes: 1 << 16), wire)
        #expect(seen.text[0] == "whole" && !seen.lines.contains { $0.hasPrefix("source") })
    }

    @Test func aSecondWholeTextOfTheSamePartIsNotLearntAsADelta() throws {
        let done = event("output_text.done", #""text":"a""#)
        #expect(try read(created, done, done, done).seen.text[0] == "a")
    }

    @Test func partsOfOneItemAreToldApart() throws {
        let refusal = event("content_part.done", #""part":{"type":"refusal","refusal":"r"}"#, content: 2)
        let (seen, _) = try read(
            created, text("a"), event("output_text.done", #""text":"b""#, content: 1), refusal, refusal,
            event("output_text.done", #""text":"c""#, output: 1), text("", output: 2),
            event("output_text.done", #""text":"d""#, output: 2))
        #expect(seen.text[0] == "abcd" && seen.refusal[0] == "r")
    }

    @Test func reasoningOfBothKinds() throws {
        let item =
            #""item":{"type":"reasoning","summary":[{"type":"summary_text","text":"s"}],"content":["#
            + #"{"type":"reasoning_text","text":"t"}]}"#
        #expect(try read(created, event("output_item.done", item)).seen.reasoning[0] == "st")
        let summary =
            #"{"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":1,"delta":"x"}"#
        let whole = #"{"type":"response.reasoning_summary_text.done","output_index":0,"summary_index":1,"text":"x"}"#
        #expect(try read(created, summary, whole, event("output_item.done", item)).seen.reasoning[0] == "x")
        #expect(try read(created, whole, whole).seen.reasoning[0] == "x")
        #expect(try read(created, event("reasoning_text.done", #""text":"y""#)).seen.reasoning[0] == "y")
    }

    // MARK: - Calls

    @Test func argumentsAreToldOnceWhereverTheyStand() throws {
        let added = event("output_item.added", #""item":{\#(call),"arguments":""}"#)
        let full = event("output_item.added", #""item":{\#(call),"arguments":"{}"}"#)
        let delta = event("function_call_arguments.delta", #""delta":"{}""#)
        let done = event("function_call_arguments.done", #""arguments":"{}""#)
        let item = event("output_item.done", #""item":{\#(call),"arguments":"{}"}"#)
        let last = end("completed", #""output":[{\#(call),"arguments":"{}"}]"#)
        let orders = [
            [added, delta, done, item, last], [added, done, item, last], [added, item, last], [item, last], [last],
            [full, delta, done, item], [full, item, last], [full, last], [full, done, last],
        ]
        for (position, events) in orders.enumerated() {
            let wire = ([created] + events + [end()]).map { "data: \($0)\n\n" }.joined()
            let (seen, _) = try Telling.of(StreamDecoders.make(.openAIResponses, eventBytes: 1 << 16), wire)
            let wanted = [Transcript.Call(id: "c1", name: "f", arguments: "{}", hasEnded: true)]
            #expect(seen.calls[0] == wanted && seen.reasons[0] == .toolCalls, "order \(position)")
        }
    }

    @Test func inputsOfCustomToolsArePlainText() throws {
        let item = #""item":{"type":"custom_tool_call","id":"x","call_id":"c2","name":"sql","input":"SELECT \"a\"\n"}"#
        let (seen, _) = try read(created, event("output_item.done", item, output: 3), end())
        #expect(seen.calls[0] == [.init(id: "c2", name: "sql", arguments: "SELECT \"a\"\n", hasEnded: true)])
    }

    @Test func callsThatTheProviderRunsAreNone() throws {
        let mcp = #""item":{"type":"mcp_call","id":"m","name":"f","arguments":"{}"}"#
        let (seen, _) = try read(
            created, event("output_item.added", mcp), event("mcp_call_arguments.delta", #""delta":"{}""#),
            event("function_call_arguments.delta", #""delta":"{}""#), event("output_item.done", mcp), end())
        #expect(seen.calls.isEmpty && seen.reasons[0] == .stop)
        #expect(seen.lines.count { $0 == "unknown" } == 1)
    }

    // MARK: - Endings

    @Test(arguments: [
        ("completed", #""x":1"#, FinishReason.stop), ("cancelled", #""x":1"#, .other),
        ("incomplete", #""incomplete_details":{"reason":"max_output_tokens"}"#, .length),
        ("incomplete", #""incomplete_details":{"a":1,"reason":"content_filter"}"#, .contentFilter),
        ("incomplete", #""incomplete_details":null"#, .length),
    ])
    func reasonsToStop(kind: String, members: String, reason: FinishReason) throws {
        let (seen, progress) = try read(created, text("a"), end(kind, members))
        #expect(seen.reasons[0] == reason && seen.words[0] == kind && seen.lines.last == "end")
        #expect(progress.isComplete)
    }

    @Test func aTerminalEventWithoutAResponseEndsToo() throws {
        let (seen, progress) = try read(created, #"{"type":"response.completed"}"#)
        #expect(seen.lines == ["start r g 17", "finish 0 stop completed", "end"] && progress.isComplete)
    }

    @Test func aFailureIsOneError() throws {
        let error = #""error":{"code":"rate_limit_exceeded","message":"slow down"}"#
        let line = "error rateLimited slow down rate_limit_exceeded"
        let (failed, progress) = try read(created, end("failed", error))
        #expect(failed.lines == ["start r g 17", line, "finish 0 error failed", "end"] && !progress.isComplete)
        let flat = #"{"type":"error","code":"rate_limit_exceeded","message":"slow down","param":null}"#
        #expect(try read(created, flat).seen.lines == ["start r g 17", line])
        #expect(try read(created, flat, end("failed", error)).seen.errors == ["slow down"])
        #expect(try read(created, end("failed", #""error":null"#)).seen.errors.count == 1)
    }

    @Test(arguments: [
        (#"{"type":"insufficient_quota","message":"m"}"#, "error rateLimited m insufficient_quota"),
        (#"{"code":"server_error","message":"m"}"#, "error provider m server_error"),
        (#"{"code":"invalid_prompt","message":"m"}"#, "error invalidRequest m invalid_prompt"),
        (#"{"code":503,"message":"m"}"#, "error overloaded m "),
        (#"{"type":"server_error","code":"rate_limit_exceeded","message":"m"}"#, "error rateLimited m server_error"),
    ])
    func errors(object: String, line: String) throws {
        #expect(try read(created, #"{"type":"error","error":\#(object)}"#).seen.lines.last == line)
        #expect(try read(created, #"{"error":\#(object)}"#).seen.lines.last == line)
        #expect(try document(#"{"error":\#(object)}"#).seen.lines == ["start   -1", line])
    }

    @Test(arguments: ["[1]", "{\"type\":", "{} x", "7", "<html>"])
    func whatIsNoObjectIsMalformed(event: String) { #expect(throws: StreamError.self) { try read(event) } }

    @Test func eventsThatAreNotKnownAreCounted() throws {
        let (seen, progress) = try read(
            created, #"{"type":"response.later","delta":"x"}"#, #"{"type":"later"}"#, #"{"type":"keepalive"}"#, "{}")
        #expect(seen.lines == ["start r g 17", "unknown", "unknown", "ping", "unknown"] && progress.eventCount == 5)
    }

    @Test func partsAreLimited() throws {
        let wire = (0...1024).map { "data: \(text("a", output: $0 / 2, content: $0 % 2))\n\n" }.joined()
        #expect(throws: StreamError.self) {
            try Telling.of(StreamDecoders.make(.openAIResponses, eventBytes: 1 << 16), wire)
        }
    }

    // MARK: - Documents

    @Test func aWholeResponse() throws {
        let (seen, progress) = try document(
            #"""
            {"id":"r","object":"response","created_at":1700000000,"status":"completed","error":null,"model":"g",
             "output":[
              {"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"x"},
              {"type":"web_search_call","id":"w","status":"completed","action":{"query":"q"}},
              {"type":"message","role":"assistant","content":[
                {"type":"output_text","text":"a\nb","annotations":[{"url":"https://x","title":"X"}]},
                {"type":"refusal","refusal":"no"}]},
              {"type":"function_call","id":"fc","call_id":"c","name":"f","arguments":"{\"a\":1}"},
              {"type":"custom_tool_call","id":"ct","call_id":"d","name":"g","input":"raw"}],
             "usage":{"input_tokens":5,"input_tokens_details":{"cached_tokens":1},"output_tokens":4,
                      "output_tokens_details":{"reasoning_tokens":2},"total_tokens":9}}
            """#)
        #expect(
            seen.lines == [
                "start r g 1700000000", "reasoning 0 hm", "text 0 a\nb", "source https://x X", "refusal 0 no",
                "call 0 0 c f", #"arguments 0 0 {"a":1}"#, "call end 0 0", "call 0 1 d g", "arguments 0 1 raw",
                "call end 0 1", "finish 0 toolCalls completed",
                "usage \(Usage(input: 5, output: 4, cached: 1, reasoning: 2))", "end",
            ])
        #expect(progress.isComplete)
    }

    @Test func aFailedResponse() throws {
        let (seen, progress) = try document(
            #"{"id":"r","status":"failed","output":[],"error":{"code":"server_error","message":"m"}}"#)
        #expect(seen.errors == ["m"] && seen.words[0] == "failed" && progress.sawError)
    }

    @Test(arguments: ["{}", "[]", #"{"output":[]}"#, #"{"status":"completed"}"#, #"{"status":"queued","output":[]}"#])
    func whatIsNoResponseIsMalformed(text: String) { #expect(throws: StreamError.self) { try document(text) } }
}
