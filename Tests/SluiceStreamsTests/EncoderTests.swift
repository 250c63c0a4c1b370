import SluiceBytes
import SluiceStreams
import Testing

/// The encoders on their own, fed with events.
@Suite struct EncoderTests {
    private func make(_ format: StreamFormat, includeUsage: Bool = false) throws -> any StreamEncoder {
        var options = EncoderOptions()
        (options.id, options.model, options.created) = ("own", "own-model", 77)
        options.includeUsage = includeUsage
        return try #require(StreamEncoders.make(format, options: options))
    }

    /// Each text as one event of its own batch, then the end.
    private func encode(_ format: StreamFormat, _ texts: [String], end: Bool = false) throws -> String {
        var encoder = try make(format)
        var out = ByteQueue()
        for text in texts {
            var batch = EventBatch()
            batch.append(.text(choice: 0, batch.store(text)))
            encoder.encode(batch, into: &out)
        }
        if end { _ = encoder.end(into: &out) }
        return out.text
    }

    // MARK: - Event streams of text

    @Test(arguments: [
        (" upon", " upon"), ("  two", "  two"), ("a\nb", "a\nb"), ("\n", "\n"), ("\n\n", "\n\n"), ("a\n", "a\n"),
        ("\na", "\na"),
        ("a\rb", "a\nb"), ("a\r\nb", "a\nb"), ("\r\n", "\n"), ("\r", "\n"), ("\n\r", "\n\n"), ("a\r\r\nb", "a\n\nb"),
        (":x", ":x"),
        ("data: [DONE]", "data: [DONE]"), ("x\n\nevent: done\ndata: {}\n\n", "x\n\nevent: done\ndata: {}\n\n"),
        ("id: 9\nretry: 1", "id: 9\nretry: 1"), ("\u{FEFF}x", "\u{FEFF}x"), ("a\u{2028}\u{0}b", "a\u{2028}\u{0}b"),
    ])
    func textComesBackAsOneEvent(text: String, read: String) throws {
        let events = WireEvent.read(Array(try encode(.sseText, [text]).utf8))
        #expect(events == [WireEvent(type: "message", data: read, id: "1")])
    }

    @Test func emptyTextsAreNoEvents() throws {
        #expect(try encode(.sseText, ["", "a", ""]) == "id: 1\ndata: a\n\n")
    }

    @Test func aLineEndCutBetweenTwoTextsIsOne() throws {
        for format in [["a\r\nb"], ["a\r", "\nb"], ["a", "\r", "\n", "b"]] {
            let events = WireEvent.read(Array(try encode(.sseText, format).utf8))
            #expect(events.map(\.data).joined() == "a\nb")
        }
    }

