import SluiceBytes

/// Walks over JSON text in place (RFC 8259): finds members, skips values, builds nothing.
///
/// It trusts nothing: text that is not JSON sets `isValid` to false, after which every call returns nil. Nesting is
/// bounded by `depthLimit`. Strings are returned raw, between their quotes; `JSONText` turns them into UTF-8. Keys are
/// compared as they stand: no provider writes its keys with escapes.
public struct JSONScanner: ~Escapable {
    public let bytes: Span<UInt8>
    public private(set) var position = 0
    public private(set) var isValid = true
    private var depth = 0
    private var isFirst = false  // right behind an opening bracket, where no comma stands

    public static let depthLimit = 64

    @_lifetime(copy bytes)
    public init(_ bytes: Span<UInt8>) { self.bytes = bytes }

    /// Begins inside an object, at a member's value, which is next to be read or skipped.
    @_lifetime(copy bytes)
    public init(_ bytes: Span<UInt8>, atMemberValue position: Int) {
        (self.bytes, self.position, depth) = (bytes, position, 1)
    }

    /// What the next value is, by its first byte, without taking it.
    public enum Kind { case object, array, string, number, literal, end }

    public mutating func peek() -> Kind {
        switch nextByte() {
        case 0: return .end
        case ASCII.leftBrace: return .object
        case ASCII.leftBracket: return .array
        case ASCII.quote: return .string
        case UInt8(ascii: "-"), 0x30...0x39: return .number
        default: return .literal
        }
    }

    /// Takes the opening brace; follow with `nextKey` until it returns nil.
    public mutating func enterObject() -> Bool { enter(ASCII.leftBrace) }
    public mutating func enterArray() -> Bool { enter(ASCII.leftBracket) }

    /// The raw key of the next member, with its value next to be read or skipped; nil at the object's end.
    public mutating func nextKey() -> Range<Int>? {
        // As most write it: a comma, unless it is the first, perhaps a space, the key, and a colon right behind it.
        var start = isFirst ? position &+ 1 : position &+ 2
        guard start < bytes.count, isFirst || bytes[unchecked: position] == ASCII.comma else {
            return nextKeyWithSpace()
        }
        if bytes[unchecked: start &- 1] != ASCII.quote {
            guard bytes[unchecked: start &- 1] == ASCII.space, bytes[unchecked: start] == ASCII.quote else {
                return nextKeyWithSpace()
            }
            start &+= 1
        }
        let end = closingQuote(from: start)
        guard end &+ 1 < bytes.count, bytes[unchecked: end &+ 1] == ASCII.colon else { return nextKeyWithSpace() }
        isFirst = false
        position = end &+ 2
        return Range(uncheckedBounds: (start, end))
    }

    /// True if another element follows, which is next to be read or skipped.
    public mutating func nextElement() -> Bool { next(closing: ASCII.rightBracket) }

    /// A string's raw contents.
    public mutating func string() -> Range<Int>? { takeString() }

    /// Any value, raw.
    @discardableResult
    public mutating func value() -> Range<Int>? {
        let byte = nextByte()
        let start = position
        let isTaken =
            switch byte {
            case ASCII.quote: takeString() != nil
            case ASCII.leftBrace, ASCII.leftBracket: skipContainer()
            case UInt8(ascii: "n"): skip("null")
            case UInt8(ascii: "t"): skip("true")
            case UInt8(ascii: "f"): skip("false")
            default: skipNumber()
            }
        guard isTaken else {
            fail()
            return nil
        }
        return Range(uncheckedBounds: (start, position))
    }

