import Glibc
import SluiceBytes

/// Finds the empty line that ends a head or a trailer section, and keeps what came before it while it is incomplete.
///
/// A head that lies whole in one read is never copied. Each byte is searched once, however small the reads are. A line
/// end other than CRLF is refused here (RFC 9112 §2.2 allows a bare LF; two parsers that disagree on it can be smuggled past).
struct HTTP1HeadCollector {
    enum Found {
        case needMore
        /// The section is longer than the limit.
        case crossed
        /// The section with its empty line, in the input.
        case inPlace(Range<Int>)
        /// The section with its empty line is `kept`; call `clear()` once it is parsed.
        case kept
    }

    private(set) var kept: [UInt8] = []
    private var lineStart = 0  // of the unfinished line, counted from the section's first byte

    var isEmpty: Bool { kept.isEmpty }
    /// No line end has been seen yet.
    var isInFirstLine: Bool { lineStart == 0 }

    /// Takes bytes up to the end of the section, or all of them; of a section, no more than `limit`.
    /// - Throws: `.malformed` for a bare LF.
    mutating func take(_ input: Span<UInt8>, at offset: inout Int, limit: Int) throws(HTTPError) -> Found {
        let start = offset
        let end = start + min(input.count - start, max(0, limit - kept.count))
        var position = start
        while let lineFeed = input.firstIndex(of: ASCII.lf, in: position..<end) {
            let length = kept.count + (lineFeed - start) - lineStart
            let before = lineFeed > start ? input[lineFeed - 1] : kept.last
            guard length > 0, before == ASCII.cr else { throw .malformed("line feed without carriage return") }
            position = lineFeed + 1
            lineStart += length + 1
            guard length == 1 else { continue }
            offset = position
            guard !kept.isEmpty else { return .inPlace(start..<position) }
            keep(input, start..<position)
            return .kept
        }
        guard end == input.count else { return .crossed }
        keep(input, start..<end)
        offset = end
        return .needMore
    }

    /// Gives the storage back: an idle connection holds none.
    mutating func clear() {
        kept = []
        lineStart = 0
    }

    private mutating func keep(_ input: Span<UInt8>, _ range: Range<Int>) {
        input.extracting(range).withUnsafeBufferPointer { kept.append(contentsOf: $0) }
    }
}

extension Span where Element == UInt8 {
    /// The first place of `byte` inside `range`.
    func firstIndex(of byte: UInt8, in range: Range<Int>) -> Int? {
        extracting(range).withUnsafeBufferPointer { bytes in
            guard let base = bytes.baseAddress, let hit = memchr(base, Int32(byte), bytes.count) else { return nil }
            return range.lowerBound + UnsafeRawPointer(base).distance(to: UnsafeRawPointer(hit))
        }
    }
}
