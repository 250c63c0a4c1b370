import SluiceBytes
import SluiceHTTP
import Testing

@Suite struct HTTP1LimitsTests {
    private let limits = HTTP1Limits(headBytes: 120, fields: 3, targetBytes: 20, chunkExtensionBytes: 8)

    /// Checks the verdict under every single cut and byte by byte.
    private func expect(_ text: String, _ verdict: Verdict?, sourceLocation: SourceLocation = #_sourceLocation) {
        let wire = Array(text.utf8)
        let every = (0...wire.count).map { [$0] } + [Array(wire.indices)]
        for cuts in every {
            let trace = HTTP1Trace.requests(wire, cuts: cuts, limits: limits, finishing: false)
            #expect(trace.error.map(Verdict.init) == verdict, "cuts \(cuts)", sourceLocation: sourceLocation)
        }
    }

    @Test(arguments: [
        ("request_head_bytes", 431), ("request_fields", 431), ("target_bytes", 414), ("chunk_extension_bytes", 400),
    ]) func eachLimitHasAStatus(name: String, status: Int) {
        #expect(HTTPError.limit(Limit(name, 1)).requestStatus == status)
    }

    @Test func headBytesCountToTheEmptyLine() {
        let start = "GET / HTTP/1.1\r\nHost: a\r\nX: "
        let fill = 120 - start.utf8.count - 4
        expect(start + String(repeating: "x", count: fill) + "\r\n\r\n", nil)
        expect(start + String(repeating: "x", count: fill + 1) + "\r\n\r\n", .limit("request_head_bytes"))
        expect(start + String(repeating: "x", count: 500), .limit("request_head_bytes"))
    }

    @Test func target() {
        expect("GET /" + String(repeating: "x", count: 19) + " HTTP/1.1\r\nHost: a\r\n\r\n", nil)
        expect("GET /" + String(repeating: "x", count: 20) + " HTTP/1.1\r\nHost: a\r\n\r\n", .limit("target_bytes"))
        expect("GET /" + String(repeating: "x", count: 500), .limit("target_bytes"))
    }

    @Test func fields() {
        expect("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2\r\n\r\n", nil)
        expect("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2\r\nX: 3\r\n\r\n", .limit("request_fields"))
    }

    @Test func chunkExtensionsCountOverTheMessage() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        expect(head + "1;abc\r\nx\r\n1;abc\r\nx\r\n0\r\n\r\n", nil)
        expect(head + "1;abc\r\nx\r\n1;abc\r\nx\r\n0;\r\n\r\n", .limit("chunk_extension_bytes"))
        expect(head + "1;" + String(repeating: "x", count: 500), .limit("chunk_extension_bytes"))
    }

    @Test func trailersHaveTheBoundsOfAHead() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        expect(head + "A: 1\r\nB: 2\r\nC: 3\r\n\r\n", nil)
        expect(head + "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n", .limit("request_fields"))
        expect(head + "A: " + String(repeating: "x", count: 500), .limit("request_head_bytes"))
    }

    @Test func upstreamsHaveLimitsOfTheirOwn() {
        let limits = HTTP1Limits(headBytes: 60, fields: 1, side: .upstream)
        func verdict(_ text: String) -> Verdict? {
            HTTP1Trace.responses(Array(text.utf8), limits: limits).error.map(Verdict.init)
        }
        #expect(verdict("HTTP/1.1 204\r\nA: 1\r\n\r\n") == nil)
        #expect(verdict("HTTP/1.1 204\r\nA: 1\r\nB: 1\r\n\r\n") == .limit("upstream_fields"))
        #expect(verdict("HTTP/1.1 200 " + String(repeating: "x", count: 99)) == .limit("upstream_head_bytes"))
        // Interim responses without end are one head that never comes.
        let interim = String(repeating: "HTTP/1.1 100\r\n\r\n", count: 9)
        #expect(verdict(interim) == .limit("upstream_head_bytes"))
    }
}
