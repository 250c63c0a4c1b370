import SluiceBytes

/// One event of an event stream: its type and data, whole. The spans are dead after the handler returns.
public struct SSEEvent: ~Escapable {
    /// Empty stands for `message`.
    public let type: Span<UInt8>
    public let data: Span<UInt8>
    /// The last event id buffer as it is after this event.
    public let lastEventID: Span<UInt8>

    @_lifetime(copy type, copy data, copy lastEventID)
    init(type: Span<UInt8>, data: Span<UInt8>, lastEventID: Span<UInt8>) {
        (self.type, self.data, self.lastEventID) = (type, data, lastEventID)
    }
}

/// Takes the events of a stream, one at a time.
public protocol SSEHandler {
    /// Whether it looks at `lastEventID`, which is empty for those that do not.
    static var readsIDs: Bool { get }
    mutating func event(_ event: borrowing SSEEvent, offset: Int, into batch: inout EventBatch) throws(StreamError)
    mutating func comment(into batch: inout EventBatch)
    /// A line that no event stream has: the standard passes over it, and some providers tell their errors there.
    /// `offset` is where the event stood that it came in.
    mutating func stray(_ line: Span<UInt8>, offset: Int, into batch: inout EventBatch) throws(StreamError)
}

extension SSEHandler {
    public static var readsIDs: Bool { true }
    public mutating func stray(_ line: Span<UInt8>, offset: Int, into batch: inout EventBatch) throws(StreamError) {}
}

/// The event-stream grammar (WHATWG HTML §9.2.6): bytes in, events to a handler. Cut invariant.
///
/// The common event, one `data:` line that lies whole in the chunk, is handed on where it stands. Only what a chunk
/// border cuts, and data of several lines, is copied; that storage is freed when an event is complete, unless it is little.
public struct SSEDecoder {
    private var partialLine: [UInt8] = []
    private var data: [UInt8] = []
    private var hasData = false
    private var type: [UInt8] = []
    private var lastEventID: [UInt8] = []
    private var endedInCR = false
    private var markSeen: UInt8 = 0  // bytes of a byte order mark matched at the very start; 3: past it
    private var offset = 0  // of the chunk being fed, in the body
    private(set) var eventOffset = 0  // behind the last blank line
    private let limit: Int
    private static let keptBytes = 512
    /// `retry:` as last set, in milliseconds.
    public private(set) var retry: Int?

    /// - Parameter eventBytes: what one event may hold while it is assembled.
    public init(eventBytes: Int) { limit = eventBytes }

    public mutating func feed<Handler: SSEHandler>(
        _ chunk: Span<UInt8>, to handler: inout Handler, into batch: inout EventBatch
    ) throws(StreamError) {
        var start = skipMark(chunk)
        defer { offset &+= chunk.count }
        if endedInCR, start < chunk.count {
            endedInCR = false
            if chunk[start] == ASCII.lf { start += 1 }
        }
        // Where the next of each stands, so that no byte is searched twice whatever ends the lines.
        var (feed, back) = (-1, -1)
        while start < chunk.count {
            if feed < start {
                let isLine = partialLine.isEmpty
                feed = isLine ? SSELine.feed(chunk, from: start) : SSELine.find(ASCII.lf, chunk, from: start)
            }
            if back < start { back = SSELine.find(ASCII.cr, chunk, from: start) }
            let end = min(feed, back)
            guard end < chunk.count else { return try keep(chunk, start..<end) }
            let isBetween = partialLine.isEmpty && !hasData
            if isBetween, let value = Self.loneDataLine(chunk, start, end) {
                try checkEvent(upTo: offset &+ end)
                let data = chunk.extracting(value..<end)
                try handler.event(
                    SSEEvent(type: type.span, data: data, lastEventID: lastEventID.span), offset: eventOffset,
                    into: &batch)
                if !type.isEmpty { type.removeAll(keepingCapacity: type.capacity <= Self.keptBytes) }
                start = end + 2
                eventOffset = offset &+ start
                continue
            }
            var parts = SSEEventParts()
            if isBetween, type.isEmpty, parts.read(chunk, start, end, back) {
                try checkEvent(upTo: offset &+ parts.end)
                if Handler.readsIDs, parts.hasID { keepID(chunk.extracting(parts.id)) }
                if parts.isLong {
                    try handLong(chunk.extracting(start..<parts.end), chunk.extracting(parts.type), &handler, &batch)
                } else {
                    try hand(chunk.extracting(parts.type), chunk.extracting(parts.data), &handler, &batch)
                }
                start = parts.next
                eventOffset = offset &+ parts.blank
                continue
            }
            if partialLine.isEmpty {
                // A blank line ends the event and adds nothing to it.
                if end > start { try checkEvent(upTo: offset &+ end) }
                try line(chunk.extracting(start..<end), next: offset &+ end &+ 1, &handler, &batch)
            } else {
                try keep(chunk, start..<end)
                var whole: [UInt8] = []
                swap(&whole, &partialLine)
                try line(whole.span, next: offset &+ end &+ 1, &handler, &batch)
            }
            start = end + 1
            guard end == back else { continue }
            if start == chunk.count {
                endedInCR = true
            } else if chunk[start] == ASCII.lf {
                start += 1
            }
        }
    }

