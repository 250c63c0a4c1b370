import Foundation
import SluiceBytes
import SluiceStreams

/// A dialect's decoder alone, over all that was recorded of it, in reads of 16 KiB: what a byte of each provider costs.
struct DecodeCase {
    let dialect: Dialect
    private static let folders: [(Dialect, String)] = [
        (.openAIChat, "openai-chat"), (.openAICompletions, "openai-completions"),
        (.openAIResponses, "openai-responses"), (.anthropicMessages, "anthropic-messages"),
        (.anthropicCompletion, "anthropic-completion"), (.cohereV1, "cohere-v1"), (.cohereV2, "cohere-v2"),
        (.gemini, "gemini-sse"), (.ollamaChat, "ollama-chat"), (.ollamaGenerate, "ollama-generate"),
        (.bedrockConverse, "bedrock-converse"), (.bedrockInvoke, "bedrock-invoke"), (.tgi, "tgi"),
        (.replicate, "replicate"), (.watsonx, "watsonx"),
    ]
    private let folder: String

    var name: String { "decode.\(dialect.rawValue)" }

    static let all = folders.map { DecodeCase(dialect: $0.0, folder: $0.1) }

    struct Wrong: Error, CustomStringConvertible { let description: String }

    /// Decodes at least so many KiB, each recording whole, again and again; returns the bytes, and how long that took.
    func run(kibibytes: Int) throws -> (bytes: Int, nanoseconds: Int) {
        let recordings = try load()
        var batch = EventBatch()
        var (bytes, events) = (0, 0)
        let began = StreamRun.now()
        while bytes < kibibytes << 10 {
            for recording in recordings where bytes < kibibytes << 10 {
                events += try decode(recording, &batch)
                bytes += recording.count
            }
        }
        guard events > 0 else { throw Wrong(description: "nothing was decoded") }
        return (bytes, StreamRun.now() - began)
    }

    private func decode(_ recording: [UInt8], _ batch: inout EventBatch) throws -> Int {
        var decoder = StreamDecoders.make(dialect, eventBytes: 8 << 20)
        var events = 0
        var start = 0
        while start < recording.count {
            let end = min(start + (16 << 10), recording.count)
            try decoder.feed(recording.span.extracting(start..<end), into: &batch)
            events += batch.events.count
            batch.removeAll()
            start = end
        }
        try decoder.finish(into: &batch)
        events += batch.events.count
        batch.removeAll()
        return events
    }

    /// What providers really sent; cases that were made up show no provider's pace.
    private func load() throws -> [[UInt8]] {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Fixtures/\(folder)")
        let names = try FileManager.default.contentsOfDirectory(atPath: root.path()).sorted()
        let recorded = names.filter { !$0.hasSuffix(".expected.json") && !$0.hasPrefix("syn-") }
        guard !recorded.isEmpty else { throw Wrong(description: "no recordings in \(root.path())") }
        return try recorded.map { try Array(Data(contentsOf: root.appending(path: $0))) }
    }
}
