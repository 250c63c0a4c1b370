import Foundation
import SluiceBytes
import SluiceStreams
import Testing

/// How a conversion ends: never as complete unless the provider ended it.
@Suite struct StreamBridgeTests {
    private static let head =
        #"data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"hello "}}]}"# + "\n\n"
    private static let middle = #"data: {"choices":[{"index":0,"delta":{"content":"wörld"}}]}"# + "\n\n"
    private static let finish = #"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"# + "\n\n"
    private static let wire = Array((head + middle + finish + "data: [DONE]\n\n").utf8)
    /// From here on the finish has been seen: its last brace is the last but two of its event.
    private static let completeFrom = (head + middle + finish).utf8.count - 2

    static let formats: [StreamFormat] = [
        .text, .sseText, .sseJSON, .ndjson, .openAIChat, .openAIResponses, .openAICompletions, .anthropic, .gemini,
        .ollamaChat, .ollamaGenerate, .cohere, .mlflow, .vercelUI, .vercelData, .agUI, .passthrough,
    ]

    /// Whether the client's library takes the answer for a whole one.
    private func looksComplete(_ format: StreamFormat, _ out: [UInt8], _ ending: BodyEnding) -> Bool {
        guard ending == .complete else { return false }
        let text = String(decoding: out, as: UTF8.self)
        return switch format {
        case .text, .passthrough: true
        case .sseText: text.contains("event: done")
        case .sseJSON, .ndjson: text.contains("{\"done\":true")
        case .vercelUI: text.contains("{\"type\":\"finish\"") && text.hasSuffix("data: [DONE]\n\n")
        case .vercelData: text.contains("\nd:{")
        case .agUI: text.contains("\"RUN_FINISHED\"")
        case .openAIChat, .openAICompletions, .cohere: text.hasSuffix("data: [DONE]\n\n")
        case .openAIResponses: text.contains("event: response.completed")
        case .anthropic: text.contains("event: message_stop")
        case .gemini: text.contains("\"finishReason\"")
        case .ollamaChat, .ollamaGenerate: text.contains("\"done\":true")
        case .mlflow: text.contains("\"finish_reason\":\"")
        }
    }

    /// Whether the client's library finds an error in it.
    private func saysError(_ format: StreamFormat, _ out: [UInt8]) -> Bool {
        let text = String(decoding: out, as: UTF8.self)
        return switch format {
        case .vercelUI: text.contains("{\"type\":\"error\",\"errorText\":")
        case .vercelData: text.hasPrefix("3:") || text.contains("\n3:")
        case .agUI: text.contains("{\"type\":\"RUN_ERROR\",\"message\":")
        case .openAIResponses: text.contains("event: error\n") && text.contains("event: response.failed\n")
        case .anthropic: text.contains("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":")
        case .gemini: text.contains("{\"error\":{\"code\":")
        case .ollamaChat, .ollamaGenerate: text.contains("{\"error\":\"")
        case .cohere: text.contains("\"finish_reason\":\"ERROR\"")
        default: text.contains("\"error\":{\"message\"")
        }
    }

    @Test(arguments: formats) func aCutIsNeverAnEnding(format: StreamFormat) throws {
        for count in 0...Self.wire.count {
            let (out, ending) = try Conversion.run(format, [Array(Self.wire.prefix(count))])
            #expect(looksComplete(format, out, ending) == (count >= Self.completeFrom), "\(count) bytes")
            if format == .passthrough { #expect(out == Array(Self.wire.prefix(count))) }
            if format == .text || format == .passthrough { continue }
            #expect(saysError(format, out) == (count < Self.completeFrom), "\(count) bytes")
        }
    }

    @Test(arguments: formats) func aFailureIsToldInTheFormatsWay(format: StreamFormat) throws {
        var bridge = Conversion.bridge(format)
        var batch = EventBatch()
        var out = ByteQueue()
        try bridge.consume(Array(Self.head.utf8).span, batch: &batch, into: &out)
        let ending = bridge.fail(StreamFailure(.timeout, "too long"), into: &out)
        #expect(ending == (format == .text || format == .passthrough ? .abort : .complete))
        #expect(!looksComplete(format, out.array, ending))
        #expect(out.text.contains("too long") == (ending == .complete))
    }

    @Test(arguments: formats) func anEmptyAnswerIsAFailure(format: StreamFormat) throws {
        for wire in ["", ": ping\n\n", "data: [DONE]\n\n"] where format != .passthrough {
            let (out, ending) = try Conversion.run(format, [Array(wire.utf8)])
            #expect(!looksComplete(format, out, ending))
        }
    }

    @Test func whatWasUnderstoodBeforeAFaultIsDelivered() throws {
        var bridge = Conversion.bridge(.text)
        var batch = EventBatch()
        var out = ByteQueue()
        #expect(throws: StreamError.self) {
            try bridge.consume(Array((Self.head + "data: {oops\n\n").utf8).span, batch: &batch, into: &out)
        }
        #expect(out.text == "hello " && batch.isEmpty)
    }

    @Test(arguments: formats) func anErrorStandsWhereItCameHoweverTheReadsFell(format: StreamFormat)
        throws
    {
        let wire = Array((Self.head + "data: {\"error\":{\"message\":\"m\"}}\n\n" + Self.middle).utf8)
        let (whole, ending) = try Conversion.run(format, [wire])
        for cut in 0...wire.count {
            let (out, endingToo) = try Conversion.run(format, [Array(wire[..<cut]), Array(wire[cut...])])
            #expect(out == whole && endingToo == ending, "cut at byte \(cut)")
        }
    }

    /// A relay's client learns of a bad event by the error behind the good ones, and never sees the event itself.
    @Test(arguments: ["{oops", String(repeating: "x", count: 400)]) func aRelayStopsBeforeAFault(bad: String) throws {
        let encoder = try #require(StreamEncoders.make(.openAIChat, options: EncoderOptions()))
        let bytes = Array((Self.head + "data: " + bad + "\n\n" + Self.middle).utf8)
        for cut in 0...bytes.count {
            let decoder = StreamDecoders.make(.openAIChat, eventBytes: 300)
            var bridge = StreamBridge(relaying: decoder, failingAs: encoder)
            var batch = EventBatch()
            var out = ByteQueue()
            #expect(throws: StreamError.self, "cut at byte \(cut)") {
                try bridge.consume(Array(bytes[..<cut]).span, batch: &batch, into: &out)
                try bridge.consume(Array(bytes[cut...]).span, batch: &batch, into: &out)
            }
            #expect(out.text == Self.head, "cut at byte \(cut)")
        }
    }

