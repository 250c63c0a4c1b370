/// The body that a client must get, written down without the decoders and encoders that are measured.
struct ExpectedBody {
    private(set) var bytes: [UInt8] = []

    init(_ output: BenchmarkCase.Output, _ answer: UpstreamAnswer, rounds: Int) {
        append(Self.opening(output))
        for index in 0..<rounds * answer.texts.count {
            let position = index % answer.texts.count
            let (text, event) = (answer.texts[position], answer.events[position])
            switch output {
            case .text: append(text)
            case .sseText: append("id: \(index + 1)\ndata: \(Self.lines(text))\n\n")
            case .sseJSON: append("data: {\"text\":\(Words.quoted(text))}\n\n")
            case .ndjson: append("{\"text\":\(Words.quoted(text))}\n")
            case .relay, .tap: append(event)
            }
        }
        append(Self.closing(output, tokens: rounds * answer.texts.count))
    }

    private mutating func append(_ text: String) { bytes += Array(text.utf8) }

    private static func lines(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\ndata: ")
    }

    private static func opening(_ output: BenchmarkCase.Output) -> String {
        output == .relay || output == .tap ? UpstreamAnswer.role : ""
    }

    private static func closing(_ output: BenchmarkCase.Output, tokens: Int) -> String {
        let end = #"{"done":true,"finish_reason":"stop","usage":{"input_tokens":19,"output_tokens":1000}}"#
        return switch output {
        case .text: ""
        case .sseText: "id: \(tokens + 1)\nevent: done\ndata: \(end)\n\n"
        case .sseJSON: "data: \(end)\n\n"
        case .ndjson: "\(end)\n"
        case .relay, .tap: UpstreamAnswer.ending.joined()
        }
    }
}
