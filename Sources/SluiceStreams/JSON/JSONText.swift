import Glibc
import SluiceBytes

/// JSON strings to UTF-8 and back (RFC 8259 §7). What comes out is always valid UTF-8: invalid bytes and lone surrogate
/// halves become U+FFFD.
public enum JSONText {
    /// Appends the meaning of a raw JSON string (the bytes between its quotes) to `out`.
    ///
    /// `half` is a high surrogate that the same text ended in before, in an earlier delta; it is joined with what comes
    /// first now. A high surrogate at the very end is put there instead of being written.
    public static func append(_ raw: Span<UInt8>, half: inout UInt16?, into out: inout ByteQueue) {
        raw.withUnsafeBufferPointer { buffer in
            let plain = WordScan.backslashOrHigh(buffer, from: 0)
            if plain == buffer.count, half == nil { return out.append(buffer) }
            appendRuns(buffer, half: &half, into: &out)
        }
    }

    private static func appendRuns(
        _ raw: UnsafeBufferPointer<UInt8>, half: inout UInt16?, into out: inout ByteQueue
    ) {
        guard let base = raw.baseAddress else { return }
        var start = 0
        while start < raw.count {
            let escape = memchr(base + start, Int32(ASCII.backslash), raw.count - start)
            let end = escape.map { UnsafeRawPointer($0) - UnsafeRawPointer(base) } ?? raw.count
            if end > start {
                dropHalf(&half, into: &out)
                UTF8Text.append(UnsafeBufferPointer(start: base + start, count: end - start), into: &out)
            }
            start = end
            if start < raw.count { start += appendEscape(raw, at: start, half: &half, into: &out) }
        }
    }

    /// Appends `text` between quotes, with only those characters escaped that must be, and those that end a line for many readers
    /// of lines, Python's among them: U+0085, U+2028 and U+2029.
    public static func appendQuoted(_ text: Span<UInt8>, into out: inout ByteQueue) {
        out.append(ASCII.quote)
        appendEscaped(text, into: &out)
        out.append(ASCII.quote)
    }

    public static func appendEscaped(_ text: Span<UInt8>, into out: inout ByteQueue) {
        text.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            var start = 0
            while true {
                let end = WordScan.mustEscape(buffer, from: start)
                if end > start { appendLine(UnsafeBufferPointer(start: base + start, count: end - start), into: &out) }
                guard end < buffer.count else { return }
                appendEscape(of: base[end], into: &out)
                start = end + 1
            }
        }
    }

    private static func appendLine(_ run: UnsafeBufferPointer<UInt8>, into out: inout ByteQueue) {
        var (start, index) = (0, WordScan.high(run, from: 0))
        while index < run.count {
            let byte = run[index]
            let length = byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4
            if byte == 0xC2 || byte == 0xE2, let escape = lineEnd(run, at: index) {
                out.append(UnsafeBufferPointer(rebasing: run[start..<index]))
                out.append(escape)
                start = index + length
            }
            index = min(index + length, run.count)
            index = WordScan.high(run, from: index)
        }
        out.append(UnsafeBufferPointer(rebasing: run[start..<run.count]))
    }

    private static func lineEnd(_ run: UnsafeBufferPointer<UInt8>, at index: Int) -> StaticString? {
        if run[index] == 0xC2 { return index + 1 < run.count && run[index + 1] == 0x85 ? "\\u0085" : nil }
        guard index + 2 < run.count, run[index + 1] == 0x80 else { return nil }
        return run[index + 2] == 0xA8 ? "\\u2028" : run[index + 2] == 0xA9 ? "\\u2029" : nil
    }

    /// Appends a JSON value without the white space between its parts, so that it fits on one line. What stands in its strings
    /// becomes valid UTF-8 and loses its control characters to escapes, and is else left as it is.
    public static func appendCompact(_ json: Span<UInt8>, into out: inout ByteQueue) {
        json.withUnsafeBufferPointer { buffer in
            var start = 0
            var isString = false
            var index = 0
            while index < buffer.count {
                let byte = buffer[index]
                if byte == ASCII.quote {
                    isString.toggle()
                } else if isString, byte == ASCII.backslash, index + 1 < buffer.count, buffer[index + 1] >= 0x20 {
                    index += 1
                } else if byte < 0x20 || byte == ASCII.space && !isString {
                    UTF8Text.append(UnsafeBufferPointer(rebasing: buffer[start..<index]), into: &out)
                    if isString { appendEscape(of: byte, into: &out) }
                    start = index + 1
                }
                index += 1
            }
            guard start < buffer.count else { return }
            UTF8Text.append(UnsafeBufferPointer(rebasing: buffer[start..<buffer.count]), into: &out)
        }
    }

    public static func appendQuoted(_ text: String, into out: inout ByteQueue) {
        let bytes = Array(text.utf8)
        appendQuoted(bytes.span, into: &out)
    }

    /// Writes U+FFFD for a half that nothing completed.
    public static func dropHalf(_ half: inout UInt16?, into out: inout ByteQueue) {
        guard half != nil else { return }
        half = nil
        UTF8Text.appendReplacement(into: &out)
    }

    // MARK: - Escapes

    private static func appendEscape(of byte: UInt8, into out: inout ByteQueue) {
        out.append(ASCII.backslash)
        switch byte {
        case ASCII.quote, ASCII.backslash: out.append(byte)
        case ASCII.lf: out.append(UInt8(ascii: "n"))
        case ASCII.cr: out.append(UInt8(ascii: "r"))
        case ASCII.tab: out.append(UInt8(ascii: "t"))
        default:
            out.append("u00")
            out.append(byte >> 4 &+ 0x30)
            out.append(byte & 15 < 10 ? byte & 15 &+ 0x30 : byte & 15 &+ 0x57)
        }
    }

    /// Takes the escape at `index` and returns its length.
    private static func appendEscape(
        _ raw: UnsafeBufferPointer<UInt8>, at index: Int, half: inout UInt16?, into out: inout ByteQueue
    ) -> Int {
        guard index + 1 < raw.count else {
            UTF8Text.appendReplacement(into: &out)
            return 1
        }
        if raw[index + 1] == UInt8(ascii: "u") { return appendUnicode(raw, at: index, half: &half, into: &out) }
        dropHalf(&half, into: &out)
        switch raw[index + 1] {
        case UInt8(ascii: "n"): out.append(ASCII.lf)
        case UInt8(ascii: "r"): out.append(ASCII.cr)
        case UInt8(ascii: "t"): out.append(ASCII.tab)
        case UInt8(ascii: "b"): out.append(0x08)
        case UInt8(ascii: "f"): out.append(0x0C)
        case let byte where byte < 0x80: out.append(byte)
        default:
            UTF8Text.appendReplacement(into: &out)
            return 1
        }
        return 2
    }

    private static func appendUnicode(
        _ raw: UnsafeBufferPointer<UInt8>, at index: Int, half: inout UInt16?, into out: inout ByteQueue
    ) -> Int {
        var unit: UInt16 = 0
        for offset in 2..<6 {
            guard index + offset < raw.count, let digit = ASCII.hexValue(raw[index + offset]) else {
                dropHalf(&half, into: &out)
                UTF8Text.appendReplacement(into: &out)
                return min(offset, raw.count - index)
            }
            unit = unit << 4 | UInt16(digit)
        }
        if let high = half, 0xDC00...0xDFFF ~= unit {
            half = nil
            UTF8Text.append(scalar: 0x10000 + (UInt32(high) - 0xD800) << 10 + (UInt32(unit) - 0xDC00), into: &out)
            return 6
        }
        dropHalf(&half, into: &out)
        switch unit {
        case 0xD800...0xDBFF: half = unit
        case 0xDC00...0xDFFF: UTF8Text.appendReplacement(into: &out)
        default: UTF8Text.append(scalar: UInt32(unit), into: &out)
        }
        return 6
    }
}

