import SluiceBytes

/// A JSON array of objects, handed on one by one as they come (Gemini without `alt=sse`); an object that stands alone,
/// as an error does, is handed on too.
///
/// Objects stretch over many lines, so their ends are found by their brackets. Whether what is between them is JSON,
/// its reader finds out. Each byte is looked at once; the storage of an object that a chunk border cut is freed when it
/// is whole. Cut invariant.
struct JSONArrayDecoder {
    private enum Place { case start, firstElement, element, separator, inElement, end }

    private var place = Place.start
    private var isArray = false
    private var nesting = 0
    private var isInString = false
    private var isEscaped = false
    private var partial: [UInt8] = []
    private var offset: Int  // of the chunk being fed, in the body
    private var elementOffset = 0
    private let limit: Int

    /// `offset`: how much of the body stood before.
    init(eventBytes: Int, at offset: Int = 0) { (limit, self.offset) = (eventBytes, offset) }

    /// The array, or the lone object, has ended.
    var isClosed: Bool { place == .end }

    mutating func feed<Handler: LineHandler>(
        _ chunk: Span<UInt8>, to handler: inout Handler, into batch: inout EventBatch
    ) throws(StreamError) {
        defer { offset &+= chunk.count }
        var index = 0
        while index < chunk.count {
            guard place == .inElement else {
                try readBetween(chunk, &index)
                continue
            }
            let start = index
            let isWhole = skipElement(chunk, &index)
            let part = chunk.extracting(start..<index)
            guard isWhole else { return try keep(part) }
            place = isArray ? .separator : .end
            if partial.isEmpty {
                guard part.count < limit else { throw tooLarge }
                try handler.line(part, offset: elementOffset, into: &batch)
            } else {
                try keep(part)
                var whole: [UInt8] = []
                swap(&whole, &partial)
                try handler.line(whole.span, offset: elementOffset, into: &batch)
            }
        }
    }

    /// One byte outside all elements; stays before an element's first one.
    private mutating func readBetween(_ chunk: Span<UInt8>, _ index: inout Int) throws(StreamError) {
        let byte = chunk[index]
        switch (place, byte) {
        case (_, ASCII.space), (_, ASCII.lf), (_, ASCII.cr), (_, ASCII.tab): break
        case (.start, ASCII.leftBracket): (place, isArray) = (.firstElement, true)
        case (.separator, ASCII.comma): place = .element
        case (.separator, ASCII.rightBracket), (.firstElement, ASCII.rightBracket): place = .end
        case (.start, ASCII.leftBrace), (.firstElement, ASCII.leftBrace), (.element, ASCII.leftBrace):
            (place, elementOffset) = (.inElement, offset &+ index)
            return
        default: throw .malformed("the body is not a JSON array of objects", offset: offset &+ index)
        }
        index &+= 1
    }

    /// Moves `index` behind the element, or to the end of the chunk if it is not whole.
    private mutating func skipElement(_ chunk: Span<UInt8>, _ index: inout Int) -> Bool {
        if isEscaped {
            isEscaped = false
            index &+= 1
        }
        return chunk.withUnsafeBufferPointer { buffer in
            while index < buffer.count {
                if isInString {
                    index = WordScan.quoteOrBackslash(buffer, from: index)
                    guard index < buffer.count else { break }
                    if buffer[index] == ASCII.quote { isInString = false } else { index &+= 1 }
                    // What a backslash escapes may stand in the next chunk.
                    isEscaped = index == buffer.count
                    if isEscaped { break }
                } else {
                    switch buffer[index] {
                    case ASCII.quote: isInString = true
                    case ASCII.leftBrace, ASCII.leftBracket: nesting &+= 1
                    case ASCII.rightBrace, ASCII.rightBracket: nesting &-= 1
                    default: break
                    }
                }
                index &+= 1
                if nesting == 0 { return true }
            }
            return false
        }
    }

    private var tooLarge: StreamError { .eventTooLarge(Limit("event_bytes", limit)) }

    private mutating func keep(_ part: Span<UInt8>) throws(StreamError) {
        guard partial.count + part.count < limit else { throw tooLarge }
        part.withUnsafeBufferPointer { partial.append(contentsOf: $0) }
    }
}
