import Foundation
import SluiceBytes
import SluiceStreams
import Testing

@Suite struct JSONTextTests {
    /// The meaning of a JSON string, given as what stands between its quotes.
    private func meaning(_ raws: [UInt8]...) -> String {
        var out = ByteQueue()
        var half: UInt16?
        for raw in raws { JSONText.append(raw.span, half: &half, into: &out) }
        JSONText.dropHalf(&half, into: &out)
        return out.text
    }
    private func meaning(_ raws: String...) -> String {
        var out = ByteQueue()
        var half: UInt16?
        for raw in raws { JSONText.append(Array(raw.utf8).span, half: &half, into: &out) }
        JSONText.dropHalf(&half, into: &out)
        return out.text
    }

    @Test func escapesMeanWhatTheStandardSays() {
        #expect(meaning(#"a\"b\\c\/d\b\f\n\r\t"#) == "a\"b\\c/d\u{8}\u{C}\n\r\t")
        #expect(meaning(#"\u0041\u00e9\u00E9\u20ac\u0000"#) == "Aéé€\u{0}")
        #expect(meaning(#"\ud83d\ude00"#) == "😀")
    }

    @Test func loneHalvesBecomeReplacements() {
        #expect(meaning(#"a\ud83db"#) == "a\u{FFFD}b")
        #expect(meaning(#"a\ude00b"#) == "a\u{FFFD}b")
        #expect(meaning(#"\ud83d\ud83d\ude00"#) == "\u{FFFD}😀")
        #expect(meaning(#"\ud83d\n"#) == "\u{FFFD}\n")
        #expect(meaning(#"x\ud83d"#) == "x\u{FFFD}")
    }

    @Test func halvesJoinAcrossTwoStrings() {
        #expect(meaning(#"a\ud83d"#, #"\ude00b"#) == "a😀b")
        #expect(meaning(#"\ud83d"#, "", #"\ude00"#) == "😀")
        #expect(meaning(#"\ud83d"#, "plain") == "\u{FFFD}plain")
        #expect(meaning(#"\ud83d"#, #"\u0041"#) == "\u{FFFD}A")
    }

    @Test func brokenEscapesAreNoCrash() {
        for text in [#"\"#, #"\u"#, #"\u1"#, #"\u12"#, #"\u123"#, #"\uZZZZ"#, #"\ud83d\u"#, #"\ud83d\"#] {
            #expect(meaning(text).contains("\u{FFFD}"), "\(text)")
        }
    }

    @Test(
        arguments: [
            [0x61, 0xFF, 0x62], [0xC0, 0xAF], [0xE2, 0x82], [0xED, 0xA0, 0x80], [0xF0, 0x9F, 0x98],
            [0xF4, 0x90, 0x80, 0x80],
            [0x80], [0xF8, 0x88, 0x80, 0x80, 0x80], [0xE2, 0x28, 0xA1], [0xC3],
        ] as [[UInt8]])
    func invalidUTF8IsReplacedAsUnicodeRecommends(bytes: [UInt8]) {
        for front in 0..<10 {
            let raw = [UInt8](repeating: 0x61, count: front) + bytes + [0x7A]
            #expect(meaning(raw) == String(decoding: raw, as: UTF8.self))
        }
    }

    @Test func whatIsQuotedReadsBackTheSame() throws {
        var generator = SplitMix(state: 7)
        for _ in 0..<2000 {
            let scalars = (0..<Int.random(in: 0...40, using: &generator)).map { _ in Self.scalar(&generator) }
            let text = String(String.UnicodeScalarView(scalars))
            var out = ByteQueue()
            JSONText.appendQuoted(Array(text.utf8).span, into: &out)
            let read = try JSONSerialization.jsonObject(with: Data(out.array), options: .fragmentsAllowed) as? String
            #expect(read.map { Array($0.utf8) } == Array(text.utf8))
            #expect(meaning(Array(out.array.dropFirst().dropLast())) == text)
        }
    }

    private static func scalar(_ generator: inout SplitMix) -> Unicode.Scalar {
        let all: [ClosedRange<UInt32>] = [
            0...0x1F, 0x20...0x7F, 0x22...0x22, 0x5C...0x5C, 0x80...0x7FF, 0x1F600...0x1F64F,
        ]
        let value = UInt32.random(in: all.randomElement(using: &generator) ?? 0...0, using: &generator)
        return Unicode.Scalar(value) ?? " "
    }

    @Test(arguments: [
        #"{"error":{"message":"m"}}"#, #"{"error":"m"}"#, #"{"message":"m"}"#, #"{"detail":"m"}"#,
        #"{"errors":[{"message":"m"},{}]}"#, #"[{"error":{"code":1,"message":"m"}}]"#,
    ])
    func messagesOfErrors(document: String) { #expect(JSONValue.parse(document)?.errorMessage == "m") }

    @Test func onlyWhatMustBeIsEscaped() {
        var out = ByteQueue()
        JSONText.appendQuoted("é/\u{2028}\u{2030}\u{80}\u{7F}\u{1}\u{1F}\"\\\n", into: &out)
        #expect(out.text == "\"é/\\u2028\u{2030}\u{80}\u{7F}\\u0001\\u001f\\\"\\\\\\n\"")
    }
}

struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

@Suite struct JSONValueTests {
    @Test(arguments: [
        "null", "true", "false", "0", "-1.5e+10", "12345678901234567890123", "\"\"", "[]", "{}", "[1,[2,[3]]]",
        #"{"b":1,"a":{"z":[true,null]},"":"x"}"#, #"{"a":1.0,"a":2}"#,
    ])
    func comesOutAsItWentIn(text: String) throws {
        let value = try #require(JSONValue.parse(text))
        #expect(String(decoding: value.serialized(), as: UTF8.self) == text)
        let spaced = " \t\r\n" + text.replacing(",", with: " ,\n").replacing(":", with: " : ") + "\n"
        #expect(JSONValue.parse(spaced) == value)
    }

