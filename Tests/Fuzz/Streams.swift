import SluiceBytes
import SluiceStreams

/// A provider's body through the bridge, in every dialect and format: nothing traps, text stays UTF-8, and a network that
/// cuts the bytes elsewhere changes neither what the client reads nor the verdict at the end.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(start, count) else { return 0 }
    for eventBytes in [1 << 20, 64] {
        let whole = run(input.whole, input.variant, eventBytes: eventBytes)
        let halves = run(input.halves, input.variant, eventBytes: eventBytes)
        requireEqual(whole, halves, "cut, variant \(input.variant), \(eventBytes) bytes an event")
    }
    for style in [EventStamper.Style.complete, .inEvents] {
        requireEqual(stamped(input.whole, style), stamped(input.halves, style), "cut, ids")
    }
    guard format(input.variant) != .passthrough else { return 0 }
    let usual = run(input.whole, input.variant, eventBytes: 1 << 20, hidesOffsets: true)
    let spaced = run([respaced(input.bytes)], input.variant, eventBytes: 1 << 20, hidesOffsets: true)
    requireEqual(usual, spaced, "respaced, variant \(input.variant)")
    return 0
}

/// What an event stream is with ids that say where to go on: each of ours says the place behind its event, and no other one is left.
private func stamped(_ pieces: [[UInt8]], _ style: EventStamper.Style) -> [String] {
    let name = "0123456789abcdefghijkl"
    var stamper = EventStamper(name: name, style: style)
    var out = ByteQueue()
    stamper.open(into: &out)
    for piece in pieces {
        stamper.stamp(piece.span, into: &out)
        require(stamper.position == out.count, "the position is the count of bytes")
    }
    stamper.close(into: &out)
    let bytes = out.withUnsafeBytes { Array($0) }
    var position = 0
    for line in bytes.split(separator: ASCII.lf, omittingEmptySubsequences: false) {
        position += line.count + 1
        guard line.starts(with: Array("id:".utf8)) else { continue }
        let said = String(decoding: line, as: UTF8.self)
        require(said.hasPrefix("id: \(name)/"), "an id of somebody else's: \(said)")
        let place = said.dropFirst("id: /".count + name.utf8.count)
        require(place == EventStamper.end || Int(place) == position + 1, "\(said) stands before \(position + 1)")
    }
    return lines(bytes)
}

private let custom = CustomDialect(
    framing: .sse, text: "output[0].text", finish: "output[0].reason", error: "error.message", done: "[DONE]")
private let customLines = CustomDialect(
    framing: .ndjson, text: "message.content", finish: "done_reason", error: "error")

/// The same events with white space behind the opening brace, another amount in each: what a decoder remembers of earlier
/// events, to recognise the next one faster, must change nothing.
private func respaced(_ bytes: [UInt8]) -> [UInt8] {
    let opening = Array("\n\ndata: {".utf8)
    var (result, events, start) = ([UInt8](), 0, 0)
    while start < bytes.count {
        guard bytes[start...].starts(with: opening) else {
            result.append(bytes[start])
            start += 1
            continue
        }
        events += 1
        result += opening + [UInt8](repeating: ASCII.space, count: events)
        start += opening.count
    }
    return result
}

private func format(_ variant: UInt8) -> StreamFormat {
    StreamFormat.allCases[Int(variant & 7) % 5]
}

/// The bits of `variant`: 0–2 the client's format, 3–4 the dialect, 5 a failure before the end.
private func run(
    _ pieces: [[UInt8]], _ variant: UInt8, eventBytes: Int, hidesOffsets: Bool = false
) -> [String] {
    let decoder: any StreamDecoder =
        switch variant >> 3 & 3 {
        case 0, 1: StreamDecoders.make(.openAIChat, eventBytes: eventBytes)
        case 2: StreamDecoders.make(custom, eventBytes: eventBytes)
        default: StreamDecoders.make(customLines, eventBytes: eventBytes)
        }
    var options = EncoderOptions()
    (options.id, options.model, options.created, options.includeUsage) = ("id", "model", 1, true)
    let encoder = StreamEncoders.make(format(variant), options: options)
    var bridge =
        if let encoder { StreamBridge(decoder: decoder, encoder: encoder) } else { StreamBridge(relaying: decoder) }
    var batch = EventBatch()
    var out = ByteQueue()
    var verdict: String
    var hasThrown = false
    do throws(StreamError) {
        for piece in pieces {
            try bridge.consume(piece.span, batch: &batch, into: &out)
            require(batch.isEmpty, "the scratch batch is left empty")
        }
        if variant & 32 == 0 {
            verdict = "\(try bridge.finish(batch: &batch, into: &out))"
        } else {
            verdict = "\(bridge.fail(StreamFailure(.timeout, "stalled"), into: &out))"
        }
    } catch {
        hasThrown = true
        verdict = "\(name(error, hidesOffsets)) \(bridge.fail(StreamFailure(.malformed, "malformed"), into: &out))"
    }
    var bytes = out.withUnsafeBytes { Array($0) }
    if encoder != nil {
        require(String(validating: bytes, as: UTF8.self) != nil, "what is encoded is UTF-8")
    } else {
        let sent = Array(pieces.joined())
        require(sent.starts(with: bytes), "what is relayed are the provider's bytes")
        require(hasThrown || bytes == sent, "all of them are relayed")
        // A chunk is relayed before it is looked at, so a fault lets through as much as was read with it.
        if hasThrown { bytes = [] }
    }
    return lines(bytes) + [
        verdict, "\(bridge.progress)", "\(bridge.endedTruly)", String(describing: bridge.errorKind),
        bridge.errorMessage, String(describing: bridge.usage), String(describing: bridge.finishReason),
    ]
}

private func name(_ error: StreamError, _ hidesOffset: Bool) -> String {
    guard hidesOffset, case .malformed(let what, _) = error else { return "\(error)" }
    return "malformed \(what)"
}

private func lines(_ bytes: [UInt8]) -> [String] {
    bytes.split(separator: ASCII.lf, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
}
