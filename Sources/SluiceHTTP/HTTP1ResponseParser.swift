import SluiceBytes

/// Bytes of an upstream's connection → responses (RFC 9112), as strictly as requests are read: an upstream that can be
/// made to send an ambiguous length would poison the next client's answer on a pooled connection.
public struct HTTP1ResponseParser {
    private enum State: UInt8 { case idle, head, body, failed }

    private let limits: HTTP1Limits
    private var state = State.idle
    private var isHead = false
    /// Of the response last begun. Always false for HTTP/1.0 and for a body that ends with the connection.
    public private(set) var keepsAlive = true
    /// Some byte of the response asked for has come. While false, a closed connection was merely a stale one.
    public private(set) var hasReceived = false
    private var interimBytes = 0
    private var collector = HTTP1HeadCollector()
    private var body = HTTP1BodyReader()

    public init(limits: HTTP1Limits = .upstream) { self.limits = limits }

    /// No response is awaited or being read: true before `begin` and after `.end`.
    public var isIdle: Bool { state == .idle }

    /// Announces the request whose response comes next; the answer to HEAD has no body. Bytes that come without it are
    /// refused by `next`.
    public mutating func begin(requestMethod: String) {
        state = state == .idle ? .head : .failed
        isHead = requestMethod == "HEAD"
        (hasReceived, keepsAlive, interimBytes) = (false, true, 0)
    }

    /// Looks at `input` from `offset` on and advances `offset` past what it took. Call again until `.needMore`.
    public mutating func next(
        _ input: Span<UInt8>, at offset: inout Int
    ) throws(HTTPError) -> HTTP1Event<ResponseHead> {
        do throws(HTTPError) {
            switch state {
            case .idle where offset >= input.count: return .needMore
            case .idle: throw .malformed("response without a request")
            case .head: return try nextHead(input, at: &offset)
            case .body: return try nextBody(input, at: &offset)
            case .failed: throw .malformed("message after an error")
            }
        } catch {
            (state, keepsAlive) = (.failed, false)
            collector.clear()
            throw error
        }
    }

    /// The upstream sends no more. Returns whether that completed a body which ends with the connection.
    /// - Throws: `.truncated` if a response is awaited or incomplete.
    public mutating func finish() throws(HTTPError) -> Bool {
        if state == .idle { return false }
        guard state == .body, body.isUntilClose else { throw .truncated }
        state = .idle
        return true
    }

    private mutating func nextBody(
        _ input: Span<UInt8>, at offset: inout Int
    ) throws(HTTPError) -> HTTP1Event<ResponseHead> {
        switch try body.next(input, at: &offset, limits: limits, trailers: &collector) {
        case .needMore: return .needMore
        case .body(let range): return .body(range)
        case .end:
            state = .idle
            return .end
        }
    }

    /// After a `.body` that did not reach the end of `input`: appends what else of the body is in it to `out`, and
    /// returns whether the message is complete, as `.end` would.
    public mutating func collectBody(
        _ input: Span<UInt8>, at offset: inout Int, into out: inout ByteQueue
    ) throws(HTTPError) -> Bool {
        guard state == .body else { return false }
        do throws(HTTPError) {
            guard try body.collect(input, at: &offset, limits: limits, trailers: &collector, into: &out) else {
                return false
            }
            state = .idle
            return true
        } catch {
            (state, keepsAlive) = (.failed, false)
            collector.clear()
            throw error
        }
    }

    private mutating func nextHead(
        _ input: Span<UInt8>, at offset: inout Int
    ) throws(HTTPError) -> HTTP1Event<ResponseHead> {
        guard offset < input.count else { return .needMore }
        if collector.isEmpty, input[offset] != UInt8(ascii: "H") { throw .malformed("status line") }
        hasReceived = true
        switch try collector.take(input, at: &offset, limit: limits.headBytes - interimBytes) {
        case .needMore: return .needMore
        case .crossed: throw limits.headCrossed
        case .inPlace(let range):
            collector.clear()
            return try begin(input.extracting(range))
        case .kept:
            let kept = collector.kept
            collector.clear()
            return try begin(kept.span)
        }
    }

    private mutating func begin(_ head: Span<UInt8>) throws(HTTPError) -> HTTP1Event<ResponseHead> {
        let first = try HTTP1Grammar.line(head, from: 0)
        let (version, status) = try Self.statusLine(head.extracting(first))
        var framing = BodyFraming()
        let fields = try HeaderFields(head, from: first.upperBound + 2, limits: limits, framing: &framing)
        var length = try framing.length(version: version) ?? .untilClose
        if status < 200 {
            // A switched protocol was never asked for.
            guard status != 101 else { throw .malformed("status 101") }
            interimBytes += head.count
            return .interim(status)
        }
        if isHead || status == 204 || status == 304 { length = .none }
        keepsAlive = version == .http11 && length != .untilClose && framing.keepsAlive(version: version)
        body = HTTP1BodyReader(length)
        state = .body
        return .head(ResponseHead(status: status, fields: fields), length)
    }

    /// `HTTP/1.x SP 3DIGIT [SP reason]` (RFC 9112 §4); the reason is checked and dropped.
    private static func statusLine(
        _ line: Span<UInt8>
    ) throws(HTTPError) -> (version: RequestHead.Version, status: Int) {
        guard line.count >= 12, line[8] == ASCII.space, line.count == 12 || line[12] == ASCII.space,
            let status = ASCII.decimal(line.extracting(9..<12)), (100...599).contains(status),
            HTTP1Grammar.isText(line)
        else { throw .malformed("status line") }
        return (try RequestLine.version(line.extracting(0..<8)), status)
    }
}
