import Glibc
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
    mutating func event(_ event: borrowing SSEEvent, offset: Int, into batch: inout EventBatch) throws(StreamError)
    mutating func comment(into batch: inout EventBatch)
}

/// The event-stream grammar (WHATWG HTML §9.2.6): bytes in, events to a handler. Cut invariant.
///
/// The common event, one `data:` line that lies whole in the chunk, is handed on where it stands. Only what a chunk
/// border cuts, and data of several lines, is copied; that storage is freed when an event is complete.
public struct SSEDecoder {
    private var partialLine: [UInt8] = []
    private var data: [UInt8] = []
    private var hasData = false
    private var type: [UInt8] = []
    private var lastEventID: [UInt8] = []
    private var endedInCR = false
    private var markSeen: UInt8 = 0  // bytes of a byte order mark matched at the very start; 3: past it
    private var offset = 0
    private let limit: Int
    /// `retry:` as last set, in milliseconds.
    public private(set) var retry: Int?

    /// - Parameter eventBytes: what one event may hold while it is assembled.
    public init(eventBytes: Int) { limit = eventBytes }

    public mutating func feed<Handler: SSEHandler>(
        _ chunk: Span<UInt8>, to handler: inout Handler, into batch: inout EventBatch
    ) throws(StreamError) {
        var start = try skipMark(chunk)
        defer { offset &+= chunk.count }
        if endedInCR, start < chunk.count {
            endedInCR = false
            if chunk[start] == ASCII.lf { start += 1 }
        }
        while start < chunk.count {
            guard let end = Self.lineEnd(chunk, from: start) else {
                return try keep(chunk.extracting(start..<chunk.count))
            }
            if partialLine.isEmpty, !hasData, let value = Self.loneDataLine(chunk, start, end) {
                let data = chunk.extracting(value..<end)
                guard data.count < limit else { throw tooLarge }
                try handler.event(
                    SSEEvent(type: type.span, data: data, lastEventID: lastEventID.span), offset: offset &+ start,
                    into: &batch)
                if !type.isEmpty { type.removeAll() }
                start = end + 2
                continue
            }
            if partialLine.isEmpty {
                try line(chunk.extracting(start..<end), at: offset &+ start, &handler, &batch)
            } else {
                try keep(chunk.extracting(start..<end))
                var whole: [UInt8] = []
                swap(&whole, &partialLine)
                try line(whole.span, at: offset &+ start, &handler, &batch)
            }
            start = end + 1
            guard chunk[end] == ASCII.cr else { continue }
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
            try line(whole.span, at: offset, &handler, &batch)
        }
        guard hasData, isWhole(data.span.extracting(0..<max(0, data.count - 1))) else { return }
        try dispatch(at: offset, &handler, &batch)
    }

    // MARK: - Lines

    /// For a `data:` line with a blank line right behind it, all in this chunk: where its value starts.
    private static func loneDataLine(_ chunk: Span<UInt8>, _ start: Int, _ end: Int) -> Int? {
        guard end + 1 < chunk.count, chunk[end] == ASCII.lf, chunk[end + 1] == ASCII.lf, end - start >= 5,
            chunk[start] == UInt8(ascii: "d"), ASCII.equal(chunk.extracting(start..<(start + 5)), "data:")
        else { return nil }
        return start + 5 < end && chunk[start + 5] == ASCII.space ? start + 6 : start + 5
    }

    private mutating func line<Handler: SSEHandler>(
        _ line: Span<UInt8>, at place: Int, _ handler: inout Handler, _ batch: inout EventBatch
    ) throws(StreamError) {
        if line.isEmpty { return try dispatch(at: place, &handler, &batch) }
        if line[0] == ASCII.colon { return handler.comment(into: &batch) }
        var nameEnd = 0
        while nameEnd < line.count, line[nameEnd] != ASCII.colon { nameEnd += 1 }
        var valueStart = min(line.count, nameEnd + 1)
        if valueStart < line.count, line[valueStart] == ASCII.space { valueStart += 1 }
        let name = line.extracting(0..<nameEnd)
        let value = line.extracting(valueStart..<line.count)
        if ASCII.equal(name, "data") {
            guard data.count + value.count < limit else { throw tooLarge }
            value.withUnsafeBufferPointer { data.append(contentsOf: $0) }
            data.append(ASCII.lf)
            hasData = true
        } else if ASCII.equal(name, "event") {
            type = Self.copy(value)
        } else if ASCII.equal(name, "id") {
            for index in value.indices where value[index] == 0 { return }
            lastEventID = Self.copy(value)
        } else if ASCII.equal(name, "retry") {
            retry = ASCII.decimal(value) ?? retry
        }
    }

    private mutating func dispatch<Handler: SSEHandler>(
        at place: Int, _ handler: inout Handler, _ batch: inout EventBatch
    ) throws(StreamError) {
        guard hasData else {
            type.removeAll()
            return
        }
        var (whole, name): ([UInt8], [UInt8]) = ([], [])
        swap(&whole, &data)
        swap(&name, &type)
        hasData = false
        let id = lastEventID
        try Self.hand(name.span, whole.span, id.span, at: place, &handler, &batch)
        // Giving the storage back to this decoder saves an allocation while one stream of many is busy.
        if whole.capacity <= 4096 {
            whole.removeAll(keepingCapacity: true)
            swap(&whole, &data)
        }
    }

    private static func hand<Handler: SSEHandler>(
        _ type: Span<UInt8>, _ data: Span<UInt8>, _ id: Span<UInt8>, at place: Int, _ handler: inout Handler,
        _ batch: inout EventBatch
    ) throws(StreamError) {
        // Each `data:` line left an LF behind it; the last one is no part of the data.
        let event = SSEEvent(type: type, data: data.extracting(0..<(data.count - 1)), lastEventID: id)
        try handler.event(event, offset: place, into: &batch)
    }

    private static func copy(_ bytes: Span<UInt8>) -> [UInt8] { bytes.withUnsafeBufferPointer { Array($0) } }

    private var tooLarge: StreamError { .eventTooLarge(Limit("event_bytes", limit)) }

    private mutating func keep(_ rest: Span<UInt8>) throws(StreamError) {
        guard partialLine.count + data.count + rest.count < limit else { throw tooLarge }
        rest.withUnsafeBufferPointer { partialLine.append(contentsOf: $0) }
    }

    private static func lineEnd(_ chunk: Span<UInt8>, from start: Int) -> Int? {
        chunk.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return nil }
            let rest = buffer.count - start
            let feed = memchr(base + start, Int32(ASCII.lf), rest).map { UnsafeRawPointer($0) - UnsafeRawPointer(base) }
            let before = (feed ?? buffer.count) - start
            let back = memchr(base + start, Int32(ASCII.cr), before).map {
                UnsafeRawPointer($0) - UnsafeRawPointer(base)
            }
            return back ?? feed
        }
    }

    /// Passes over one byte order mark at the very start, also when it is cut; returns where the rest begins.
    private mutating func skipMark(_ chunk: Span<UInt8>) throws(StreamError) -> Int {
        guard markSeen < 3 else { return 0 }
        let mark: [3 of UInt8] = [0xEF, 0xBB, 0xBF]
        var start = 0
        while markSeen < 3, start < chunk.count {
            guard chunk[start] == mark[Int(markSeen)] else {
                let matched = Int(markSeen)
                markSeen = 3
                try keep(mark.span.extracting(0..<matched))
                return start
            }
            markSeen += 1
            start += 1
        }
        return start
    }
}
