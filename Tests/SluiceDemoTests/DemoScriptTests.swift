import SluiceBytes
import SluiceStreams
import Testing

@testable import SluiceDemo

@Suite struct DemoScriptTests {
    private func answer(_ body: String, method: String = "POST", path: String = "/v1/chat/completions") -> DemoScript {
        let bytes = Array(body.utf8)
        return DemoScript.answer(
            method: method, path: path, body: bytes.span, serial: 7, time: 1_700_000_000, pace: DemoScript.Pace())
    }

    private func request(_ prompt: String, _ rest: String = "") -> String {
        #"{"model":"m","messages":[{"role":"user","content":"\#(prompt)"}]\#(rest)}"#
    }

    @Test(arguments: ["hi", "code", "a table", "emoji", "Japanese", "Chinese", "Arabic"])
    func theStreamCarriesTheAnswer(prompt: String) throws {
        let script = answer(request(prompt, #","stream":true"#))
        #expect(script.contentType.hasPrefix("text/event-stream"))
        var decoder = StreamDecoders.make(.openAIChat, eventBytes: 1 << 20)
        var batch = EventBatch()
        for step in script.steps { try decoder.feed(step.bytes.span, into: &batch) }
        var text = ""
        for event in batch.events { if case .text(_, let range) = event { text += batch.string(range) } }
        #expect(text == DemoAnswers.answer(to: prompt))
        #expect(decoder.progress.isComplete && decoder.progress.sawEnd)
        #expect(script.steps.dropFirst(2).dropLast(2).allSatisfy { $0.delay > .zero })
    }

    @Test func usageOnlyIfAskedFor() {
        func hasUsage(_ script: DemoScript) -> Bool {
            script.steps.contains { String(decoding: $0.bytes, as: UTF8.self).contains("prompt_tokens") }
        }
        #expect(!hasUsage(answer(request("hi", #","stream":true"#))))
        #expect(hasUsage(answer(request("hi", #","stream":true,"stream_options":{"include_usage":true}"#))))
    }

    @Test func aDocumentWhereNoStreamIsAskedFor() {
        let script = answer(request("table"))
        let document = script.steps.first.flatMap { JSONValue.parse($0.bytes.span) }
        #expect(document?.text(at: ["choices", "0", "message", "content"]) == DemoAnswers.answer(to: "table"))
        #expect(document?["usage"] != nil)
    }

    @Test func errorsHaveTheProvidersShape() {
        for (script, status) in [
            (answer("nonsense"), 400), (answer("{}"), 400), (answer("", method: "GET", path: "/x"), 404),
        ] {
            #expect(script.status == status)
            let document = script.steps.first.flatMap { JSONValue.parse($0.bytes.span) }
            #expect(document?.errorMessage != nil)
        }
    }

    @Test func tokensJoinToTheText() {
        for prompt in ["code", "table", "emoji", "arabic", "x"] {
            let text = DemoAnswers.answer(to: prompt)
            let tokens = DemoAnswers.tokens(of: text)
            #expect(tokens.joined() == text)
            #expect(tokens.count > 8 && tokens.allSatisfy { !$0.isEmpty })
        }
    }
}
