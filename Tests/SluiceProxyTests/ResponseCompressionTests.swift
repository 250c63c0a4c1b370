import SluiceBytes
import SluiceHTTP
import Testing

@testable import SluiceProxy

@Suite struct ResponseCompressionTests {
    private func fields(_ lines: [String]) -> HeaderFields {
        var fields = HeaderFields()
        for line in lines {
            let parts = line.split(separator: ": ", maxSplits: 1).map(String.init)
            fields.append(parts[0], parts.count > 1 ? parts[1] : "")
        }
        return fields
    }

    private func lines(_ fields: HeaderFields) -> [String] {
        (0..<fields.count).map { "\(fields.nameString(at: $0)): \(fields.valueString(at: $0))" }
    }

    private func coding(
        _ answer: [String] = ["Content-Type: application/json"], status: Int = 200, length: BodyLength = .fixed(5000),
        accept: String? = "br, gzip", method: String = "GET", isOwn: Bool = false
    ) -> BodyCoding? {
        var request = RequestHead(method: method, target: "/", authority: "a")
        if let accept { request.fields.append("Accept-Encoding", accept) }
        return ResponseCompression.coding(
            for: ResponseHead(status: status, fields: fields(answer)), length: length, of: request, isOwn: isOwn,
            among: [.gzip, .brotli])
    }

    @Test func documentsAndStreamsAreCompressed() {
        #expect(coding() == .gzip)
        #expect(coding(accept: "br") == .brotli)
        #expect(coding(length: .chunked) == .gzip && coding(length: .untilClose) == .gzip)
        #expect(coding(status: 201) == .gzip && coding(method: "POST") == .gzip)
        let stream = ["Content-Type: text/event-stream", "Cache-Control: no-cache, no-transform"]
        #expect(coding(stream, length: .chunked, isOwn: true) == .gzip)
        for type in [
            "text/plain; charset=utf-8", "text/html", "application/problem+json", "application/x-ndjson",
            "IMAGE/SVG+XML",
        ] {
            #expect(coding(["Content-Type: \(type)"]) == .gzip, "\(type)")
        }
    }

    @Test func theRestStaysAsItIs() {
        for status in [204, 206, 301, 304, 400, 401, 404, 429, 500, 503] { #expect(coding(status: status) == nil) }
        #expect(coding(accept: nil) == nil && coding(accept: "identity") == nil)
        #expect(coding(method: "HEAD") == nil)
        #expect(coding(length: .none) == nil)
        #expect(coding(length: .fixed(1023)) == nil && coding(length: .fixed(1024)) == .gzip)
        // Only one that is whole is compressed at once, and holds the others up for as long.
        let large = BodyLength.fixed(ResponseCompression.mostBytesAtOnce + 1)
        #expect(coding(length: large, isOwn: true) == nil && coding(length: large) == .gzip)
        for line in ["Content-Encoding: gzip", "content-encoding: zstd", "Content-Range: bytes 0-1/2"] {
            #expect(coding(["Content-Type: application/json", line]) == nil, "\(line)")
        }
        for line in ["Cache-Control: no-transform", "Cache-Control: max-age=5 , No-Transform"] {
            #expect(coding(["Content-Type: application/json", line]) == nil, "\(line)")
        }
        for type in ["image/png", "audio/mpeg", "application/octet-stream", "application/zip", ""] {
            #expect(coding(["Content-Type: \(type)"]) == nil, "\(type)")
        }
        #expect(coding([]) == nil)
    }

    @Test func theHeadSaysWhatIsTrueOfCompressedBytes() {
        let before = fields([
            "Content-Type: application/json", "ETag: \"abc\"", "Accept-Ranges: bytes", "Content-MD5: x", "Digest: x",
            "Repr-Digest: x", "Content-Digest: x", "Cache-Control: no-transform", "X-Request-Id: r",
        ])
        #expect(
            lines(ResponseCompression.fields(before, codedBy: .brotli)) == [
                "Content-Type: application/json", "ETag: W/\"abc\"", "Cache-Control: no-transform", "X-Request-Id: r",
                "Content-Encoding: br",
            ])
        let weak = fields(["ETag: W/\"abc\"", "etag: odd", "etag: "])
        #expect(
            lines(ResponseCompression.fields(weak, codedBy: .gzip)) == [
                "ETag: W/\"abc\"", "etag: odd", "etag: ", "Content-Encoding: gzip",
            ])
    }

    @Test(arguments: [
        ([], ["Vary: Accept-Encoding"]),
        (["A: 1", "Vary: Origin", "B: 2"], ["A: 1", "Vary: Origin, Accept-Encoding", "B: 2"]),
        (["vary: "], ["Vary: Accept-Encoding"]),
        (["Vary: *"], ["Vary: *"]), (["Vary: Origin, accept-ENCODING"], ["Vary: Origin, accept-ENCODING"]),
        (["Vary: Origin", "Vary: Accept-Encoding"], ["Vary: Origin", "Vary: Accept-Encoding"]),
        (["Vary: Accept", "Vary: Origin"], ["Vary: Accept, Accept-Encoding", "Vary: Origin"]),
    ])
    func varies(before: [String], after: [String]) {
        var varied = fields(before)
        ResponseCompression.addVary(to: &varied)
        #expect(lines(varied) == after)
    }
}
