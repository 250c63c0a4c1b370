import SluiceBytes

/// Heads and chunk framing of HTTP/1.1 → bytes (RFC 9112).
///
/// It writes the framing fields itself and leaves out those it is handed (`host` in requests, `content-length`,
/// `transfer-encoding`, `connection`, `keep-alive`), so that a length can never be said twice. A byte that could end a
/// line or a word never gets out, whatever the head holds: in values it becomes a space, in a target `%XX`; a field
/// whose name is no token is left out.
public enum HTTP1Serializer {
    /// Writes a request. `.none` says `content-length: 0` where a body would be expected (RFC 9110 §8.6);
    /// `.untilClose` does not exist for requests and is sent as `.chunked`.
    public static func request(_ head: RequestHead, length: BodyLength, into queue: inout ByteQueue) {
        for byte in head.method.utf8 where HTTP1Grammar.isTokenByte(byte) { queue.append(byte) }
        queue.append(ASCII.space)
        appendVisible(head.target, into: &queue)
        queue.append(" HTTP/1.1\r\nhost: ")
        appendVisible(head.authority, into: &queue)
        queue.append("\r\n")
        appendFields(head.fields, leavingOutHost: true, into: &queue)
        switch length {
        case .none:
            let expectsBody = head.method == "POST" || head.method == "PUT" || head.method == "PATCH"
            if expectsBody { queue.append("content-length: 0\r\n") }
        case .fixed(let count): appendContentLength(count, into: &queue)
        case .chunked, .untilClose: queue.append("transfer-encoding: chunked\r\n")
        }
        queue.append("\r\n")
    }

    /// Writes a final response for a client that speaks `version`, and returns how its body must be framed: as asked, or
    /// `.untilClose` where an HTTP/1.0 client knows no chunks. After `.untilClose` the caller closes the connection; the
    /// head then says so.
    ///
    /// For the answer to HEAD (`isHead`) pass the length that GET would have, `.none` if nobody knows, and send no body. With status 204 and 304 no length is
    /// written. `.none` with another status says `content-length: 0`: silence would mean "until close".
    @discardableResult
    public static func response(
        _ head: ResponseHead, length: BodyLength, keepAlive: Bool, version: RequestHead.Version, isHead: Bool = false,
        into queue: inout ByteQueue
    ) -> BodyLength {
        let isBodiless = head.status < 200 || head.status == 204 || head.status == 304
        var framing = isBodiless ? .none : length
        if framing == .chunked && version == .http10 { framing = .untilClose }
        appendStatusLine(head.status, into: &queue)
        appendFields(head.fields, leavingOutHost: false, into: &queue)
        switch framing {
        case .none: if !isBodiless, !isHead { appendContentLength(0, into: &queue) }
        case .fixed(let count): appendContentLength(count, into: &queue)
        case .chunked: queue.append("transfer-encoding: chunked\r\n")
        case .untilClose: break
        }
        if !keepAlive || framing == .untilClose {
            queue.append("connection: close\r\n")
        } else if version == .http10 {
            queue.append("connection: keep-alive\r\n")
        }
        queue.append("\r\n")
        return framing
    }

    /// Writes an interim response without fields, such as 100.
    public static func interim(_ status: Int, into queue: inout ByteQueue) {
        appendStatusLine(status, into: &queue)
        queue.append("\r\n")
    }

    // MARK: - Chunks

    /// Room for the size line of any chunk: 16 digits and CRLF.
    public static let chunkGap = 18

    /// Leaves room for a size line; append the chunk's data, then call `closeChunk`.
    public static func openChunk(in queue: inout ByteQueue) -> ByteQueue.Mark { queue.open(gap: chunkGap) }

    /// Writes the size of what was appended since `openChunk`. Nothing appended, nothing sent: an empty chunk would end
    /// the body.
    public static func closeChunk(_ mark: ByteQueue.Mark, in queue: inout ByteQueue) {
        let count = queue.countSince(mark, gap: chunkGap)
        guard count > 0 else { return queue.cancel(mark) }
        var line = InlineArray<18, UInt8>(repeating: 0)
        (line[16], line[17]) = (ASCII.cr, ASCII.lf)
        var (first, rest) = (16, count)
        repeat {
            first -= 1
            let digit = UInt8(truncatingIfNeeded: rest & 15)
            line[first] = digit < 10 ? digit &+ 0x30 : digit &+ 0x57
            rest >>= 4
        } while rest > 0
        queue.close(mark, gap: chunkGap, prefix: line.span.extracting(first..<18))
        queue.append("\r\n")
    }

