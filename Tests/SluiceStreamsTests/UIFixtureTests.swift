import Foundation
import SluiceBytes
import SluiceStreams
import SluiceTesting
import Testing

/// Every recorded stream in the formats of user interfaces, read back by strict readers.
@Suite struct UIFixtureTests {
    /// A recording and the dialect that it is in.
    struct Recording: CustomTestStringConvertible, Sendable {
        let folder: String
        let name: String
        let fileExtension: String
        let dialect: Dialect
        var testDescription: String { "\(folder)/\(name)" }

        func bytes() throws -> [UInt8] { try FixtureReader.bytes(folder, name, fileExtension) }
        func convert(_ format: StreamFormat, _ pieces: [[UInt8]]) throws -> ([UInt8], BodyEnding) {
            var options = EncoderOptions()
            options.id = "own"
            let encoder = try #require(StreamEncoders.make(format, options: options))
            var bridge = StreamBridge(decoder: StreamDecoders.make(dialect, eventBytes: 1 << 20), encoder: encoder)
            var batch = EventBatch()
            var out = ByteQueue()
            for piece in pieces { try bridge.consume(piece.span, batch: &batch, into: &out) }
            let ending = try bridge.finish(batch: &batch, into: &out)
            return (out.array, ending)
        }
        func transcript(_ bytes: [UInt8]) throws -> (Transcript, StreamProgress) {
            try Transcript.of(StreamDecoders.make(dialect, eventBytes: 1 << 20), [bytes])
        }
    }

    static let recordings: [Recording] = Dialect.allCases.flatMap { dialect in
        let folders = dialect == .gemini ? ["gemini-sse", "gemini-array"] : [dialect.rawValue]
        return folders.flatMap { folder in
            ["sse", "ndjson", "bin", "json"].flatMap { fileExtension in
                FixtureReader.cases(folder, fileExtension).filter { !$0.hasSuffix(".expected") }.map {
                    Recording(folder: folder, name: $0, fileExtension: fileExtension, dialect: dialect)
                }
            }
        }
    }

