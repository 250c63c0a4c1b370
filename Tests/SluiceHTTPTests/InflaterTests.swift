import SluiceBytes
import SluiceHTTP
import Testing

@Suite struct InflaterTests {
    private static let text = "data: {\"text\":\"Hello\"}\n\ndata: {\"text\":\" wörld\"}\n\ndata: [DONE]\n\n"
    /// Three events, each flushed by its sender, and the end; made by zlib itself.
    private static let pieces = [
        bytes("1f8b08000000000002034a492c49b452a8562a49ad2851b252f248cdc9c957aae5e202000000ffff"),
        bytes("4a411557283fbcad2827052403000000ffff"),
        bytes("82c844bbf8fbb9c6727101000000ffff"),
        bytes("030033c9bbf440000000"),
    ]
    private static let gzip = Array(pieces.joined())
    private static let wrapped = bytes(
        "78da4a492c49b452a8562a49ad2851b252f248cdc9c957aae5e202000000ffff4a411557283fbcad2827052403000000ffff"
            + "82c844bbf8fbb9c6727101000000ffff0300a853143b")
    private static let bare = bytes(
        "4a492c49b452a8562a49ad2851b252f248cdc9c957aae5e202000000ffff4a411557283fbcad2827052403000000ffff82c8"
            + "44bbf8fbb9c6727101000000ffff0300")
    /// 262,144 zeros.
    private static let bomb = bytes(
        "1f8b0800000000000203ecc13101000000c2a0f54fed6d07a000000000000000000000000000000000000000000000000000"
            + "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
            + "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
            + "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
            + "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
            + "0000000000000000000000000000000000000000000000000000000000de000000ffff030022ea0ee200000400")

