import Glibc

/// Bytes waiting to be parsed or sent: appended at the back, consumed from the front. One owner, no copy-on-write.
///
/// Storage is taken from malloc when the first byte arrives and can be handed back with `releaseIfEmpty()`, so that an
/// idle stream holds none. The queue has no bound of its own; whoever owns it checks `count` against a named limit.
public struct ByteQueue: ~Copyable {
    private var base: UnsafeMutablePointer<UInt8>?
    private var capacity = 0
    private var head = 0
    private var tail = 0

    public init() {}

    deinit {
        guard let base else { return }
        free(base)
        BufferedBytes.gaveBack(capacity)
    }

    public var count: Int { tail - head }
    public var isEmpty: Bool { tail == head }
    /// What it holds of the process's memory, in bytes.
    public var storageBytes: Int { capacity }

    /// The unread bytes.
    public var span: Span<UInt8> {
        @_lifetime(borrow self)
        get {
            let buffer = UnsafeBufferPointer(start: base.map { UnsafePointer($0 + head) }, count: tail - head)
            return _overrideLifetime(buffer.span, borrowing: self)
        }
    }

    /// The unread bytes for a C call. The pointer is dead after `body`.
    public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeBufferPointer<UInt8>) throws(E) -> R) throws(E) -> R {
        try body(UnsafeBufferPointer(start: base.map { UnsafePointer($0 + head) }, count: tail - head))
    }

    // MARK: - Back

    public mutating func append(_ byte: UInt8) {
        let end = room(for: 1)
        end.pointee = byte
        tail += 1
    }

    public mutating func append(_ bytes: Span<UInt8>) {
        bytes.withUnsafeBufferPointer { append($0) }
    }

    public mutating func append(_ bytes: UnsafeBufferPointer<UInt8>) {
        guard let start = bytes.baseAddress, bytes.count > 0 else { return }
        let end = room(for: bytes.count)
        memcpy(end, start, bytes.count)
        tail += bytes.count
    }

    public mutating func append(_ literal: StaticString) {
        append(UnsafeBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount))
    }

    /// For heads, errors and logs; a `String` never stands on the token path.
    public mutating func append(_ text: String) {
        if text.utf8.withContiguousStorageIfAvailable({ append($0) }) != nil { return }
        var text = text
        text.withUTF8 { append($0) }
    }

    public mutating func append(_ bytes: [UInt8]) { append(bytes.span) }

    public mutating func append(decimal value: Int) {
        if value < 0 { append(UInt8(ascii: "-")) }
        var digits = InlineArray<20, UInt8>(repeating: 0)
        var rest = value.magnitude
        var first = 20
        repeat {
            first -= 1
            digits[first] = UInt8(truncatingIfNeeded: rest % 10) &+ 0x30
            rest /= 10
        } while rest > 0
        append(digits.span.extracting(first..<20))
    }

    /// Lower-case hexadecimal without leading zeros.
    public mutating func append(hex value: Int) {
        var digits = InlineArray<16, UInt8>(repeating: 0)
        var rest = value.magnitude
        var first = 16
        repeat {
            first -= 1
            let digit = UInt8(truncatingIfNeeded: rest & 15)
            digits[first] = digit < 10 ? digit &+ 0x30 : digit &+ 0x57
            rest >>= 4
        } while rest > 0
        append(digits.span.extracting(first..<16))
    }

    /// Moves everything out of `other` and leaves it empty; takes over its storage where that saves the copy.
    public mutating func append(moving other: inout ByteQueue) {
        if isEmpty {
            swap(&self, &other)
            other.removeAll()
        } else {
            other.withUnsafeBytes { append($0) }
            other.removeAll()
        }
    }

    /// Makes room for `count` bytes, lets `body` write some of them, and keeps as many as it says.
    public mutating func appendUninitialized<E: Error>(
        _ count: Int, _ body: (UnsafeMutableBufferPointer<UInt8>) throws(E) -> Int
    ) throws(E) {
        let end = room(for: count)
        let written = try body(UnsafeMutableBufferPointer(start: end, count: count))
        precondition(written >= 0 && written <= count, "wrote outside the room asked for")
        tail += written
    }

    /// To write over what waits, in place.
    public mutating func withUnsafeMutableBytes<R, E: Error>(
        _ body: (UnsafeMutableBufferPointer<UInt8>) throws(E) -> R
    ) throws(E) -> R {
        try body(UnsafeMutableBufferPointer(start: base.map { $0 + head }, count: tail - head))
    }

    // MARK: - Front

    public mutating func consume(_ count: Int) {
        precondition(count >= 0 && count <= tail - head, "consumed more than there is")
        head += count
        if head == tail { (head, tail) = (0, 0) }
    }

    public mutating func removeAll() { (head, tail) = (0, 0) }

    /// Hands the storage back to malloc if nothing waits in it.
    public mutating func releaseIfEmpty() {
        guard head == tail, base != nil else { return }
        free(base)
        BufferedBytes.gaveBack(capacity)
        (base, capacity, head, tail) = (nil, 0, 0, 0)
    }

    /// The same, only if the storage holds more than `bytes`: small ones are worth keeping.
    public mutating func release(ifOver bytes: Int) { if capacity > bytes { releaseIfEmpty() } }

    // MARK: - Prefixes whose value is known only after what follows them

    /// An absolute position in the queue's storage, valid until the next `consume` or `removeAll`.
    public struct Mark {
        fileprivate let offset: Int  // from head, so that growing the storage leaves it valid
    }

    /// Leaves `gap` bytes free and returns their place; follow with `close(_:gap:prefix:)`.
    public mutating func open(gap: Int) -> Mark {
        let mark = Mark(offset: tail - head)
        _ = room(for: gap)
        tail += gap
        return mark
    }

    /// Bytes appended since `open`, the gap not counted.
    public func countSince(_ mark: Mark, gap: Int) -> Int { tail - head - mark.offset - gap }

    /// Writes `prefix` right before what was appended since `open` and closes what is left of the gap.
    /// - Precondition: `prefix.count <= gap`.
    public mutating func close(_ mark: Mark, gap: Int, prefix: Span<UInt8>) {
        precondition(prefix.count <= gap, "the prefix does not fit its gap")
        guard let base else { preconditionFailure("a mark outlived its queue") }
        let unused = gap - prefix.count
        let start = base + head + mark.offset
        prefix.withUnsafeBufferPointer { source in
            if let from = source.baseAddress { memcpy(start + unused, from, source.count) }
        }
        guard unused > 0 else { return }
        if mark.offset == 0 {
            head += unused
        } else {
            memmove(start, start + unused, tail - head - mark.offset - unused)
            tail -= unused
        }
    }

    /// Takes back everything appended since `mark`, the gap included.
    public mutating func cancel(_ mark: Mark) { tail = head + mark.offset }

    // MARK: - Storage

    private mutating func room(for count: Int) -> UnsafeMutablePointer<UInt8> {
        if let base, capacity - tail >= count { return base + tail }
        return grow(count)
    }

    private mutating func grow(_ count: Int) -> UnsafeMutablePointer<UInt8> {
        let live = tail - head
        // Sliding down is cheaper than growing, if it frees at least half and so cannot be asked for each time.
        if let base, head >= capacity / 2, capacity - live >= count {
            memmove(base, base + head, live)
            (head, tail) = (0, live)
            return base + tail
        }
        let wanted = max(256, capacity * 2, live + count)
        guard let fresh = malloc(wanted)?.assumingMemoryBound(to: UInt8.self) else {
            fatalError("out of memory: \(wanted) bytes for a queue")
        }
        if let base { memcpy(fresh, base + head, live) }
        free(base)
        BufferedBytes.took(wanted - capacity)
        (base, capacity, head, tail) = (fresh, wanted, 0, live)
        return fresh + live
    }
}
