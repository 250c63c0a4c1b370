import SluiceBytes
import SluiceStreams
import Testing

@Suite struct RawTextTests {
    /// The text of each chunk as it came out.
    private func pieces(_ chunks: [[UInt8]]) throws -> [String] {
        var decoder = StreamDecoders.make(.text, eventBytes: 1024)
        var batch = EventBatch()
        var found: [String] = []
        for chunk in chunks { try decoder.feed(chunk.span, into: &batch) }
        try decoder.finish(into: &batch)
        for event in batch.events { if case .text(0, let range) = event { found.append(batch.string(range)) } }
        #expect(decoder.progress.isComplete && batch.events.last == .end)
        return found
    }

    @Test func leavesInWholeCodePointsWhereverItIsCut() throws {
        let text = "a é 日本 👨‍👩‍👧 \u{0}\n end"
        let bytes = Array(text.utf8)
        for cut in 0...bytes.count {
            let found = try pieces([Array(bytes[..<cut]), Array(bytes[cut...])])
            #expect(found.joined() == text)
        }
        #expect(try pieces(bytes.map { [$0] }).joined() == text)
    }

    @Test(arguments: [
        ([0xFF, 0x61], "\u{FFFD}a"), ([0x61, 0xE6, 0x97], "a\u{FFFD}"), ([0x80, 0x80], "\u{FFFD}\u{FFFD}"),
    ])
    func whatIsNoTextIsReplaced(bytes: [UInt8], text: String) throws {
        #expect(try pieces([bytes]).joined() == text)
        #expect(try pieces(bytes.map { [$0] }).joined() == text)
    }
}
