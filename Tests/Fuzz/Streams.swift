import SluiceBytes
import SluiceStreams

/// A provider's body through the bridge, in every dialect and format: nothing traps, text stays UTF-8, and a network that
/// cuts the bytes elsewhere changes neither what the client reads nor the verdict at the end.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(start, count) else { return 0 }
    let whole = run(input.whole, input.variant, eventBytes: 1 << 20)
    let halves = run(input.halves, input.variant, eventBytes: 1 << 20)
    requireEqual(whole, halves, "variant \(input.variant)")
    // With a small limit the verdict may depend on the cut, since a line counts with its name while it is put together.
    _ = run(input.halves, input.variant, eventBytes: 48)
    return 0
}

private let custom = CustomDialect(
    framing: .sse, text: "output[0].text", finish: "output[0].reason", error: "error.message", done: "[DONE]")
private let customLines = CustomDialect(
    framing: .ndjson, text: "message.content", finish: "done_reason", error: "error")

/// The bits of `variant`: 0–2 the client's format, 3–4 the dialect, 5 a failure before the end.
private func run(_ pieces: [[UInt8]], _ variant: UInt8, eventBytes: Int) -> [String] {
    let decoder: any StreamDecoder =
        switch variant >> 3 & 3 {
        case 0, 1: StreamDecoders.make(.openAIChat, eventBytes: eventBytes)
        case 2: StreamDecoders.make(custom, eventBytes: eventBytes)
        default: StreamDecoders.make(customLines, eventBytes: eventBytes)
        }
    let format = StreamFormat.allCases[Int(variant & 7) % StreamFormat.allCases.count]
    var options = EncoderOptions()
    (options.id, options.model, options.created, options.includeUsage) = ("id", "model", 1, true)
    let encoder = StreamEncoders.make(format, options: options)
    var bridge = encoder.map { StreamBridge(decoder: decoder, encoder: $0) } ?? StreamBridge(relaying: decoder)
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
        verdict = "\(name(error)) \(bridge.fail(StreamFailure(.malformed, "malformed"), into: &out))"
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

/// Without the offset, which says where the pieces of an event came together.
private func name(_ error: StreamError) -> String {
    switch error {
    case .eventTooLarge(let limit): "too large \(limit)"
    case .malformed(let what, _): "malformed \(what)"
    }
}

private func lines(_ bytes: [UInt8]) -> [String] {
    bytes.split(separator: ASCII.lf, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
}