    private static func bytes(_ hex: String) -> [UInt8] {
        let digits = hex.utf8.compactMap(ASCII.hexValue)
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    private struct Result: Equatable {
        var text = ""
        var isComplete = false
        var hasFailed = false
    }

    /// What comes out of `pieces`, `limit` bytes at a time.
    private func inflate(_ coding: ContentCoding, _ pieces: [[UInt8]], limit: Int = 1 << 20) -> Result {
        var inflater = Inflater(coding)
        var out = ByteQueue()
        var result = Result()
        do throws(Inflater.Failure) {
            for piece in pieces {
                var offset = 0
                while true {
                    let before = out.count
                    let hasMore = try inflater.next(piece.span, at: &offset, limit: limit, into: &out)
                    #expect(out.count - before <= limit)
                    if !hasMore { break }
                }
                #expect(offset == piece.count)
            }
        } catch {
            result.hasFailed = true
        }
        result.isComplete = inflater.isComplete
        result.text = String(decoding: out.withUnsafeBytes { Array($0) }, as: UTF8.self)
        return result
    }

    private func cut(_ bytes: [UInt8], at place: Int) -> [[UInt8]] { [Array(bytes[..<place]), Array(bytes[place...])] }

    @Test(arguments: [(ContentCoding.gzip, gzip), (.deflate, wrapped), (.deflate, bare)])
    func everyCutGivesTheSameText(coding: ContentCoding, bytes: [UInt8]) {
        let whole = Result(text: Self.text, isComplete: true)
        for place in 0...bytes.count { #expect(inflate(coding, cut(bytes, at: place)) == whole, "cut at \(place)") }
        for limit in [1, 2, 7] { #expect(inflate(coding, bytes.map { [$0] }, limit: limit) == whole) }
    }

    @Test func eachPieceIsHandedOutWithItself() {
        for count in 1...3 {
            let expected = Self.text.split(separator: "\n\n").prefix(count).map { $0 + "\n\n" }.joined()
            #expect(inflate(.gzip, Array(Self.pieces.prefix(count))) == Result(text: expected))
        }
    }

    @Test func aPrefixIsNeverComplete() {
        for length in 1..<Self.gzip.count {
            let result = inflate(.gzip, [Array(Self.gzip[..<length])])
            #expect(!result.isComplete && !result.hasFailed, "\(length) bytes")
        }
        for length in 1..<Self.wrapped.count {
            #expect(!inflate(.deflate, [Array(Self.wrapped[..<length])]).isComplete)
        }
    }

    @Test func nothingAtAllIsAnEmptyBody() { #expect(inflate(.gzip, []) == Result(isComplete: true)) }

    @Test func membersFollowEachOther() {
        let twice = Result(text: Self.text + Self.text, isComplete: true)
        for place in 0...Self.gzip.count { #expect(inflate(.gzip, cut(Self.gzip, at: place) + [Self.gzip]) == twice) }
        #expect(inflate(.gzip, [Self.gzip + Self.gzip]) == twice)
        #expect(!inflate(.gzip, [Self.gzip + Self.gzip.prefix(5)]).isComplete)
    }

    @Test func zerosBehindTheEndArePaddingAndNothingElseIs() {
        let whole = Result(text: Self.text, isComplete: true)
        #expect(inflate(.gzip, [Self.gzip + [0, 0, 0]]) == whole)
        #expect(inflate(.gzip, [Self.gzip + [0], Self.gzip]).text == Self.text + Self.text)
        let behind = inflate(.gzip, [Self.gzip, [0x20]])
        #expect(behind.hasFailed && !behind.isComplete)
        #expect(inflate(.gzip, [Self.gzip, [0x1F, 0x20]]).hasFailed)
        #expect(inflate(.deflate, [Self.wrapped, [0x1F]]).hasFailed)
    }

    @Test func whatIsNoSuchFormatFails() {
        #expect(inflate(.gzip, [Array("data: {}".utf8)]).hasFailed)
        #expect(inflate(.gzip, [Self.wrapped]).hasFailed)
        // The last eight bytes are a checksum and the length.
        var damaged = Self.gzip
        damaged[damaged.count - 6] ^= 1
        let result = inflate(.gzip, [damaged])
        #expect(result.hasFailed && result.text == Self.text && !result.isComplete)
    }

    @Test func everyDamagedByteIsNoticedOrHarmless() {
        for index in Self.gzip.indices {
            var damaged = Self.gzip
            damaged[index] ^= 0x55
            let result = inflate(.gzip, [damaged])
            #expect(!result.isComplete || result.text == Self.text, "byte \(index)")
        }
    }

    @Test func aBombComesInPortions() {
        var inflater = Inflater(.gzip)
        var out = ByteQueue()
        var (offset, calls, total) = (0, 0, 0)
        var hasMore = true
        while hasMore, calls < 10_000 {
            hasMore = (try? inflater.next(Self.bomb.span, at: &offset, limit: 1000, into: &out)) ?? false
            #expect(out.count <= 1000)
            total += out.count
            out.removeAll()
            calls += 1
        }
        #expect(total == 262_144 && inflater.isComplete && calls >= 262)
    }

    @Test(arguments: [
        ("gzip", ContentCoding.gzip), ("x-gzip", .gzip), ("GZip", .gzip), ("deflate", .deflate), ("br", .unsupported),
        ("gzip, gzip", .unsupported), ("identity, gzip", .gzip), ("identity", nil), ("", nil), ("zstd", .unsupported),
    ]) func codings(value: String, coding: ContentCoding?) {
        var fields = HeaderFields()
        fields.append("Content-Encoding", value)
        #expect(ContentCoding(fields) == coding)
    }

    @Test func codingsOfSeveralFieldsAreOneList() {
        var fields = HeaderFields()
        fields.append("Content-Encoding", "gzip")
        fields.append("Content-Encoding", "br")
        #expect(ContentCoding(fields) == .unsupported)
        #expect(ContentCoding(HeaderFields()) == nil)
    }

    @Test func whatHeldForTheCompressedBytesIsLeftOut() {
        var fields = HeaderFields()
        for name in ["Content-Type", "Content-Encoding", "ETag", "Content-Length", "Content-MD5", "X-A"] {
            fields.append(name, "1")
        }
        let kept = ContentCoding.fieldsOfInflated(fields)
        #expect((0..<kept.count).map { kept.nameString(at: $0) } == ["Content-Type", "X-A"])
    }
}