    /// The same, whatever ends the lines, and for JSON lines.
    @Test(arguments: ["\n\n", "\r\n\r\n", "\r\r", "\n"]) func aRelayStopsBeforeAFault(behind blank: String) throws {
        let isLines = blank == "\n"
        let dialect = isLines ? Dialect.ollamaChat : .openAIChat
        let encoder = try #require(
            StreamEncoders.make(isLines ? .ollamaChat : .openAIChat, options: EncoderOptions()))
        let good =
            isLines
            ? #"{"message":{"role":"assistant","content":"one"},"done":false}"#
            : #"data: {"choices":[{"index":0,"delta":{"content":"one"}}]}"#
        let bad = isLines ? "{oops" : "data: {oops"
        let bytes = Array((good + blank + good + blank + bad + blank + good + blank).utf8)
        for cut in 0...bytes.count {
            let decoder = StreamDecoders.make(dialect, eventBytes: 300)
            var bridge = StreamBridge(relaying: decoder, failingAs: encoder, boundary: isLines ? .line : .blankLine)
            var batch = EventBatch()
            var out = ByteQueue()
            #expect(throws: StreamError.self, "cut at byte \(cut)") {
                try bridge.consume(Array(bytes[..<cut]).span, batch: &batch, into: &out)
                try bridge.consume(Array(bytes[cut...]).span, batch: &batch, into: &out)
            }
            // The LF of a last CRLF may still be missing; the line has ended without it.
            let whole = good + blank + good + blank
            #expect(
                whole.utf8.starts(with: out.text.utf8) && out.text.utf8.count >= whole.utf8.count - 1,
                "cut at byte \(cut)")
        }
    }

    @Test func whatARelayHoldsIsBounded() throws {
        let encoder = try #require(StreamEncoders.make(.openAIChat, options: EncoderOptions()))
        let decoder = StreamDecoders.make(.openAIChat, eventBytes: 4096)
        var bridge = StreamBridge(relaying: decoder, failingAs: encoder)
        var batch = EventBatch()
        var out = ByteQueue()
        let comment = Array(": never a blank line\n".utf8)
        #expect(throws: StreamError.eventTooLarge(Limit("event_bytes", 4096))) {
            for _ in 0..<1000 { try bridge.consume(comment.span, batch: &batch, into: &out) }
        }
    }

    @Test func countsForTheLog() throws {
        var bridge = Conversion.bridge(.ndjson)
        var batch = EventBatch()
        var out = ByteQueue()
        let before = bridge.progress
        #expect(!before.sawContent)
        try bridge.consume(Self.wire.span, batch: &batch, into: &out)
        let usage = #"data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"# + "\n\n"
        try bridge.consume(Array(usage.utf8).span, batch: &batch, into: &out)
        let ending = try bridge.finish(batch: &batch, into: &out)
        #expect(ending == .complete)
        let (progress, endedTruly, tokens) = (bridge.progress, bridge.endedTruly, bridge.tokenCount)
        #expect(progress.eventCount == 4 && progress.sawContent && endedTruly && tokens == 2)
        let (counted, reason) = (bridge.usage, bridge.finishReason)
        #expect(counted == Usage(input: 1, output: 2) && reason == .stop)
    }

    @Test func theProvidersErrorIsKept() throws {
        var bridge = Conversion.bridge(.passthrough)
        var batch = EventBatch()
        var out = ByteQueue()
        let wire = "data: {\"error\":{\"message\":\"full\",\"code\":503}}\n\n"
        try bridge.consume(Array(wire.utf8).span, batch: &batch, into: &out)
        let ending = try bridge.finish(batch: &batch, into: &out)
        #expect(ending == .complete)
        let (kind, message, endedTruly) = (bridge.errorKind, bridge.errorMessage, bridge.endedTruly)
        #expect(out.text == wire && kind == .overloaded && message == "full" && !endedTruly)
    }

    /// Whatever part of an event has come, the client has seen none of it when it is told of a failure.
    @Test func aRelayIsFailedAndKeptAliveOnlyBetweenEvents() throws {
        let encoder = try #require(StreamEncoders.make(.openAIChat, options: EncoderOptions()))
        let head = Array(Self.head.utf8)
        for count in 0...head.count {
            let decoder = StreamDecoders.make(.openAIChat, eventBytes: 4096)
            var bridge = StreamBridge(relaying: decoder, failingAs: encoder)
            var batch = EventBatch()
            var out = ByteQueue()
            try bridge.consume(Array(head.prefix(count)).span, batch: &batch, into: &out)
            let whole = count == head.count ? Self.head : ""
            #expect(out.text == whole)
            let hasKeepalive = bridge.keepalive(into: &out)
            let ending = bridge.fail(StreamFailure(.timeout, "late"), into: &out)
            #expect(hasKeepalive && ending == .complete)
            #expect(out.text.hasPrefix(whole + ":\n\ndata: {\"error\""))
        }
    }

    @Test(arguments: ["\n\n", "\r\n\r\n", "\r\r"]) func aRelayPassesWholeEventsOnAtOnce(blank: String) throws {
        let encoder = try #require(StreamEncoders.make(.openAIChat, options: EncoderOptions()))
        let wire = "data: {\"choices\":[]}" + blank + ": comment" + blank + "data: [DONE]" + blank
        let bytes = Array(wire.utf8)
        for cut in 0...bytes.count {
            let decoder = StreamDecoders.make(.openAIChat, eventBytes: 4096)
            var bridge = StreamBridge(relaying: decoder, failingAs: encoder)
            var batch = EventBatch()
            var out = ByteQueue()
            try bridge.consume(Array(bytes[..<cut]).span, batch: &batch, into: &out)
            let events = String(decoding: bytes[..<cut], as: UTF8.self).components(separatedBy: blank).count - 1
            #expect(out.text.components(separatedBy: blank).count - 1 == events)
            try bridge.consume(Array(bytes[cut...]).span, batch: &batch, into: &out)
            let ending = try bridge.finish(batch: &batch, into: &out)
            #expect(ending == .complete)
            #expect(out.text == wire)
        }
    }

    @Test func bytesThatNobodyReadsEndAsTheyEnd() throws {
        var bridge = StreamBridge(relaying: StreamDecoders.make(.raw, eventBytes: 10))
        var batch = EventBatch()
        var out = ByteQueue()
        let bytes: [UInt8] = [0, 255, 10, 13, 128]
        try bridge.consume(bytes.span, batch: &batch, into: &out)
        let ending = try bridge.finish(batch: &batch, into: &out)
        #expect(ending == .complete)
        #expect(out.array == bytes)
    }
}
