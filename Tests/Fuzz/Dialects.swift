import SluiceBytes
import SluiceStreams

/// Every provider's stream and document: nothing traps, text stays UTF-8, and a network that cuts the bytes elsewhere changes neither
/// the events nor what every client's format makes of them.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(start, count), let first = input.bytes.first else { return 0 }
    let dialect = Dialect.allCases[Int(input.variant) % Dialect.allCases.count]
    let format = StreamFormat.allCases[Int(first) % StreamFormat.allCases.count]
    let bytes = Array(input.bytes.dropFirst())
    let cut = input.cut % (bytes.count + 1)
    let halves = [Array(bytes[..<cut]), Array(bytes[cut...])]
    for eventBytes in [1 << 20, 128] {
        let whole = run(dialect, format, [bytes], eventBytes: eventBytes)
        requireEqual(whole, run(dialect, format, halves, eventBytes: eventBytes), "\(dialect) to \(format), cut")
        guard let decoder = StreamDecoders.makeDocument(dialect, eventBytes: eventBytes) else { continue }
        requireEqual(
            run(decoder, format, [bytes], isDocument: true), run(decoder, format, halves, isDocument: true),
            "\(dialect)'s document to \(format), cut")
    }
    return 0
}

private func run(_ dialect: Dialect, _ format: StreamFormat, _ pieces: [[UInt8]], eventBytes: Int) -> [String] {
    run(StreamDecoders.make(dialect, eventBytes: eventBytes), format, pieces, isDocument: false)
}

private func run(
    _ decoder: any StreamDecoder, _ format: StreamFormat, _ pieces: [[UInt8]], isDocument: Bool
) -> [String] {
    var options = EncoderOptions()
    (options.id, options.model, options.created, options.includeUsage) = ("id", "model", 1, true)
    options.isDocument = isDocument
    guard let encoder = StreamEncoders.make(format, options: options) else { return [] }
    var bridge = StreamBridge(decoder: decoder, encoder: encoder)
    var batch = EventBatch()
    var out = ByteQueue()
    var verdict: String
    do throws(StreamError) {
        for piece in pieces { try bridge.consume(piece.span, batch: &batch, into: &out) }
        verdict = "\(try bridge.finish(batch: &batch, into: &out))"
    } catch {
        verdict = "\(error) \(bridge.fail(StreamFailure(.malformed, "malformed"), into: &out))"
    }
    let bytes = out.withUnsafeBytes { Array($0) }
    require(String(validating: bytes, as: UTF8.self) != nil, "what is encoded is UTF-8")
    if isDocument, !bytes.isEmpty {
        require(JSONGrammar.isValue(bytes.span), "a document is JSON: \(String(decoding: bytes, as: UTF8.self))")
    }
    if !isDocument { lines(bytes).forEach { check($0, format) } }
    return lines(bytes) + [verdict, "\(bridge.progress)", "\(bridge.endedTruly)", bridge.errorMessage]
}

/// Each line of a format whose lines are JSON is JSON.
private func check(_ line: String, _ format: StreamFormat) {
    var text = Substring(line)
    switch format {
    case .text, .sseText, .passthrough, .vercelData: return
    case .ndjson, .ollamaChat, .ollamaGenerate: break
    default:
        guard line.hasPrefix("data: ") else { return }
        text = line.dropFirst(6)
    }
    if text.hasSuffix("\r") { text = text.dropLast() }
    guard !text.isEmpty, text != "[DONE]" else { return }
    require(JSONGrammar.isValue(Array(text.utf8).span), "a line is JSON: \(line)")
}

private func lines(_ bytes: [UInt8]) -> [String] {
    bytes.split(separator: ASCII.lf, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
}
