import SluiceBytes
import SluiceHTTP
import Testing

/// What must come of some bytes.
enum Verdict: Sendable, Equatable {
    case accepted(BodyLength, body: String)
    case malformed, coding, version, expectation, truncated
    case limit(String)

    init(_ error: HTTPError) {
        switch error {
        case .malformed: self = .malformed
        case .limit(let limit): self = .limit(limit.name)
        case .unsupportedTransferCoding: self = .coding
        case .unsupportedVersion: self = .version
        case .expectationFailed: self = .expectation
        case .truncated: self = .truncated
        }
    }
}

struct RequestCase: Sendable, CustomTestStringConvertible {
    let wire: String
    let verdict: Verdict
    var testDescription: String { wire.debugDescription }

    init(_ wire: String, _ verdict: Verdict) { (self.wire, self.verdict) = (wire, verdict) }

    /// A request whose head is right up to Host.
    static func fields(_ rest: String, _ verdict: Verdict) -> RequestCase {
        RequestCase("POST / HTTP/1.1\r\nHost: a\r\n" + rest, verdict)
    }

    /// A chunked body.
    static func chunks(_ body: String, _ verdict: Verdict) -> RequestCase {
        fields("Transfer-Encoding: chunked\r\n\r\n" + body, verdict)
    }
}

private let empty = Verdict.accepted(.none, body: "")

