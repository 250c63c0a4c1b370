import SluiceStreams
import Testing

/// Images of many megabytes are moved and not made anew.
@Suite(.serialized) struct LargeBodyTests {
    private static let size = 10 << 20

    private static func openAI(_ size: Int = size) -> [UInt8] {
        var body = Array(
            #"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,"#
                .utf8)
        body.append(contentsOf: [UInt8](repeating: UInt8(ascii: "A"), count: size))
        body.append(contentsOf: Array(#""}}]}],"max_tokens":5,"stream":true}"#.utf8))
        return body
    }

    @Test(arguments: [
        Dialect.openAIChat, .anthropicMessages, .openAIResponses, .gemini, .ollamaChat, .cohereV2, .bedrockConverse,
    ]) func anImageIsWrittenOnce(dialect: Dialect) throws {
        let out = try RequestTranslator.translate(
            Self.openAI(), from: .openAIChat, to: dialect, rules { $0.model = "m" }, .init()
        ).body
        #expect(out.count > Self.size && out.count < Self.size + 1000)
    }

    /// What is read of a body lies in it: nothing of an image is copied before the body that goes out is written.
    @Test func stringsAreSlicesOfTheBody() throws {
        let body = Self.openAI()
        let part = JSONValue.parse(body)?["messages"]?.elements?.first?["content"]?.elements?.first
        let url = try #require(part?["image_url"]?["url"]?.string)
        let isInside = body.withUnsafeBytes { all in
            url.raw.withUnsafeBytes { slice in
                guard let first = all.baseAddress, let start = slice.baseAddress else { return false }
                return start >= first && start + slice.count <= first + all.count
            }
        }
        #expect(isInside && url.raw.count > Self.size)
    }

    /// Split out of a data URL on the way there, and made one again on the way back.
    @Test func theBytesOfAnImageAreKept() throws {
        let body = Self.openAI()
        let there = try RequestTranslator.translate(body, from: .openAIChat, to: .anthropicMessages, .init(), .init())
        let back = try RequestTranslator.translate(there.body, from: .anthropic, to: .openAIChat, .init(), .init())
        let url = JSONValue.parse(back.body)?["messages"]?.elements?.first?["content"]?.elements?.first?["image_url"]?[
            "url"]
        let wanted = Array("data:image/png;base64,".utf8) + [UInt8](repeating: UInt8(ascii: "A"), count: Self.size)
        let isSame = url?.string.map { Array($0.raw) == wanted } ?? false
        #expect(isSame)
    }
}
