/// Finds bytes eight at a time in the strings of JSON, which are too short for a call into libc to pay off.
///
/// Each function looks at the words that lie whole in `bytes` and then at single bytes; the lowest mark of a word is
/// exact, those above it need not be.
enum WordScan {
    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let highs: UInt64 = 0x8080_8080_8080_8080
    private static let quotes: UInt64 = 0x2222_2222_2222_2222
    private static let feeds: UInt64 = 0x0A0A_0A0A_0A0A_0A0A
    private static let backslashes: UInt64 = 0x5C5C_5C5C_5C5C_5C5C

    /// The first quote or backslash at or behind `start`; `bytes.count` if there is none.
    @inline(__always)
    static func quoteOrBackslash(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        scan(bytes, from: start) { word in
            zeros(word ^ quotes) | zeros(word ^ backslashes)
        } ends: { byte in
            byte == 0x22 || byte == 0x5C
        }
    }

    /// The first quote, escaped or not.
    @inline(__always)
    static func quote(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        scan(bytes, from: start) { word in
            zeros(word ^ quotes)
        } ends: { byte in
            byte == 0x22
        }
    }

    /// The first LF.
    @inline(__always)
    static func lineFeed(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        scan(bytes, from: start) { word in
            zeros(word ^ feeds)
        } ends: { byte in
            byte == 0x0A
        }
    }

    /// The first backslash or byte of a multi-byte character.
    @inline(__always)
    static func backslashOrHigh(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        scan(bytes, from: start) { word in
            zeros(word ^ backslashes) | (word & highs)
        } ends: { byte in
            byte == 0x5C || byte >= 0x80
        }
    }

    /// The first byte that is not ASCII.
    @inline(__always)
    static func high(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        scan(bytes, from: start) { word in
            word & highs
        } ends: { byte in
            byte >= 0x80
        }
    }

    /// The first byte that a JSON string must escape: a quote, a backslash, a control character.
    @inline(__always)
    static func mustEscape(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        scan(bytes, from: start) { word in
            zeros(word ^ quotes) | zeros(word ^ backslashes) | ((word &- ones &* 0x20) & ~word & highs)
        } ends: { byte in
            byte < 0x20 || byte == 0x22 || byte == 0x5C
        }
    }

    /// The high bit of each byte that is zero.
    @inline(__always)
    private static func zeros(_ word: UInt64) -> UInt64 { (word &- ones) & ~word & highs }

    @inline(__always)
    private static func scan(
        _ bytes: UnsafeBufferPointer<UInt8>, from start: Int, marks: (UInt64) -> UInt64, ends: (UInt8) -> Bool
    ) -> Int {
        guard let base = bytes.baseAddress else { return 0 }
        var index = start
        while index &+ 8 <= bytes.count {
            let word = UnsafeRawPointer(base + index).loadUnaligned(as: UInt64.self)
            let found = marks(UInt64(littleEndian: word))
            if found != 0 { return index &+ found.trailingZeroBitCount >> 3 }
            index &+= 8
        }
        while index < bytes.count, !ends(base[index]) { index &+= 1 }
        return index
    }
}
