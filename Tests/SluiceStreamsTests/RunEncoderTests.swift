import SluiceBytes
import SluiceStreams
import Testing

/// Runs of workflows: their streams, their documents, and what is read of their input.
@Suite struct RunEncoderTests {
    private let answer = RunAnswer(workflowID: "chat", taskID: "T1", isOutputOnly: true)

    private func encoder(_ format: StreamFormat, _ answer: RunAnswer? = nil, isDocument: Bool = false) throws
        -> any StreamEncoder
    {
        var options = EncoderOptions()
        options.run = answer ?? self.answer
        options.isDocument = isDocument
        return try #require(StreamEncoders.make(format, options: options))
    }

    private func feed(_ encoder: inout any StreamEncoder, _ events: [(inout EventBatch) -> TokenEvent]) -> String {
        var out = ByteQueue()
        for event in events {
            var batch = EventBatch()
            let made = event(&batch)
            batch.append(made)
            encoder.encode(batch, into: &out)
        }
        return out.text
    }

    private func text(_ words: String, choice: Int = 0) -> (inout EventBatch) -> TokenEvent {
        { .text(choice: choice, $0.store(words)) }
    }

    private static let forms: [(StreamFormat, String, String)] = [
        (
            .sseText, "data: Hi\n\ndata:  you\n\ndata: !\ndata: \ndata: \n\n",
            "text/event-stream; charset=utf-8"
        ),
        (
            .sseJSON, "data: \"Hi\"\n\ndata: \" you\"\n\ndata: \"!\\n\\n\"\n\n",
            "text/event-stream; charset=utf-8"
        ),
        (.text, "Hi you!\n\n", "text/plain; charset=utf-8"),
    ]

    @Test(arguments: forms)
    func streamsAsModelComposeDoes(format: StreamFormat, wanted: String, type: String) throws {
        var encoder = try encoder(format)
        #expect(encoder.contentType.description == type && !encoder.isDocument)
        let body = feed(&encoder, [text("Hi"), text(""), text("no", choice: 1), text(" you"), text("!\n\n")])
        #expect(body == wanted)
        var out = ByteQueue()
        #expect(encoder.end(into: &out) == .complete && out.isEmpty)
        #expect(encoder.keepalive(into: &out) == (format != .text))
    }

    @Test(arguments: [StreamFormat.sseText, .sseJSON, .text]) func aFailureIsACut(format: StreamFormat) throws {
        var out = ByteQueue()
        var cut = try encoder(format)
        #expect(cut.fail(StreamFailure(.truncated, "x"), into: &out) == .abort)
        var told = try encoder(format)
        let body = feed(
            &told,
            [{ .error(.provider, message: $0.store("no"), type: $0.store(""), retryAfterSeconds: nil) }, text("more")])
        #expect(told.end(into: &out) == .abort)
        #expect(body.isEmpty && out.isEmpty)
    }

    private func document(_ answer: RunAnswer) throws -> String {
        var encoder = try encoder(.sseText, answer, isDocument: true)
        #expect(encoder.isDocument && feed(&encoder, [text("Hi"), text(" \"you\"")]).isEmpty)
        var out = ByteQueue()
        #expect(encoder.end(into: &out) == .complete)
        return out.text
    }

    @Test func documents() throws {
        #expect(try document(answer) == "\"Hi \\\"you\\\"\"\n")
        var named = answer
        named.output = "message"
        #expect(try document(named) == "{\"message\":\"Hi \\\"you\\\"\"}\n")
        named.isOutputOnly = false
        #expect(
            try document(named)
                == #"{"task_id":"T1","status":"completed","workflow_id":"chat","output":{"message":"Hi \"you\""}}"#
                + "\n")
    }

    @Test func failures() {
        var out = ByteQueue()
        var whole = ByteQueue()
        answer.appendFailure("no \"way\"", into: &out)
        #expect(out.text == "{\"detail\":\"no \\\"way\\\"\"}\n")
        RunAnswer(workflowID: "chat", taskID: "T1", isOutputOnly: false).appendFailure("no", into: &whole)
        #expect(
            whole.text
                == #"{"detail":"no","task_id":"T1","status":"failed","workflow_id":"chat","error":"no"}"# + "\n")
    }

    @Test func whatAnInputSays() throws {
        func read(_ input: String) throws -> Document {
            try Document(try translated(#"{"input":\#(input),"output_only":true}"#, .run, .openAIChat).body)
        }
        let messages = try Document(#"[{"role":"user","content":"hi"}]"#)
        for input in [
            #""hi""#, #"{"prompt":"hi"}"#, #"{"message":"hi"}"#, #"{"messages":[{"role":"user","content":"hi"}]}"#,
        ] {
            #expect(try read(input)["messages"] == messages)
        }
        let parts = #"{"messages":[{"id":"1","role":"user","parts":[{"type":"text","text":"hi"}]}]}"#
        #expect(try read(parts)["messages"] == messages)
        let rich = try read(
            #"{"prompt":"hi","system":"Be kind.","model":"m","temperature":"0.5","max_tokens":7,"stream":true,"other":[1]}"#
        )
        let (model, temperature) = (try Document("\"m\""), try Document("0.5"))
        #expect(rich["model"] == model && rich["temperature"] == temperature)
        #expect(rich.keys.isDisjoint(with: ["other", "system"]))
        #expect(rich["messages"]?.description.contains("Be kind.") == true)
        #expect(try read(#"{"prompt":"hi","temperature":"warm"}"#)["temperature"] == nil)
    }
}
