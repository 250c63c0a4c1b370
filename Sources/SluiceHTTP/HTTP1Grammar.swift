import SluiceBytes

/// The lexical rules of RFC 9110 §5 and RFC 9112 §2–5 that both parsers share. Nothing here keeps state.
enum HTTP1Grammar {
    /// A field line, as ranges of the section that holds it.
    struct FieldLine {
        var name: Range<Int>
        var value: Range<Int>
    }

    /// tchar, RFC 9110 §5.6.2: one bit for each of the 128 ASCII codes.
    static func isTokenByte(_ byte: UInt8) -> Bool {
        let low: UInt64 = 0x03FF_6CFA_0000_0000
        let high: UInt64 = 0x57FF_FFFF_C7FF_FFFE
        if byte < 64 { return low >> UInt64(byte) & 1 == 1 }
        return byte < 128 && high >> UInt64(byte &- 64) & 1 == 1
    }

    static func isToken(_ bytes: Span<UInt8>) -> Bool {
        for index in bytes.indices where !isTokenByte(bytes[index]) { return false }
        return !bytes.isEmpty
    }

    /// HTAB, SP, VCHAR and obs-text: what a value, a reason phrase and a chunk extension may hold.
    static func isTextByte(_ byte: UInt8) -> Bool { byte >= 0x20 && byte != 0x7F || byte == ASCII.tab }

    static func isText(_ bytes: Span<UInt8>) -> Bool {
        bytes.withUnsafeBytes { bytes in
            var index = 0
            // Eight at a time, in all of which neither a control byte nor DEL stands.
            while index &+ 8 <= bytes.count {
                let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                let delete = word ^ 0x7F7F_7F7F_7F7F_7F7F
                let low = (word &- 0x2020_2020_2020_2020) & ~word
                let marks = (low | ((delete &- 0x0101_0101_0101_0101) & ~delete)) & 0x8080_8080_8080_8080
                if marks != 0 { break }
                index &+= 8
            }
            while index < bytes.count {
                if !isTextByte(bytes[index]) { return false }
                index &+= 1
            }
            return true
        }
    }

    /// Cuts `line` (its CRLF excluded) into name and value without the white space around the value.
    /// - Throws: `.malformed` for a folded line, a bad name, white space before the colon, or a control byte.
    static func fieldLine(_ bytes: Span<UInt8>, _ line: Range<Int>) throws(HTTPError) -> FieldLine {
        var colon = line.lowerBound
        while colon < line.upperBound, isTokenByte(bytes[colon]) { colon += 1 }
        guard colon > line.lowerBound, colon < line.upperBound, bytes[colon] == ASCII.colon else {
            throw .malformed("field name")
        }
        var value = (colon + 1)..<line.upperBound
        guard isText(bytes.extracting(value)) else { throw .malformed("control byte in a field value") }
        while let first = value.first, isBlank(bytes[first]) { value = (first + 1)..<value.upperBound }
        while let last = value.last, isBlank(bytes[last]) { value = value.lowerBound..<last }
        return FieldLine(name: line.lowerBound..<colon, value: value)
    }

    static func isBlank(_ byte: UInt8) -> Bool { byte == ASCII.space || byte == ASCII.tab }

    /// The line that begins at `start`, without its CRLF. `section` comes from `HTTP1HeadCollector`: each LF follows a CR.
    static func line(_ section: Span<UInt8>, from start: Int) throws(HTTPError) -> Range<Int> {
        guard let lineFeed = section.firstIndex(of: ASCII.lf, in: start..<section.count), lineFeed > start else {
            throw .malformed("line end")
        }
        return start..<(lineFeed - 1)
    }

    /// Checks a trailer section, its empty line included, and drops it (RFC 9110 §6.5.1 allows that).
    static func checkTrailers(_ section: Span<UInt8>, limits: HTTP1Limits) throws(HTTPError) {
        var (start, count) = (0, 0)
        while true {
            let line = try line(section, from: start)
            if line.isEmpty { return }
            count += 1
            guard count <= limits.fields else { throw limits.fieldsCrossed }
            _ = try fieldLine(section, line)
            start = line.upperBound + 2
        }
    }

    /// Calls `body` for each trimmed, non-empty element of a comma-separated list (RFC 9110 §5.6.1.2).
    static func forEachElement(_ list: Span<UInt8>, _ body: (Span<UInt8>) -> Void) {
        var start = 0
        while start < list.count {
            let comma = list.firstIndex(of: ASCII.comma, in: start..<list.count) ?? list.count
            var element = start..<comma
            while let first = element.first, isBlank(list[first]) { element = (first + 1)..<element.upperBound }
            while let last = element.last, isBlank(list[last]) { element = element.lowerBound..<last }
            if !element.isEmpty { body(list.extracting(element)) }
            start = comma + 1
        }
    }

    static func string(_ bytes: Span<UInt8>) -> String {
        bytes.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
    }
}
