import SluiceBytes
import SluiceHTTP

/// HTTP/2 connections of clients and upstreams: nothing traps, what is said of a stream stands in order, what waits has a bound,
/// and a network that cuts the bytes elsewhere changes nothing.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(start, count) else { return 0 }
    let isServer = input.variant & 1 == 0
    var limits = HTTP2Limits()
    if !isServer { limits.side = .upstream }
    if input.variant & 2 != 0 {
        (limits.headBytes, limits.fields, limits.targetBytes) = (300, 5, 40)
        (limits.concurrentStreams, limits.resets, limits.controlFrames) = (3, 4, 20)
        (limits.streamHighBytes, limits.streamLowBytes, limits.outputBytes) = (2_000, 500, 3_000)
    }
    // Answers depend on what was read by then, so only a peer that gives none sees the same whatever the cut.
    let answers = input.variant & 4 != 0
    let peers = [input.whole, input.halves].map { pieces in
        var peer = Peer(isServer: isServer, answers: answers, variant: input.variant)
        peer.run(pieces, limits)
        return peer
    }
    if !answers, !peers[1].wasOver { requireEqual(peers[0].lines, peers[1].lines, isServer ? "server" : "client") }
    return 0
}

/// One end of a connection, as the proxy is one.
private struct Peer {
    let isServer: Bool
    let answers: Bool
    let variant: UInt8
    private(set) var lines: [String] = []
    /// The peer had said goodbye before a piece came: nghttp2 may look at no second one, but at the rest of a first one.
    private(set) var wasOver = false
    /// By slot: what has been heard of the stream that has it.
    private var streams: [Int: Stream] = [:]
    private var opened = 0

    private struct Stream {
        let number: Int
        var hasHead = false
        var hasEnded = false
        var bodyBytes = 0
        var announced: Int?
    }

    init(isServer: Bool, answers: Bool, variant: UInt8) {
        (self.isServer, self.answers, self.variant) = (isServer, answers, variant)
    }

    mutating func run(_ pieces: [[UInt8]], _ limits: HTTP2Limits) {
        guard let session = try? HTTP2Session(isServer ? .server : .client, limits: limits) else { return }
        var now = Instant(nanoseconds: 1_000_000_000)
        if isServer {
            // Without it, nothing behind it would ever be reached.
            let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
            if (try? session.receive(preface.span, now: now)) == nil { return }
        } else {
            for _ in 0..<3 { request(session) }
        }
        for piece in pieces {
            wasOver = wasOver || session.isOver || lines.contains { $0.hasPrefix("goaway") }
            if answers { now = now + .milliseconds(300) }
            var failure: HTTP2Error?
            do throws(HTTP2Error) {
                try session.receive(piece.span, now: now)
            } catch {
                failure = error
            }
            take(session, piece.count, now)
            if let failure {
                require(!session.output.isEmpty, "an error without a GOAWAY")
                lines.append("\(failure)")
                return
            }
            guard answers else { continue }
            session.pump(room: limits.outputBytes, now: now)
            take(session, 0, now)
            if session.failure != nil { return lines.append("failed") }
            // One frame may stand above what there was room for.
            require(session.output.count <= limits.outputBytes + 17_000, "output without a bound")
            session.output.removeAll()
        }
        // Which slot is free again depends on when the events were taken.
        for stream in streams.values.sorted(by: { $0.number < $1.number }) { lines.append("left \(describe(stream))") }
    }

    private mutating func request(_ session: HTTP2Session) {
        var head = RequestHead(method: "POST", target: "/", authority: "a")
        head.fields.append("content-type", "application/json")
        guard let slot = session.request(head, isTLS: false, length: .fixed(3)) else { return }
        open(slot)
        var body = ByteQueue()
        body.append("abc")
        session.send(slot, &body, isLast: true, room: 64 << 10, now: Instant(nanoseconds: 0))
    }

    private mutating func open(_ slot: Int) {
        streams[slot] = Stream(number: opened)
        opened += 1
    }

    private func describe(_ stream: Stream?) -> String {
        guard let stream else { return "nothing" }
        return "\(stream.number) head \(stream.hasHead) body \(stream.bodyBytes) end \(stream.hasEnded)"
    }