private let requestLines: [RequestCase] = [
    RequestCase("GET / HTTP/1.1\r\nHost: a\r\n\r\n", empty),
    RequestCase("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", empty),
    RequestCase("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase(" GET / HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.1\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.1\r\nHost: a\n\n", .malformed),
    RequestCase("GET / HTTP/1.1\r\nHost: a\r\n\n", .malformed),
    RequestCase("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET /\r\n", .truncated),
    RequestCase("GET /\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("G\u{E9}T / HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("\u{16}\u{3}\u{1}\u{2}", .malformed),
    RequestCase("M-SEARCH!#$%&'*+.^_`|~ / HTTP/1.1\r\nHost: a\r\n\r\n", empty),
    RequestCase("GET / HTTP/1.0\r\n\r\n", empty),
    RequestCase("GET / HTTP/0.9\r\nHost: a\r\n\r\n", .version),
    RequestCase("GET / HTTP/1.2\r\nHost: a\r\n\r\n", .version),
    RequestCase("PRI * HTTP/2.0\r\n\r\n", .version),
    RequestCase("GET / HTTP/2\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.10\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET / http/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET / HTTPS/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.1\u{0}\r\nHost: a\r\n\r\n", .malformed),
]

private let targets: [RequestCase] = [
    RequestCase("GET a HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET * HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", empty),
    RequestCase("OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET /\u{E9} HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET /\u{7F} HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET /\u{0} HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n", empty),
    RequestCase("GET http://a/x HTTP/1.1\r\nHost: b\r\n\r\n", .malformed),
    RequestCase("GET http://a/x HTTP/1.1\r\nHost: ab\r\n\r\n", .malformed),
    RequestCase("GET http://ab/x HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET http://a:80/x HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET http://a/x HTTP/1.1\r\n\r\n", .malformed),
    RequestCase("GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET http:// HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("GET //a/x HTTP/1.1\r\nHost: a\r\n\r\n", empty),
    RequestCase("GET a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", .malformed),
    RequestCase("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", empty),
    RequestCase("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
    RequestCase("CONNECT a:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", .malformed),
]

private let hosts: [RequestCase] = [
    RequestCase("GET / HTTP/1.1\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.1\r\nHost:\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.1\r\nHost: a:\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.1\r\nHost: a:8o\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.1\r\nHost: :80\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.1\r\nHost: a-b.example:8080 \t\r\n\r\n", empty),
    RequestCase("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", empty),
    RequestCase("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.1\r\nHost: []\r\n\r\n", .malformed),
    RequestCase("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", .malformed),
]

private let fieldLines: [RequestCase] = [
    .fields("X:\r\n\r\n", empty),
    .fields("X: \u{E9}\t\"\r\n\r\n", empty),
    .fields("X : a\r\n\r\n", .malformed),
    .fields("X\t: a\r\n\r\n", .malformed),
    .fields(": a\r\n\r\n", .malformed),
    .fields("X\r\n\r\n", .malformed),
    .fields(" X: a\r\n\r\n", .malformed),
    .fields("X: a\r\n b\r\n\r\n", .malformed),
    .fields("X: a\r\n\tb\r\n\r\n", .malformed),
    .fields("X: a\nY: b\r\n\r\n", .malformed),
    .fields("X: a\rY: b\r\n\r\n", .malformed),
    .fields("X: a\u{0}\r\n\r\n", .malformed),
    .fields("X: a\u{B}\r\n\r\n", .malformed),
    .fields("X: a\u{7F}\r\n\r\n", .malformed),
    .fields("X\u{0}: a\r\n\r\n", .malformed),
    .fields("X/Y: a\r\n\r\n", .malformed),
    .fields("X\u{E9}: a\r\n\r\n", .malformed),
    .fields("X(Y): a\r\n\r\n", .malformed),
    .fields("Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx", .accepted(.fixed(1), body: "x")),
    .fields("Expect: 200-ok\r\n\r\n", .expectation),
    .fields("Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n", .expectation),
    RequestCase("GET / HTTP/1.0\r\nExpect: x\r\n\r\n", empty),
]

private let lengths: [RequestCase] = [
    .fields("Content-Length: 3\r\n\r\nabc", .accepted(.fixed(3), body: "abc")),
    .fields("Content-Length: 0\r\n\r\n", .accepted(.fixed(0), body: "")),
    .fields("Content-Length: 003\r\n\r\nabc", .accepted(.fixed(3), body: "abc")),
    .fields("Content-Length: 3\r\n\r\nab", .truncated),
    .fields("Content-Length:\r\n\r\n", .malformed),
    .fields("Content-Length: +3\r\n\r\nabc", .malformed),
    .fields("Content-Length: -3\r\n\r\nabc", .malformed),
    .fields("Content-Length: 3 3\r\n\r\nabc", .malformed),
    .fields("Content-Length: 3,\r\n\r\nabc", .malformed),
    .fields("Content-Length: 5, 5\r\n\r\nabcde", .malformed),
    .fields("Content-Length: 0x3\r\n\r\nabc", .malformed),
    .fields("Content-Length: 3.0\r\n\r\nabc", .malformed),
    .fields("Content-Length: 9223372036854775808\r\n\r\n", .malformed),
    .fields("Content-Length: 99999999999999999999999999\r\n\r\n", .malformed),
    .fields("Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", .malformed),
    .fields("Content-Length: 3\r\ncontent-length: 4\r\n\r\nabc", .malformed),
    .fields("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", .malformed),
    .fields("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", .malformed),
    .fields("Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc", .malformed),
    .fields("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", .malformed),
    .fields("Transfer-Encoding:\r\n\r\n", .malformed),
    .fields("Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", .accepted(.chunked, body: "")),
    .fields("Transfer-Encoding: \t chunked \t\r\n\r\n0\r\n\r\n", .accepted(.chunked, body: "")),
    .fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", .malformed),
    .fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", .malformed),
    .fields("Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", .malformed),
    .fields("Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", .malformed),
    .fields("Transfer-Encoding: gzip\r\n\r\n", .malformed),
    .fields("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", .coding),
    .fields("Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", .malformed),
    .fields("Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", .malformed),
    .fields("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", .malformed),
    .fields("Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", .malformed),
    .fields("Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", .malformed),
    .fields("Transfer-Encoding: \u{B}chunked\r\n\r\n0\r\n\r\n", .malformed),
    RequestCase("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", .malformed),
    RequestCase("POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx", .accepted(.fixed(1), body: "x")),
]

private let chunkedBodies: [RequestCase] = [
    .chunks("3\r\nabc\r\n0\r\n\r\n", .accepted(.chunked, body: "abc")),
    .chunks("1\r\na\r\n0002\r\nbc\r\n00\r\n\r\n", .accepted(.chunked, body: "abc")),
    .chunks("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", .accepted(.chunked, body: "01234567890123456789")),
    .chunks("3;a=b;c=\"d\"\r\nabc\r\n0;x\r\n\r\n", .accepted(.chunked, body: "abc")),
    .chunks("3\r\nabc\r\n0\r\nX: y\r\nZ: w\r\n\r\n", .accepted(.chunked, body: "abc")),
    .chunks("3\r\nabc\r\n0\r\n", .truncated),
    .chunks("3\r\nabc\r\n", .truncated),
    .chunks("3\r\nab", .truncated),
    .chunks("\r\n", .malformed),
    .chunks("\r\n0\r\n\r\n", .malformed),
    .chunks(";a\r\n", .malformed),
    .chunks(" 3\r\nabc\r\n0\r\n\r\n", .malformed),
    .chunks("3 \r\nabc\r\n0\r\n\r\n", .malformed),
    .chunks("3 ;a\r\nabc\r\n0\r\n\r\n", .malformed),
    .chunks("3\nabc\r\n0\r\n\r\n", .malformed),
    .chunks("3\rabc\r\n0\r\n\r\n", .malformed),
    .chunks("3\r\nabc\n0\r\n\r\n", .malformed),
    .chunks("3\r\nabc0\r\n\r\n", .malformed),
    .chunks("3\r\nabcd\r\n0\r\n\r\n", .malformed),
    .chunks("3\r\nabc\r\n0\n\n", .malformed),
    .chunks("0x3\r\nabc\r\n0\r\n\r\n", .malformed),
    .chunks("+3\r\nabc\r\n0\r\n\r\n", .malformed),
    .chunks("-3\r\nabc\r\n0\r\n\r\n", .malformed),
    .chunks("3g\r\nabc\r\n0\r\n\r\n", .malformed),
    .chunks("8000000000000000\r\n", .malformed),
    .chunks("ffffffffffffffff\r\n", .malformed),
    .chunks("7fffffffffffffff\r\nabc", .truncated),
    .chunks("00000000000000003\r\nabc\r\n0\r\n\r\n", .malformed),
    .chunks("3;a\nabc\r\n0\r\n\r\n", .malformed),
    .chunks("3;a\rb\r\nabc\r\n0\r\n\r\n", .malformed),
    .chunks("3;\u{0}\r\nabc\r\n0\r\n\r\n", .malformed),
    .chunks("0\r\nX : y\r\n\r\n", .malformed),
    .chunks("0\r\nX: y\r\n z\r\n\r\n", .malformed),
    .chunks("0\r\nX: y\n\r\n", .malformed),
    .chunks("0\r\nX: \u{0}\r\n\r\n", .malformed),
    .chunks("0\r\nGET / HTTP/1.1\r\n\r\n", .malformed),
]

private let allCases = requestLines + targets + hosts + fieldLines + lengths + chunkedBodies

@Suite struct HTTP1RequestParserTests {
    @Test(arguments: allCases) func verdict(of test: RequestCase) {
        let wire = Array(test.wire.utf8)
        let whole = HTTP1Trace.requests(wire)
        switch test.verdict {
        case .accepted(let length, let body):
            #expect(whole.error == nil)
            let expected = body.isEmpty ? ["end"] : ["body \(body)", "end"]
            #expect(Array(whole.lines.dropFirst()) == expected)
            #expect(whole.lines.first?.contains("\(length)") == true)
        default: #expect(whole.error.map(Verdict.init) == test.verdict)
        }
        // Neither a verdict nor an event may depend on where the network cut the bytes.
        for cut in 0...wire.count { #expect(HTTP1Trace.requests(wire, cuts: [cut]) == whole, "cut at byte \(cut)") }
        #expect(HTTP1Trace.requests(wire, cuts: Array(wire.indices)) == whole, "byte by byte")
    }

    @Test func theTableIsLarge() { #expect(allCases.count >= 100) }

    @Test func pipelinedRequestsComeOneByOneUnderEveryPairOfCuts() {
        let wire = Array(
            ("POST /1?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi\r\n"
                + "POST /2 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2;e\r\nhi\r\n0\r\nT: t\r\n\r\n"
                + "GET /3 HTTP/1.1\r\nHOST: x\r\n\r\n").utf8)
        let whole = HTTP1Trace.requests(wire)
        #expect(
            whole.lines == [
                "POST /1?a=b @x http11 fixed(2) [Host: x] [Content-Length: 2]", "body hi", "end",
                "POST /2 @x http11 chunked [host: x] [transfer-encoding: chunked]", "body hi", "end",
                "GET /3 @x http11 none [HOST: x]", "end",
            ])
        #expect(whole.error == nil)
        for first in wire.indices {
            for second in stride(from: first, through: wire.count, by: 3) {
                #expect(HTTP1Trace.requests(wire, cuts: [first, second]) == whole)
            }
        }
    }

    @Test func bytesBehindAMessageAreLeftAlone() throws {
        let wire = Array("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET".utf8)
        var parser = HTTP1RequestParser()
        var offset = 0
        guard case .head = try parser.next(wire.span, at: &offset) else { return #expect(Bool(false), "no head") }
        #expect(offset == wire.count - 3 && !parser.isIdle)
        guard case .end = try parser.next(wire.span, at: &offset) else { return #expect(Bool(false), "no end") }
        #expect(offset == wire.count - 3 && parser.isIdle)
        guard case .needMore = try parser.next(wire.span, at: &offset) else { return #expect(Bool(false), "more") }
        #expect(offset == wire.count && !parser.isIdle)
        #expect((try? parser.finish()) == nil)
    }

    @Test(arguments: [
        ("GET http://A.example HTTP/1.1\r\nHost: a.example\r\n\r\n", "GET / @A.example"),
        ("GET HTTPS://a:8443?x=/y HTTP/1.1\r\nHost: a:8443\r\n\r\n", "GET /?x=/y @a:8443"),
        ("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * @a"),
        ("GET http://a/b?c HTTP/1.0\r\n\r\n", "GET /b?c @a"),
        ("CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n", "CONNECT [::1]:443 @[::1]:443"),
    ]) func targetsAreReduced(wire: String, start: String) {
        #expect(HTTP1Trace.requests(Array(wire.utf8)).lines.first?.hasPrefix(start) == true)
    }

    @Test(arguments: [
        ("HTTP/1.1\r\nHost: a\r\n", true), ("HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", false),
        ("HTTP/1.1\r\nHost: a\r\nConnection: x, Close ,y\r\n", false),
        ("HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n", false),
        ("HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n", true), ("HTTP/1.0\r\n", false),
        ("HTTP/1.0\r\nConnection: Keep-Alive\r\n", true), ("HTTP/1.0\r\nConnection: keep-alive, close\r\n", false),
    ]) func keepsAlive(head: String, expected: Bool) throws {
        let wire = Array("GET / \(head)\r\n".utf8)
        var parser = HTTP1RequestParser()
        var offset = 0
        _ = try parser.next(wire.span, at: &offset)
        #expect(parser.keepsAlive == expected)
    }

    @Test(arguments: [
        ("Content-Length: 5\r\n", true), ("Transfer-Encoding: chunked\r\n", true), ("Content-Length: 0\r\n", false),
        ("", false),
    ]) func continueIsExpectedOnlyBeforeABody(field: String, expected: Bool) throws {
        let wire = Array("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\(field)\r\n".utf8)
        var parser = HTTP1RequestParser()
        var offset = 0
        _ = try parser.next(wire.span, at: &offset)
        #expect(parser.expectsContinue == expected)
    }

    @Test func nothingIsParsedAfterAnError() throws {
        let wire = Array("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
        var parser = HTTP1RequestParser()
        var offset = 0
        for _ in 0..<3 {
            #expect((try? parser.next(wire.span, at: &offset)) == nil)
        }
        #expect(!parser.isIdle)
    }

    @Test func anIdleParserIsSmall() { #expect(MemoryLayout<HTTP1RequestParser>.size <= 128) }
}