    /// The end of the stream: hands over a pending event if `isWhole` says that its data is not cut. The standard drops
    /// it always; some providers leave out the last blank line.
    public mutating func finish<Handler: SSEHandler>(
        to handler: inout Handler, into batch: inout EventBatch, isWhole: (Span<UInt8>) -> Bool
    ) throws(StreamError) {
        if !partialLine.isEmpty {
            var whole: [UInt8] = []
            swap(&whole, &partialLine)
            try line(whole.span, next: offset, &handler, &batch)
        }
        guard hasData, isWhole(data.span.extracting(0..<max(0, data.count - 1))) else { return }
        try dispatch(&handler, &batch)
    }

    // MARK: - Lines

    /// For a `data:` line with a blank line right behind it, all in this chunk: where its value starts.
    @inline(__always)
    private static func loneDataLine(_ chunk: Span<UInt8>, _ start: Int, _ end: Int) -> Int? {
        guard chunk[start] == UInt8(ascii: "d"), end + 1 < chunk.count, chunk[end] == ASCII.lf,
            chunk[end + 1] == ASCII.lf, end - start >= 5,
            ASCII.equal(chunk.extracting(start..<(start + 5)), "data:")
        else { return nil }
        return start + 5 < end && chunk[start + 5] == ASCII.space ? start + 6 : start + 5
    }

    private func hand<Handler: SSEHandler>(
        _ type: Span<UInt8>, _ data: Span<UInt8>, _ handler: inout Handler, _ batch: inout EventBatch
    ) throws(StreamError) {
        let event = SSEEvent(type: type, data: data, lastEventID: lastEventID.span)
        try handler.event(event, offset: eventOffset, into: &batch)
    }

    /// `lines` are whole, and each is a field of the event.
    private mutating func handLong<Handler: SSEHandler>(
        _ lines: Span<UInt8>, _ type: Span<UInt8>, _ handler: inout Handler, _ batch: inout EventBatch
    ) throws(StreamError) {
        var text: [UInt8] = []
        swap(&text, &data)
        defer { Self.empty(&text, back: &data) }
        if text.capacity < lines.count { text.reserveCapacity(max(lines.count, Self.keptBytes / 2)) }
        // Each value takes less room than its line, with an LF behind it too.
        text.append(addingCapacity: lines.count) { (room: inout OutputSpan<UInt8>) in
            room.withUnsafeMutableBufferPointer { room, count in
                lines.withUnsafeBufferPointer { count = SSELine.joinData($0, into: room) }
            }
        }
        try hand(type, text.span.extracting(0..<(text.count - 1)), &handler, &batch)
    }

    /// An id with U+0000 in it is none.
    private mutating func keepID(_ value: Span<UInt8>) {
        guard ASCII.firstIndex(of: 0, in: value) == nil else { return }
        if value.count == lastEventID.count {
            // Ids of one stream are as long as each other, and most need no other storage than the last one.
            value.withUnsafeBufferPointer { value in
                lastEventID.withUnsafeMutableBytes { $0.copyMemory(from: UnsafeRawBufferPointer(value)) }
            }
            return
        }
        lastEventID.removeAll(keepingCapacity: true)
        value.withUnsafeBufferPointer { lastEventID.append(contentsOf: $0) }
    }

