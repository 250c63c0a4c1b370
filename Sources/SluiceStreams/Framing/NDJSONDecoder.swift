import Glibc
import SluiceBytes

/// Takes the values of a stream of JSON lines.
protocol LineHandler {
    mutating func line(_ json: Span<UInt8>, offset: Int, into batch: inout EventBatch) throws(StreamError)
}

/// One JSON value a line: cut at LF only; CRLF, blank lines and a missing last LF are tolerated. Cut invariant.
struct NDJSONDecoder {
    private var partial: [UInt8] = []
    private var offset = 0  // of the chunk being fed, in the body
    private var lineOffset = 0
    private let limit: Int

    init(eventBytes: Int) { limit = eventBytes }

    mutating func feed<Handler: LineHandler>(
        _ chunk: Span<UInt8>, to handler: inout Handler, into batch: inout EventBatch
    ) throws(StreamError) {
        var start = 0
        defer { offset &+= chunk.count }
        while let end = Self.lineEnd(chunk, from: start) {
            let line = chunk.extracting(start..<end)
            if partial.isEmpty {
                guard line.count < limit else { throw tooLarge }
                try hand(line, &handler, &batch)
            } else {
                try keep(line)
                var whole: [UInt8] = []
                swap(&whole, &partial)
                try hand(whole.span, &handler, &batch)
            }
            start = end + 1
            lineOffset = offset &+ start
        }
        try keep(chunk.extracting(start..<chunk.count))
    }

    /// The end of the stream: the last line needs no LF, if `isWhole` says that it is not cut.
    mutating func finish<Handler: LineHandler>(
        to handler: inout Handler, into batch: inout EventBatch, isWhole: (Span<UInt8>) -> Bool
    ) throws(StreamError) {
        var whole: [UInt8] = []
        swap(&whole, &partial)
        guard isWhole(whole.span) else { return }
        try hand(whole.span, &handler, &batch)
    }

    private func hand<Handler: LineHandler>(
        _ line: Span<UInt8>, _ handler: inout Handler, _ batch: inout EventBatch
    ) throws(StreamError) {
        var end = line.count
        if end > 0, line[end - 1] == ASCII.cr { end -= 1 }
        guard end > 0 else { return }
        try handler.line(line.extracting(0..<end), offset: lineOffset, into: &batch)
    }

    private var tooLarge: StreamError { .eventTooLarge(Limit("event_bytes", limit)) }

    private mutating func keep(_ rest: Span<UInt8>) throws(StreamError) {
        guard partial.count + rest.count < limit else { throw tooLarge }
        rest.withUnsafeBufferPointer { partial.append(contentsOf: $0) }
    }

    private static func lineEnd(_ chunk: Span<UInt8>, from start: Int) -> Int? {
        chunk.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return nil }
            let found = memchr(base + start, Int32(ASCII.lf), buffer.count - start)
            return found.map { UnsafeRawPointer($0) - UnsafeRawPointer(base) }
        }
    }
}
