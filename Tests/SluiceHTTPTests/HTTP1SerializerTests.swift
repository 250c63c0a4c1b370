import SluiceBytes
import SluiceHTTP
import Testing

@Suite struct HTTP1SerializerTests {
    private func text(_ write: (inout ByteQueue) -> Void) -> String {
        var queue = ByteQueue()
        write(&queue)
        return queue.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    private func fields(_ pairs: [(String, String)]) -> HeaderFields {
        var fields = HeaderFields()
        for (name, value) in pairs { fields.append(name, value) }
        return fields
    }

    /// A length that GET would not have must not be said (RFC 9110 §8.6).
    @Test func anAnswerToHeadSaysOnlyALengthThatIsKnown() {
        func text(_ length: BodyLength, isHead: Bool) -> String {
            var queue = ByteQueue()
            HTTP1Serializer.response(
                ResponseHead(status: 200), length: length, keepAlive: true, version: .http11, isHead: isHead,
                into: &queue)
            return String(decoding: queue.withUnsafeBytes { Array($0) }, as: UTF8.self)
        }
        #expect(text(.none, isHead: true) == "HTTP/1.1 200 OK\r\n\r\n")
        #expect(text(.fixed(5), isHead: true) == "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
        #expect(text(.none, isHead: false) == "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    }

    @Test func requestWritesItsOwnFraming() {
        let head = RequestHead(
            method: "POST", target: "/v1/chat?x=1", authority: "api.example",
            fields: fields([
                ("Host", "evil"), ("content-length", "9"), ("Transfer-Encoding", "x"), ("connection", "close"),
                ("keep-alive", "1"), ("accept", "*/*"),
            ]))
        #expect(
            text { HTTP1Serializer.request(head, length: .fixed(3), into: &$0) }
                == "POST /v1/chat?x=1 HTTP/1.1\r\nhost: api.example\r\naccept: */*\r\ncontent-length: 3\r\n\r\n")
        #expect(
            text { HTTP1Serializer.request(head, length: .chunked, into: &$0) }
                .hasSuffix("accept: */*\r\ntransfer-encoding: chunked\r\n\r\n"))
        #expect(text { HTTP1Serializer.request(head, length: .none, into: &$0) }.hasSuffix("content-length: 0\r\n\r\n"))
        let get = RequestHead(method: "GET", target: "/", authority: "a")
        #expect(
            text { HTTP1Serializer.request(get, length: .none, into: &$0) } == "GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    }

    @Test func nothingCanEndALineEarly() {
        let head = RequestHead(
            method: "GE T\r\n", target: "/a b\r\nX: y\u{E9}", authority: "a\r\nb",
            fields: fields([("x", "1\r\n\r\nGET / HTTP/1.1\u{0}"), ("bad name", "x"), ("y\r\nz", "x"), ("", "x")]))
        #expect(
            text { HTTP1Serializer.request(head, length: .none, into: &$0) }
                == "GET /a%20b%0d%0aX:%20y%c3%a9 HTTP/1.1\r\nhost: a%0d%0ab\r\nx: 1    GET / HTTP/1.1 \r\n\r\n")
    }

    struct ResponseFraming: Sendable {
        let status: Int
        let length: BodyLength
        let keepAlive: Bool
        let version: RequestHead.Version
        let fields: String
        let framing: BodyLength
    }

    @Test(arguments: [
        ResponseFraming(
            status: 200, length: .fixed(5), keepAlive: true, version: .http11, fields: "content-length: 5\r\n",
            framing: .fixed(5)),
        ResponseFraming(
            status: 200, length: .fixed(0), keepAlive: false, version: .http11,
            fields: "content-length: 0\r\nconnection: close\r\n", framing: .fixed(0)),
        ResponseFraming(
            status: 200, length: .none, keepAlive: true, version: .http11, fields: "content-length: 0\r\n",
            framing: .none),
        ResponseFraming(
            status: 200, length: .chunked, keepAlive: true, version: .http11,
            fields: "transfer-encoding: chunked\r\n", framing: .chunked),
        ResponseFraming(
            status: 200, length: .chunked, keepAlive: true, version: .http10, fields: "connection: close\r\n",
            framing: .untilClose),
        ResponseFraming(
            status: 200, length: .untilClose, keepAlive: true, version: .http11, fields: "connection: close\r\n",
            framing: .untilClose),
        ResponseFraming(
            status: 200, length: .fixed(5), keepAlive: true, version: .http10,
            fields: "content-length: 5\r\nconnection: keep-alive\r\n", framing: .fixed(5)),
        ResponseFraming(
            status: 204, length: .fixed(5), keepAlive: true, version: .http11, fields: "", framing: .none),
        ResponseFraming(
            status: 304, length: .chunked, keepAlive: true, version: .http10, fields: "connection: keep-alive\r\n",
            framing: .none),
    ]) func responseFraming(test: ResponseFraming) {
        var framing = BodyLength.none
        let head = ResponseHead(
            status: test.status, fields: fields([("Content-Length", "77"), ("Connection", "x"), ("a", "b")]))
        let written = text {
            framing = HTTP1Serializer.response(
                head, length: test.length, keepAlive: test.keepAlive, version: test.version, into: &$0)
        }
        #expect(framing == test.framing)
        #expect(written.hasPrefix("HTTP/1.1 \(test.status) "))
        #expect(written.hasSuffix("\r\na: b\r\n\(test.fields)\r\n"))
    }