    /// An integer, rounded toward zero if it has a fraction; nil for anything else, which is then skipped.
    public mutating func integer() -> Int? {
        let first = nextByte()
        let isNegative = first == UInt8(ascii: "-")
        guard isNegative || ASCII.isDigit(first) else {
            value()
            return nil
        }
        let start = isNegative ? position &+ 1 : position
        var end = start
        var magnitude = 0
        // Eighteen digits fit for sure.
        while end < bytes.count, end &- start < 18, ASCII.isDigit(bytes[unchecked: end]) {
            magnitude = magnitude &* 10 &+ Int(bytes[unchecked: end] &- 0x30)
            end &+= 1
        }
        if end > start, end < bytes.count {
            let next = bytes[unchecked: end]
            if next == ASCII.comma || next == ASCII.rightBrace || next == ASCII.rightBracket {
                position = end
                return isNegative ? -magnitude : magnitude
            }
        }
        return uncommonInteger(from: start, isNegative)
    }

    /// A string's raw contents, or nil for any other value, which is then skipped.
    public mutating func stringOrSkip() -> Range<Int>? {
        if nextByte() == ASCII.quote { return takeString() }
        value()
        return nil
    }

    /// Takes an object and returns its raw text; nil for any other value, which is then skipped.
    public mutating func objectOrSkip() -> Range<Int>? {
        let isObject = nextByte() == ASCII.leftBrace
        let range = value()
        return isObject ? range : nil
    }

    /// Nothing but white space is left.
    public mutating func isAtEnd() -> Bool { isValid && nextByte() == 0 && position == bytes.count }

    // MARK: - Structure

    /// The first byte that is not white space, not taken. 0, which no value begins with, at the end and after a fault.
    @inline(__always)
    private mutating func nextByte() -> UInt8 {
        while position < bytes.count {
            let byte = bytes[unchecked: position]
            if byte > ASCII.space { return byte }
            guard byte == ASCII.space || byte == ASCII.lf || byte == ASCII.cr || byte == ASCII.tab else { return byte }
            position &+= 1
        }
        return 0
    }

    /// Nothing more is read: there are no bytes behind a fault.
    @inline(__always)
    private mutating func fail() { (isValid, position) = (false, bytes.count) }

    private mutating func enter(_ opening: UInt8) -> Bool {
        guard nextByte() == opening, depth < Self.depthLimit else {
            fail()
            return false
        }
        position &+= 1
        depth &+= 1
        isFirst = true
        return true
    }

    private mutating func nextKeyWithSpace() -> Range<Int>? {
        guard next(closing: ASCII.rightBrace), let key = string() else { return nil }
        guard nextByte() == ASCII.colon else {
            fail()
            return nil
        }
        position &+= 1
        return key
    }

    @inline(__always)
    private mutating func next(closing: UInt8) -> Bool {
        let byte = nextByte()
        let wasFirst = isFirst
        isFirst = false
        if byte == ASCII.comma, !wasFirst {
            position &+= 1
            return true
        }
        if byte == closing {
            position &+= 1
            depth &-= 1
            return false
        }
        if !wasFirst || byte == 0 {
            fail()
            return false
        }
        return true
    }

    // MARK: - Values

    @inline(__always)
    private mutating func takeString() -> Range<Int>? {
        guard nextByte() == ASCII.quote else {
            fail()
            return nil
        }
        let start = position &+ 1
        let end = closingQuote(from: start)
        guard end < bytes.count else {
            fail()
            return nil
        }
        position = end &+ 1
        return Range(uncheckedBounds: (start, end))
    }

    /// `bytes.count` or more: there is none.
    @inline(__always)
    private func closingQuote(from start: Int) -> Int {
        bytes.withUnsafeBufferPointer { buffer in
            let end = WordScan.quote(buffer, from: start)
            guard end > start, end < buffer.count, buffer[end &- 1] == ASCII.backslash else { return end }
            return Self.closingQuote(buffer, from: start, suspecting: end)
        }
    }

    /// The same, where the quote at `first` comes after a backslash: an odd number of them escapes it.
    private static func closingQuote(_ buffer: UnsafeBufferPointer<UInt8>, from start: Int, suspecting first: Int)
        -> Int
    {
        var end = first
        while end < buffer.count {
            var place = end
            while place > start, buffer[place &- 1] == ASCII.backslash { place &-= 1 }
            if (end &- place) & 1 == 0 { return end }
            end = WordScan.quote(buffer, from: end &+ 1)
        }
        return end
    }

