import Foundation
import SluiceBytes
import SluiceStreams
import SluiceTesting
import Testing

/// Recorded streams of legacy completions.
@Suite struct OpenAICompletionsFixtureTests {
    static let cases = FixtureReader.cases("openai-completions")

    @Test func thereAreCases() { #expect(Self.cases.count > 6) }

    @Test(arguments: cases, [0, 1, 7, 61]) func decodesToWhatIsExpected(name: String, size: Int) throws {
        let bytes = try FixtureReader.bytes("openai-completions", name)
        let expected = try FixtureReader.expected("openai-completions", name)
        let pieces = size == 0 ? [bytes] : Cutter.pieces(bytes, of: size)
        let (seen, progress) = try Transcript.of(
            StreamDecoders.make(.openAICompletions, eventBytes: 1 << 20), pieces)
        #expect(seen.text[0] ?? "" == expected["text"] as? String)
        #expect(seen.words[0] == expected["finish_reason"] as? String)
        #expect(progress.sawEnd == expected["terminated"] as? Bool)
        #expect(progress.eventCount == expected["chunks"] as? Int)
        #expect(progress.isComplete == (seen.words[0] != nil || seen.ends > 0))
        let usage = expected["usage"] as? [String: Any]
        #expect(seen.usage.input == usage?["prompt_tokens"] as? Int)
        #expect(seen.usage.output == usage?["completion_tokens"] as? Int)
    }
}

/// Whole answers in place of streams.
@Suite struct OpenAIDocumentTests {
    private func read(_ text: String, _ dialect: Dialect = .openAIChat) throws -> (Transcript, StreamProgress) {
        let decoder = try #require(StreamDecoders.makeDocument(dialect, eventBytes: 1 << 20))
        return try Transcript.of(decoder, Cutter.pieces(Array(text.utf8), of: 5))
    }

    @Test func aChatCompletion() throws {
        let (seen, progress) = try read(
            #"""
            {"id":"c1","object":"chat.completion","created":7,"model":"m","choices":[
              {"index":0,"message":{"role":"assistant","content":"Hé \"you\"","reasoning_content":"hm","tool_calls":[
                {"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\": 1}"}},
                {"id":"b","type":"function","function":{"name":"g","arguments":""}}]},"finish_reason":"tool_calls"},
              {"index":1,"message":{"role":"assistant","content":null,"refusal":"no"},"finish_reason":"stop"}],
             "usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}
            """#)
        #expect(seen.lines.first == "start c1 m 7")
        #expect(seen.text == [0: "Hé \"you\""] && seen.reasoning == [0: "hm"] && seen.refusal == [1: "no"])
        #expect(seen.calls[0]?.map(\.name) == ["f", "g"] && seen.calls[0]?.map(\.id) == ["a", "b"])
        #expect(seen.calls[0]?.map(\.arguments) == ["{\"x\": 1}", ""])
        #expect(seen.reasons == [0: .toolCalls, 1: .stop])
        #expect(seen.usage == Usage(input: 3, output: 4) && progress.isComplete && seen.lines.last == "end")
    }

    /// Delta after delta they would be one.
    @Test(arguments: ["", #""id":"same","#, #""id":"","index":0,"#]) func eachCallStandsForItself(member: String) throws
    {
        let calls = ["a", "b"].map { #"{\#(member)"function":{"name":"\#($0)","arguments":"{}"}}"# }
        let message = #"{"role":"assistant","content":null,"tool_calls":[\#(calls.joined(separator: ","))]}"#
        let (seen, _) = try read(#"{"choices":[{"message":\#(message),"finish_reason":"tool_calls"}]}"#)
        #expect(seen.calls[0]?.map(\.name) == ["a", "b"] && seen.calls[0]?.map(\.arguments) == ["{}", "{}"])
    }

    @Test func aTextCompletion() throws {
        let (seen, progress) = try read(
            #"{"id":"c","object":"text_completion","model":"m","choices":[{"text":"hi","index":0,"finish_reason":"length"}]}"#,
            .openAICompletions)
        #expect(seen.text == [0: "hi"] && seen.reasons == [0: .length] && progress.isComplete)
    }

    @Test func anErrorIsAnError() throws {
        let (seen, progress) = try read(#"{"error":{"message":"no such model","type":"invalid_request_error"}}"#)
        #expect(seen.errors == ["no such model"] && progress.sawError && !progress.isComplete && seen.ends == 0)
    }

    @Test(arguments: ["{\"ok\":true}", "[1]", "12", "{\"choices\":3}", "{\"choices\":[", "<html>"])
    func whatIsNoAnswerIsRefused(text: String) {
        #expect(throws: StreamError.self) { try read(text) }
    }

    @Test func aDocumentHasALimit() throws {
        let decoder = try #require(StreamDecoders.makeDocument(.openAIChat, eventBytes: 64))
        #expect(throws: StreamError.eventTooLarge(Limit("event_bytes", 64))) {
            try Transcript.of(decoder, [Array(repeating: 0x20, count: 65)])
        }
    }
}