    @Test func allOfThemAreThere() { #expect(Self.recordings.count >= 229) }

    static func read(_ format: StreamFormat, _ out: [UInt8]) -> ClientReading {
        switch format {
        case .vercelUI: UIMessageStreamReader.read(out)
        case .vercelData: DataStreamReader.read(out)
        default: AGUIReader.read(out)
        }
    }

    @Test(arguments: recordings, UIEncoderTests.formats) func readsBack(recording: Recording, format: StreamFormat)
        throws
    {
        let bytes = try recording.bytes()
        let (source, progress) = try recording.transcript(bytes)
        let (out, ending) = try recording.convert(format, [bytes])
        // The long ones one byte at a time would take longer than all others together.
        for size in bytes.count < 4000 ? [1, 1000] : [1000] {
            let (again, endingAgain) = try recording.convert(format, Cutter.pieces(bytes, of: size))
            #expect(again == out && endingAgain == ending, "in pieces of \(size)")
        }
        #expect(ending == .complete)
        let reading = Self.read(format, out)
        #expect(reading.faults == [])
        #expect(reading.isComplete == progress.isComplete)
        #expect((reading.error == nil) == progress.isComplete)
        if let error = source.errors.first { #expect(reading.error == error) }
        expectText(reading.text, (source.text[0] ?? "") + (source.refusal[0] ?? ""), source)
        expectText(reading.reasoning, source.reasoning[0] ?? "", source)
        expectCalls(format, reading.calls, source.calls[0] ?? [])
        if progress.isComplete { expectEnd(format, reading, source) }
    }

    /// Compared by bytes, since strings are the same to Swift if they only look the same.
    private func expectText(_ text: String, _ wanted: String, _ source: Transcript) {
        // What a provider sends behind its error is not told.
        let count = source.errors.isEmpty ? wanted.utf8.count : min(text.utf8.count, wanted.utf8.count)
        #expect(Array(text.utf8) == Array(wanted.utf8.prefix(count)))
    }

    private func expectCalls(_ format: StreamFormat, _ calls: [ClientReading.Call], _ source: [Transcript.Call]) {
        #expect(calls.map(\.name) == source.map(\.name) && Set(calls.map(\.id)).count == calls.count)
        for (call, wanted) in zip(calls, source) {
            #expect(wanted.id.isEmpty || call.id == wanted.id)
            #expect(call.arguments == wanted.arguments || (wanted.arguments.isEmpty && call.arguments == "{}"))
            if call.hasEnded { #expect(call.input == ClientReading.canonical(json: wanted.arguments)) }
            #expect(call.hasEnded == (format == .agUI || (wanted.hasEnded && call.input != nil)))
        }
    }

    private func expectEnd(_ format: StreamFormat, _ reading: ClientReading, _ source: Transcript) {
        let words: [FinishReason: String] = [
            .stop: "stop", .length: "length", .toolCalls: "tool_calls", .contentFilter: "content_filter",
            .other: "other",
        ]
        let isRefused = source.refusal[0] != nil && source.reasons[0] == .stop
        var wanted = isRefused ? "content_filter" : source.reasons[0].flatMap { words[$0] }
        if format != .agUI { wanted = wanted?.replacing("_", with: "-") }
        #expect(reading.finish == wanted ?? (format == .vercelData ? "unknown" : nil))
        let isData = format == .vercelData
        #expect(reading.usage[isData ? "promptTokens" : "inputTokens"] as? Int == source.usage.input)
        #expect(reading.usage[isData ? "completionTokens" : "outputTokens"] as? Int == source.usage.output)
        if isData { return }
        #expect(reading.usage["cachedInputTokens"] as? Int == source.usage.cached)
        #expect(reading.usage["reasoningTokens"] as? Int == source.usage.reasoning)
    }

    /// Cut anywhere, a stream is still one that the strict readers take, and never a whole one.
    @Test(
        arguments: recordings.filter {
            [
                "syn-surrogates-split", "syn-error-object", "refusal", "tool-parallel", "groq-tool", "claude-tool",
                "tools-multi",
            ].contains($0.name)
        }, UIEncoderTests.formats)
    func aCutStreamIsAValidFailure(recording: Recording, format: StreamFormat) throws {
        let bytes = try recording.bytes()
        let whole = Self.read(format, try recording.convert(format, [bytes]).0)
        // At each byte of a short stream; of a long one, at some.
        for count in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 60)) {
            let prefix = Array(bytes.prefix(count))
            let (_, progress) = try recording.transcript(prefix)
            let (out, ending) = try recording.convert(format, [prefix])
            let reading = Self.read(format, out)
            #expect(reading.faults == [] && ending == .complete, "\(count) bytes")
            #expect(reading.isComplete == progress.isComplete && (reading.error == nil) == progress.isComplete)
            // Compared by bytes: the last character may go on in the whole one.
            #expect(whole.text.utf8.starts(with: reading.text.utf8) || reading.text.hasSuffix("\u{FFFD}"))
        }
    }
}

/// A reader that cannot fail shows nothing: each of these streams has one fault.
@Suite struct UIReaderTests {
    private static let good = [
        #"{"type":"start","messageId":"m"}"#, #"{"type":"start-step"}"#, #"{"type":"text-start","id":"t0"}"#,
        #"{"type":"text-delta","id":"t0","delta":"x"}"#, #"{"type":"text-end","id":"t0"}"#,
        #"{"type":"tool-input-start","toolCallId":"c","toolName":"f"}"#,
        #"{"type":"tool-input-available","toolCallId":"c","toolName":"f","input":{}}"#,
        #"{"type":"finish-step"}"#, #"{"type":"finish"}"#, "[DONE]",
    ]

    private func faults(_ parts: [String]) -> Int {
        UIMessageStreamReader.read(Array(parts.map { "data: \($0)\n\n" }.joined().utf8)).faults.count
    }

