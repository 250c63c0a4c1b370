import Foundation
import SluiceBytes
import SluiceStreams
import SluiceTesting
import Testing

/// The formats of user interfaces, fed with events and read back.
@Suite struct UIEncoderTests {
    static let formats: [StreamFormat] = [.vercelUI, .vercelData, .agUI]

    private func make(_ format: StreamFormat, _ change: (inout EncoderOptions) -> Void = { _ in }) throws
        -> any StreamEncoder
    {
        var options = EncoderOptions()
        options.id = "own"
        change(&options)
        return try #require(StreamEncoders.make(format, options: options))
    }

    /// All events in one batch, then a true end.
    private func encode(
        _ format: StreamFormat, options change: (inout EncoderOptions) -> Void = { _ in },
        _ fill: (inout EventBatch) -> Void
    ) throws -> String {
        var encoder = try make(format, change)
        var batch = EventBatch()
        var out = ByteQueue()
        fill(&batch)
        encoder.encode(batch, into: &out)
        #expect(encoder.end(into: &out) == .complete)
        return out.text
    }

    private func read(_ format: StreamFormat, _ text: String) -> ClientReading {
        switch format {
        case .vercelUI: UIMessageStreamReader.read(Array(text.utf8))
        case .vercelData: DataStreamReader.read(Array(text.utf8))
        default: AGUIReader.read(Array(text.utf8))
        }
    }

    /// Without `data: ` and blank lines.
    private func lines(_ text: String) -> [String] {
        text.replacing("data: ", with: "").split(separator: "\n").map(String.init)
    }

    // MARK: - UI message stream