    /// One whole line; `next` is the place in the body behind it.
    private mutating func line<Handler: SSEHandler>(
        _ line: Span<UInt8>, next: Int, _ handler: inout Handler, _ batch: inout EventBatch
    ) throws(StreamError) {
        if line.isEmpty {
            if hasData || !type.isEmpty { try dispatch(&handler, &batch) }
            eventOffset = next
            return
        }
        if line[0] == ASCII.colon { return handler.comment(into: &batch) }
        var nameEnd = 0
        while nameEnd < line.count, line[nameEnd] != ASCII.colon { nameEnd += 1 }
        var valueStart = min(line.count, nameEnd + 1)
        if valueStart < line.count, line[valueStart] == ASCII.space { valueStart += 1 }
        let name = line.extracting(0..<nameEnd)
        let value = line.extracting(valueStart..<line.count)
        if ASCII.equal(name, "data") {
            value.withUnsafeBufferPointer { data.append(contentsOf: $0) }
            data.append(ASCII.lf)
            hasData = true
        } else if ASCII.equal(name, "event") {
            type.removeAll(keepingCapacity: true)
            value.withUnsafeBufferPointer { type.append(contentsOf: $0) }
        } else if ASCII.equal(name, "id") {
            if Handler.readsIDs { keepID(value) }
        } else if ASCII.equal(name, "retry") {
            retry = ASCII.decimal(value) ?? retry
        } else {
            try handler.stray(line, offset: eventOffset, into: &batch)
        }
    }

    private mutating func dispatch<Handler: SSEHandler>(
        _ handler: inout Handler, _ batch: inout EventBatch
    ) throws(StreamError) {
        // Both are moved out, so that a stream between two events holds little storage.
        var (whole, name): ([UInt8], [UInt8]) = ([], [])
        swap(&name, &type)
        defer { Self.empty(&name, back: &type) }
        guard hasData else { return }
        swap(&whole, &data)
        hasData = false
        defer { Self.empty(&whole, back: &data) }
        // Each `data:` line left an LF behind it; the last one is no part of the data.
        let text = whole.span.extracting(0..<(whole.count - 1))
        let event = SSEEvent(type: name.span, data: text, lastEventID: lastEventID.span)
        try handler.event(event, offset: eventOffset, into: &batch)
    }

    /// Where short events come line by line, their storage is not taken anew for each.
    private static func empty(_ bytes: inout [UInt8], back storage: inout [UInt8]) {
        guard bytes.capacity > 0, bytes.capacity <= keptBytes else { return }
        bytes.removeAll(keepingCapacity: true)
        swap(&bytes, &storage)
    }

    /// Everything since the last blank line counts, comments too: whoever relays an event holds all of it. The places
    /// are those in the body, so that the cuts decide nothing.
    private func checkEvent(upTo place: Int) throws(StreamError) {
        guard place &- eventOffset < limit else { throw .eventTooLarge(Limit("event_bytes", limit)) }
    }

    private mutating func keep(_ chunk: Span<UInt8>, _ range: Range<Int>) throws(StreamError) {
        try checkEvent(upTo: offset &+ range.upperBound)
        chunk.extracting(range).withUnsafeBufferPointer { partialLine.append(contentsOf: $0) }
    }

    /// Passes over one byte order mark at the very start, also when it is cut; returns where the rest begins.
    private mutating func skipMark(_ chunk: Span<UInt8>) -> Int {
        guard markSeen < 3 else { return 0 }
        if markSeen == 0, !chunk.isEmpty, chunk[0] != 0xEF { markSeen = 3 }
        let mark: [3 of UInt8] = [0xEF, 0xBB, 0xBF]
        var start = 0
        while markSeen < 3, start < chunk.count {
            guard chunk[start] == mark[Int(markSeen)] else {
                let matched = Int(markSeen)
                markSeen = 3
                mark.span.extracting(0..<matched).withUnsafeBufferPointer { partialLine.append(contentsOf: $0) }
                return start
            }
            markSeen += 1
            start += 1
        }
        return start
    }
}
