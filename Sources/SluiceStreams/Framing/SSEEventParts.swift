import Glibc
import SluiceBytes

/// Where the parts of one event stand that is whole in its chunk, so that nothing of it needs to be kept.
struct SSEEventParts {
    private(set) var type = 0..<0
    private(set) var data = 0..<0
    private(set) var id = 0..<0
    private(set) var hasID = false
    /// Its data has more lines than one; `data` is the first.
    private(set) var isLong = false
    /// The end of its last line; behind the blank line's CR or LF; behind all of the blank line.
    private(set) var end = 0
    private(set) var blank = 0
    private(set) var next = 0

    /// An event of `data:` lines with an `event:` and an `id:` line at most, ended by LF or CRLF. False: it is another one,
    /// or not whole. `lineEnd` is where the first line ends, `firstBack` where the next CR stands.
    mutating func read(_ chunk: Span<UInt8>, _ start: Int, _ lineEnd: Int, _ firstBack: Int) -> Bool {
        chunk.withUnsafeBufferPointer { bytes in
            guard let base = bytes.baseAddress else { return false }
            // Most streams have no CR in them, and nothing to ask about it.
            guard firstBack < bytes.count else {
                return read(base, bytes.count, start, lineEnd, firstBack, hasBack: false)
            }
            return read(base, bytes.count, start, lineEnd, firstBack, hasBack: true)
        }
    }

    @inline(__always)
    private mutating func read(
        _ base: UnsafePointer<UInt8>, _ count: Int, _ start: Int, _ lineEnd: Int, _ firstBack: Int, hasBack: Bool
    ) -> Bool {
        var back = firstBack
        var (hasData, hasType) = (false, false)
        var position = start
        var feed = base[lineEnd] == ASCII.lf ? lineEnd : SSELine.find(ASCII.lf, base, count, from: lineEnd)
        while feed < count {
            if hasBack, back < position { back = SSELine.find(ASCII.cr, base, count, from: position) }
            if hasBack, back < feed, back != feed &- 1 { return false }
            let end = hasBack && back < feed ? back : feed
            if end == position {
                (blank, next) = (end &+ 1, feed &+ 1)
                return hasData
            }
            switch base[position] {
            case UInt8(ascii: "d"):
                guard let value = SSELine.value(of: "data:", base, position, end) else { return false }
                if hasData { isLong = true } else { data = value }
                hasData = true
            case UInt8(ascii: "e"):
                guard !hasType, let value = SSELine.value(of: "event:", base, position, end) else { return false }
                (type, hasType) = (value, true)
            case UInt8(ascii: "i"):
                guard !hasID, let value = SSELine.value(of: "id:", base, position, end) else { return false }
                (id, hasID) = (value, true)
            default: return false
            }
            self.end = end
            position = feed &+ 1
            guard position < count else { return false }
            feed = SSELine.feed(base, count, from: position)
        }
        return false
    }
}

/// The lines of an event stream, where they stand in memory.
enum SSELine {
    /// The value of the line from `start` to `end`, if it is of the field that `name` and its colon say.
    @inline(__always)
    static func value(of name: StaticString, _ base: UnsafePointer<UInt8>, _ start: Int, _ end: Int) -> Range<Int>? {
        let length = name.utf8CodeUnitCount
        let first = start &+ length
        guard first <= end, isEqual(base + start, name.utf8Start, length) else { return nil }
        let hasSpace = first < end && base[first] == ASCII.space
        return Range(uncheckedBounds: (hasSpace ? first &+ 1 : first, end))
    }

    /// Names are too short for a call to pay off: the first four bytes in one, then one by one.
    @inline(__always)
    private static func isEqual(_ left: UnsafePointer<UInt8>, _ right: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        var index = 0
        if count >= 4 {
            let (first, second) = (UnsafeRawPointer(left), UnsafeRawPointer(right))
            guard first.loadUnaligned(as: UInt32.self) == second.loadUnaligned(as: UInt32.self) else { return false }
            index = 4
        }
        while index < count {
            guard left[index] == right[index] else { return false }
            index &+= 1
        }
        return true
    }

    /// Writes the values of the data lines among `lines`, each with an LF behind it, and returns how many bytes that is: no
    /// more than `lines` has.
    static func joinData(_ lines: UnsafeBufferPointer<UInt8>, into room: UnsafeMutableBufferPointer<UInt8>) -> Int {
        guard let base = lines.baseAddress, let out = room.baseAddress else { return 0 }
        var (start, count) = (0, 0)
        while start < lines.count {
            let feed = find(ASCII.lf, base, lines.count, from: start)
            let end = feed > start && base[feed &- 1] == ASCII.cr ? feed &- 1 : feed
            if let value = value(of: "data:", base, start, end) {
                memcpy(out + count, base + value.lowerBound, value.count)
                count &+= value.count
                out[count] = ASCII.lf
                count &+= 1
            }
            start = feed &+ 1
        }
        return count
    }

    /// Where the LF of the line stands that begins at `start`, or of a later one if CRs end it; `chunk.count` if there is none.
    static func feed(_ chunk: Span<UInt8>, from start: Int) -> Int {
        chunk.withUnsafeBufferPointer { bytes in
            guard let base = bytes.baseAddress else { return 0 }
            return feed(base, bytes.count, from: start)
        }
    }

    /// - Precondition: `start` is less than `count`.
    @inline(__always)
    static func feed(_ base: UnsafePointer<UInt8>, _ count: Int, from start: Int) -> Int {
        // Only data is long enough for a call to pay off.
        if base[start] == UInt8(ascii: "d") { return find(ASCII.lf, base, count, from: start) }
        return WordScan.lineFeed(UnsafeBufferPointer(start: base, count: count), from: start)
    }

    /// Where `byte` stands next; `chunk.count` if nowhere.
    static func find(_ byte: UInt8, _ chunk: Span<UInt8>, from start: Int) -> Int {
        chunk.withUnsafeBufferPointer { bytes in
            guard let base = bytes.baseAddress else { return 0 }
            return find(byte, base, bytes.count, from: start)
        }
    }

    @inline(__always)
    static func find(_ byte: UInt8, _ base: UnsafePointer<UInt8>, _ count: Int, from start: Int) -> Int {
        let found = memchr(base + start, Int32(byte), count &- start)
        return found.map { UnsafeRawPointer($0) - UnsafeRawPointer(base) } ?? count
    }
}
