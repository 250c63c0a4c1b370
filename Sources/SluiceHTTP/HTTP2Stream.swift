import SluiceBytes

/// One stream inside an `HTTP2Session`, which owns it; nghttp2 holds a pointer to it while the stream is open.
final class HTTP2Stream {
    let id: Int32
    let slot: Int

    // What comes in.
    /// Collects the section that is being read: a head, then trailers.
    var fields = HTTP2HeadBuilder()
    /// A complete head that nobody has taken yet; frames behind it may be read before somebody does.
    var head = HTTP2HeadBuilder()
    /// A head was handed over, so what follows are trailers.
    var hasHead = false
    /// Of the heads before it, those of interim responses.
    var interimBytes = 0
    /// The head came with END_STREAM.
    var isBodyless = false
    var expectsContinue = false
    var isPeerDone = false
    /// Bytes whose window is not returned: while nobody takes more of the body.
    var withheldBytes = 0
    var isWithholding = false

    // What goes out.
    /// Body bytes that the windows, or the socket, did not let through yet.
    var waiting = ByteQueue()
    /// Bytes of the caller's that can be framed without standing in `waiting`; set only while `send` runs.
    var direct = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
    var waitingSince: Instant?
    var isOutputComplete = false
    /// The peer was told, or will be with the next frames, that the stream ends.
    var isHeadSent = false
    var tellsWhenDrained = false
    /// To be reset once everything that waits is out.
    var isFailing = false
    var isResetByUs = false
    var isResetByPeer = false
    var isClosed = false
    var sentBytes = 0
    /// Since when the whole answer is out, though the request has not ended; and what came of that since.
    var lingersSince: Instant?
    var lingeredBytes = 0

    init(id: Int32, slot: Int) { (self.id, self.slot) = (id, slot) }

    var availableBytes: Int { waiting.count + direct.count }
}

/// Collects the fields of one head as they are decoded (RFC 9113 §8.3). nghttp2 has checked names, order and
/// repetition; what it leaves open, whether Host agrees, and the limits, is checked here.
struct HTTP2HeadBuilder {
    private(set) var method = ""
    private(set) var path = ""
    private(set) var authority = ""
    private(set) var status = 0
    private var host: String?
    private(set) var fields = HeaderFields()
    private var cookie: [UInt8] = []
    private(set) var contentLength: Int?
    private(set) var expectsContinue = false
    private var byteCount = 0
    private var fieldCount = 0
    /// The first limit that was crossed; nothing is kept from then on.
    private(set) var failure: HTTPError?

    /// Keeps a field, or notes that it is one too many. False when the peer goes on far beyond a limit.
    mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>, _ limits: HTTP2Limits) -> Bool {
        byteCount += name.count + value.count
        fieldCount += 1
        if failure == nil {
            if byteCount > limits.headBytes { failure = limits.headCrossed }
            if fieldCount > limits.fields + 4 { failure = limits.fieldsCrossed }
        }
        if failure != nil { return byteCount <= 4 * limits.headBytes && fieldCount <= 8 * limits.fields }
        if name.count > 0, name[0] == ASCII.colon {
            addPseudo(name, value, limits)
        } else {
            addField(name, value)
        }
        return true
    }

    /// As RFC 7541 §4.1 counts fields.
    var cost: Int { byteCount + 32 * fieldCount }

    /// Whatever was wrong before is the first fault.
    mutating func fail(_ error: HTTPError) { failure = failure ?? error }

    private mutating func addPseudo(_ name: Span<UInt8>, _ value: Span<UInt8>, _ limits: HTTP2Limits) {
        let text = HTTP1Grammar.string(value)
        if ASCII.equal(name, ":status") {
            status = ASCII.decimal(value) ?? 0
        } else if ASCII.equal(name, ":method") {
            method = text
            if !HTTP1Grammar.isToken(value) { failure = .malformed("method") }
        } else if ASCII.equal(name, ":path") {
            path = text
            if value.count > limits.targetBytes { failure = .limit(Limit("target_bytes", limits.targetBytes)) }
            for index in value.indices where !RequestLine.isTargetByte(value[index]) {
                failure = .malformed("request target")
            }
        } else if ASCII.equal(name, ":authority") {
            authority = text
            if !Authority.isValid(value) { failure = .malformed(":authority") }
        } else if ASCII.equal(name, ":scheme") {
            let isHTTP = ASCII.equalFolded(value, "https") || ASCII.equalFolded(value, "http")
            if !isHTTP { failure = .malformed(":scheme") }
        }
    }

    private mutating func addField(_ name: Span<UInt8>, _ value: Span<UInt8>) {
        switch name.count {
        case 4 where ASCII.equal(name, "host"):
            if host != nil { failure = .malformed("several Host fields") }
            host = HTTP1Grammar.string(value)
            if !Authority.isValid(value) { failure = .malformed("Host") }
        case 6 where ASCII.equal(name, "cookie"):
            // A cookie may come in crumbs, which HTTP/1.1 wants in one field (RFC 9113 §8.2.3).
            if !cookie.isEmpty { cookie += [UInt8(ascii: ";"), ASCII.space] }
            value.withUnsafeBufferPointer { cookie.append(contentsOf: $0) }
            return
        case 6 where ASCII.equal(name, "expect"):
            if ASCII.equalFolded(value, "100-continue") {
                expectsContinue = true
            } else {
                failure = .expectationFailed
            }
        case 14 where ASCII.equal(name, "content-length"): contentLength = ASCII.decimal(value)
        default: break
        }
        fields.append(name: name, value: value)
    }

    /// - Throws: what is wrong with the head, to be answered with `requestStatus`.
    func request() throws(HTTPError) -> RequestHead {
        if let failure { throw failure }
        if let host, !authority.isEmpty, host.lowercased() != authority.lowercased() {
            throw .malformed("Host disagrees with :authority")
        }
        let name = authority.isEmpty ? host ?? "" : authority
        guard !name.isEmpty else { throw .malformed("no :authority") }
        return RequestHead(
            method: method, target: method == "CONNECT" ? name : path, authority: name, version: .http2,
            fields: withCookie())
    }

    func response() throws(HTTPError) -> ResponseHead {
        if let failure { throw failure }
        // nghttp2 takes any three digits (RFC 9110 §15).
        guard (200...599).contains(status) else { throw .malformed("status") }
        return ResponseHead(status: status, fields: withCookie())
    }

    private func withCookie() -> HeaderFields {
        guard !cookie.isEmpty else { return fields }
        var fields = fields
        let name: [UInt8] = Array("cookie".utf8)
        fields.append(name: name.span, value: cookie.span)
        return fields
    }
}
