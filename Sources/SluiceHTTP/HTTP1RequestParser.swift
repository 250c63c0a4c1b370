import SluiceBytes

/// Bytes of a client's connection → requests (RFC 9112), strictly: what could be read in two ways is refused.
///
/// Pull style: call `next` until `.needMore`. Pipelined requests follow each other; the parser never looks past the end
/// of the current one, so the caller decides when to go on. One that threw is finished, as is its connection.
public struct HTTP1RequestParser {
    private enum State: UInt8 { case head, body, failed }

    private let limits: HTTP1Limits
    private var state = State.head
    private var skippedEmptyLine = false
    /// Of the message last begun: false after `Connection: close`, and in HTTP/1.0 without `Connection: keep-alive`.
    public private(set) var keepsAlive = true
    /// The message last begun announces a body and may wait for an interim 100 before it sends it; stays true until the
    /// next message begins.
    public private(set) var expectsContinue = false
    private var collector = HTTP1HeadCollector()
    private var body = HTTP1BodyReader()

    public init(limits: HTTP1Limits = HTTP1Limits()) { self.limits = limits }

    /// Between messages, and holding no partial bytes.
    public var isIdle: Bool { state == .head && collector.isEmpty }

    /// Looks at `input` from `offset` on and advances `offset` past what it took. Call again until `.needMore`.
    public mutating func next(
        _ input: Span<UInt8>, at offset: inout Int
    ) throws(HTTPError) -> HTTP1Event<RequestHead> {
        do throws(HTTPError) {
            switch state {
            case .head: return try nextHead(input, at: &offset)
            case .body: return try nextBody(input, at: &offset)
            case .failed: throw .malformed("message after an error")
            }
        } catch {
            state = .failed
            collector.clear()
            throw error
        }
    }

    /// The client sends no more.
    /// - Throws: `.truncated` inside a message.
    public func finish() throws(HTTPError) {
        guard isIdle else { throw .truncated }
    }

    private mutating func nextBody(
        _ input: Span<UInt8>, at offset: inout Int
    ) throws(HTTPError) -> HTTP1Event<RequestHead> {
        switch try body.next(input, at: &offset, limits: limits, trailers: &collector) {
        case .needMore: return .needMore
        case .body(let range): return .body(range)
        case .end:
            state = .head
            return .end
        }
    }

    private mutating func nextHead(
        _ input: Span<UInt8>, at offset: inout Int
    ) throws(HTTPError) -> HTTP1Event<RequestHead> {
        while offset < input.count {
            if collector.isEmpty { try checkFirst(input[offset]) }
            switch try collector.take(input, at: &offset, limit: limits.headBytes) {
            case .needMore: return .needMore
            case .crossed: throw collector.isInFirstLine ? limits.targetCrossed : limits.headCrossed
            case .inPlace(let range):
                collector.clear()
                if range.count > 2 { return try begin(input.extracting(range)) }
            case .kept:
                let kept = collector.kept
                collector.clear()
                if kept.count > 2 { return try begin(kept.span) }
            }
            // RFC 9112 §2.2: some clients send an extra CRLF after a body. One is forgiven, a flood is not.
            guard !skippedEmptyLine else { throw .malformed("empty lines before a request") }
            skippedEmptyLine = true
        }
        return .needMore
    }

    /// Something that is not HTTP at all, a TLS hello say, is refused by its first byte and not by a timeout.
    private func checkFirst(_ byte: UInt8) throws(HTTPError) {
        guard HTTP1Grammar.isTokenByte(byte) || byte == ASCII.cr || byte == ASCII.lf else { throw .malformed("method") }
    }

    private mutating func begin(_ head: Span<UInt8>) throws(HTTPError) -> HTTP1Event<RequestHead> {
        let first = try HTTP1Grammar.line(head, from: 0)
        let line = try RequestLine(head, first, limits: limits)
        var framing = BodyFraming()
        let fields = try HeaderFields(head, from: first.upperBound + 2, limits: limits, framing: &framing)
        let length = try framing.length(version: line.version) ?? .none
        let (target, authority) = try line.resolve(head, host: framing.host)
        try framing.checkExpectation(version: line.version)
        keepsAlive = framing.keepsAlive(version: line.version)
        expectsContinue = framing.expectsContinue(version: line.version, length: length)
        body = HTTP1BodyReader(length)
        (state, skippedEmptyLine) = (.body, false)
        let request = RequestHead(
            method: line.method, target: target, authority: authority, version: line.version, fields: fields)
        return .head(request, length)
    }
}

extension HeaderFields {
    /// Parses the field lines of `head` from `start` to the empty line, and lets `framing` see each.
    init(
        _ head: Span<UInt8>, from start: Int, limits: HTTP1Limits, framing: inout BodyFraming
    ) throws(HTTPError) {
        self.init(section: head.extracting(start..<head.count))
        let first = start
        var start = start
        while true {
            let line = try HTTP1Grammar.line(head, from: start)
            if line.isEmpty { return }
            guard count < limits.fields else { throw limits.fieldsCrossed }
            let field = try HTTP1Grammar.fieldLine(head, line)
            let (name, value) = (field.name, field.value)
            try framing.note(name: head.extracting(name), value: head.extracting(value), at: value)
            append(
                name: (name.lowerBound - first)..<(name.upperBound - first),
                value: (value.lowerBound - first)..<(value.upperBound - first))
            start = line.upperBound + 2
        }
    }
}
