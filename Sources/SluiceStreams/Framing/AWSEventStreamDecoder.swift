import SluiceBytes

/// Takes the frames of an AWS event stream, one at a time.
protocol AWSFrameHandler {
    mutating func frame(_ frame: borrowing AWSFrame, offset: Int, into batch: inout EventBatch) throws(StreamError)
}

/// The framing of `application/vnd.amazon.eventstream`: lengths and their checksum, headers, payload, checksum of it
/// all. Cut invariant.
///
/// A frame that lies whole in the chunk is handed on where it stands; only what a chunk border cuts is copied. Nothing
/// of a frame is believed before its checksums are.
struct AWSEventStreamDecoder {
    static let headerLimit = 128 << 10
    static let payloadLimit = 24 << 20
    static let preludeCount = 12
    /// The prelude and the last checksum.
    static let emptyCount = 16

    /// What the first twelve bytes of a frame say.
    struct Prelude {
        let totalCount: Int
        let headerCount: Int

        /// nil: the checksum is wrong, or the bytes are fewer than twelve.
        init?(_ bytes: Span<UInt8>) {
            guard bytes.count >= preludeCount,
                AWSEventStreamDecoder.integer(bytes, at: 8) == Int(CRC32.of(bytes.extracting(0..<8)))
            else { return nil }
            totalCount = AWSEventStreamDecoder.integer(bytes, at: 0)
            headerCount = AWSEventStreamDecoder.integer(bytes, at: 4)
        }

        var isPossible: Bool {
            headerCount <= headerLimit && totalCount >= headerCount + emptyCount
                && totalCount - headerCount - emptyCount <= payloadLimit
        }
    }

    private var partial: [UInt8] = []
    private var wanted = Self.preludeCount  // bytes of the frame in `partial` before it says more
    private var offset = 0  // of the next byte to be fed, in the body
    private var lastHeaders: [UInt8] = []
    private var lastPlaces: AWSHeaderPlaces?
    private let limit: Int
    private static let keptBytes = 256

    init(eventBytes: Int) { limit = eventBytes }

    mutating func feed<Handler: AWSFrameHandler>(
        _ chunk: Span<UInt8>, to handler: inout Handler, into batch: inout EventBatch
    ) throws(StreamError) {
        var start = 0
        while start < chunk.count {
            if partial.isEmpty, chunk.count - start >= Self.preludeCount {
                let rest = chunk.extracting(start..<chunk.count)
                let count = try frameCount(rest, at: offset)
                if rest.count >= count {
                    try hand(rest.extracting(0..<count), at: offset, &handler, &batch)
                    start += count
                    offset &+= count
                    continue
                }
                wanted = count
            }
            let taken = min(wanted - partial.count, chunk.count - start)
            chunk.extracting(start..<(start + taken)).withUnsafeBufferPointer { partial.append(contentsOf: $0) }
            start += taken
            offset &+= taken
            if partial.count == wanted { try advance(&handler, &batch) }
        }
    }

    /// `partial` holds the prelude, or a whole frame.
    private mutating func advance<Handler: AWSFrameHandler>(
        _ handler: inout Handler, _ batch: inout EventBatch
    ) throws(StreamError) {
        let place = offset &- partial.count
        if wanted == Self.preludeCount {
            wanted = try frameCount(partial.span, at: place)
            return
        }
        var whole: [UInt8] = []
        swap(&whole, &partial)
        wanted = Self.preludeCount
        try hand(whole.span, at: place, &handler, &batch)
    }

    /// How long the frame is whose first bytes these are.
    private func frameCount(_ bytes: Span<UInt8>, at place: Int) throws(StreamError) -> Int {
        guard let prelude = Prelude(bytes) else {
            throw .malformed("the checksum of a frame's prelude is wrong", offset: place)
        }
        guard prelude.isPossible else { throw .malformed("a frame's length is impossible", offset: place) }
        guard prelude.totalCount <= limit else { throw .eventTooLarge(Limit("event_bytes", limit)) }
        return prelude.totalCount
    }

    private mutating func hand<Handler: AWSFrameHandler>(
        _ frame: Span<UInt8>, at place: Int, _ handler: inout Handler, _ batch: inout EventBatch
    ) throws(StreamError) {
        let end = frame.count - 4
        guard Self.integer(frame, at: end) == Int(CRC32.of(frame.extracting(0..<end))) else {
            throw .malformed("the checksum of a frame is wrong", offset: place)
        }
        let payload = Self.preludeCount + Self.integer(frame, at: 4)
        let headers = frame.extracting(Self.preludeCount..<payload)
        guard let places = read(headers) else {
            throw .malformed("the headers of a frame are not whole", offset: place)
        }
        let payloadBytes = frame.extracting(payload..<end)
        try handler.frame(AWSFrame(headers: headers, places, payload: payloadBytes), offset: place, into: &batch)
    }

    /// Most frames have the same headers as the one before.
    private mutating func read(_ headers: Span<UInt8>) -> AWSHeaderPlaces? {
        if let lastPlaces, ASCII.equal(headers, lastHeaders.span) { return lastPlaces }
        let places = AWSHeaderPlaces(headers)
        guard headers.count <= Self.keptBytes else { return places }
        lastPlaces = places
        lastHeaders.removeAll(keepingCapacity: true)
        headers.withUnsafeBufferPointer { lastHeaders.append(contentsOf: $0) }
        return places
    }

    /// Four bytes, the highest first.
    private static func integer(_ bytes: Span<UInt8>, at start: Int) -> Int {
        let all = bytes.extracting(start..<(start + 4))
        return Int(all.withUnsafeBytes { UInt32(bigEndian: $0.loadUnaligned(as: UInt32.self)) })
    }
}