    @Test func interim() {
        #expect(text { HTTP1Serializer.interim(100, into: &$0) } == "HTTP/1.1 100 Continue\r\n\r\n")
    }

    @Test(arguments: [1, 9, 10, 15, 16, 17, 255, 256, 4095, 4096, 65_536]) func chunkSizesAreMinimalHex(count: Int) {
        for prefix in ["", "before"] {
            let data = String(repeating: "x", count: count)
            let written = text {
                $0.append(prefix)
                let mark = HTTP1Serializer.openChunk(in: &$0)
                $0.append(data)
                HTTP1Serializer.closeChunk(mark, in: &$0)
            }
            #expect(written == prefix + String(count, radix: 16) + "\r\n" + data + "\r\n")
        }
    }

    @Test func anEmptyChunkIsNotWritten() {
        for prefix in ["", "before"] {
            let written = text {
                $0.append(prefix)
                let mark = HTTP1Serializer.openChunk(in: &$0)
                HTTP1Serializer.closeChunk(mark, in: &$0)
                HTTP1Serializer.lastChunk(into: &$0)
            }
            #expect(written == prefix + "0\r\n\r\n")
        }
    }

    @Test(arguments: [BodyLength.none, .fixed(5), .chunked]) func aRequestComesBackAsItWas(length: BodyLength) {
        let head = RequestHead(
            method: "PATCH", target: "/a?b=c", authority: "h:1",
            fields: fields([("x", "1"), ("x", ""), ("Y-z", "\u{FC} 2")]))
        let wire = text { HTTP1Serializer.request(head, length: length, into: &$0) }
        var parser = HTTP1RequestParser()
        var offset = 0
        let bytes = Array(wire.utf8)
        guard case .head(let parsed, let parsedLength)? = try? parser.next(bytes.span, at: &offset) else {
            return #expect(Bool(false), "no head in \(wire)")
        }
        #expect(parsed.method == head.method && parsed.target == head.target && parsed.authority == head.authority)
        #expect(parsed.fields.filtered { parsed.fields.nameString(at: $0) != "host" }.endToEnd() == head.fields)
        #expect(parsedLength == (length == .none ? .fixed(0) : length))
    }

    @Test func bigBodiesComeBackWhole() {
        var queue = ByteQueue()
        HTTP1Serializer.response(
            ResponseHead(status: 200), length: .chunked, keepAlive: true, version: .http11, into: &queue)
        var expected: [UInt8] = []
        for size in [1, 16_384, 100_000, 1 << 20, 3] {
            let data = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ size) }
            expected += data
            let mark = HTTP1Serializer.openChunk(in: &queue)
            queue.append(data)
            HTTP1Serializer.closeChunk(mark, in: &queue)
        }
        HTTP1Serializer.lastChunk(into: &queue)
        var parser = HTTP1ResponseParser()
        parser.begin(requestMethod: "GET")
        var (body, ended, taken) = ([UInt8](), false, 0)
        while taken < queue.count {
            let end = min(queue.count, taken + 16_384)
            let input = queue.span.extracting(taken..<end)
            var offset = 0
            reading: while let event = try? parser.next(input, at: &offset) {
                switch event {
                case .needMore: break reading
                case .body(let range): input.extracting(range).withUnsafeBufferPointer { body.append(contentsOf: $0) }
                case .end: ended = true
                default: break
                }
            }
            taken = end
        }
        #expect(ended && body == expected && parser.isIdle && parser.keepsAlive)
    }
}
