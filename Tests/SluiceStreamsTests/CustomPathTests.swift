import SluiceBytes
import SluiceStreams
import SluiceTesting
import Testing

/// Dialects that a configuration describes by paths.
@Suite struct CustomPathTests {
    private let sse = CustomDialect(
        framing: .sse, text: "choices[0].delta.content", finish: "choices[0].finish_reason", error: "error.message",
        done: "[DONE]")
    private let lines = CustomDialect(framing: .ndjson, text: "out.text", finish: "done")

    private func read(_ dialect: CustomDialect, _ text: String) throws -> (Transcript, StreamProgress) {
        let bytes = Array(text.utf8)
        let whole = try Transcript.of(StreamDecoders.make(dialect, eventBytes: 4096), [bytes])
        for cut in 0...bytes.count {
            let pieces = [Array(bytes[..<cut]), Array(bytes[cut...])]
            let seen = try Transcript.of(StreamDecoders.make(dialect, eventBytes: 4096), pieces)
            #expect(seen == whole, "cut at byte \(cut)")
        }
        return whole
    }

    @Test func readsOpenAIByItsPaths() throws {
        let bytes = try FixtureReader.bytes("openai-chat", "usage-chunk")
        let expected = try FixtureReader.expected("openai-chat", "usage-chunk")
        let (seen, progress) = try Transcript.of(
            StreamDecoders.make(sse, eventBytes: 4096), Cutter.pieces(bytes, of: 7))
        #expect(seen.text[0] == expected["text"] as? String)
        #expect(seen.words[0] == expected["finish_reason"] as? String && seen.ends == 1 && progress.isComplete)
    }

    @Test func readsLinesWithAFlagForTheEnd() throws {
        let (seen, progress) = try read(
            lines,
            "{\"out\":{\"text\":\"a\\ud83d\"},\"done\":false}\r\n\n{\"out\":{\"text\":\"\\ude00\"}}\n{\"done\":true}")
        #expect(seen.text[0] == "a😀" && seen.reasons[0] == .stop && progress.isComplete && progress.eventCount == 3)
    }

    @Test func aLineThatIsCutOffIsNoLine() throws {
        #expect(try !read(lines, "{\"out\":{\"text\":\"a\"}}\n{\"done\":tr").1.isComplete)
    }

    @Test func withoutAWordForTheEndTheBodysEndIsIt() throws {
        let (_, progress) = try read(CustomDialect(framing: .ndjson, text: "t"), "{\"t\":\"a\"}\n")
        #expect(progress.isComplete)
    }

    @Test func errorsAreToldInTheirOwnWords() throws {
        let (seen, progress) = try read(sse, "data: {\"error\":{\"message\":\"no \\\"luck\\\"\"}}\n\ndata: [DONE]\n\n")
        #expect(seen.errors == ["no \"luck\""] && !progress.isComplete)
        #expect(try read(sse, "data: {\"error\":{\"message\":null}}\n\n").0.errors.isEmpty)
    }

    @Test func whatIsNotJSONIsMalformed() {
        #expect(throws: StreamError.malformed("an event is not JSON", offset: 8)) {
            try read(lines, "{\"t\":1}\n<html>\n")
        }
        #expect(throws: StreamError.eventTooLarge(Limit("event_bytes", 4096))) {
            try read(lines, "{\"t\":\"" + "x".repeated(5000) + "\"}\n")
        }
    }
}
