import SluiceBytes

/// Finds the body in the bytes behind a head (RFC 9112 §6 and §7). Hands out ranges; copies and allocates nothing, except
/// for a trailer section that is cut by a read.
struct HTTP1BodyReader {
    enum Step {
        case needMore
        case body(Range<Int>)
        case end
    }

    private enum State: UInt8 {
        case fixed, untilClose
        case sizeStart, size, sizeExtension, sizeLineFeed, data, dataReturn, dataLineFeed, trailers
    }

    private var state = State.fixed
    private var sizeDigits: UInt8 = 0
    private var extensionBytes = 0
    private var remaining: UInt64 = 0  // of the fixed body or the chunk; while in `size`, what was read of it

    /// An ended body.
    init() {}

    init(_ length: BodyLength) {
        switch length {
        case .none: break
        case .fixed(let count): remaining = UInt64(max(0, count))
        case .chunked: state = .sizeStart
        case .untilClose: state = .untilClose
        }
    }

    var isUntilClose: Bool { state == .untilClose }

    mutating func next(
        _ input: Span<UInt8>, at offset: inout Int, limits: HTTP1Limits, trailers: inout HTTP1HeadCollector
    ) throws(HTTPError) -> Step {
        if state == .fixed && remaining == 0 { return .end }
        while offset < input.count {
            switch state {
            case .fixed, .data: return .body(takeData(input, at: &offset))
            case .untilClose:
                defer { offset = input.count }
                return .body(offset..<input.count)
            case .trailers:
                return try takeTrailers(input, at: &offset, limits: limits, trailers: &trailers) ? .end : .needMore
            default:
                try takeFraming(input[offset], limits: limits)
                offset += 1
            }
        }
        return .needMore
    }

    /// The rest of the chunks in `input`, joined: appends their data to `out` and returns whether the message is complete.
    /// A run for each chunk would cost whoever takes it more than the copy.
    mutating func collect(
        _ input: Span<UInt8>, at offset: inout Int, limits: HTTP1Limits, trailers: inout HTTP1HeadCollector,
        into out: inout ByteQueue
    ) throws(HTTPError) -> Bool {
        while true {
            if state == .dataReturn { takeWholeBorder(input, at: &offset) }
            switch try next(input, at: &offset, limits: limits, trailers: &trailers) {
            case .needMore: return false
            case .body(let range): out.append(input.extracting(range))
            case .end: return true
            }
        }
    }

    /// The common border between two chunks, whole and without extensions: CRLF, a size, CRLF. Anything else is left to
    /// be taken byte by byte.
    private mutating func takeWholeBorder(_ input: Span<UInt8>, at offset: inout Int) {
        var index = offset + 2
        guard index + 3 <= input.count, input[offset] == ASCII.cr, input[offset + 1] == ASCII.lf else { return }
        var size: UInt64 = 0
        let end = min(input.count - 2, index + 7)
        while index < end, let digit = ASCII.hexValue(input[index]) {
            size = size << 4 | UInt64(digit)
            index += 1
        }
        guard size > 0, input[index] == ASCII.cr, input[index + 1] == ASCII.lf else { return }
        (remaining, state) = (size, .data)
        offset = index + 2
    }

    private mutating func takeData(_ input: Span<UInt8>, at offset: inout Int) -> Range<Int> {
        let available = input.count - offset
        let count = remaining < UInt64(available) ? Int(remaining) : available
        remaining -= UInt64(count)
        if state == .data && remaining == 0 { state = .dataReturn }
        defer { offset += count }
        return offset..<(offset + count)
    }

    /// One byte of a chunk's size line or of the CRLF behind its data.
    private mutating func takeFraming(_ byte: UInt8, limits: HTTP1Limits) throws(HTTPError) {
        switch state {
        case .sizeStart:
            guard let digit = ASCII.hexValue(byte) else { throw .malformed("chunk size") }
            (remaining, sizeDigits, state) = (UInt64(digit), 1, .size)
        case .size: try takeSize(byte, limits: limits)
        case .sizeExtension:
            if byte == ASCII.cr {
                state = .sizeLineFeed
                return
            }
            guard HTTP1Grammar.isTextByte(byte) else { throw .malformed("chunk extension") }
            try countExtensionByte(limits: limits)
        case .sizeLineFeed:
            guard byte == ASCII.lf else { throw .malformed("chunk size line end") }
            state = remaining == 0 ? .trailers : .data
        case .dataReturn:
            guard byte == ASCII.cr else { throw .malformed("chunk data end") }
            state = .dataLineFeed
        default:
            guard byte == ASCII.lf else { throw .malformed("chunk data end") }
            state = .sizeStart
        }
    }

    private mutating func takeSize(_ byte: UInt8, limits: HTTP1Limits) throws(HTTPError) {
        if let digit = ASCII.hexValue(byte) {
            guard sizeDigits < 16 else { throw .malformed("chunk size") }
            sizeDigits += 1
            remaining = remaining << 4 | UInt64(digit)
            return
        }
        guard remaining <= UInt64(Int.max) else { throw .malformed("chunk size") }
        switch byte {
        case ASCII.cr: state = .sizeLineFeed
        case ASCII.semicolon:
            state = .sizeExtension
            try countExtensionByte(limits: limits)
        default: throw .malformed("chunk size")
        }
    }

    private mutating func countExtensionByte(limits: HTTP1Limits) throws(HTTPError) {
        guard extensionBytes < limits.chunkExtensionBytes else { throw limits.extensionsCrossed }
        extensionBytes += 1
    }

    /// Returns whether the section is complete.
    private func takeTrailers(
        _ input: Span<UInt8>, at offset: inout Int, limits: HTTP1Limits, trailers: inout HTTP1HeadCollector
    ) throws(HTTPError) -> Bool {
        switch try trailers.take(input, at: &offset, limit: limits.headBytes) {
        case .needMore: return false
        case .crossed: throw limits.headCrossed
        case .inPlace(let range): try HTTP1Grammar.checkTrailers(input.extracting(range), limits: limits)
        case .kept: try HTTP1Grammar.checkTrailers(trailers.kept.span, limits: limits)
        }
        trailers.clear()
        return true
    }
}
