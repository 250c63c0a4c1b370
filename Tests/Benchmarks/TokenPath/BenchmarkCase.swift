import SluiceStreams

/// One way through the token path: what the provider sends, how the network cuts it, and what the client reads.
struct BenchmarkCase {
    enum Chunks: String, CaseIterable {
        /// The chunks of a stream differ in their text alone.
        case plain
        /// As OpenAI sends them: padding behind the text, which differs too, so that each chunk is parsed.
        case padded
    }

    enum Reads: String, CaseIterable {
        /// Each read holds one event: a provider that is slower than the network.
        case event
        /// 16 KiB a read, cut wherever that falls.
        case large = "16k"
    }

    enum Output: String, CaseIterable {
        case text
        case sseText = "sse-text"
        case sseJSON = "sse-json"
        case ndjson
        /// To a client that speaks the provider's dialect: whole events go through as they are.
        case relay
        /// To a client of unknown dialect: all bytes go through as they come.
        case tap
    }

    let output: Output
    let chunks: Chunks
    let reads: Reads

    var name: String { "\(output.rawValue).\(chunks.rawValue).\(reads.rawValue)" }

    static let all: [BenchmarkCase] = Output.allCases.flatMap { output in
        Chunks.allCases.flatMap { chunks in
            Reads.allCases.map { BenchmarkCase(output: output, chunks: chunks, reads: $0) }
        }
    }

    func makeBridge() -> StreamBridge {
        let decoder = StreamDecoders.make(.openAIChat, eventBytes: 8 << 20)
        let format: StreamFormat =
            switch output {
            case .text: .text
            case .sseText: .sseText
            case .sseJSON: .sseJSON
            case .ndjson: .ndjson
            case .relay: .openAIChat
            case .tap: .passthrough
            }
        let encoder = StreamEncoders.make(format, options: EncoderOptions())
        if let encoder, output != .relay { return StreamBridge(decoder: decoder, encoder: encoder) }
        return StreamBridge(relaying: decoder, failingAs: encoder)
    }
}
