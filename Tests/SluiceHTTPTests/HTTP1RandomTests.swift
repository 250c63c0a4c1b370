import SluiceBytes
import SluiceHTTP
import Testing

/// SplitMix64: the same bytes for the same seed on every machine.
private struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// Bytes nobody would send: nothing traps, and the verdict does not depend on the cuts.
@Suite struct HTTP1RandomTests {
    private static let pieces: [String] = [
        "GET / HTTP/1.1\r\n", "POST /a HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100\r\n\r\n", "Host: a\r\n",
        "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n", "\r\n", "3\r\nabc\r\n",
        "0\r\n",
        "\r", "\n", " ", ":", "abc", "ff", ";x=y", "\0", "ffffffffffffffff", "http://a/", "*", "%", "[", "]", ",",
    ]

    private func bytes(_ random: inout SeededGenerator) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<Int.random(in: 1...14, using: &random) {
            bytes += Array((Self.pieces.randomElement(using: &random) ?? "").utf8)
        }
        if !bytes.isEmpty, Bool.random(using: &random) {
            bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
        }
        return bytes
    }

    @Test(arguments: [UInt64(1), 2, 3, 4]) func nothingTrapsAndCutsDoNotMatter(seed: UInt64) {
        var random = SeededGenerator(state: seed)
        let limits = HTTP1Limits(headBytes: 90, fields: 3, targetBytes: 8, chunkExtensionBytes: 4)
        for round in 0..<2000 {
            let wire = bytes(&random)
            let cuts = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                Int.random(in: 0...wire.count, using: &random)
            }.sorted()
            #expect(
                HTTP1Trace.requests(wire, limits: limits) == HTTP1Trace.requests(wire, cuts: cuts, limits: limits),
                "seed \(seed), round \(round), cuts \(cuts): \(String(decoding: wire, as: UTF8.self).debugDescription)")
            let methods = ["GET", "HEAD", "POST", "GET"]
            #expect(
                HTTP1Trace.responses(wire, to: methods) == HTTP1Trace.responses(wire, to: methods, cuts: cuts),
                "seed \(seed), round \(round), cuts \(cuts): \(String(decoding: wire, as: UTF8.self).debugDescription)")
        }
    }

    @Test func randomTextNeverTrapsTheTarget() {
        var random = SeededGenerator(state: 5)
        for _ in 0..<2000 {
            let bytes = (0..<Int.random(in: 0...20, using: &random)).map { _ in
                Array("/.%;?&=+2eEfF\\ab\u{E9}".utf8).randomElement(using: &random) ?? 0
            }
            let target = RequestTarget(String(decoding: bytes, as: UTF8.self))
            _ = target.queryItems()
            if let normal = target.normalizedPath { #expect(RequestTarget.normalizedPath(normal) == normal) }
        }
    }
}
