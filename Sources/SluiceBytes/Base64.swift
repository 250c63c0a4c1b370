/// Base64 of RFC 4648 §4.
public enum Base64 {
    /// Writes what `text` means over the front of `out`, which grows if it has no room, and returns how many bytes that is; nil
    /// for text that is no base64. Padding may be left out, and a backslash before a slash is passed over: that is how some
    /// write it into JSON.
    public static func decode(_ text: Span<UInt8>, over out: inout [UInt8]) -> Int? {
        // Whole groups are written four bytes at a time, the last of which is no part of them.
        let room = text.count / 4 * 3 + 4
        if out.count < room { out.append(contentsOf: repeatElement(0, count: room - out.count)) }
        return out.withUnsafeMutableBytes { out in
            text.withUnsafeBufferPointer { text in
                Self.tables.withUnsafeBufferPointer { run(text, out, $0) }
            }
        }
    }

    /// Returns how many bytes it wrote; nil: this is no base64.
    private static func run(
        _ text: UnsafeBufferPointer<UInt8>, _ out: UnsafeMutableRawBufferPointer, _ tables: UnsafeBufferPointer<UInt32>
    ) -> Int? {
        var (position, written) = (0, 0)
        while true {
            while position &+ 4 <= text.count {
                let first = tables[Int(text[position])] | tables[256 &+ Int(text[position &+ 1])]
                let second = tables[512 &+ Int(text[position &+ 2])] | tables[768 &+ Int(text[position &+ 3])]
                guard first | second <= 0xFF_FFFF else { break }
                out.storeBytes(of: (first | second).littleEndian, toByteOffset: written, as: UInt32.self)
                position &+= 4
                written &+= 3
            }
            guard let count = group(text, &position, out, written, tables) else { return nil }
            written &+= count
            if count < 3 { return position == text.count ? written : nil }
        }
    }

    /// One group with something else in it than its four characters, or the last one. Returns its bytes: fewer than three at
    /// the text's end.
    private static func group(
        _ text: UnsafeBufferPointer<UInt8>, _ position: inout Int, _ out: UnsafeMutableRawBufferPointer, _ written: Int,
        _ tables: UnsafeBufferPointer<UInt32>
    ) -> Int? {
        var (bits, count, padding): (UInt32, Int, Int) = (0, 0, 0)
        while position < text.count, count < 4 {
            let byte = text[position]
            position &+= 1
            if byte == UInt8(ascii: "=") {
                padding += 1
                continue
            }
            if byte == ASCII.backslash, position < text.count, text[position] == UInt8(ascii: "/") { continue }
            let value = tables[count &* 256 &+ Int(byte)]
            guard padding == 0, value <= 0xFF_FFFF else { return nil }
            bits |= value
            count += 1
        }
        guard count != 1, padding == 0 || count > 0 && count + padding == 4 else { return nil }
        let bytes = max(0, count - 1)
        for index in 0..<bytes { out[written &+ index] = UInt8(truncatingIfNeeded: bits >> UInt32(8 &* index)) }
        return bytes
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

    /// For each of a group's four places, what a character there adds to its three bytes, the first one lowest.
    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: .max, count: 4 * 256)
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        for (value, byte) in alphabet.utf8.enumerated() {
            for place in 0..<4 {
                let bits = UInt32(value) << UInt32(18 - 6 * place)
                tables[place * 256 + Int(byte)] = bits.byteSwapped >> 8
            }
        }
        return tables
    }()
}