    @Test func theGoodOneIsTaken() { #expect(faults(Self.good) == 0) }

    @Test(arguments: good.indices) func noPartMayBeLostOrComeTwice(index: Int) {
        var parts = Self.good
        parts.remove(at: index)
        // A block may be empty, and a call may stay without its input.
        #expect((faults(parts) == 0) == (index == 3 || index == 6))
        parts = Self.good
        parts.insert(parts[index], at: index)
        #expect((faults(parts) == 0) == (index == 3 || index == 6))
    }

    @Test(arguments: [
        (3, #"{"type":"text-delta","id":"t1","delta":"x"}"#),
        (3, #"{"type":"text-delta","id":"t0","delta":"x","n":1}"#),
        (3, #"{"type":"text-delta","id":"t0"}"#), (3, #"{"type":"text-delta","id":"t0","delta":null}"#),
        (3, #"{"type":"reasoning-delta","id":"t0","delta":"x"}"#), (3, #"{"type":"abort"}"#), (3, "{"),
        (8, #"{"type":"finish","finishReason":"stop"}"#), (8, #"{"type":"finish","usage":{}}"#),
        (6, #"{"type":"tool-input-available","toolCallId":"d","toolName":"f","input":{}}"#),
        (6, #"{"type":"tool-input-available","toolCallId":"c","toolName":"f"}"#),
        (5, #"{"type":"tool-input-start","toolCallId":"c","toolName":"f","dynamic":false}"#),
        (0, #"{"type":"start","messageId":null}"#),
    ])
    func aFaultIsFound(index: Int, part: String) {
        var parts = Self.good
        parts[index] = part
        #expect(faults(parts) > 0)
    }

    @Test(arguments: [
        "f:{\"messageId\":\"m\"}\n0:\"x\"\n", "0:\"x\"\n3:\"e\"\n", "f:{\"messageId\":\"m\"}\nz:1\n3:\"e\"\n",
        "f:{\"messageId\":\"m\"}\n3:\"e\"\n0:\"x\"\n",
        "f:{\"messageId\":\"m\"}\n9:{\"toolCallId\":\"c\",\"toolName\":\"f\",\"args\":\"\"}\n3:\"e\"\n",
        "f:{\"messageId\":\"m\"}\n3:\"e\"", "f:{\"messageId\":\"m\"}\n\n3:\"e\"\n",
    ])
    func aFaultOfADataStreamIsFound(text: String) { #expect(!DataStreamReader.read(Array(text.utf8)).faults.isEmpty) }

    private static let run = [
        #"{"type":"RUN_STARTED","threadId":"t","runId":"r"}"#,
        #"{"type":"TEXT_MESSAGE_START","messageId":"m","role":"assistant"}"#,
        #"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"x"}"#,
        #"{"type":"TEXT_MESSAGE_END","messageId":"m"}"#,
        #"{"type":"REASONING_START","messageId":"n"}"#,
        #"{"type":"REASONING_MESSAGE_START","messageId":"n","role":"reasoning"}"#,
        #"{"type":"REASONING_MESSAGE_END","messageId":"n"}"#, #"{"type":"REASONING_END","messageId":"n"}"#,
        #"{"type":"TOOL_CALL_START","toolCallId":"c","toolCallName":"f","parentMessageId":"m"}"#,
        #"{"type":"TOOL_CALL_END","toolCallId":"c"}"#, #"{"type":"RUN_FINISHED","threadId":"t","runId":"r"}"#,
    ]

    @Test(arguments: run.indices) func noEventOfARunMayBeLostOrComeTwice(index: Int) {
        func faults(_ events: [String]) -> Int {
            AGUIReader.read(Array(events.map { "data: \($0)\n\n" }.joined().utf8)).faults.count
        }
        #expect(faults(Self.run) == 0)
        var events = Self.run
        events.remove(at: index)
        #expect((faults(events) == 0) == (index == 2))
        events = Self.run
        events.insert(events[index], at: index)
        #expect((faults(events) == 0) == (index == 2))
    }
}
