/// Base64 of RFC 4648 §4.
public enum Base64 {
    /// Appends what `text` means to `out`; false, and some of it, for text that is no base64. Padding may be left out, and a
    /// backslash before a slash is passed over: that is how some write it into JSON.
    public static func decode(_ text: Span<UInt8>, into out: inout [UInt8]) -> Bool {
        var (group, count, padding): (UInt32, Int, Int) = (0, 0, 0)
        out.reserveCapacity(out.count + text.count / 4 * 3 + 3)
        for index in text.indices {
            let byte = text[index]
            if byte == UInt8(ascii: "=") {
                padding += 1
                continue
            }
            if byte == ASCII.backslash, index + 1 < text.count, text[index + 1] == UInt8(ascii: "/") { continue }
            guard padding == 0, let value = value(byte) else { return false }
            group = group << 6 | value
            count += 1
            guard count == 4 else { continue }
            out.append(UInt8(truncatingIfNeeded: group >> 16))
            out.append(UInt8(truncatingIfNeeded: group >> 8))
            out.append(UInt8(truncatingIfNeeded: group))
            (group, count) = (0, 0)
        }
        guard padding == 0 || count > 0 && count + padding == 4 else { return false }
        switch count {
        case 0: return true
        case 2: out.append(UInt8(truncatingIfNeeded: group >> 4))
        case 3:
            out.append(UInt8(truncatingIfNeeded: group >> 10))
            out.append(UInt8(truncatingIfNeeded: group >> 2))
        default: return false
        }
        return true
    }

    /// Whether strict readers take it: nothing but base64, and no bits left over behind the last byte.
    public static func isStrict(_ text: Span<UInt8>) -> Bool {
        var (last, count): (UInt32, Int) = (0, 0)
        var padding = 0
        for index in text.indices {
            if text[index] == UInt8(ascii: "=") {
                padding += 1
                continue
            }
            guard padding == 0, let value = value(text[index]) else { return false }
            (last, count) = (value, count + 1)
        }
        guard (count + padding) % 4 == 0 else { return false }
        switch count % 4 {
        case 0: return padding == 0
        case 2: return last & 15 == 0
        case 3: return last & 3 == 0
        default: return false
        }
    }

    @inline(__always)
    private static func value(_ byte: UInt8) -> UInt32? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(byte) &- 65
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(byte) &- 71
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte) &+ 4
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
