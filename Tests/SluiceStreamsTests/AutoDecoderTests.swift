import SluiceBytes
import SluiceTesting
import Testing

@testable import SluiceStreams

/// `auto` must find each recorded stream's dialect from its first event, and then say what that dialect's decoder says.
@Suite struct AutoDecoderTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let folder: String
        let name: String
        let fileExtension: String
        let dialect: Dialect
        var testDescription: String { "\(folder)/\(name)" }
        var bytes: [UInt8] { get throws { try FixtureReader.bytes(folder, name, fileExtension) } }
    }
    private static let folders: [(String, String, Dialect)] = [
        ("gemini-sse", "sse", .gemini), ("gemini-array", "json", .gemini), ("cohere-v1", "ndjson", .cohereV1),
        ("ollama-chat", "ndjson", .ollamaChat), ("ollama-generate", "ndjson", .ollamaGenerate),
        ("bedrock-converse", "bin", .bedrockConverse), ("bedrock-invoke", "bin", .bedrockInvoke),
    ]
    private static let eventStreams: [Dialect] = [
        .openAIChat, .openAICompletions, .openAIResponses, .anthropicMessages, .anthropicCompletion, .cohereV2, .tgi,
        .replicate, .watsonx,
    ]
    static let cases = (folders + eventStreams.map { ($0.rawValue, "sse", $0) }).flatMap { folder, suffix, dialect in
        FixtureReader.cases(folder, suffix).filter { !$0.hasSuffix(".expected") }.map {
            Case(folder: folder, name: $0, fileExtension: suffix, dialect: dialect)
        }
    }

    /// What a decoder made of its input, or why it gave up and what it had said by then.
    private struct Outcome: Equatable {
        var transcript = Transcript()
        var progress = StreamProgress()
        var fault: StreamError?

        init(_ decoder: any StreamDecoder, _ pieces: [[UInt8]]) {
            var decoder = decoder
            do {
                for piece in pieces { try take { try decoder.feed(piece.span, into: &$0) } }
                try take { try decoder.finish(into: &$0) }
            } catch {
                fault = error as? StreamError
            }
            progress = decoder.progress
        }

        private mutating func take(_ body: (inout EventBatch) throws -> Void) throws {
            var batch = EventBatch()
            defer { transcript.take(batch) }
            try body(&batch)
        }
    }

    private func auto() -> AutoDecoder { AutoDecoder(eventBytes: 1 << 20) }
    private func decode(_ text: String...) -> Outcome { Outcome(auto(), text.map { Array($0.utf8) }) }

    @Test func thereAreCases() { #expect(Self.cases.count == 229) }

    @Test(arguments: cases) func findsTheDialectOf(fixture: Case) throws {
        let bytes = try fixture.bytes
        var decoder = auto()
        var batch = EventBatch()
        try? decoder.feed(bytes.span, into: &batch)
        try? decoder.finish(into: &batch)
        #expect(decoder.dialect == fixture.dialect)
    }

    @Test(arguments: cases) func saysWhatTheDialectSays(fixture: Case) throws {
        let bytes = try Array(fixture.bytes.prefix(5000))
        let known = Outcome(StreamDecoders.make(fixture.dialect, eventBytes: 1 << 20), [bytes])
        #expect(Outcome(auto(), [bytes]) == known)
        for size in [1, 61] { #expect(Outcome(auto(), Cutter.pieces(bytes, of: size)) == known, "by \(size)") }
    }

    /// The first events are where it decides.
    @Test(arguments: cases) func cutsDecideNothing(fixture: Case) throws {
        let bytes = try Array(fixture.bytes.prefix(900))
        let whole = Outcome(auto(), [bytes])
        for cut in stride(from: 0, to: bytes.count, by: 23) {
            #expect(Outcome(auto(), [Array(bytes[..<cut]), Array(bytes[cut...])]) == whole, "cut at byte \(cut)")
        }
    }

    // MARK: - Before the first event

    private let chunk = #"data: {"id":"1","choices":[{"index":0,"delta":{"content":"Hi"}}]}"# + "\n\n"

    @Test func commentsAreToldAtOnce() throws {
        var decoder = auto()
        var batch = EventBatch()
        for (text, pings) in [("\u{FEFF}: one\n\n", 1), (": two", 1), ("\r\n\r\nretry: 1\n\n:th", 2), ("ree\n", 3)] {
            try decoder.feed(Array(text.utf8).span, into: &batch)
            #expect(batch.events == Array(repeating: .ping, count: pings))
        }
        try decoder.feed(Array((chunk + ": four\n").utf8).span, into: &batch)
        #expect(batch.events.count { $0 == .ping } == 4)
        #expect(batch.events.last == .ping && batch.events.count == 6)
    }

    @Test func faultsAreSaidToStandWhereTheyStandInTheBody() {
        let before = ": comment\n\n" + chunk
        let fault = decode(before + "data: no JSON\n\n").fault
        #expect(fault == .malformed("an event is not a JSON object", offset: before.utf8.count))
    }

    @Test func aPingSaysNothing() {
        let start = #"data: {"type":"message_start","message":{"id":"m","model":"c","usage":{}}}"# + "\n\n"
        let outcome = decode("event: ping\ndata: {}\n\n" + start)
        #expect(outcome.transcript.lines.filter { $0 != "ping" } == ["start m c -1"])
    }

    @Test func aLineOfAnErrorIsLlamas() {
        let outcome = decode("error: {\"code\":500,\"message\":\"full\"}\n\n")
        #expect(outcome.transcript.errors == ["full"] && outcome.fault == nil)
    }

    // MARK: - What cannot be told

    @Test(arguments: [
        "<!doctype html>\n<html></html>\n", "data: {\"a\":1}\n\n", "data: word\n\n", "{\"a\":1}\n", "{\"a\":\n1}", "{",
        "x",
        "\u{0}\u{1}", "event: ping\ndata: {}\n\n", "Internal Server Error",
    ])
    func whatNobodySendsIsAFault(body: String) {
        #expect(decode(body).fault == .malformed("no event shows which dialect the stream is of", offset: 0))
        let bytes = Outcome(auto(), body.utf8.map { [$0] })
        #expect(bytes.fault == decode(body).fault && bytes.transcript.lines.isEmpty)
    }

    @Test func anEmptyBodyIsNone() {
        for body in ["", "\n", ": comment\n\n"] {
            let outcome = decode(body)
            #expect(outcome.fault == nil && !outcome.progress.isComplete)
        }
    }

    @Test func theSearchHasAnEnd() {
        let other = "data: {\"a\":1}\n\n"
        let body = String(repeating: other, count: (64 << 10) / other.utf8.count + 1)
        let fault = StreamError.malformed("no event shows which dialect the stream is of", offset: 64 << 10)
        #expect(decode(body).fault == fault)
        #expect(decode(body + chunk).fault == fault)
        #expect(decode(body, chunk).fault == fault)
        let near = String(repeating: other, count: (64 << 10) / other.utf8.count)
        #expect(decode(other + chunk).transcript.text[0] == "Hi")
        #expect(decode(near + chunk).fault != fault)
    }

    @Test func aFrameThatIsNoneIsAFault() {
        var frame = AWSFrames.event("messageStart", "{}")
        frame[30] ^= 1
        #expect(Outcome(auto(), [frame]).fault == .malformed("the checksum of a frame is wrong", offset: 0))
        let other = AWSFrames.event("strange", "{}")
        #expect(
            Outcome(auto(), [other]).fault == .malformed("no event shows which dialect the stream is of", offset: 0))
    }

    @Test func anEventOverTheLimitIsAFault() {
        for body in ["data: {\"a\":", "{\"a\":", "{\n\"a\":"] {
            let bytes = Array((body + "\"" + String(repeating: "x", count: 200)).utf8)
            for pieces in [[bytes], bytes.map { [$0] }] {
                let outcome = Outcome(AutoDecoder(eventBytes: 100), pieces + [[0x78]])
                #expect(outcome.fault == .eventTooLarge(Limit("event_bytes", 100)))
            }
        }
    }

    /// Only its end, or the next chunk, would else find out that it is too long.
    @Test func aDocumentOverTheLimitIsAFaultAlsoInOnePiece() {
        let bytes = Array(("{\n\"a\":\"" + String(repeating: "x", count: 200)).utf8)
        #expect(Outcome(AutoDecoder(eventBytes: 100), [bytes]).fault == .eventTooLarge(Limit("event_bytes", 100)))
    }

    @Test func manyCommentsBeforeTheFirstEventAreToldOnce() {
        let comments = 10_000
        let body = "id: 1\n" + String(repeating: ":\n", count: comments) + chunk
        for pieces in [[body], [String(body.prefix(5000)), String(body.dropFirst(5000))]] {
            let outcome = Outcome(auto(), pieces.map { Array($0.utf8) })
            #expect(outcome.transcript.lines.count { $0 == "ping" } == comments && outcome.fault == nil)
        }
    }

    // MARK: - Words and members

    @Test(arguments: [
        (#"{"choices":[],"object":"text_completion"}"#, Dialect.openAICompletions), (#"{"choices":[]}"#, .openAIChat),
        (#"{"choices":[{"finish_reason":"stop"}]}"#, .openAIChat), (#"{"value":"a"}"#, .openAICompletions),
        (#"{"error":{"message":"m"}}"#, .openAIChat), (#"{"type":"error","error":{}}"#, .anthropicMessages),
        (#"{"type":"error","sequence_number":1}"#, .openAIResponses), (#"{"content":"a","stop":false}"#, .llamaCPP),
        (#"{"error":"e","error_type":"generation"}"#, .tgi), (#"{"usageMetadata":{}}"#, .gemini),
        (#"{"completion":" a","stop_reason":null}"#, .anthropicCompletion), ("[DONE]", .openAIChat),
    ])
    func unnamedEvents(data: String, dialect: Dialect) {
        #expect(DialectDetection.event(Array(data.utf8).span, type: Span()) == .stream(dialect))
    }

    @Test(arguments: [
        (#"{"message":{"role":"assistant"},"done":false}"#, DialectDetection.Verdict.stream(.ollamaChat)),
        (#"{"response":"","done":true}"#, .stream(.ollamaGenerate)), (#"{"error":"no"}"#, .stream(.ollamaChat)),
        (#"{"text":"a","is_finished":false}"#, .stream(.cohereV1)),
        (#"{"object":"chat.completion","choices":[{"message":{}}]}"#, .document(.openAIChat)),
        (#"{"object":"text_completion","choices":[{"text":""}]}"#, .document(.openAICompletions)),
        (#"{"object":"response","output":[]}"#, .document(.openAIResponses)),
        (#"{"type":"message","content":[]}"#, .document(.anthropicMessages)),
        (#"{"type":"completion","completion":""}"#, .document(.anthropicCompletion)),
        (#"{"id":"","message":{"content":[]},"finish_reason":"COMPLETE"}"#, .document(.cohereV2)),
        (#"{"text":"","generation_id":"g"}"#, .document(.cohereV1)), (#"{"candidates":[]}"#, .document(.gemini)),
        (#"{"output":{"message":{}},"stopReason":"end_turn"}"#, .document(.bedrockConverse)),
        (#"{"generation":"","stop_reason":"stop"}"#, .document(.bedrockInvoke)),
        (#"{"inputTextTokenCount":1,"results":[]}"#, .document(.bedrockInvoke)),
        (#"{"results":[]}"#, .document(.watsonx)), (#"{"generated_text":""}"#, .document(.tgi)),
        (#"{"content":"","stop":true}"#, .document(.llamaCPP)), (#"{"a":1}"#, .unknown), ("1", .unknown),
        (#"{"choices":null}"#, .unknown),
    ])
    func linesAndDocuments(json: String, verdict: DialectDetection.Verdict) {
        #expect(DialectDetection.line(Array(json.utf8).span) == verdict)
    }

    @Test(arguments: ["\n", "", "\r\n"]) func aDocumentIsRead(ending: String) {
        let line = #"{"output":{"message":{"content":[{"text":"Hi"}]}},"stopReason":"end_turn"}"#
        for body in [line, "\n  " + line, line.replacing("{\"", with: "{\n \"")] {
            let outcome = decode(body + ending)
            #expect(outcome.transcript.text[0] == "Hi" && outcome.progress.isComplete)
            #expect(Outcome(auto(), (body + ending).utf8.map { [$0] }) == outcome)
        }
    }
}
