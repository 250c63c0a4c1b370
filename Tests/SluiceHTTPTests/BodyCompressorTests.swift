import CBrotliDecoder
import SluiceBytes
import SluiceHTTP
import SluiceTesting
import Testing

/// What a client does with the bytes: the libraries' own decoders.
private struct BodyDecoder: ~Copyable {
    /// For gzip.
    private var inflater = Inflater(.gzip)
    private var brotli: OpaquePointer?
    private var isBrotliDone = false

    init(_ coding: BodyCoding) {
        if coding == .brotli { brotli = BrotliDecoderCreateInstance(nil, nil, nil) }
    }

    deinit { if let brotli { BrotliDecoderDestroyInstance(brotli) } }

    /// The body may end here.
    var isComplete: Bool { brotli == nil ? inflater.isComplete : isBrotliDone }

    /// What `bytes` add to the text.
    mutating func feed(_ bytes: [UInt8]) throws -> [UInt8] {
        var text: [UInt8] = []
        guard let brotli else {
            var offset = 0
            var out = ByteQueue()
            while try inflater.next(bytes.span, at: &offset, limit: 1 << 20, into: &out) {}
            return out.withUnsafeBytes { Array($0) }
        }
        var room = [UInt8](repeating: 0, count: 1 << 16)
        var taken = 0
        while true {
            var code = BROTLI_DECODER_RESULT_ERROR
            bytes.withUnsafeBufferPointer { source in
                room.withUnsafeMutableBufferPointer { target in
                    var (rest, next) = (source.count - taken, source.baseAddress.map { $0 + taken })
                    var (free, place) = (target.count, target.baseAddress)
                    code = BrotliDecoderDecompressStream(brotli, &rest, &next, &free, &place, nil)
                    taken = source.count - rest
                    text += target.prefix(target.count - free)
                }
            }
            try #require(code != BROTLI_DECODER_RESULT_ERROR)
            isBrotliDone = code == BROTLI_DECODER_RESULT_SUCCESS
            if BrotliDecoderHasMoreOutput(brotli) == 0 { return text }
        }
    }
}

@Suite struct BodyCompressorTests {
    private static let streams = [
        ("openai-chat", "newlines-long"), ("anthropic-messages", "thinking"), ("openai-chat", "deepseek-utf8-long"),
    ]

    private struct NoMemory: Error {}

    private func made(_ coding: BodyCoding) throws -> BodyCompressor {
        guard let compressor = BodyCompressor(coding) else { throw NoMemory() }
        return compressor
    }

    /// The events of a recorded stream, each with its empty line.
    private func events(_ bytes: [UInt8]) -> [[UInt8]] {
        var (events, event): ([[UInt8]], [UInt8]) = ([], [])
        for byte in bytes {
            event.append(byte)
            if event.suffix(2).elementsEqual([ASCII.lf, ASCII.lf]) { (events, event) = (events + [event], []) }
        }
        return event.isEmpty ? events : events + [event]
    }

    /// Compresses each piece with a flush of its own, and wants all of it back behind each.
    /// - Returns: the compressed bytes of the pieces.
    @discardableResult
    private func roundTrip(_ coding: BodyCoding, _ pieces: [[UInt8]], ends: Bool = true) throws -> [Int] {
        var compressor = try made(coding)
        var decoder = BodyDecoder(coding)
        var sizes: [Int] = []
        for (index, piece) in pieces.enumerated() {
            var out = ByteQueue()
            let isLast = ends && index == pieces.count - 1
            let isWhole = compressor.append(piece.span, isLast: isLast, into: &out)
            #expect(isWhole)
            let isThere = try decoder.feed(out.withUnsafeBytes { Array($0) }) == piece
            try #require(isThere, "\(coding), behind piece \(index) of \(piece.count) bytes")
            sizes.append(out.count)
            let isComplete = decoder.isComplete
            #expect(isComplete == isLast)
        }
        let (most, allowed) = (compressor.mostHeldBytes, BodyCompressor.memoryBytes(coding))
        #expect(most > 0 && most <= allowed, "\(coding): \(most) bytes of memory")
        return sizes
    }

    @Test(arguments: BodyCoding.allCases, streams)
    func eachEventIsThereBehindItsFlush(coding: BodyCoding, stream: (String, String)) throws {
        let bytes = try FixtureReader.bytes(stream.0, stream.1)
        let events = events(bytes)
        let sizes = try roundTrip(coding, events)
        // A tenth or less of what chunks of one form say, a quarter of what is told in few words.
        #expect(sizes.reduce(0, +) * 4 < bytes.count)
        for size in [1, 7, 300, 4096, 1 << 20] {
            try roundTrip(coding, Cutter.pieces(Array(bytes.prefix(20_000)), of: size))
        }
    }

    @Test(arguments: BodyCoding.allCases) func everyCutOfTwoFlushes(coding: BodyCoding) throws {
        let text = try Array(FixtureReader.bytes("openai-chat", "newlines-long").prefix(600))
        for cut in 1..<text.count {
            try roundTrip(coding, [Array(text[..<cut]), Array(text[cut...])])
            try roundTrip(coding, [Array(text[..<cut]), Array(text[cut...])], ends: false)
        }
    }

    /// Sizes at which the output just fills the room that it is given, and some that it overflows many times.
    @Test(arguments: BodyCoding.allCases) func whatCannotBeCompressed(coding: BodyCoding) throws {
        var seed: UInt64 = 7
        func noise(_ count: Int) -> [UInt8] {
            (0..<count).map { _ in
                seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return UInt8(truncatingIfNeeded: seed >> 40)
            }
        }
        for size in Array(200...280) + [16_300, 16_384, 16_385, 65_536, 1_000_000] {
            try roundTrip(coding, [noise(size), noise(size), noise(1)])
        }
        try roundTrip(coding, (0..<64).map { _ in noise(65_536) })
    }

    @Test(arguments: BodyCoding.allCases) func nothingAtAllIsABodyToo(coding: BodyCoding) throws {
        try roundTrip(coding, [[]])
        try roundTrip(coding, [Array("a".utf8), []])
    }

    /// What is never ended is never complete, wherever it is cut.
    @Test(arguments: BodyCoding.allCases) func aCutShows(coding: BodyCoding) throws {
        let text = try Array(FixtureReader.bytes("anthropic-messages", "text"))
        var compressor = try made(coding)
        var out = ByteQueue()
        for (index, event) in events(text).enumerated() {
            let isWhole = compressor.append(event.span, isLast: index == events(text).count - 1, into: &out)
            #expect(isWhole)
        }
        let whole = out.withUnsafeBytes { Array($0) }
        for cut in 1..<whole.count {
            var decoder = BodyDecoder(coding)
            let isPrefix = try text.starts(with: decoder.feed(Array(whole[..<cut])))
            let isComplete = decoder.isComplete
            #expect(!isComplete && isPrefix, "cut at \(cut) of \(whole.count)")
        }
    }
}
