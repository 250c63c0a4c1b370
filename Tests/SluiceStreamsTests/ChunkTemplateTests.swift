import SluiceBytes
import SluiceStreams
import SluiceTesting
import Testing

/// Chunks that are recognised by what stands around their text must mean what they mean when they are parsed.
@Suite struct ChunkTemplateTests {
    /// Raw contents of JSON strings, with what could be taken for the end of one.
    private static let texts = [
        "a", " b", "", "c", "\\n", "d", "\\\"},\\\"finish_reason\\\":null", "e", "\\ud83d", "\\ude00", "f", "\\ud83d",
        "g", "\\\\",
        "é😀", "}]}", "{\\\"content\\\":\\\"", "h", "\\u0041", "i i i", "x", "y",
    ]

    /// One stream twice: as it is, and with a member that differs in each chunk, so that no two look alike.
    private func compare(_ chunks: [(Int) -> String]) throws {
        let alike = chunks.map { "data: \($0(0))\n\n" }.joined()
        let unlike = chunks.enumerated().map { "data: \($1($0 + 1))\n\n" }.joined()
        let decoder = StreamDecoders.make(.openAIChat, eventBytes: 1 << 16)
        let (wanted, progress) = try Transcript.of(decoder, unlike)
        for size in [1, 7, 100_000] {
            let (seen, seenProgress) = try Transcript.of(decoder, Cutter.pieces(Array(alike.utf8), of: size))
            #expect(seen == wanted && seenProgress == progress)
        }
    }

    private func chunk(_ text: String, choice: Int = 0, usage: Int? = nil, end: String = "null") -> (Int) -> String {
        let count = usage.map { ",\"usage\":{\"completion_tokens\":\($0)}" } ?? ""
        return { number in
            #"{"id":"c","n":\#(number),"choices":[{"index":\#(choice),"delta":{"content":"\#(text)"},"#
                + #""finish_reason":\#(end)}]\#(count)}"#
        }
    }

    @Test func textsThatLookLikeWhatStandsAroundThem() throws {
        var generator = SplitMix(state: 11)
        for _ in 0..<50 {
            let texts = (0..<60).map { _ in Self.texts.randomElement(using: &generator) ?? "" }
            try compare(texts.map { chunk($0) })
        }
    }

    @Test func choicesInterleaved() throws {
        var generator = SplitMix(state: 12)
        for _ in 0..<50 {
            try compare(
                (0..<60).map { _ in
                    let text = Self.texts.randomElement(using: &generator) ?? ""
                    return chunk(text, choice: Int.random(in: 0...2, using: &generator))
                })
        }
    }

    /// What stands before `choices` repeats, changes, or says something itself; what stands behind differs each time.
    @Test func envelopesThatRepeat() throws {
        let envelopes = [
            #""model":"m","#, #""model":"m","#, #""model":"m","#, #""model":"n","#,
            #""usage":{"completion_tokens":3},"#,
            #""usage":null,"#, #""error":null,"#, #""error":{"message":"no"},"#, #""choices":[],"#, "",
        ]
        let choices = [
            #"[{"index":0,"delta":{"content":"a"},"finish_reason":null}]"#, "[]", "null", "7", #"{"index":0}"#,
            #"[{"delta":{"content":"b","tool_calls":[{"index":0,"id":"t","function":{"name":"f","arguments":"{}"}}]}}]"#,
            #"[{"index":1,"delta":{},"finish_reason":"stop"}]"#,
        ]
        var generator = SplitMix(state: 13)
        for _ in 0..<200 {
            try compare(
                (0..<20).map { place in
                    let envelope = envelopes.randomElement(using: &generator) ?? ""
                    let choice = choices.randomElement(using: &generator) ?? ""
                    let padding = String(repeating: "x", count: Int.random(in: 0...3, using: &generator))
                    return { #"{"id":"c","n":\#($0),\#(envelope)"choices":\#(choice),"pad":"\#(padding)\#(place)"}"# }
                })
        }
    }

    @Test func figuresAndEndsBesideTheText() throws {
        try compare([
            chunk("a", usage: 1), chunk("b", usage: 1), chunk("c", usage: 2), chunk("d", usage: 2),
            chunk("e", usage: 2),
            chunk("f"), chunk("g", end: "\"stop\""), chunk("h", end: "\"stop\""), chunk("i"), chunk("j"),
        ])
    }

    @Test func membersBesideTheText() throws {
        let plain = (0..<3).map { _ in chunk("a") }
        try compare(plain + [chunk(#"b","reasoning":"c"#), chunk(#"d","content":"e"#)] + plain)
        try compare(plain + [chunk(#"b"},"finish_reason":"stop","x":{"y":"c"#)] + plain)
        let refusing = { (number: Int) in
            #"{"id":"c","n":\#(number),"choices":[{"index":0,"delta":{"refusal":"r","content":"x"}}]}"#
        }
        try compare([refusing, refusing, refusing])
    }

    @Test func errorEventsAreNeverTakenForText() throws {
        let event = "data: \(chunk("a")(0))\n\n"
        let decoder = StreamDecoders.make(.openAIChat, eventBytes: 1 << 16)
        let (seen, progress) = try Transcript.of(decoder, event.repeated(3) + "event: error\n" + event)
        #expect(progress.sawError && seen.errors.count == 1)
    }

    @Test func invalidBytesAreReplacedThereToo() throws {
        let decoder = StreamDecoders.make(.openAIChat, eventBytes: 1 << 16)
        let front = Array(#"data: {"choices":[{"index":0,"delta":{"content":""#.utf8)
        let back = Array("\"}}]}\n\n".utf8)
        let texts: [[UInt8]] = [[0x61], [0x62], [0xFF], [0x63], [0xE2, 0x82]]
        let wire = texts.map { front + $0 + back }.reduce([], +)
        let (seen, _) = try Transcript.of(decoder, [wire])
        #expect(seen.text[0] == "ab\u{FFFD}c\u{FFFD}")
    }
}
