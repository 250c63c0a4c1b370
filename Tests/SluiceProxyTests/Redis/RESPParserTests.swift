import SluiceBytes
import SluiceTesting
import Testing

@testable import SluiceProxy

@Suite struct RESPParserTests {
    private static let wire = """
        +OK\r\n-OOM command not allowed when used memory > 'maxmemory'.\r\n:42\r\n:-1\r\n$5\r\nhe\r\no\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n\
        *2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nb\r\n$2\r\n\r\n\r\n*3\r\n*1\r\n:7\r\n$-1\r\n*2\r\n+a\r\n*0\r\n+\r\n
        """
    private static let values: [RESPValue] = [
        .simple("OK"), .error("OOM command not allowed when used memory > 'maxmemory'."), .integer(42), .integer(-1),
        .bulk(Array("he\r\no".utf8)), .bulk([]), .null, .null, .array([]),
        .array([.bulk(Array("1-0".utf8)), .array([.bulk(Array("b".utf8)), .bulk(Array("\r\n".utf8))])]),
        .array([.array([.integer(7)]), .null, .array([.simple("a"), .array([])])]), .simple(""),
    ]

    /// What came, and then perhaps why no more.
    private func parse(_ pieces: [[UInt8]], _ limits: RESPParser.Limits = .init()) -> ([RESPValue], RESPError?) {
        var parser = RESPParser(limits: limits)
        var values: [RESPValue] = []
        do throws(RESPError) {
            for piece in pieces { try parser.feed(piece.span, into: &values) }
        } catch {
            return (values, error)
        }
        return (values, nil)
    }

    private func everyCut(_ bytes: [UInt8]) -> [[[UInt8]]] {
        (0...bytes.count).map { [Array(bytes[..<$0]), Array(bytes[$0...])] } + [bytes.map { [$0] }]
    }

    @Test func everyCutGivesTheSameValues() {
        for pieces in everyCut(Array(Self.wire.utf8)) {
            let (values, error) = parse(pieces)
            #expect(values == Self.values && error == nil, "cut at \(pieces[0].count)")
        }
    }

    @Test func knowsWhetherAValueHasBegun() throws {
        var parser = RESPParser()
        var values: [RESPValue] = []
        for (text, isInside) in [("*2", true), ("\r\n", true), (":1\r\n$1\r\n", true), ("a\r", true), ("\n", false)] {
            try parser.feed(Array(text.utf8).span, into: &values)
            #expect(parser.isInside == isInside, "after \(text)")
        }
        #expect(values == [.array([.integer(1), .bulk([0x61])])])
    }

    @Test(arguments: [
        "\r\n", "OK\r\n", "+OK\n", "+O\rK\r\n", ":\r\n", ":1x\r\n", ":--1\r\n", "$\r\n", "$-2\r\n", "*-3\r\n",
        "$1\r\nab\r\n", "$1\r\na\n",
        "$0\r\nx", "*1\r\n?", ":99999999999999999999\r\n", "HTTP/1.1 400 Bad Request\r\n",
    ])
    func whatIsNoRESPIsRefusedHoweverItIsCut(_ text: String) {
        for pieces in everyCut(Array("+before\r\n\(text)\r\n".utf8)) {
            let (values, error) = parse(pieces)
            #expect(values == [.simple("before")], "\(pieces)")
            guard case .malformed = error else {
                Issue.record("\(String(describing: error)) for \(pieces)")
                return
            }
        }
    }

    @Test func everyBoundHolds() {
        var limits = RESPParser.Limits()
        limits.lineBytes = Limit("line", 8)
        limits.bulkBytes = Limit("bulk", 10)
        limits.elements = Limit("elements", 3)
        limits.depth = Limit("depth", 2)
        limits.replyBytes = Limit("reply", 40)
        let cases: [(String, Limit?)] = [
            ("+123456\r\n", nil), ("+12345678\r\n", limits.lineBytes), ("+123456789012", limits.lineBytes),
            ("$10\r\n1234567890\r\n", nil), ("$11\r\n", limits.bulkBytes), ("*3\r\n:1\r\n:1\r\n:1\r\n", nil),
            ("*4\r\n", limits.elements), ("*1\r\n*1\r\n:1\r\n", nil), ("*1\r\n*1\r\n*1\r\n", limits.depth),
            ("*3\r\n$9\r\n123456789\r\n$9\r\n123456789\r\n$9\r\n", limits.replyBytes),
            // Each reply has the whole of it.
            (String(repeating: "*1\r\n$9\r\n123456789\r\n", count: 9), nil),
        ]
        for (text, limit) in cases {
            for pieces in everyCut(Array(text.utf8)) {
                #expect(parse(pieces, limits).1 == limit.map { .limit($0) }, "\(text) in \(pieces.count) pieces")
            }
        }
    }

    @Test func commandsAreArraysOfBulkStrings() {
        var out = ByteQueue()
        out.appendCommand(["XADD", .text("{ä}:body"), .number(-7), .bytes([0, 13, 10])])
        let bytes = out.withUnsafeBytes { Array($0) }
        #expect(bytes == Array("*4\r\n$4\r\nXADD\r\n$9\r\n{ä}:body\r\n$2\r\n-7\r\n$3\r\n\0\r\n\r\n".utf8))
        let (values, _) = parse([bytes])
        #expect(values.count == 1)
    }

    @Test func errorsHaveKinds() {
        let kinds: [(String, RedisFailure.Kind, Bool)] = [
            ("OOM command not allowed", .outOfMemory, true), ("READONLY You can't write", .readOnly, true),
            ("MISCONF Errors writing", .readOnly, true), ("LOADING Redis is loading", .loading, true),
            ("NOAUTH Authentication required.", .unauthorized, true), ("WRONGPASS invalid", .unauthorized, true),
            ("NOPERM this user", .unauthorized, true), ("MOVED 3999 127.0.0.1:6381", .moved, true),
            ("ERR unknown command", .other, false), ("", .other, false),
        ]
        for (text, kind, isLasting) in kinds {
            let failure = RedisFailure(reply: text)
            #expect(failure.kind == kind && failure.isLasting == isLasting, "\(text)")
        }
        #expect(RedisFailure(reply: String(repeating: "x", count: 9999)).text.count == 200)
    }
}
