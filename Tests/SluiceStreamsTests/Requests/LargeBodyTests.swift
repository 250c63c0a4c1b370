import Foundation
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

    @Test func anImageCostsLittleMoreThanItsCopy() throws {
        let body = Self.openAI()
        for dialect in [Dialect.openAIChat, .anthropicMessages, .openAIResponses, .gemini, .ollamaChat, .cohereV2] {
            let clock = ContinuousClock()
            var out: [UInt8] = []
            let took = try clock.measure {
                out = try RequestTranslator.translate(
                    body, from: .openAIChat, to: dialect, rules { $0.model = "m" }, .init()
                ).body
            }
            #expect(out.count > Self.size && out.count < Self.size + 1000, "\(dialect)")
            // A debug build finds the string's end in some hundredth of a second; a walk byte by byte takes seconds.
            #expect(took < .milliseconds(600), "\(dialect): \(took)")
        }
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

    /// The most memory that the process held meanwhile, above what it held before.
    ///
    /// The image is larger than what malloc keeps of memory that was freed, which could be used again unseen.
    @Test func memoryGrowsByTheOutputAlone() throws {
        let size = 40 << 20
        let body = Self.openAI(size)
        func status(_ name: String) -> Int? {
            guard let text = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else { return nil }
            let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
            return line.flatMap { Int($0.split(separator: " ").dropLast().last ?? "") }.map { $0 * 1024 }
        }
        // 5: forget the peak.
        guard (try? Data("5".utf8).write(to: URL(fileURLWithPath: "/proc/self/clear_refs"))) != nil else { return }
        let before = try #require(status("VmRSS:"))
        let there = try RequestTranslator.translate(body, from: .openAIChat, to: .anthropicMessages, .init(), .init())
        let grown = try #require(status("VmHWM:")) - before
        #expect(there.body.count > size)
        // Other tests run at the same time, and take and free some.
        #expect(grown > size / 2 && grown < size * 3 / 2, "\(grown >> 20) MiB")
    }
}