    /// Ends a chunked body. Without it no client takes the body for complete.
    public static func lastChunk(into queue: inout ByteQueue) { queue.append("0\r\n\r\n") }

    // MARK: - Parts

    private static func appendStatusLine(_ status: Int, into queue: inout ByteQueue) {
        queue.append("HTTP/1.1 ")
        queue.append(decimal: status)
        queue.append(ASCII.space)
        queue.append(reason(status))
        queue.append("\r\n")
    }

    private static func appendContentLength(_ count: Int, into queue: inout ByteQueue) {
        queue.append("content-length: ")
        queue.append(decimal: max(0, count))
        queue.append("\r\n")
    }

    private static func appendFields(_ fields: HeaderFields, leavingOutHost: Bool, into queue: inout ByteQueue) {
        for index in 0..<fields.count {
            let (name, value) = (fields.name(at: index), fields.value(at: index))
            guard HTTP1Grammar.isToken(name), !isOwn(name, leavingOutHost) else { continue }
            if HTTP1Grammar.isText(value) {
                appendLine(name, value, into: &queue)
            } else {
                let spaced = value.indices.map { HTTP1Grammar.isTextByte(value[$0]) ? value[$0] : ASCII.space }
                appendLine(name, spaced.span, into: &queue)
            }
        }
    }

    private static func appendLine(_ name: Span<UInt8>, _ value: Span<UInt8>, into queue: inout ByteQueue) {
        let count = name.count + value.count + 4
        queue.appendUninitialized(count) { line in
            guard let base = line.baseAddress else { return 0 }
            name.withUnsafeBufferPointer { name in
                if let start = name.baseAddress { base.update(from: start, count: name.count) }
            }
            let middle = base + name.count
            (middle[0], middle[1]) = (ASCII.colon, ASCII.space)
            value.withUnsafeBufferPointer { value in
                if let start = value.baseAddress { (middle + 2).update(from: start, count: value.count) }
            }
            let end = base + (count - 2)
            (end[0], end[1]) = (ASCII.cr, ASCII.lf)
            return count
        }
    }

    /// Fields that this type writes itself.
    private static func isOwn(_ name: Span<UInt8>, _ leavingOutHost: Bool) -> Bool {
        switch name.count {
        case 4: return leavingOutHost && ASCII.equalFolded(name, "host")
        case 10: return ASCII.equalFolded(name, "connection") || ASCII.equalFolded(name, "keep-alive")
        case 14: return ASCII.equalFolded(name, "content-length")
        case 17: return ASCII.equalFolded(name, "transfer-encoding")
        default: return false
        }
    }

    private static func appendVisible(_ text: String, into queue: inout ByteQueue) {
        if text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) { return queue.append(text) }
        for byte in text.utf8 {
            if byte > 0x20 && byte < 0x7F {
                queue.append(byte)
            } else {
                queue.append("%")
                if byte < 16 { queue.append("0") }
                queue.append(hex: Int(byte))
            }
        }
    }

    /// The phrase that RFC 9110 §15 suggests; clients ignore it, people read it.
    private static func reason(_ status: Int) -> StaticString {
        switch status {
        case 100: "Continue"
        case 103: "Early Hints"
        case 200: "OK"
        case 201: "Created"
        case 202: "Accepted"
        case 204: "No Content"
        case 206: "Partial Content"
        case 301: "Moved Permanently"
        case 302: "Found"
        case 303: "See Other"
        case 304: "Not Modified"
        case 307: "Temporary Redirect"
        case 308: "Permanent Redirect"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 402: "Payment Required"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 406: "Not Acceptable"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 411: "Length Required"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 415: "Unsupported Media Type"
        case 417: "Expectation Failed"
        case 421: "Misdirected Request"
        case 422: "Unprocessable Content"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        case 505: "HTTP Version Not Supported"
        case 529: "Overloaded"
        default: ""
        }
    }
}