    @Test func aWholeMessage() throws {
        let text = try encode(.vercelUI) { batch in
            batch.append(.start(id: batch.store("id\"1"), model: .empty, created: 7))
            batch.append(.reasoning(choice: 0, batch.store("why")))
            batch.append(.reasoningSignature(choice: 0, batch.store("proof")))
            batch.append(.text(choice: 0, batch.store("a\n")))
            batch.append(.text(choice: 1, batch.store("nobody sees me")))
            batch.append(.text(choice: 0, batch.store("b")))
            batch.append(.source(url: batch.store("http://x"), title: .empty))
            batch.append(.toolCallStart(choice: 0, index: 0, id: batch.store("c1"), name: batch.store("f")))
            batch.append(.toolCallArguments(choice: 0, index: 0, batch.store("{\"a\" :\n")))
            batch.append(.toolCallArguments(choice: 0, index: 0, batch.store("[1]}")))
            batch.append(.toolCallEnd(choice: 0, index: 0))
            batch.append(.refusal(choice: 0, batch.store("no")))
            batch.append(.source(url: batch.store("http://y"), title: batch.store("Y")))
            batch.append(.finish(choice: 0, .toolCalls, raw: .empty))
            batch.append(.usage(Usage(input: 1, output: 2, reasoning: 1)))
        }
        #expect(
            lines(text) == [
                #"{"type":"start","messageId":"id\"1"}"#, #"{"type":"start-step"}"#,
                #"{"type":"reasoning-start","id":"r0"}"#, #"{"type":"reasoning-delta","id":"r0","delta":"why"}"#,
                #"{"type":"reasoning-end","id":"r0","providerMetadata":{"sluice":{"signature":"proof"}}}"#,
                #"{"type":"text-start","id":"t0"}"#, #"{"type":"text-delta","id":"t0","delta":"a\n"}"#,
                #"{"type":"text-delta","id":"t0","delta":"b"}"#,
                #"{"type":"source-url","sourceId":"s0","url":"http://x"}"#, #"{"type":"text-end","id":"t0"}"#,
                #"{"type":"tool-input-start","toolCallId":"c1","toolName":"f"}"#,
                #"{"type":"tool-input-delta","toolCallId":"c1","inputTextDelta":"{\"a\" :\n"}"#,
                #"{"type":"tool-input-delta","toolCallId":"c1","inputTextDelta":"[1]}"}"#,
                #"{"type":"tool-input-available","toolCallId":"c1","toolName":"f","input":{"a":[1]}}"#,
                #"{"type":"text-start","id":"t1"}"#, #"{"type":"text-delta","id":"t1","delta":"no"}"#,
                #"{"type":"source-url","sourceId":"s1","url":"http://y","title":"Y"}"#,
                #"{"type":"text-end","id":"t1"}"#, #"{"type":"finish-step"}"#,
                #"{"type":"finish","messageMetadata":{"finishReason":"tool-calls","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3,"reasoningTokens":1}}}"#,
                "[DONE]",
            ])
        #expect(read(.vercelUI, text).faults == [])
    }

    @Test func whatIsUnknownIsAbsent() throws {
        let bare = try encode(.vercelUI) { $0.append(.start(id: .empty, model: .empty, created: nil)) }
        #expect(
            lines(bare) == [
                #"{"type":"start","messageId":"own"}"#, #"{"type":"start-step"}"#, #"{"type":"finish-step"}"#,
                #"{"type":"finish"}"#, "[DONE]",
            ])
        let half = try encode(.vercelUI) { $0.append(.usage(Usage(output: 2))) }
        #expect(half.contains(#""messageMetadata":{"usage":{"outputTokens":2}}"#))
        let nameless = try encode(.vercelUI, options: { $0.id = "" }) {
            $0.append(.start(id: .empty, model: .empty, created: nil))
        }
        #expect(nameless.hasPrefix(#"data: {"type":"start"}"#))
        let data = try encode(.vercelData) { $0.append(.text(choice: 0, $0.store("x"))) }
        #expect(
            lines(data) == [
                #"f:{"messageId":"own"}"#, #"0:"x""#,
                #"e:{"finishReason":"unknown","usage":{"promptTokens":null,"completionTokens":null},"isContinued":false}"#,
                #"d:{"finishReason":"unknown","usage":{"promptTokens":null,"completionTokens":null}}"#,
            ])
    }

    @Test func aMessageThatGoesOnKeepsItsID() throws {
        let text = try encode(.vercelUI, options: { $0.messageID = "m" }) {
            $0.append(.start(id: $0.store("chatcmpl"), model: .empty, created: nil))
        }
        #expect(text.hasPrefix(#"data: {"type":"start","messageId":"m"}"#))
    }

    @Test(arguments: FinishReason.allCases.filter { $0 != .error })
    func theFinishReasonIsWrittenWhereTheRouteSaysSo(reason: FinishReason) throws {
        for isWritten in [true, false] {
            let text = try encode(.vercelUI, options: { $0.writesFinishReason = isWritten }) {
                $0.append(.finish(choice: 0, reason, raw: .empty))
            }
            let reading = UIMessageStreamReader.read(Array(text.utf8), allowsFinishReason: isWritten)
            #expect(reading.faults == [] && text.contains(#""finish","finishReason":""#) == isWritten)
            #expect(
                ["stop", "length", "tool-calls", "content-filter", "other"].contains(reading.finish ?? ""))
        }
    }

    @Test func toolsAreDynamicWhereTheRouteSaysSo() throws {
        let text = try encode(.vercelUI, options: { $0.hasDynamicTools = true }, callWithout)
        #expect(text.contains(#"{"type":"tool-input-start","toolCallId":"call_own_0","toolName":"f","dynamic":true}"#))
        #expect(text.contains(#""toolName":"f","dynamic":true,"input":{}}"#))
        #expect(read(.vercelUI, text).faults == [])
    }

    /// A call without id and arguments.
    private func callWithout(_ batch: inout EventBatch) {
        batch.append(.toolCallStart(choice: 0, index: 0, id: .empty, name: batch.store("f")))
        batch.append(.toolCallEnd(choice: 0, index: 0))
    }

    // MARK: - Tool calls in all of them

    @Test(arguments: formats) func noArgumentsAreAnEmptyObject(format: StreamFormat) throws {
        let reading = read(format, try encode(format, callWithout))
        #expect(reading.faults == [] && reading.calls.count == 1)
        #expect(reading.calls.first?.input == "{}" && reading.calls.first?.id == "call_own_0")
    }

    @Test(arguments: [
        "{\"a\":", "{a:1}", "{\"a\":01}", "{\"a\":\"\n\"}", "{\"a\":\"\\x\"}", "{} {}", "{\"a\":\"\\ud8\"}", "nil",
    ])
    func aCallWhoseArgumentsAreNoJSONCannotBeRun(arguments: String) throws {
        for format in [StreamFormat.vercelUI, .vercelData] {
            let text = try encode(format) { batch in
                batch.append(.toolCallStart(choice: 0, index: 0, id: .empty, name: batch.store("f")))
                batch.append(.toolCallArguments(choice: 0, index: 0, batch.store(arguments)))
                batch.append(.toolCallEnd(choice: 0, index: 0))
                batch.append(.finish(choice: 0, .length, raw: .empty))
            }
            let reading = read(format, text)
            #expect(reading.faults == [] && reading.isComplete && reading.finish == "length")
            #expect(reading.calls.first?.arguments == arguments && reading.calls.first?.hasEnded == false)
        }
    }

    @Test func onlyObjectsAreArgumentsInTheDataStream() throws {
        func call(_ batch: inout EventBatch) {
            batch.append(.toolCallStart(choice: 0, index: 0, id: .empty, name: batch.store("f")))
            batch.append(.toolCallArguments(choice: 0, index: 0, batch.store("\"free text\"")))
            batch.append(.toolCallEnd(choice: 0, index: 0))
        }
        #expect(read(.vercelData, try encode(.vercelData, call)).calls.first?.input == nil)
        #expect(read(.vercelUI, try encode(.vercelUI, call)).calls.first?.input == "\"free text\"")
    }

    @Test(arguments: formats) func argumentsPastTheLimitAreNotToldWhole(format: StreamFormat) throws {
        var encoder = try make(format)
        var out = ByteQueue()
        var batch = EventBatch()
        for index in 0...1 {
            batch.append(.toolCallStart(choice: 0, index: index, id: .empty, name: batch.store("f")))
        }
        encoder.encode(batch, into: &out)
        batch.removeAll()
        batch.append(.toolCallArguments(choice: 0, index: 0, batch.store(String(repeating: " ", count: 1 << 20))))
        for _ in 0..<17 {
            encoder.encode(batch, into: &out)
            out.removeAll()
        }
        batch.removeAll()
        batch.append(.toolCallArguments(choice: 0, index: 0, batch.store("{}")))
        batch.append(.toolCallArguments(choice: 0, index: 1, batch.store("{\"b\":1}")))
        for index in 0...1 { batch.append(.toolCallEnd(choice: 0, index: index)) }
        encoder.encode(batch, into: &out)
        if format != .agUI {
            #expect(
                !out.text.contains(#"call_own_0","toolName":"f","#)
                    && out.text.contains(#"call_own_1","toolName":"f","#))
        }
    }

    @Test(arguments: formats) func callsMayInterleave(format: StreamFormat) throws {
        let text = try encode(format) { batch in
            for index in 0...2 {
                batch.append(
                    .toolCallStart(choice: 0, index: index, id: batch.store("same"), name: batch.store("f\(index)")))
            }
            for piece in ["{\"n\":", "1}"] {
                for index in 0...2 { batch.append(.toolCallArguments(choice: 0, index: index, batch.store(piece))) }
            }
            batch.append(.text(choice: 0, batch.store("between")))
            for index in 0...2 { batch.append(.toolCallEnd(choice: 0, index: index)) }
            batch.append(.toolCallArguments(choice: 0, index: 1, batch.store("too late")))
            batch.append(.toolCallArguments(choice: 0, index: 9, batch.store("nobody's")))
            batch.append(.toolCallEnd(choice: 0, index: 9))
        }
        let reading = read(format, text)
        #expect(reading.faults == [] && reading.text == "between")
        #expect(reading.calls.map(\.id) == ["same", "call_own_1", "call_own_2"])
        #expect(reading.calls.allSatisfy { $0.input == "{\"n\":1}" && $0.hasEnded })
    }

    // MARK: - AG-UI

    @Test func aWholeRun() throws {
        let text = try encode(.agUI, options: { ($0.threadID, $0.runID) = ("T", "R") }) { batch in
            batch.append(.start(id: batch.store("c\"1"), model: .empty, created: 7))
            batch.append(.reasoning(choice: 0, batch.store("why")))
            batch.append(.reasoning(choice: 0, .empty))
            batch.append(.text(choice: 0, batch.store("a")))
            for (index, piece) in ["{\"a\":\"}\"}", "{}"].enumerated() {
                batch.append(
                    .toolCallStart(choice: 0, index: index, id: batch.store("i\(index)"), name: batch.store("f")))
                batch.append(.toolCallArguments(choice: 0, index: index, batch.store(piece)))
            }
            for index in 0...1 { batch.append(.toolCallEnd(choice: 0, index: index)) }
            batch.append(.finish(choice: 0, .toolCalls, raw: .empty))
            batch.append(.usage(Usage(input: 1, cached: 0)))
        }
        #expect(
            lines(text) == [
                #"{"type":"RUN_STARTED","threadId":"T","runId":"R"}"#,
                #"{"type":"REASONING_START","messageId":"c\"1_0"}"#,
                #"{"type":"REASONING_MESSAGE_START","messageId":"c\"1_0","role":"reasoning"}"#,
                #"{"type":"REASONING_MESSAGE_CONTENT","messageId":"c\"1_0","delta":"why"}"#,
                #"{"type":"REASONING_MESSAGE_END","messageId":"c\"1_0"}"#,
                #"{"type":"REASONING_END","messageId":"c\"1_0"}"#,
                #"{"type":"TEXT_MESSAGE_START","messageId":"c\"1_1","role":"assistant"}"#,
                #"{"type":"TEXT_MESSAGE_CONTENT","messageId":"c\"1_1","delta":"a"}"#,
                #"{"type":"TEXT_MESSAGE_END","messageId":"c\"1_1"}"#,
                #"{"type":"TOOL_CALL_START","toolCallId":"i0","toolCallName":"f","parentMessageId":"c\"1_1"}"#,
                #"{"type":"TOOL_CALL_ARGS","toolCallId":"i0","delta":"{\"a\":\"}\"}"}"#,
                #"{"type":"TOOL_CALL_END","toolCallId":"i0"}"#,
                #"{"type":"TOOL_CALL_START","toolCallId":"i1","toolCallName":"f","parentMessageId":"c\"1_1"}"#,
                #"{"type":"TOOL_CALL_ARGS","toolCallId":"i1","delta":"{}"}"#,
                #"{"type":"TOOL_CALL_END","toolCallId":"i1"}"#,
                #"{"type":"RUN_FINISHED","threadId":"T","runId":"R","result":{"finishReason":"tool_calls","usage":{"inputTokens":1,"cachedInputTokens":0}}}"#,
            ])
        #expect(AGUIReader.read(Array(text.utf8), isOld: true).faults == [])
    }

    @Test func callsWithoutTextHaveOneParent() throws {
        let text = try encode(.agUI) { batch in
            for index in 0...1 {
                batch.append(.toolCallStart(choice: 0, index: index, id: .empty, name: batch.store("f")))
                batch.append(.toolCallArguments(choice: 0, index: index, batch.store("{}")))
            }
        }
        #expect(text.components(separatedBy: "\"parentMessageId\":\"own_0\"").count == 3)
        #expect(lines(text).first == #"{"type":"RUN_STARTED","threadId":"thread_own","runId":"run_own"}"#)
        #expect(lines(text).last == #"{"type":"RUN_FINISHED","threadId":"thread_own","runId":"run_own"}"#)
        #expect(read(.agUI, text).faults == [])
    }

    // MARK: - Failures

    @Test(arguments: formats) func anErrorIsToldOnceAndNothingFollowsIt(format: StreamFormat) throws {
        for opening in ["", "text", "reasoning", "call"] {
            var encoder = try make(format)
            var batch = EventBatch()
            var out = ByteQueue()
            switch opening {
            case "text": batch.append(.text(choice: 0, batch.store("a")))
            case "reasoning": batch.append(.reasoning(choice: 0, batch.store("a")))
            case "call":
                batch.append(.toolCallStart(choice: 0, index: 0, id: .empty, name: batch.store("f")))
                batch.append(.toolCallArguments(choice: 0, index: 0, batch.store("{\"a")))
            default: break
            }
            batch.append(
                .error(.rateLimited, message: batch.store("slow \"down\"\n"), type: .empty, retryAfterSeconds: nil))
            batch.append(.error(.provider, message: batch.store("again"), type: .empty, retryAfterSeconds: nil))
            batch.append(.text(choice: 0, batch.store("more")))
            batch.append(.finish(choice: 0, .stop, raw: .empty))
            encoder.encode(batch, into: &out)
            encoder.encode(batch, into: &out)
            #expect(encoder.fail(StreamFailure(.truncated, "later"), into: &out) == .complete)
            #expect(encoder.end(into: &out) == .complete)
            let reading = read(format, out.text)
            #expect(reading.faults == [] && reading.error == "slow \"down\"\n" && !reading.isComplete)
            #expect(!out.text.contains("more") && !out.text.contains("again") && !out.text.contains("later"))
        }
    }

    @Test(arguments: formats) func aFinishForAnErrorIsNoFinish(format: StreamFormat) throws {
        let reading = read(format, try encode(format) { $0.append(.finish(choice: 0, .error, raw: .empty)) })
        #expect(reading.faults == [] && reading.error != nil && !reading.isComplete)
    }

    @Test(arguments: formats) func nothingFollowsTheEnd(format: StreamFormat) throws {
        var encoder = try make(format)
        var out = ByteQueue()
        _ = encoder.end(into: &out)
        let whole = out.text
        _ = encoder.end(into: &out)
        _ = encoder.fail(StreamFailure(.timeout, "late"), into: &out)
        #expect(out.text == whole && read(format, whole).faults == [])
    }

    @Test func headersAndKeepalives() throws {
        for format in Self.formats {
            var encoder = try make(format)
            var out = ByteQueue()
            let isSSE = encoder.contentType.description == "text/event-stream"
            #expect(isSSE == (format != .vercelData))
            #expect(encoder.keepalive(into: &out) == isSSE)
            #expect(out.text == (isSSE ? ":\n\n" : ""))
        }
        let fields = try [StreamFormat.vercelUI, .vercelData].map { try make($0).fields }
        #expect(
            fields.map { $0.map { "\($0.name): \($0.value)" } } == [
                ["x-vercel-ai-ui-message-stream: v1"], ["x-vercel-ai-data-stream: v1"],
            ])
    }
}
