import SluiceBytes
import SluiceStreams
import SluiceTesting
import Testing

/// Whole answers as one document: Gemini, Ollama, TGI, llama.cpp, Replicate, watsonx.
@Suite struct AnswerDocumentTests {
    private func read(_ dialect: Dialect, _ document: String) throws -> (seen: Transcript, progress: StreamProgress) {
        let decoder = try #require(StreamDecoders.makeDocument(dialect, eventBytes: 1 << 16))
        return try Transcript.of(decoder, Cutter.pieces(Array(document.utf8), of: 7))
    }

    private static let gemini =
        #"{ "candidates": [ { "content": { "parts": [ { "text": "a" } ] }, "finishReason": "STOP" } ], "#
        + #""usageMetadata": { "promptTokenCount": 1 }, "modelVersion": "m", "responseId": "r" }"#

    @Test(arguments: [
        (Dialect.gemini, gemini, "r m", "STOP"), (.gemini, "[\(gemini)]", "r m", "STOP"),
        (
            .ollamaChat,
            #"{"model":"m","message":{"content":"a"},"done_reason":"stop","done":true,"prompt_eval_count":1}"#, " m",
            "stop"
        ),
        (
            .ollamaGenerate, #"{"model":"m","response":"a","done_reason":"stop","done":true,"prompt_eval_count":1}"#,
            " m",
            "stop"
        ),
        (
            .tgi, #"[{"generated_text":"a","details":{"finish_reason":"eos_token","input_length":1}}]"#, " ",
            "eos_token"
        ),
        (.tgi, #"{"generated_text":"a","details":{"finish_reason":"eos_token","input_length":1}}"#, " ", "eos_token"),
        (.llamaCPP, #"{"content":"a","stop":true,"stop_type":"eos","model":"m","tokens_evaluated":1}"#, " m", "eos"),
        (
            .replicate,
            #"{"id":"r","model":"m","status":"succeeded","output":"a","error":null,"metrics":{"input_token_count":1}}"#,
            "r m", "succeeded"
        ),
        (
            .watsonx,
            #"{"model_id":"m","results":[{"generated_text":"a","stop_reason":"eos_token","input_token_count":1}]}"#,
            " m", "eos_token"
        ),
    ])
    func anAnswerIsRead(dialect: Dialect, document: String, start: String, word: String) throws {
        let (seen, progress) = try read(dialect, document)
        #expect(
            seen.lines == [
                "start \(start) -1", "text 0 a", "usage \(Usage(input: 1))", "finish 0 stop \(word)", "end",
            ])
        #expect(progress.isComplete && progress.eventCount == 1)
    }

    /// The array that streams is a document as well.
    @Test(arguments: FixtureReader.cases("gemini-array", "json").filter { !$0.hasSuffix(".expected") })
    func geminiArraysAreTheSameInOnePiece(name: String) throws {
        let bytes = try FixtureReader.bytes("gemini-array", name, "json")
        let decoder = try #require(StreamDecoders.makeDocument(.gemini, eventBytes: 1 << 20))
        let (whole, _) = try Transcript.of(decoder, [bytes])
        let (streamed, _) = try Transcript.of(StreamDecoders.make(.gemini, eventBytes: 1 << 20), [bytes])
        #expect(whole.lines.filter { $0 != "end" } == streamed.lines)
        #expect(whole.ends == (streamed.errors.isEmpty ? 1 : 0))
    }

    @Test func callsInDocuments() throws {
        let gemini =
            #"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a": 1}}}]},"finishReason":"STOP"}]}"#
        let ollama =
            #"{"message":{"content":"","tool_calls":[{"function":{"name":"f","arguments":{"a": 1}}}]},"done":true}"#
        for (dialect, document) in [(Dialect.gemini, gemini), (.ollamaChat, ollama)] {
            let (seen, _) = try read(dialect, document)
            #expect(seen.calls[0] == [.init(id: "", name: "f", arguments: #"{"a":1}"#, hasEnded: true)])
            #expect(seen.reasons[0] == .toolCalls)
        }
    }

    @Test func replicateJoinsItsOutput() throws {
        let (seen, _) = try read(.replicate, #"{"status":"succeeded","output":["a\ud83d","\ude00",null," b"]}"#)
        #expect(seen.text[0] == "a😀 b")
        let failed = try read(.replicate, #"{"id":"r","status":"failed","output":null,"error":"no memory"}"#)
        #expect(failed.seen.errors == ["no memory"] && !failed.progress.isComplete && failed.seen.ends == 0)
        let silent = try read(.replicate, #"{"id":"r","status":"failed","output":null,"error":null}"#)
        #expect(silent.seen.errors.count == 1)
        let canceled = try read(.replicate, #"{"id":"r","status":"canceled","output":["a"],"error":null}"#)
        #expect(canceled.seen.reasons[0] == .other)
    }

    @Test(arguments: [Dialect.gemini, .ollamaChat, .ollamaGenerate, .tgi, .llamaCPP, .replicate, .watsonx])
    func errorDocumentsAreErrors(dialect: Dialect) throws {
        for (document, line) in [
            (#"{"error":"m"}"#, "error provider m "),
            (#"{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}"#, "error overloaded m UNAVAILABLE"),
            (#"{"error":{"code":"400","message":"m","type":"t"}}"#, "error invalidRequest m t"),
        ] {
            let (seen, progress) = try read(dialect, document)
            #expect(seen.lines == ["start   -1", line])
            #expect(progress.sawError && !progress.isComplete)
        }
    }

    @Test(arguments: [
        (Dialect.gemini, "[]"), (.gemini, "[1]"), (.ollamaChat, #"{"message":{"content":"a"},"done":false}"#),
        (.ollamaChat, #"{"response":"a","done":true}"#), (.ollamaGenerate, #"{"message":{"content":"a"},"done":true}"#),
        (.tgi, "[]"), (.llamaCPP, #"{"content":"a","stop":false}"#),
        (.replicate, #"{"status":"starting","output":null}"#),
        (.replicate, #"{"output":"a"}"#), (.watsonx, #"{"results":[]}"#),
    ])
    func whatIsNoAnswerIsMalformed(dialect: Dialect, document: String) {
        for other in [document, "{}", "7", #"{"choices":[{"message":{"content":"a"}}]}"#] {
            #expect(throws: StreamError.self, "\(other)") { try read(dialect, other) }
        }
    }
}