/// UTF-8 as RFC 3629 and the Unicode standard's "maximal subpart" practice have it.
public enum UTF8Text {
    public static func appendReplacement(into out: inout ByteQueue) { append(scalar: 0xFFFD, into: &out) }

    /// - Precondition: `scalar` is no surrogate and at most 0x10FFFF.
    static func append(scalar: UInt32, into out: inout ByteQueue) {
        func tail(_ shift: UInt32) -> UInt8 { UInt8(truncatingIfNeeded: 0x80 | (scalar >> shift) & 0x3F) }
        switch scalar {
        case ..<0x80: out.append(UInt8(truncatingIfNeeded: scalar))
        case ..<0x800:
            out.append(UInt8(truncatingIfNeeded: 0xC0 | scalar >> 6))
            out.append(tail(0))
        case ..<0x10000:
            out.append(UInt8(truncatingIfNeeded: 0xE0 | scalar >> 12))
            out.append(tail(6))
            out.append(tail(0))
        default:
            out.append(UInt8(truncatingIfNeeded: 0xF0 | scalar >> 18))
            out.append(tail(12))
            out.append(tail(6))
            out.append(tail(0))
        }
    }

    /// Appends `bytes`, with each maximal run of an ill-formed sequence replaced by U+FFFD.
    public static func append(_ bytes: UnsafeBufferPointer<UInt8>, into out: inout ByteQueue) {
        var start = 0
        var index = 0
        while index < bytes.count {
            if bytes[index] < 0x80 {
                index = WordScan.high(bytes, from: index)
                continue
            }
            let (length, isValid) = sequence(bytes, at: index)
            if !isValid {
                out.append(UnsafeBufferPointer(rebasing: bytes[start..<index]))
                appendReplacement(into: &out)
                start = index + length
            }
            index += length
        }
        out.append(UnsafeBufferPointer(rebasing: bytes[start..<bytes.count]))
    }

    /// `bytes` themselves if they are well-formed, else a copy with U+FFFD for what is not.
    static func valid(_ bytes: [UInt8]) -> [UInt8] {
        let isValid = bytes.withUnsafeBufferPointer { buffer in
            var index = WordScan.high(buffer, from: 0)
            while index < buffer.count {
                let (length, isValid) = sequence(buffer, at: index)
                guard isValid else { return false }
                index = WordScan.high(buffer, from: index + length)
            }
            return true
        }
        if isValid { return bytes }
        var out = ByteQueue()
        bytes.withUnsafeBufferPointer { append($0, into: &out) }
        return out.withUnsafeBytes { Array($0) }
    }

    /// The length of the sequence at `index`, or of the part of it that is well-formed so far (at least 1).
    static func sequence(_ bytes: UnsafeBufferPointer<UInt8>, at index: Int) -> (length: Int, isValid: Bool) {
        let lead = bytes[index]
        let needed: Int
        var lower: UInt8 = 0x80
        var upper: UInt8 = 0xBF
        switch lead {
        case 0xC2...0xDF: needed = 2
        case 0xE0: (needed, lower) = (3, 0xA0)
        case 0xED: (needed, upper) = (3, 0x9F)
        case 0xE1...0xEF: needed = 3
        case 0xF0: (needed, lower) = (4, 0x90)
        case 0xF4: (needed, upper) = (4, 0x8F)
        case 0xF1...0xF3: needed = 4
        default: return (1, false)
        }
        for offset in 1..<needed {
            guard index + offset < bytes.count, lower...upper ~= bytes[index + offset] else { return (offset, false) }
            (lower, upper) = (0x80, 0xBF)
        }
        return (needed, true)
    }
}
