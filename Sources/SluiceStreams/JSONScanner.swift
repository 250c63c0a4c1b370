import Glibc
import SluiceBytes

/// Walks over JSON text in place (RFC 8259): finds members, skips values, builds nothing.
///
/// It trusts nothing: text that is not JSON sets `isValid` to false, after which every call returns nil. Nesting is
/// bounded by `depthLimit`. Strings are returned raw, between their quotes; `JSONText` turns them into UTF-8.
public struct JSONScanner: ~Escapable {
    public let bytes: Span<UInt8>
    public private(set) var position = 0
    public private(set) var isValid = true
    private var depth = 0

    public static let depthLimit = 64

    @_lifetime(copy bytes)
    public init(_ bytes: Span<UInt8>) { self.bytes = bytes }

    /// What the next value is, by its first byte, without taking it.
    public enum Kind { case object, array, string, number, literal, end }

    public mutating func peek() -> Kind {
        skipSpace()
        guard isValid, position < bytes.count else { return .end }
        switch bytes[position] {
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
        guard next(closing: ASCII.rightBrace) else { return nil }
        guard let key = string() else { return nil }
        skipSpace()
        guard isValid, position < bytes.count, bytes[position] == ASCII.colon else {
            isValid = false
            return nil
        }
        position += 1
        return key
    }

    /// True if another element follows, which is next to be read or skipped.
    public mutating func nextElement() -> Bool { next(closing: ASCII.rightBracket) }

    /// A string's raw contents.
    public mutating func string() -> Range<Int>? {
        skipSpace()
        guard isValid, position < bytes.count, bytes[position] == ASCII.quote else {
            isValid = false
            return nil
        }
        let start = position + 1
        guard let end = closingQuote(from: start) else {
            isValid = false
            return nil
        }
        position = end + 1
        return start..<end
    }

    /// Any value, raw.
    @discardableResult
    public mutating func value() -> Range<Int>? {
        switch peek() {
        case .string:
            return string().map { $0.lowerBound - 1..<$0.upperBound + 1 }
        case .object, .array: return container()
        case .number, .literal:
            let start = position
            while position < bytes.count, !Self.endsScalar(bytes[position]) { position += 1 }
            guard position > start, Self.isScalar(bytes.extracting(start..<position)) else {
                isValid = false
                return nil
            }
            return start..<position
        case .end:
            isValid = false
            return nil
        }
    }

    /// An integer, rounded toward zero if it has a fraction; nil for anything else, which is then skipped.
    public mutating func integer() -> Int? {
        guard peek() == .number, let range = value() else {
            if isValid { value() }
            return nil
        }
        var text = bytes.extracting(range)
        let isNegative = text[0] == UInt8(ascii: "-")
        if isNegative { text = text.extracting(1..<text.count) }
        var digits = 0
        while digits < text.count, ASCII.isDigit(text[digits]) { digits += 1 }
        guard let magnitude = ASCII.decimal(text.extracting(0..<digits)) else { return nil }
        for index in digits..<text.count where text[index] | 0x20 == UInt8(ascii: "e") { return nil }
        return isNegative ? -magnitude : magnitude
    }

    /// A string's raw contents, or nil for any other value, which is then skipped.
    public mutating func stringOrSkip() -> Range<Int>? {
        if peek() == .string { return string() }
        value()
        return nil
    }

    /// Where the string that comes next has its contents; it is not taken. Call after `peek` said that it is one.
    public func upcomingString() -> Range<Int>? {
        guard let end = closingQuote(from: position + 1) else { return nil }
        return position + 1..<end
    }

    /// Nothing but white space is left.
    public mutating func isAtEnd() -> Bool {
        skipSpace()
        return isValid && position == bytes.count
    }

    // MARK: - Parts

    private mutating func enter(_ opening: UInt8) -> Bool {
        skipSpace()
        guard isValid, position < bytes.count, bytes[position] == opening, depth < Self.depthLimit else {
            isValid = false
            return false
        }
        position += 1
        depth += 1
        isFirst = true
        return true
    }
    private var isFirst = false

    private mutating func next(closing: UInt8) -> Bool {
        skipSpace()
        guard isValid, position < bytes.count else {
            isValid = false
            return false
        }
        if bytes[position] == closing {
            position += 1
            depth -= 1
            isFirst = false
            return false
        }
        if !isFirst {
            guard bytes[position] == ASCII.comma else {
                isValid = false
                return false
            }
            position += 1
            skipSpace()
        }
        isFirst = false
        return true
    }

    private mutating func skipSpace() {
        while position < bytes.count {
            let byte = bytes[position]
            guard byte == ASCII.space || byte == ASCII.lf || byte == ASCII.cr || byte == ASCII.tab else { return }
            position += 1
        }
    }

    /// The next quote that no backslash escapes.
    private func closingQuote(from start: Int) -> Int? {
        var from = start
        while let quote = ASCII.firstIndex(of: ASCII.quote, in: bytes, from: from) {
            var backslashes = 0
            while quote - backslashes > start, bytes[quote - backslashes - 1] == ASCII.backslash { backslashes += 1 }
            if backslashes & 1 == 0 { return quote }
            from = quote + 1
        }
        return nil
    }

    /// Skips an object or array by its brackets alone: what is inside is read by whoever needs it.
    private mutating func container() -> Range<Int>? {
        let start = position
        var nesting = 0
        while position < bytes.count {
            switch bytes[position] {
            case ASCII.quote:
                guard let end = closingQuote(from: position + 1) else {
                    isValid = false
                    return nil
                }
                position = end
            case ASCII.leftBrace, ASCII.leftBracket: nesting += 1
            case ASCII.rightBrace, ASCII.rightBracket:
                nesting -= 1
                if nesting == 0 {
                    position += 1
                    return start..<position
                }
            default: break
            }
            position += 1
        }
        isValid = false
        return nil
    }

    private static func endsScalar(_ byte: UInt8) -> Bool {
        switch byte {
        case ASCII.comma, ASCII.rightBrace, ASCII.rightBracket, ASCII.space, ASCII.lf, ASCII.cr, ASCII.tab: true
        default: false
        }
    }

    private static func isScalar(_ text: Span<UInt8>) -> Bool {
        switch text[0] {
        case UInt8(ascii: "t"): ASCII.equal(text, "true")
        case UInt8(ascii: "f"): ASCII.equal(text, "false")
        case UInt8(ascii: "n"): ASCII.equal(text, "null")
        default: isNumber(text)
        }
    }

    /// Digits with at most a sign, a fraction and an exponent; leading zeros are let pass.
    private static func isNumber(_ text: Span<UInt8>) -> Bool {
        var hasDigit = false
        for index in text.indices {
            switch text[index] {
            case 0x30...0x39: hasDigit = true
            case UInt8(ascii: "-") where index == 0: break
            case UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"), UInt8(ascii: "+"), UInt8(ascii: "-"):
                guard hasDigit else { return false }
            default: return false
            }
        }
        return hasDigit
    }
}