    @Test func theDoneEventIsNumberedToo() throws {
        #expect(
            try encode(.sseText, ["a"], end: true) == "id: 1\ndata: a\n\nid: 2\nevent: done\ndata: {\"done\":true}\n\n")
    }

    @Test(arguments: StreamFormat.allCases) func nothingComesBehindAnError(format: StreamFormat) throws {
        if format == .passthrough { return }
        var encoder = try make(format)
        var out = ByteQueue()
        var batch = EventBatch()
        batch.append(.text(choice: 0, batch.store("a")))
        batch.append(.error(.provider, message: batch.store("m"), type: .empty, retryAfterSeconds: nil))
        encoder.encode(batch, into: &out)
        let told = out.text
        batch.removeAll()
        batch.append(.text(choice: 0, batch.store("b")))
        batch.append(.finish(choice: 0, .stop, raw: .empty))
        batch.append(.end)
        encoder.encode(batch, into: &out)
        #expect(out.text == told)
        _ = encoder.end(into: &out)
        // One format has a word for the stream's own end.
        #expect(out.text == (format == .vercelUI ? told + "data: [DONE]\n\n" : told))
    }

    /// `[DONE]` alone is an answer that OpenAI's library does not know the end of.
    @Test func anEmptyAnswerHasAChoiceThatEnds() throws {
        let events = WireEvent.read(Array(try encode(.openAIChat, [], end: true).utf8)).map(\.data)
        #expect(events.count == 3 && events.last == "[DONE]")
        #expect(events[0].contains(#""delta":{"role":"assistant","content":""}"#))
        #expect(events[1].contains(#"{"index":0,"delta":{},"finish_reason":"stop"}"#))
    }

    // MARK: - JSON

    @Test func objectsAreOneLineWhateverTheText() throws {
        let text = "a\"b\\c\nd\r\u{0}\u{2028}\u{2029}\u{85}\u{2026}é😀"
        let escaped = "a\\\"b\\\\c\\nd\\r\\u0000\\u2028\\u2029\\u0085\u{2026}é😀"
        #expect(try encode(.ndjson, [text]) == "{\"text\":\"\(escaped)\"}\n")
        #expect(try encode(.sseJSON, [text]) == "data: {\"text\":\"\(escaped)\"}\n\n")
        #expect(
            try encode(.openAIChat, ["x"]).split(separator: "\n\n").last
                == #"data: {"id":"own","object":"chat.completion.chunk","created":77,"model":"own-model","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}"#
        )
    }

    @Test func unknownFiguresAreAbsent() throws {
        for (format, wanted) in [
            (StreamFormat.ndjson, "\"usage\":{\"output_tokens\":2}"),
            (.openAIChat, "\"usage\":{\"completion_tokens\":2}"),
        ] {
            var encoder = try make(format, includeUsage: true)
            var batch = EventBatch()
            var out = ByteQueue()
            batch.append(.usage(Usage(output: 2)))
            encoder.encode(batch, into: &out)
            #expect(encoder.end(into: &out) == .complete)
            #expect(out.text.contains(wanted))
        }
    }

    @Test func aChoiceFinishesOnceEvenIfTheProviderForgot() throws {
        var encoder = try make(.openAIChat)
        var batch = EventBatch()
        var out = ByteQueue()
        batch.append(.text(choice: 0, batch.store("a")))
        batch.append(.finish(choice: 1, .length, raw: .empty))
        batch.append(.finish(choice: 1, .stop, raw: .empty))
        batch.append(.toolCallStart(choice: 2, index: 0, id: .empty, name: batch.store("f")))
        encoder.encode(batch, into: &out)
        #expect(encoder.end(into: &out) == .complete)
        let chunks = WireEvent.read(out.array).map { json($0.data) }
        let finishes = chunks.compactMap { ($0["choices"] as? [[String: Any]])?.first }.compactMap { choice in
            (choice["finish_reason"] as? String).map { "\(choice["index"] ?? "") \($0)" }
        }
        #expect(finishes == ["1 length", "0 stop", "2 tool_calls"])
    }

    @Test func aCallWithoutIDIsGivenOne() throws {
        var encoder = try make(.openAIChat)
        var batch = EventBatch()
        var out = ByteQueue()
        batch.append(.toolCallStart(choice: 0, index: 3, id: .empty, name: batch.store("f")))
        encoder.encode(batch, into: &out)
        #expect(
            out.text.contains(#""index":3,"id":"call_own_3","type":"function","function":{"name":"f","arguments":""}"#))
    }

    // MARK: - Keepalive, content types, failures

    @Test func keepalivesAreCommentsWhereTheFormatHasThem() throws {
        for format in [StreamFormat.text, .sseText, .sseJSON, .ndjson, .openAIChat] {
            var encoder = try make(format)
            var out = ByteQueue()
            let isSSE = encoder.contentType.description == "text/event-stream"
            #expect(encoder.keepalive(into: &out) == isSSE)
            #expect(out.text == (isSSE ? ":\n\n" : ""))
        }
    }

    @Test func contentTypes() throws {
        #expect(try make(.text).contentType.description == "text/plain; charset=utf-8")
        #expect(try make(.ndjson).contentType.description == "application/x-ndjson")
        #expect(StreamEncoders.make(.passthrough, options: EncoderOptions()) == nil)
    }

    @Test(arguments: [StreamFormat.text, .sseText, .sseJSON, .ndjson, .openAIChat])
    func anErrorIsToldOnce(format: StreamFormat) throws {
        var encoder = try make(format)
        var batch = EventBatch()
        var out = ByteQueue()
        batch.append(
            .error(.rateLimited, message: batch.store("slow \"down\"\n"), type: .empty, retryAfterSeconds: nil))
        batch.append(.error(.provider, message: batch.store("again"), type: .empty, retryAfterSeconds: nil))
        encoder.encode(batch, into: &out)
        encoder.encode(batch, into: &out)
        #expect(encoder.fail(StreamFailure(.truncated, "later"), into: &out) == (format == .text ? .abort : .complete))
        #expect(encoder.end(into: &out) == (format == .text ? .abort : .complete))
        let front: [StreamFormat: String] = [
            .sseText: "event: error\ndata: ", .sseJSON: "event: error\ndata: ", .openAIChat: "data: ",
        ]
        let more = format == .openAIChat ? ",\"param\":null,\"code\":null" : ""
        let object = "{\"error\":{\"message\":\"slow \\\"down\\\"\\n\",\"type\":\"rate_limit_error\"\(more)}}"
        let back = format == .ndjson ? "\n" : "\n\n"
        #expect(out.text == (format == .text ? "" : (front[format] ?? "") + object + back))
    }
}
