import Glibc

/// Byte names, case folding and number parsing for protocol text, which is ASCII by definition.
public enum ASCII {
    public static let tab: UInt8 = 0x09
    public static let lf: UInt8 = 0x0A
    public static let cr: UInt8 = 0x0D
    public static let space: UInt8 = 0x20
    public static let quote: UInt8 = 0x22
    public static let comma: UInt8 = 0x2C
    public static let colon: UInt8 = 0x3A
    public static let semicolon: UInt8 = 0x3B
    public static let backslash: UInt8 = 0x5C
    public static let leftBracket: UInt8 = 0x5B
    public static let rightBracket: UInt8 = 0x5D
    public static let leftBrace: UInt8 = 0x7B
    public static let rightBrace: UInt8 = 0x7D

    /// Folds `A`–`Z` to `a`–`z`; every other byte is returned as it is.
    @inlinable
    public static func lowercase(_ byte: UInt8) -> UInt8 { byte &- 0x41 < 26 ? byte | 0x20 : byte }

    @inlinable
    public static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }

    /// The value of a hexadecimal digit, or nil.
    public static func hexValue(_ byte: UInt8) -> UInt8? {
        if byte &- 0x30 < 10 { return byte &- 0x30 }
        let folded = byte | 0x20
        return folded &- 0x61 < 6 ? folded &- 0x61 &+ 10 : nil
    }

    /// A decimal number of one or more digits and nothing else; nil if it is not, or does not fit `Int`.
    public static func decimal(_ bytes: Span<UInt8>) -> Int? {
        guard !bytes.isEmpty else { return nil }
        var value = 0
        for index in bytes.indices {
            let byte = bytes[index]
            guard isDigit(byte) else { return nil }
            let (product, overflowed) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflowedToo) = product.addingReportingOverflow(Int(byte &- 0x30))
            if overflowed || overflowedToo { return nil }
            value = sum
        }
        return value
    }

    /// Byte equality with a literal, e.g. `ASCII.equal(bytes, "chunked")`.
    ///
    /// Inlined everywhere, so that the comparison with a short literal is one with a number and no call.
    @inlinable @inline(__always)
    public static func equal(_ bytes: Span<UInt8>, _ literal: StaticString) -> Bool {
        guard bytes.count == literal.utf8CodeUnitCount else { return false }
        return bytes.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return true }
            return memcmp(base, literal.utf8Start, buffer.count) == 0
        }
    }

    /// Byte equality of two runs.
    @inlinable @inline(__always)
    public static func equal(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Bool {
        guard left.count == right.count else { return false }
        return left.withUnsafeBufferPointer { left in
            right.withUnsafeBufferPointer { right in
                guard let first = left.baseAddress, let second = right.baseAddress else { return true }
                return memcmp(first, second, left.count) == 0
            }
        }
    }

    /// Where `byte` first stands in `bytes`, from `start` on.
    @inlinable @inline(__always)
    public static func firstIndex(of byte: UInt8, in bytes: Span<UInt8>, from start: Int = 0) -> Int? {
        bytes.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress, start < buffer.count else { return nil }
            let found = memchr(base + start, Int32(byte), buffer.count - start)
            return found.map { UnsafeRawPointer($0) - UnsafeRawPointer(base) }
        }
    }

    /// The same, with `A`–`Z` folded in `bytes`; write the literal in lower case.
    public static func equalFolded(_ bytes: Span<UInt8>, _ literal: StaticString) -> Bool {
        guard bytes.count == literal.utf8CodeUnitCount else { return false }
        let text = literal.utf8Start
        for index in bytes.indices where lowercase(bytes[index]) != text[index] { return false }
        return true
    }
}
