import SluiceBytes

/// Collects the fields that decide how long a message is and what becomes of its connection (RFC 9112 §6.3, §9.3).
///
/// The checks against request smuggling live here: whatever two recipients might read differently is refused, also
/// where the RFC would allow repairing it.
struct BodyFraming {
    private var contentLength: Int?
    private var hasTransferEncoding = false
    private enum Expectation { case none, proceed, unknown }
    private var expectation = Expectation.none
    private var closes = false
    private var staysOpen = false
    /// The value of the one Host field, as a range of the head.
    private(set) var host: Range<Int>?

    /// Looks at one field; `value` is trimmed, and lies at `range` of the head.
    mutating func note(name: Span<UInt8>, value: Span<UInt8>, at range: Range<Int>) throws(HTTPError) {
        switch name.count {
        case 4 where ASCII.equalFolded(name, "host"):
            guard host == nil else { throw .malformed("several Host fields") }
            host = range
        case 6 where ASCII.equalFolded(name, "expect"):
            let isKnown = expectation == .none && ASCII.equalFolded(value, "100-continue")
            expectation = isKnown ? .proceed : .unknown
        case 10 where ASCII.equalFolded(name, "connection"):
            noteConnection(value)
        case 14 where ASCII.equalFolded(name, "content-length"):
            guard contentLength == nil else { throw .malformed("several Content-Length fields") }
            guard let count = ASCII.decimal(value) else { throw .malformed("Content-Length") }
            contentLength = count
        case 17 where ASCII.equalFolded(name, "transfer-encoding"):
            guard !hasTransferEncoding else { throw .malformed("several Transfer-Encoding fields") }
            hasTransferEncoding = true
            try noteTransferEncoding(value)
        default: break
        }
    }

    /// The length of a body; nil if the message says nothing about it.
    /// - Throws: `.malformed` for both fields at once, or Transfer-Encoding in HTTP/1.0, which does not know it.
    func length(version: RequestHead.Version) throws(HTTPError) -> BodyLength? {
        guard hasTransferEncoding else { return contentLength.map { .fixed($0) } }
        guard contentLength == nil else { throw .malformed("Content-Length beside Transfer-Encoding") }
        guard version == .http11 else { throw .malformed("Transfer-Encoding in HTTP/1.0") }
        return .chunked
    }

    /// Whether the connection may carry another message (RFC 9112 §9.3).
    func keepsAlive(version: RequestHead.Version) -> Bool {
        !closes && (version == .http11 || staysOpen)
    }

    /// Whether the client waits for a 100 before it sends a body that it does announce (RFC 9110 §10.1.1).
    func expectsContinue(version: RequestHead.Version, length: BodyLength) -> Bool {
        expectation == .proceed && version == .http11 && length != .none && length != .fixed(0)
    }

    /// - Throws: `.expectationFailed` for anything but one 100-continue; HTTP/1.0 does not know Expect.
    func checkExpectation(version: RequestHead.Version) throws(HTTPError) {
        if expectation == .unknown && version == .http11 { throw .expectationFailed }
    }

    private mutating func noteConnection(_ value: Span<UInt8>) {
        var (closes, staysOpen) = (closes, staysOpen)
        HTTP1Grammar.forEachElement(value) { option in
            if ASCII.equalFolded(option, "close") { closes = true }
            if ASCII.equalFolded(option, "keep-alive") { staysOpen = true }
        }
        (self.closes, self.staysOpen) = (closes, staysOpen)
    }

    /// Exactly `chunked`, or `.unsupportedTransferCoding` for a well-formed list of codings that ends in one `chunked`.
    private func noteTransferEncoding(_ value: Span<UInt8>) throws(HTTPError) {
        if ASCII.equalFolded(value, "chunked") { return }
        var (chunked, isLast, isGrammatical) = (0, false, true)
        HTTP1Grammar.forEachElement(value) { coding in
            isLast = ASCII.equalFolded(coding, "chunked")
            if isLast { chunked += 1 }
            if !HTTP1Grammar.isToken(coding) { isGrammatical = false }
        }
        // An empty element at either end leaves it open which coding is the last.
        guard isGrammatical, isLast, chunked == 1, value[0] != ASCII.comma, value[value.count - 1] != ASCII.comma
        else { throw .malformed("Transfer-Encoding does not end in one chunked") }
        throw .unsupportedTransferCoding
    }
}