    private mutating func take(_ session: HTTP2Session, _ size: Int, _ now: Instant) {
        while let event = session.nextEvent() {
            switch event {
            case .head(let slot): head(session, slot, now)
            case .interim(let slot, let status):
                require(streams[slot]?.hasHead == false, "an interim response after the head")
                require((100..<200).contains(status), "an interim response with status \(status)")
            case .body(let slot, let range):
                require(!range.isEmpty && range.upperBound <= size, "a body outside its input")
                require(streams[slot]?.hasHead == true, "a body before its head")
                require(streams[slot]?.hasEnded == false, "a body after its end")
                streams[slot]?.bodyBytes += range.count
                if let announced = streams[slot]?.announced {
                    require(streams[slot]?.bodyBytes ?? 0 <= announced, "a body beyond its content-length")
                }
            case .end(let slot): end(slot)
            case .closed(let slot, let code):
                // A client's stream may end before its head is whole.
                require(isServer || streams[slot] != nil, "a stream closed twice")
                lines.append("closed \(describe(streams[slot])) \(code)")
                streams[slot] = nil
            case .drained(let slot): require(streams[slot] != nil, "a stream drained that is none")
            case .goAway(let code): lines.append("goaway \(code)")
            case .settings: lines.append("settings")
            case .pong: lines.append("pong")
            }
        }
    }

    private mutating func head(_ session: HTTP2Session, _ slot: Int, _ now: Instant) {
        if isServer {
            require(streams[slot] == nil, "a slot given twice")
            open(slot)
        }
        require(streams[slot]?.hasHead == false, "two heads")
        streams[slot]?.hasHead = true
        guard answers, session.isOpen(slot) else { return }
        if isServer { answer(session, slot, now) } else if let head = try? session.takeResponse(slot) { check(head) }
    }

    private mutating func answer(_ session: HTTP2Session, _ slot: Int, _ now: Instant) {
        do throws(HTTPError) {
            let (head, length) = try session.takeRequest(slot)
            check(head.fields)
            if case .fixed(let count) = length { streams[slot]?.announced = count }
            require(!head.method.isEmpty && !head.target.isEmpty, "a request without method or target")
        } catch {
            require((400..<600).contains(error.requestStatus), "a fault without a status")
        }
        if variant & 8 != 0 { session.setReading(slot, false) }
        session.respond(slot, ResponseHead(status: 200), length: .chunked, isLast: variant & 16 != 0)
        var body = ByteQueue()
        body.append([UInt8](repeating: 0x61, count: 5_000))
        session.send(slot, &body, isLast: variant & 32 == 0, room: session.outputLimitBytes, now: now)
        if variant & 64 != 0 { session.reset(slot, HTTP2Code.cancel) }
        if variant & 128 != 0 { session.resetAfterSending(slot) }
    }

    private mutating func end(_ slot: Int) {
        require(streams[slot]?.hasHead == true, "an end before the head")
        require(streams[slot]?.hasEnded == false, "two ends")
        streams[slot]?.hasEnded = true
        if let announced = streams[slot]?.announced {
            require(streams[slot]?.bodyBytes == announced, "an end before the content-length")
        }
    }

    private func check(_ head: ResponseHead) {
        require((200..<1000).contains(head.status), "a final head with status \(head.status)")
        check(head.fields)
    }

    /// What HTTP/1.1 would read as more than one field (RFC 9113 §8.2.1, §10.3).
    private func check(_ fields: HeaderFields) {
        for index in 0..<fields.count {
            let name = fields.name(at: index).withUnsafeBufferPointer { Array($0) }
            let value = fields.value(at: index).withUnsafeBufferPointer { Array($0) }
            require(!name.isEmpty && !name.contains { $0 <= 0x20 || $0 == 0x3A || $0 >= 0x7F }, "field name \(name)")
            require(!value.contains { $0 == 0 || $0 == 0x0A || $0 == 0x0D }, "field value \(value)")
            let forbidden = ["transfer-encoding", "connection", "upgrade", "keep-alive", "proxy-connection"]
            require(!forbidden.contains { Array($0.utf8) == name }, "field \(name)")
        }
    }
}