    @Test(arguments: [
        "", " ", "{", "}", "[", "]", "{]", "[}", "[1,]", "{\"a\":1,}", "{\"a\"}", "{\"a\":}", "{a:1}", "{,}", "[,1]",
        "[1 2]",
        "{\"a\" 1}", "nul", "nulll", "truefalse", "1 2", "-", "+1", "1.", ".5", "1e", "1e+", "--1", "\"", "\"\\\"",
        "'a'", "[1]]",
        "{\"a\":1}}", "NaN", "01a", "{\"a\":1 \"b\":2}", "[\"a\":1]", "\u{0}",
    ])
    func whatIsNotJSONIsRefused(text: String) { #expect(JSONValue.parse(text) == nil) }

    @Test func nestingIsBounded() {
        let limit = JSONScanner.depthLimit
        #expect(JSONValue.parse("[".repeated(limit) + "]".repeated(limit)) != nil)
        #expect(JSONValue.parse("[".repeated(limit + 1) + "]".repeated(limit + 1)) == nil)
        #expect(JSONValue.parse("[".repeated(1_000_000)) == nil)
        #expect(JSONValue.parse("{\"a\":".repeated(100_000)) == nil)
        // Skipping is bounded alike.
        for (levels, isValid) in [(limit, true), (limit + 1, false)] {
            let text = Array(("[".repeated(levels) + "]".repeated(levels)).utf8)
            var scanner = JSONScanner(text.span)
            scanner.value()
            let isWhole = scanner.isAtEnd()
            #expect(isWhole == isValid)
        }
    }

    @Test func everyCutOfADocumentIsRefused() {
        let text = Array(#"{"a":[1,"b\u00e9",{"c":null}],"d":"\ud83d\ude00"}"#.utf8)
        for count in 0..<text.count { #expect(JSONValue.parse(Array(text[..<count]).span) == nil, "\(count) bytes") }
        #expect(JSONValue.parse(text.span) != nil)
    }

    @Test func bracketsAndQuotesInStringsAreText() {
        let text = Array(#"{"skip":{"a":"}]\"{[","b":["\\","]"]},"n":3}"#.utf8)
        var scanner = JSONScanner(text.span)
        var seen: [Int] = []
        let isObject = scanner.enterObject()
        #expect(isObject)
        while let key = scanner.nextKey() {
            if key.count == 1 { seen.append(scanner.integer() ?? -1) } else { scanner.value() }
        }
        let isWhole = scanner.isAtEnd()
        #expect(seen == [3] && isWhole)
    }

    @Test func integersAreRoundedAndBounded() {
        func integer(_ text: String) -> Int? {
            let bytes = Array(text.utf8)
            var scanner = JSONScanner(bytes.span)
            return scanner.integer()
        }
        #expect(integer("42") == 42 && integer("-7") == -7 && integer("1771434740.25") == 1_771_434_740)
        #expect(integer("1e3") == nil && integer("\"5\"") == nil && integer("null") == nil)
        #expect(integer("9223372036854775807") == Int.max && integer("9223372036854775808") == nil)
        #expect(integer("99999999999999999999999999") == nil)
    }
}

/// Values that are passed on as they stand.
@Suite struct JSONSliceTests {
    @Test func compactLeavesNoLineEnd() {
        var out = ByteQueue()
        JSONText.appendCompact(Array("{ \"a b\" :\r\n\t[ 1 , \"x\n\\\" y\" ] }\n".utf8).span, into: &out)
        #expect(out.text == #"{"a b":[1,"x\n\" y"]}"#)
    }

    @Test func stringsStayAsTheyWereWritten() throws {
        let text = #"{"a":"\u00e9\/ü","b":[1.50,"x"]}"#
        let value = try #require(JSONValue.parse(text))
        #expect(String(decoding: value.serialized(), as: UTF8.self) == text)
        #expect(value["a"]?.string?.text == "é/ü" && value["a"] == "é/ü")
        #expect(JSONString("a\"b\n").raw.elementsEqual(#"a\"b\n"#.utf8))
        let literal: JSONValue = ["k": [1, true, nil, "v"]]
        #expect(String(decoding: literal.serialized(), as: UTF8.self) == #"{"k":[1,true,null,"v"]}"#)
    }

    @Test func invalidBytesBecomeReplacements() throws {
        let value = try #require(JSONValue.parse(Array("{\"a\":\"x".utf8) + [0xFF] + Array("y\"}".utf8)))
        #expect(value["a"]?.string?.text == "x\u{FFFD}y")
    }
}
