import SluiceBytes
import SluiceHTTP
import Testing

struct ResponseCase: Sendable, CustomTestStringConvertible {
    let wire: String
    let method: String
    let verdict: Verdict
    var testDescription: String { "\(method) \(wire.debugDescription)" }

    init(_ wire: String, method: String = "GET", _ verdict: Verdict) {
        (self.wire, self.method, self.verdict) = (wire, method, verdict)
    }
}

private let cases: [ResponseCase] = [
    ResponseCase("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", .accepted(.fixed(2), body: "hi")),
    ResponseCase("HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nhi", .accepted(.fixed(2), body: "hi")),
    ResponseCase("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", .accepted(.fixed(2), body: "hi")),
    ResponseCase("HTTP/1.1 200 Gr\u{FC}n \t x\r\nContent-Length: 0\r\n\r\n", .accepted(.fixed(0), body: "")),
    ResponseCase(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nT: t\r\n\r\n",
        .accepted(.chunked, body: "hi")),
    ResponseCase("HTTP/1.1 200 OK\r\n\r\nto the end", .accepted(.untilClose, body: "to the end")),
    ResponseCase("HTTP/1.0 200 OK\r\n\r\nto the end", .accepted(.untilClose, body: "to the end")),
    ResponseCase("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", .accepted(.fixed(2), body: "hi")),
    ResponseCase("HTTP/1.1 204 No Content\r\n\r\n", .accepted(.none, body: "")),
    ResponseCase("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", .accepted(.none, body: "")),
    ResponseCase("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", method: "HEAD", .accepted(.none, body: "")),
    ResponseCase("HTTP/1.1 200 OK\r\n\r\n", method: "HEAD", .accepted(.none, body: "")),
    ResponseCase("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", .truncated),
    ResponseCase("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", .truncated),
    ResponseCase("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", .truncated),
    ResponseCase("HTTP/1.1 200 OK\r\nConte", .truncated),
    ResponseCase("", .truncated),
    ResponseCase("HTTP/1.1 100 Continue\r\n\r\n", .truncated),
    ResponseCase("HTTP/1.1 101 Switching Protocols\r\n\r\n", .malformed),
    ResponseCase("HTTP/1.1 099 Low\r\n\r\n", .malformed),
    ResponseCase("HTTP/1.1 600 High\r\n\r\n", .malformed),
    ResponseCase("HTTP/1.1 20 OK\r\n\r\n", .malformed),
    ResponseCase("HTTP/1.1 2000 OK\r\n\r\n", .malformed),
    ResponseCase("HTTP/1.1 +20 OK\r\n\r\n", .malformed),
    ResponseCase("HTTP/1.1  200 OK\r\n\r\n", .malformed),
    ResponseCase("HTTP/1.1 200OK\r\n\r\n", .malformed),
    ResponseCase("HTTP/1.1\r\n\r\n", .malformed),
    ResponseCase("HTTP/1.1 200 O\u{0}K\r\n\r\n", .malformed),
    ResponseCase("HTTP/1.1 200 O\rK\r\n\r\n", .malformed),
    ResponseCase("HTTP/1.1 200 OK\n\r\n", .malformed),
    ResponseCase("\r\nHTTP/1.1 200 OK\r\n\r\n", .malformed),
    ResponseCase("<html>", .malformed),
    ResponseCase("HTTP/2.0 200 OK\r\n\r\n", .version),
    ResponseCase("http/1.1 200 OK\r\n\r\n", .malformed),
    ResponseCase("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", .malformed),
    ResponseCase("HTTP/1.1 200 OK\r\nX : a\r\n\r\n", .malformed),
    ResponseCase("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", .malformed),
    ResponseCase("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi", .malformed),
    ResponseCase("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", .malformed),
    ResponseCase("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", .coding),
    ResponseCase("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", .malformed),
    ResponseCase("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", .malformed),
    ResponseCase("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!", .malformed),
]

@Suite struct HTTP1ResponseParserTests {
    @Test(arguments: cases) func verdict(of test: ResponseCase) {
        let wire = Array(test.wire.utf8)
        let whole = HTTP1Trace.responses(wire, to: [test.method])
        switch test.verdict {
        case .accepted(let length, let body):
            #expect(whole.error == nil)
            #expect(Array(whole.lines.dropFirst()) == (body.isEmpty ? ["end"] : ["body \(body)", "end"]))
            #expect(whole.lines.first?.contains("\(length)") == true)
        default: #expect(whole.error.map(Verdict.init) == test.verdict)
        }
        for cut in 0...wire.count {
            #expect(HTTP1Trace.responses(wire, to: [test.method], cuts: [cut]) == whole, "cut at byte \(cut)")
        }
        #expect(HTTP1Trace.responses(wire, to: [test.method], cuts: Array(wire.indices)) == whole, "byte by byte")
    }

    @Test func responsesFollowEachOther() {
        let wire = Array(
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
                + "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
                + "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nho\r\n0\r\n\r\n").utf8)
        let methods = ["POST", "HEAD", "GET"]
        let whole = HTTP1Trace.responses(wire, to: methods)
        #expect(
            whole.lines == [
                "interim 100", "interim 103", "200 fixed(2) [Content-Length: 2]", "body hi", "end",
                "200 none [Content-Length: 7]", "end", "200 chunked [Transfer-Encoding: chunked]", "body ho", "end",
            ])
        #expect(whole.error == nil)
        for cut in wire.indices { #expect(HTTP1Trace.responses(wire, to: methods, cuts: [cut]) == whole) }
    }

    @Test(arguments: [
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", true), ("HTTP/1.1 200\r\n\r\n", false),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false),
        ("HTTP/1.0 200\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", false),
        ("HTTP/1.1 204\r\n\r\n", true),
    ]) func keepsAlive(wire: String, expected: Bool) throws {
        let wire = Array(wire.utf8)
        var parser = HTTP1ResponseParser()
        parser.begin(requestMethod: "GET")
        var offset = 0
        _ = try parser.next(wire.span, at: &offset)
        #expect(parser.keepsAlive == expected)
    }

    @Test func idleMeansNothingAwaited() throws {
        var parser = HTTP1ResponseParser()
        #expect(parser.isIdle)
        #expect(try parser.finish() == false)
        parser.begin(requestMethod: "GET")
        #expect(!parser.isIdle && !parser.hasReceived)
        let wire = Array("HTTP/1.1 204\r\n\r\n".utf8)
        var offset = 0
        _ = try parser.next(wire.span, at: &offset)
        #expect(parser.hasReceived && !parser.isIdle)
        _ = try parser.next(wire.span, at: &offset)
        #expect(parser.isIdle)
        offset = 0
        #expect((try? parser.next(wire.span, at: &offset)) == nil)
    }

    @Test func aSecondBeginBeforeTheEndIsRefused() {
        var parser = HTTP1ResponseParser()
        parser.begin(requestMethod: "GET")
        parser.begin(requestMethod: "GET")
        let wire = Array("HTTP/1.1 204\r\n\r\n".utf8)
        var offset = 0
        #expect((try? parser.next(wire.span, at: &offset)) == nil)
    }

    @Test func anIdleParserIsSmall() { #expect(MemoryLayout<HTTP1ResponseParser>.size <= 128) }
}
