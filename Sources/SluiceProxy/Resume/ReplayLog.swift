import SluiceBytes

/// The newest bytes of a body, by their positions in it. Pure; what it has no room for it forgets from the front.
///
/// Kept in segments, so that forgetting moves nothing and gives memory back.
struct ReplayLog: ~Copyable {
    private final class Segment {
        var bytes = ByteQueue()
    }
    /// What stands at a position.
    enum Reading: Equatable {
        /// So many bytes can be read there.
        case bytes(Int)
        /// Nothing yet.
        case atEnd
        case forgotten
        /// The body has not got so far.
        case beyond
    }

    let limitBytes: Int
    private let segmentBytes: Int
    private var segments: [Segment] = []
    /// Of the first segment's first byte.
    private var first = 0
    /// Of the first byte that can be read.
    private(set) var start = 0
    /// Of the next byte that comes.
    private(set) var end = 0
    /// What it holds of the process's memory, in bytes.
    private(set) var storageBytes = 0

    init(limitBytes: Int) {
        self.limitBytes = limitBytes
        segmentBytes = Self.powerOfTwo(upTo: min(16 << 10, max(1 << 10, limitBytes / 4)))
    }

    mutating func append(_ bytes: Span<UInt8>) {
        var offset = 0
        while offset < bytes.count {
            let used = (end - first) % segmentBytes
            let count = min(segmentBytes - used, bytes.count - offset)
            if used == 0 { addSegment(for: count) }
            guard let last = segments.last else { return }
            let before = last.bytes.storageBytes
            last.bytes.append(bytes.extracting(offset..<(offset + count)))
            storageBytes += last.bytes.storageBytes - before
            offset += count
            end += count
        }
    }

    /// Most answers are short: the first one grows as it is needed, by doubling to its full size. Those behind it have that at once.
    private mutating func addSegment(for count: Int) {
        let segment = Segment()
        let wanted = segments.isEmpty && start == 0 ? max(256, 2 * Self.powerOfTwo(upTo: count)) : segmentBytes
        segment.bytes.appendUninitialized(min(wanted, segmentBytes)) { _ in 0 }
        storageBytes += segment.bytes.storageBytes
        segments.append(segment)
    }

    private static func powerOfTwo(upTo number: Int) -> Int { 1 << (Int.bitWidth - 1 - max(1, number).leadingZeroBitCount) }

    /// Forgets what is over `limitBytes`, but nothing from `needed` on.
    mutating func trim(needed: Int) { forget(upTo: min(end - limitBytes, needed)) }

    /// Gives back the oldest segments, about `bytes` of memory, but nothing from `needed` on and not the last one.
    mutating func shrink(by bytes: Int, needed: Int) {
        var (count, freed) = (0, 0)
        while freed < bytes, count + 1 < segments.count, first + (count + 1) * segmentBytes <= needed {
            freed += segments[count].bytes.storageBytes
            count += 1
        }
        if count > 0 { forget(upTo: max(start, first + count * segmentBytes)) }
    }

    mutating func forget(upTo position: Int) {
        guard position >= start else { return }
        start = min(position, end)
        // The last segment stays open for more, unless it is full.
        let count = min((start - first) / segmentBytes, segments.count)
        guard count > 0 else { return }
        for segment in segments.prefix(count) { storageBytes -= segment.bytes.storageBytes }
        segments.removeFirst(count)
        first += count * segmentBytes
    }

    func reading(at position: Int) -> Reading {
        if position < start { return .forgotten }
        if position > end { return .beyond }
        if position == end { return .atEnd }
        return .bytes(min(segmentBytes - (position - first) % segmentBytes, end - position))
    }

    /// Calls `body` with what stands there without a break, at most `limit` bytes; with nothing if there is nothing.
    func read<R>(at position: Int, limit: Int, _ body: (Span<UInt8>) -> R) -> R {
        guard case .bytes(let count) = reading(at: position) else { return body(Span()) }
        let segment = segments[(position - first) / segmentBytes]
        let offset = (position - first) % segmentBytes
        let range = offset..<(offset + min(count, limit))
        return segment.bytes.withUnsafeBytes { body(UnsafeBufferPointer(rebasing: $0[range]).span) }
    }
}
