import Foundation
import Testing

@testable import SluiceStreams

/// The strict check of JSON, against Foundation's.
@Suite struct JSONGrammarTests {
    @Test(arguments: [
        "{}", " { } ", "[]", "[1,2]", "{\"a\":{\"b\":[null,true,false]}}", "0", "-0", "-1.5e+3", "1E9", "\"\"",
        "\"a\\n\\u00e9\"",
        "\"\u{7F}\u{2028}é😀\"", "{\"a\":1,\"a\":2}", "\t\r\n[ ]",
    ])
    func whatIsJSON(text: String) { check(text, true) }

    @Test(arguments: [
        "", " ", "{", "}", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{'a':1}", "01", "-", "1.",
        ".5", "1e",
        "+1", "nul", "nulls", "True", "\"", "\"\n\"", "\"\t\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "{} {}", "[1 2]",
        "[1}", "NaN",
        "{\"a\":1 \"b\":2}", "\u{FEFF}{}", "\"\u{0}\"", "{\"a\":\"", "\"\\",
    ])
    func whatIsNot(text: String) { check(text, false) }

    private func isValue(_ text: [UInt8]) -> Bool { JSONGrammar.isValue(text.span) }

    private func check(_ text: String, _ wanted: Bool) {
        #expect(isValue(Array(text.utf8)) == wanted)
        let first = text.trimmingCharacters(in: .whitespacesAndNewlines).first
        let isObject = JSONGrammar.isObject(Array(text.utf8).span)
        #expect(isObject == (wanted && first == "{"))
        let data = Data(text.utf8)
        // Foundation lets a byte order mark and a last comma pass.
        if text.unicodeScalars.first == "\u{FEFF}" || text.contains(",}") || text.contains(",]") { return }
        #expect(((try? JSONSerialization.jsonObject(with: data, options: .fragmentsAllowed)) != nil) == wanted)
    }

    @Test func nestingIsBounded() {
        func nested(_ depth: Int) -> [UInt8] {
            Array((String(repeating: "[", count: depth) + String(repeating: "]", count: depth)).utf8)
        }
        #expect(isValue(nested(64)) && !isValue(nested(65)))
        #expect(!isValue([UInt8](repeating: UInt8(ascii: "["), count: 1_000_000)))
    }

    @Test(arguments: [
        ("{}", true), ("{\"a\":\"}\"", false), ("{\"a\":\"\\\"}\"", false), ("{\"a\":[{}]}", true),
        ("{\"a\":[{}]", false),
        (" ", false), ("{\"\\\\\":1}", true), ("\"}\"", false),
    ])
    func bracketsTellWhenAnObjectIsWhole(text: String, wanted: Bool) {
        let bytes = Array(text.utf8)
        for cut in 0...bytes.count {
            var count = BracketCount()
            count.take(Array(bytes[..<cut]).span)
            count.take(Array(bytes[cut...]).span)
            #expect(count.isWhole == wanted)
        }
    }
}
