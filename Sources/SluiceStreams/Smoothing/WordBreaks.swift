import SluiceBytes

/// Where text can be taken apart for a typing effect: behind a word and the white space that follows it, and behind each character of
/// scripts that write no spaces. Never inside a UTF-8 sequence, nor before a mark that belongs to the character before it.
///
/// Source of what joins: Unicode's Grapheme_Extend, spacing marks and emoji modifiers (UAX #29), as far as the text has come.
enum WordBreaks {
    /// A piece without white space is not waited for any longer.
    static let longestBytes = 64

    /// The bytes of the first piece of `text`, which is valid UTF-8; nil if what comes next may still belong to it.
    static func first(in text: Span<UInt8>) -> Int? {
        var (index, safe) = (0, 0)
        var (hasWord, hasSpace, isJoined) = (false, false, false)
        while index < text.count {
            let (scalar, length) = scalar(in: text, at: index)
            let joins = isJoined || joinsBefore(scalar)
            if !joins { safe = index }
            if index + length > longestBytes { return safe > 0 ? safe : max(index, length) }
            if isSpace(scalar) {
                hasSpace = hasWord
            } else if hasSpace {
                return index
            } else if isAlone(scalar), !joins {
                return hasWord ? index : endOfCharacter(text, from: index + length)
            } else {
                hasWord = true
            }
            isJoined = scalar == joiner
            index += length
        }
        return hasSpace ? index : nil
    }

    /// Behind the marks and the white space that follow a character.
    private static func endOfCharacter(_ text: Span<UInt8>, from start: Int) -> Int {
        var (index, hasSpace) = (start, false)
        while index < text.count, index < longestBytes {
            let (scalar, length) = scalar(in: text, at: index)
            let isSpace = isSpace(scalar)
            guard isSpace || !hasSpace && joinsBefore(scalar) else { break }
            hasSpace = hasSpace || isSpace
            index += length
        }
        return index
    }

    private static let joiner: Unicode.Scalar = "\u{200D}"

    /// What is no UTF-8 after all counts byte by byte, as a character that is part of a word.
    private static func scalar(in text: Span<UInt8>, at index: Int) -> (Unicode.Scalar, length: Int) {
        let lead = text[index]
        if lead < 0x80 { return (Unicode.Scalar(lead), 1) }
        let length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4
        guard lead >= 0xC0, index + length <= text.count else { return ("\u{FFFD}", 1) }
        var value = UInt32(lead) & (0x7F >> UInt32(length))
        for offset in 1..<length { value = value << 6 | UInt32(text[index + offset] & 0x3F) }
        return (Unicode.Scalar(value) ?? "\u{FFFD}", length)
    }

    private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x80 ? scalar == " " || scalar.value &- 9 < 5 : scalar.properties.isWhitespace
    }

    /// It belongs to the character before it.
    private static func joinsBefore(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.value < 0x300 { return false }
        if scalar == joiner || scalar == "\u{0E33}" || scalar == "\u{0EB3}" { return true }
        let properties = scalar.properties
        return properties.isGraphemeExtend || properties.isEmojiModifier || properties.generalCategory == .spacingMark
    }

    /// Of a script whose words no space parts: Thai to Tibetan and Burmese, Khmer, Chinese, Japanese, Yi.
    private static func isAlone(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case ..<0x0E00: false
        case 0x0E00...0x109F, 0x1780...0x17FF, 0x2E80...0x2FDF, 0x3000...0x312F, 0x31A0...0xA4CF, 0xF900...0xFAFF,
            0xFE30...0xFE4F, 0xFF00...0xFFEF, 0x1_6FE0...0x1_8DFF, 0x1_AFF0...0x1_B16F, 0x2_0000...0x3_FFFF:
            true
        default: false
        }
    }
}
