import SluiceBytes
import SluiceStreams

/// Every provider's stream and document: nothing traps, text stays UTF-8, a network that cuts the bytes elsewhere changes neither the
/// events nor what every client's format makes of them, no client takes a cut answer for a whole one, and an answer that was
/// written in a provider's format is the same when it is read again.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(start, count), let first = input.bytes.first else { return 0 }
    let dialect = Dialect.allCases[Int(input.variant) % Dialect.allCases.count]
    var format = StreamFormat.allCases[Int(first) % StreamFormat.allCases.count]
    // Plain text has no events: each run of bytes is one, and only their text is the same for every cut.
    if dialect == .text, format != .text { format = .text }
    let bytes = Array(input.bytes.dropFirst())
    let cut = input.cut % (bytes.count + 1)
    let halves = [Array(bytes[..<cut]), Array(bytes[cut...])]
    for eventBytes in [1 << 20, 128] {
        for isDocument in [false, true] {
            let way = Way(dialect: dialect, readsDocument: isDocument, format: format, eventBytes: eventBytes)
            requireEqual(run([bytes], way).lines, run(halves, way).lines, "\(way), cut")
        }
    }
    for isDocument in [false, true] {
        let way = Way(dialect: dialect, readsDocument: isDocument, format: format)
        checkTruncated(halves[0], way)
        _ = run([halves[0]], way, failing: true)
        checkRoundTrip(bytes, way)
    }
    return 0
}

/// From a provider to a client.
struct Way: CustomStringConvertible {
    let dialect: Dialect
    /// The provider's answer is one document, and the client's too.
    let readsDocument: Bool
    let format: StreamFormat
    var eventBytes = 1 << 20

    var decoder: (any StreamDecoder)? {
        readsDocument
            ? StreamDecoders.makeDocument(dialect, eventBytes: eventBytes)
            : StreamDecoders.make(dialect, eventBytes: eventBytes)
    }
    var description: String { "\(dialect)\(readsDocument ? "'s document" : "") to \(format)" }

    func encoder(isDocument: Bool) -> (any StreamEncoder)? {
        var options = EncoderOptions()
        (options.id, options.model, options.created, options.includeUsage) = ("id", "model", 1, true)
        options.isDocument = isDocument
        return StreamEncoders.make(format, options: options)
    }
}

struct Outcome {
    var bytes: [UInt8] = []
    var endedTruly = false
    var lines: [String] = []
}

/// What the client gets, whose ending is checked against what the bridge says of it.
func run(_ pieces: [[UInt8]], _ way: Way, failing: Bool = false) -> Outcome {
    guard let decoder = way.decoder, let encoder = way.encoder(isDocument: way.readsDocument) else { return Outcome() }
    var bridge = StreamBridge(decoder: decoder, encoder: encoder)
    var batch = EventBatch()
    var out = ByteQueue()
    var verdict = ""
    var ending: BodyEnding
    do throws(StreamError) {
        for piece in pieces {
            try bridge.consume(piece.span, batch: &batch, into: &out)
            checkProgress(bridge, way)
        }
        if failing {
            ending = bridge.fail(StreamFailure(.timeout, "stalled"), into: &out)
        } else {
            ending = try bridge.finish(batch: &batch, into: &out)
            checkProgress(bridge, way)
        }
    } catch {
        verdict = "\(error)"
        ending = bridge.fail(StreamFailure(.malformed, "malformed"), into: &out)
    }
    let bytes = out.withUnsafeBytes { Array($0) }
    require(String(validating: bytes, as: UTF8.self) != nil, "\(way): what is encoded is UTF-8")
    require(!bridge.endedTruly || !failing && verdict.isEmpty, "\(way): an answer that failed ended truly")
    Ending(bytes, way).check(ending, endedTruly: bridge.endedTruly)
    let lines = bytes.split(separator: ASCII.lf, omittingEmptySubsequences: false)
        .map { String(decoding: $0, as: UTF8.self) }
    return Outcome(
        bytes: bytes, endedTruly: bridge.endedTruly,
        lines: lines + [verdict, "\(ending)", "\(bridge.progress)", "\(bridge.endedTruly)", bridge.errorMessage])
}

private func checkProgress(_ bridge: borrowing StreamBridge, _ way: Way) {
    let isBoth = bridge.errorKind != nil && bridge.progress.isComplete
    require(!isBoth, "\(way): an error was told, and the answer is complete")
}

/// Where not a word of the dialect for an ending has come, no answer has ended.
private func checkTruncated(_ bytes: [UInt8], _ way: Way) {
    let outcome = run([bytes], way)
    // Documents and plain text end with the body; what is in Bedrock's base64, and what `auto` is, would have to be decoded.
    guard outcome.endedTruly, !way.readsDocument, let words = endingWords(way.dialect) else { return }
    let hasWord = words.contains { holds(bytes, Array($0.utf8)) }
    require(hasWord, "\(way): an answer without an ending ended: \(String(decoding: bytes, as: UTF8.self))")
}

private func endingWords(_ dialect: Dialect) -> [String]? {
    switch dialect {
    case .openAIChat, .openAICompletions, .mlflow: ["finish_reason", "[DONE]"]
    case .openAIResponses: ["response.completed", "response.incomplete", "response.cancelled", "[DONE]"]
    case .anthropicMessages: ["message_stop", "stop_reason", "[DONE]"]
    case .anthropicCompletion: ["stop_reason", "[DONE]"]
    case .cohereV1: ["stream-end", "is_finished", "finish_reason", "[DONE]"]
    case .cohereV2: ["message-end", "[DONE]"]
    case .gemini: ["finishReason", "blockReason", "[DONE]"]
    case .ollamaChat, .ollamaGenerate: ["done", "[DONE]"]
    case .bedrockConverse: ["messageStop"]
    case .tgi: ["generated_text", "finish_reason", "[DONE]"]
    case .llamaCPP: ["stop", "[DONE]"]
    case .replicate: ["done"]
    case .watsonx: ["stop_reason", "[DONE]"]
    case .bedrockInvoke, .text, .raw, .auto: nil
    }
}
