import SluiceBytes

/// RFC 8259 to the letter, for text that a model wrote and that a client's `JSON.parse` will read as part of a larger
/// document: one slip in it would take the whole event with it. `JSONScanner` is not that strict, on purpose.
public struct JSONGrammar: ~Escapable {
    private let bytes: Span<UInt8>
    private var position = 0

    /// The text is one JSON value, nested at most `JSONScanner.depthLimit` deep. It must be valid UTF-8.
    public static func isValue(_ text: Span<UInt8>) -> Bool {
        var grammar = JSONGrammar(text)
        guard grammar.value(depth: 0) else { return false }
        grammar.space()
        return grammar.position == text.count
    }

    /// The same, and the value is an object.
    public static func isObject(_ text: Span<UInt8>) -> Bool {
        var grammar = JSONGrammar(text)
        grammar.space()
        return grammar.next == ASCII.leftBrace && isValue(text)
    }

    @_lifetime(copy bytes)
    private init(_ bytes: Span<UInt8>) { self.bytes = bytes }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func space() {
        while let byte = next, byte == ASCII.space || byte == ASCII.lf || byte == ASCII.cr || byte == ASCII.tab {
            position &+= 1
        }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        position &+= 1
        return true
    }

    private mutating func value(depth: Int) -> Bool {
        space()
        switch next {
        case ASCII.leftBrace: return container(closing: ASCII.rightBrace, depth: depth)
        case ASCII.leftBracket: return container(closing: ASCII.rightBracket, depth: depth)
        case ASCII.quote: return string()
        case UInt8(ascii: "n"): return word("null")
        case UInt8(ascii: "t"): return word("true")
        case UInt8(ascii: "f"): return word("false")
        default: return number()
        }
    }

    private mutating func container(closing: UInt8, depth: Int) -> Bool {
        guard depth < JSONScanner.depthLimit else { return false }
        position &+= 1
        space()
        if take(closing) { return true }
        while true {
            if closing == ASCII.rightBrace {
                space()
                guard string() else { return false }
                space()
                guard take(ASCII.colon) else { return false }
            }
            guard value(depth: depth + 1) else { return false }
            space()
            if take(closing) { return true }
            guard take(ASCII.comma) else { return false }
        }
    }

    private mutating func string() -> Bool {
        guard take(ASCII.quote) else { return false }
        while true {
            let start = position
            position = bytes.withUnsafeBufferPointer { WordScan.mustEscape($0, from: start) }
            if take(ASCII.quote) { return true }
            // The end of the text, or a control character.
            guard take(ASCII.backslash), escape() else { return false }
        }
    }

    private mutating func escape() -> Bool {
        guard let byte = next else { return false }
        position &+= 1
        switch byte {
        case ASCII.quote, ASCII.backslash, UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return true
        case UInt8(ascii: "u"):
            for _ in 0..<4 {
                guard let digit = next, ASCII.hexValue(digit) != nil else { return false }
                position &+= 1
            }
            return true
        default: return false
        }
    }

    private mutating func word(_ word: StaticString) -> Bool {
        let end = position &+ word.utf8CodeUnitCount
        guard end <= bytes.count, ASCII.equal(bytes.extracting(position..<end), word) else { return false }
        position = end
        return true
    }

    private mutating func number() -> Bool {
        _ = take(UInt8(ascii: "-"))
        if !take(UInt8(ascii: "0")) { guard digits() else { return false } }
        if take(UInt8(ascii: ".")) { guard digits() else { return false } }
        guard take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) else { return true }
        if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
        return digits()
    }

    private mutating func digits() -> Bool {
        let start = position
        while let byte = next, ASCII.isDigit(byte) { position &+= 1 }
        return position > start
    }
}