    /// Skips an object or array by its brackets alone: what is inside is read by whoever needs it.
    private mutating func skipContainer() -> Bool {
        var kinds: UInt64 = 0  // one bit a level, the innermost lowest: 1 for an object
        var nesting = 0
        while position < bytes.count {
            let byte = bytes[unchecked: position]
            switch byte {
            case ASCII.quote:
                position = closingQuote(from: position &+ 1)
                guard position < bytes.count else { return false }
            // Brackets and braces stand behind the digits and all that separates values.
            case 0..<ASCII.leftBracket: break
            case ASCII.leftBrace, ASCII.leftBracket:
                guard depth &+ nesting < Self.depthLimit else { return false }
                kinds = kinds << 1 | (byte == ASCII.leftBrace ? 1 : 0)
                nesting &+= 1
            case ASCII.rightBrace, ASCII.rightBracket:
                guard kinds & 1 == (byte == ASCII.rightBrace ? 1 : 0) else { return false }
                kinds >>= 1
                nesting &-= 1
                if nesting == 0 {
                    position &+= 1
                    return true
                }
            default: break
            }
            position &+= 1
        }
        return false
    }

    /// What may stand behind a literal or a number is checked by whoever takes the next token.
    @inline(__always)
    private mutating func skip(_ literal: StaticString) -> Bool {
        let end = position &+ literal.utf8CodeUnitCount
        guard end <= bytes.count, ASCII.equal(bytes.extracting(unchecked: position..<end), literal) else {
            return false
        }
        position = end
        return true
    }

    /// A sign, digits (leading zeros are let pass), a fraction, an exponent.
    private mutating func skipNumber() -> Bool {
        if byteHere == UInt8(ascii: "-") { position &+= 1 }
        guard skipDigits() else { return false }
        if byteHere == UInt8(ascii: ".") {
            position &+= 1
            guard skipDigits() else { return false }
        }
        guard byteHere | 0x20 == UInt8(ascii: "e") else { return true }
        position &+= 1
        if byteHere == UInt8(ascii: "+") || byteHere == UInt8(ascii: "-") { position &+= 1 }
        return skipDigits()
    }

    /// 0 at the end.
    @inline(__always)
    private var byteHere: UInt8 { position < bytes.count ? bytes[unchecked: position] : 0 }

    @inline(__always)
    private mutating func skipDigits() -> Bool {
        var end = position
        while end < bytes.count, ASCII.isDigit(bytes[unchecked: end]) { end &+= 1 }
        let hasSome = end > position
        position = end
        return hasSome
    }

    /// A number whose digits begin at `start`, where it is long, has a fraction, or something else behind it than a comma.
    private mutating func uncommonInteger(from start: Int, _ isNegative: Bool) -> Int? {
        guard let range = value() else { return nil }
        var end = start
        while end < range.upperBound, ASCII.isDigit(bytes[end]) { end += 1 }
        for index in end..<range.upperBound where bytes[index] | 0x20 == UInt8(ascii: "e") { return nil }
        guard let magnitude = ASCII.decimal(bytes.extracting(start..<end)) else { return nil }
        return isNegative ? -magnitude : magnitude
    }
}

extension JSONScanner {
    /// The text is one JSON value.
    static func isJSON(_ text: Span<UInt8>) -> Bool {
        var scanner = JSONScanner(text)
        scanner.value()
        return scanner.isAtEnd()
    }

    /// The text is one value that nothing has cut off: a number could go on behind its last digit and so is never whole.
    static func isWhole(_ text: Span<UInt8>) -> Bool {
        var scanner = JSONScanner(text)
        return scanner.peek() != .number && isJSON(text)
    }
}
