import Foundation
import SluiceStreams
import Testing

/// Images of many megabytes are moved and not made anew.
@Suite(.serialized) struct LargeBodyTests {
    private static let size = 10 << 20

    private static func openAI() -> [UInt8] {
        var body = Array(
            #"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,"#.utf8)
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
                    body, from: .openAIChat, to: dialect, rules { $0.model = "m" }, .init()).body
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
        let url = JSONValue.parse(back.body)?["messages"]?.elements?.first?["content"]?.elements?.first?["image_url"]?["url"]
        let wanted = Array("data:image/png;base64,".utf8) + [UInt8](repeating: UInt8(ascii: "A"), count: Self.size)
        let isSame = url?.string?.raw.elementsEqual(wanted) ?? false
        #expect(isSame)
    }

    /// The most memory that the process held meanwhile, above what it held before.
    @Test func memoryGrowsByTheOutputAlone() throws {
        let body = Self.openAI()
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
        #expect(there.body.count > Self.size)
        // Other tests run at the same time and hold some.
        #expect(grown < Self.size * 7 / 4, "\(grown >> 20) MiB")
    }
}
