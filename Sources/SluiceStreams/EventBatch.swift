import SluiceBytes

/// The events of one chunk: a list of trivial values and the bytes they point into, both reused from chunk to chunk.
///
/// One batch belongs to each worker, since a chunk is decoded and encoded within one turn and leaves nothing behind.
public struct EventBatch: ~Copyable {
    public private(set) var events: [TokenEvent] = []
    private var bytes = ByteQueue()

    public init() {}

    public var isEmpty: Bool { events.isEmpty }

    /// Forgets all events and keeps the storage.
    public mutating func removeAll() {
        events.removeAll(keepingCapacity: true)
        bytes.removeAll()
    }

    public mutating func append(_ event: TokenEvent) { events.append(event) }

    /// Of all texts in it.
    var byteCount: Int { bytes.count }

    mutating func replaceLast(with event: TokenEvent) {
        if !events.isEmpty { events[events.count - 1] = event }
    }

    /// Takes back the first `count` pings from `start` on, which have been told before.
    mutating func removePings(_ count: Int, from start: Int) {
        var (left, kept) = (count, start)
        for index in start..<events.count {
            if left > 0, events[index] == .ping {
                left -= 1
            } else {
                events[kept] = events[index]
                kept += 1
            }
        }
        events.removeLast(events.count - kept)
    }

    /// Copies `text` into the batch; it must be valid UTF-8.
    public mutating func store(_ text: Span<UInt8>) -> TextRange {
        let start = bytes.count
        bytes.append(text)
        return TextRange(start: start, count: text.count)
    }

    public mutating func store(_ text: String) -> TextRange {
        let start = bytes.count
        bytes.append(text)
        return TextRange(start: start, count: bytes.count - start)
    }

    /// Lets `body` append any number of bytes (an unescaped string, a sanitised one) and returns where they stand.
    public mutating func store<E: Error>(_ body: (inout ByteQueue) throws(E) -> Void) throws(E) -> TextRange {
        let start = bytes.count
        try body(&bytes)
        return TextRange(start: start, count: bytes.count - start)
    }

    /// The bytes of one event's text.
    @_lifetime(borrow self)
    public func bytes(_ range: TextRange) -> Span<UInt8> {
        bytes.span.extracting(range.start..<(range.start + range.count))
    }

    /// For tests, logs and errors; never on the token path.
    public func string(_ range: TextRange) -> String {
        bytes.withUnsafeBytes { all in
            String(decoding: all[range.start..<(range.start + range.count)], as: UTF8.self)
        }
    }
}
