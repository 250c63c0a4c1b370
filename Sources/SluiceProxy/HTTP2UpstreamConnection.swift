import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO

/// One HTTP/2 connection to an upstream, shared by many exchanges.
final class HTTP2UpstreamConnection: ConnectionDelegate, TimerHandler, TurnHandler {
    let session: HTTP2Session
    private let connection: Connection
    /// A cycle until the connection is retired: after that it only drains, and nobody looks for it.
    private var pool: UpstreamPool?
    private let limits: Limits
    private let keepalive: KeepaliveSpec
    /// By slot of the session.
    private var streams: [HTTP2UpstreamStream?] = []
    /// The stream whose bytes of this read are being handled.
    private var current: HTTP2UpstreamStream?
    private var isFlushDue = false
    private var isOver = false
    private var isRetired = false
    private var hasGoAway = false
    private var timer = TimerID.none
    private var idleSince: Instant
    private var lastReceived: Instant
    private var pinged: Instant?
    private(set) var hasServed = false
    /// From then on it takes no further exchange.
    private let expiry: Instant

    init(_ connection: Connection, pool: UpstreamPool) throws(HTTP2Error) {
        (self.connection, self.pool, limits) = (connection, pool, pool.limits)
        keepalive = pool.spec.keepalive
        expiry = pool.makeExpiry()
        session = try HTTP2Session(.client, limits: pool.limits.http2Upstream)
        (idleSince, lastReceived) = (pool.loop.now, pool.loop.now)
    }

    private var loop: EventLoop { connection.loop }
    var now: Instant { connection.loop.now }
    var sentBytes: Int { connection.sentBytes }
    var takenBytes: Int { connection.takenBytes }
    private var room: Int { max(0, session.outputLimitBytes - connection.pendingBytes) }

    func start() {
        timer = loop.schedule(after: Self.tick, handler: self)
        setNeedsFlush()
    }

    // MARK: - Exchanges

    /// Another exchange can begin here now.
    var hasRoom: Bool {
        !isRetired && !isOver && connection.isOpen && session.canOpen && (!isGreeting || session.streamCount == 0)
    }

    var isIdle: Bool { session.streamCount == 0 }

    /// The peer's SETTINGS have not come: one stream may go ahead, more could be too many for it.
    private(set) var isGreeting = true
    var peerStreams: Int { session.peerConcurrentStreams }

    func serve(_ exchange: any UpstreamStreamDelegate) {
        let stream = HTTP2UpstreamStream(self, exchange, mayBeStale: hasServed)
        hasServed = true
        exchange.upstreamReady(stream)
    }

    /// Opens a stream; false if the connection has closed, or filled up, since it said that it had room.
    func open(_ stream: HTTP2UpstreamStream, _ request: UpstreamRequest) -> Int? {
        guard hasRoom,
            let slot = session.request(request.head, isTLS: connection.isTLS, length: request.length)
        else { return nil }
        while streams.count <= slot { streams.append(nil) }
        streams[slot] = stream
        setNeedsFlush()
        return slot
    }

    func send(_ slot: Int, _ bytes: inout ByteQueue, isLast: Bool) {
        session.send(slot, &bytes, isLast: isLast, room: room, now: now)
        setNeedsFlush()
    }

    func setReading(_ slot: Int, _ isReading: Bool) {
        session.setReading(slot, isReading)
        setNeedsFlush()
    }

    func cancel(_ slot: Int) {
        if slot < streams.count { streams[slot] = nil }
        session.reset(slot, HTTP2Code.cancel)
        setNeedsFlush()
    }

    /// Takes no more exchanges, and closes when the last one is over.
    func retire() {
        guard !isRetired else { return }
        isRetired = true
        pool?.retired(self)
        pool = nil
        setNeedsFlush()
    }

    // MARK: - ConnectionDelegate

    func connectionEstablished(_ connection: Connection) {}

    func connection(_ connection: Connection, received bytes: Span<UInt8>) -> Int {
        (lastReceived, pinged) = (now, nil)
        var failure: HTTP2Error?
        do throws(HTTP2Error) {
            try session.receive(bytes, now: now)
        } catch {
            failure = error
        }
        handleEvents(bytes)
        if let failure {
            broken(failure)
        } else {
            setNeedsFlush()
        }
        return bytes.count
    }

    /// The session's last word goes out, and what still runs fails.
    private func broken(_ failure: HTTP2Error) {
        connection.send(&session.output)
        end(ProxyError(.malformed(.body), .upstream, "upstream broke HTTP/2", detail: "\(failure)"))
    }

    func connectionEnded(_ connection: Connection) { closed("") }
    func connectionDrained(_ connection: Connection) { setNeedsFlush() }
    func connection(_ connection: Connection, failed error: ConnectionError) { closed("\(error)") }

    private func closed(_ detail: String) {
        end(
            ProxyError(
                .closed(.body), .upstream, "upstream closed the connection before its answer was complete",
                detail: detail))
    }

    // MARK: - Events

    private func handleEvents(_ bytes: Span<UInt8>) {
        while !isOver, let event = session.nextEvent() {
            switch event {
            case .head(let slot): switchTo(slot)?.head()
            case .body(let slot, let range): body(slot, range, bytes)
            case .end(let slot): ended(slot)
            case .closed(let slot, let code): closed(slot, code)
            case .drained(let slot): stream(slot)?.exchange?.upstreamDrained()
            case .goAway:
                // Others may be told something now, and use the scratch buffer that the current one's bytes are in.
                leaveCurrent()
                hasGoAway = true
                retire()
            case .settings:
                leaveCurrent()
                isGreeting = false
                pool?.hasRoom(self)
            case .interim, .pong: break
            }
        }
        leaveCurrent()
    }

    /// Hands over what came for the stream in DATA frames one behind the other as one run.
    private func body(_ slot: Int, _ first: Range<Int>, _ bytes: Span<UInt8>) {
        let stream = switchTo(slot)
        guard let pool, let second = session.nextBody(of: slot) else {
            stream?.body(bytes.extracting(first))
            return
        }
        var run = ByteQueue()
        swap(&run, &pool.scratch)
        run.append(bytes.extracting(first))
        run.append(bytes.extracting(second))
        while let next = session.nextBody(of: slot) { run.append(bytes.extracting(next)) }
        stream?.body(run.span)
        run.removeAll()
        swap(&run, &pool.scratch)
    }

    private func stream(_ slot: Int) -> HTTP2UpstreamStream? { slot < streams.count ? streams[slot] : nil }

    /// What was made of one stream's bytes leaves before the next stream's are looked at: they share a scratch buffer.
    private func switchTo(_ slot: Int) -> HTTP2UpstreamStream? {
        let next = stream(slot)
        if next !== current {
            leaveCurrent()
            current = next
        }
        return next
    }

    private func leaveCurrent() {
        guard let stream = current else { return }
        current = nil
        stream.exchange?.upstreamPaused()
    }

    private func ended(_ slot: Int) {
        guard let stream = switchTo(slot) else { return }
        current = nil
        streams[slot] = nil
        // A request that nobody needs any more is not sent to its end.
        session.reset(slot, HTTP2Code.noError, ifSending: true)
        stream.finish()
    }

    private func closed(_ slot: Int, _ code: UInt32) {
        leaveCurrent()
        if let stream = stream(slot) {
            streams[slot] = nil
            stream.fail(code)
        }
        if session.streamCount == 0 { idleSince = now }
        if session.isRetired { retire() }
        if hasRoom { pool?.hasRoom(self) }
    }

    // MARK: - Sending

    private func setNeedsFlush() {
        guard !isFlushDue, !isOver else { return }
        isFlushDue = true
        loop.atEndOfTurn(self)
    }

    func turnEnded(on loop: EventLoop) {
        isFlushDue = false
        guard !isOver else { return }
        let hasMore = session.pump(room: room, now: now)
        handleEvents(Span<UInt8>())
        guard !isOver else { return }
        if let failure = session.failure { return broken(failure) }
        if !session.output.isEmpty { connection.send(&session.output) }
        // Where the socket took all of it, no `connectionDrained` follows.
        if hasMore, connection.pendingBytes == 0 { setNeedsFlush() }
        session.output.release(ifOver: 4 << 10)
        if session.isOver || (isRetired && session.streamCount == 0) { closeGently() }
    }

    // MARK: - Ending

    /// Nothing is lost: no stream is open, unless nghttp2 has found a fault in what the upstream sent and given up.
    private func closeGently() {
        guard !isOver else { return }
        retire()
        session.goAway(HTTP2Code.noError)
        session.pump(room: room, now: now)
        isOver = true
        loop.cancel(timer)
        connection.send(&session.output)
        connection.closeAfterFlush()
        failStreams(ProxyError(.malformed(.body), .upstream, "upstream broke HTTP/2"), isUnexplained: false)
    }

    private func end(_ error: ProxyError) {
        guard !isOver else { return }
        retire()
        isOver = true
        loop.cancel(timer)
        connection.close()
        // A GOAWAY has told what the upstream took: these streams.
        failStreams(error, isUnexplained: !hasGoAway)
    }

    private func failStreams(_ error: ProxyError, isUnexplained: Bool) {
        let failed = streams
        (streams, current) = ([], nil)
        for stream in failed { stream?.fail(error, isUnexplained: isUnexplained) }
    }

    // MARK: - Time

    private static let tick = Interval.seconds(1)

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer, !isOver else { return }
        self.timer = loop.schedule(after: Self.tick, handler: self)
        if now >= expiry { retire() }
        if let pinged, keepalive.timeout > .zero, now - pinged >= keepalive.timeout {
            return end(
                ProxyError(.closed(.body), .upstream, "upstream does not answer any more", detail: "no PING ack"))
        }
        if session.streamCount == 0 {
            if now - idleSince >= limits.upstreamIdleTimeout { closeGently() }
        } else if pinged == nil, keepalive.interval > .zero, now - lastReceived >= keepalive.interval {
            pinged = now
            session.ping()
            setNeedsFlush()
        }
    }
}

/// One exchange's stream on a shared connection.
final class HTTP2UpstreamStream: UpstreamStream {
    private let connection: HTTP2UpstreamConnection
    /// A cycle while the exchange is served; broken where it ends, fails or is cancelled.
    private(set) var exchange: (any UpstreamStreamDelegate)?
    private var slot: Int?
    private var hasHead = false
    private var mayBeStale: Bool
    /// `Connection.sentBytes` before the request.
    private var sentBefore = 0
    private var sent = Instant.distantFuture
    private(set) var receivedBytes = 0

    init(_ connection: HTTP2UpstreamConnection, _ exchange: any UpstreamStreamDelegate, mayBeStale: Bool) {
        (self.connection, self.exchange, self.mayBeStale) = (connection, exchange, mayBeStale)
    }

    // MARK: - UpstreamStream

    func sendRequest(_ request: UpstreamRequest) {
        (sentBefore, sent) = (connection.sentBytes, connection.now)
        guard let slot = connection.open(self, request) else {
            return fail(ProxyError(.refused, .upstream, "the upstream takes no more streams"))
        }
        self.slot = slot
        guard !request.isBodyRelayed, !request.body.isEmpty else { return }
        var body = ByteQueue()
        body.append(request.body)
        connection.send(slot, &body, isLast: true)
    }

    func sendBody(_ bytes: inout ByteQueue, isLast: Bool) {
        guard let slot else { return bytes.removeAll() }
        connection.send(slot, &bytes, isLast: isLast)
    }

    func pauseReading() { if let slot { connection.setReading(slot, false) } }
    func resumeReading() { if let slot { connection.setReading(slot, true) } }

    var wasStale: Bool {
        let hasTaken = connection.takenBytes > sentBefore
        return mayBeStale && StaleConnection.isStale(hasTaken: hasTaken, sent: sent, at: connection.now)
    }

    var isCongested: Bool { slot.map { connection.session.isCongested($0) } ?? false }

    func cancel() {
        exchange = nil
        guard let slot else { return }
        self.slot = nil
        connection.cancel(slot)
    }

    // MARK: - Called by the connection

    func head() {
        guard let slot, let exchange else { return }
        do throws(HTTPError) {
            let head = try connection.session.takeResponse(slot)
            hasHead = true
            exchange.upstreamHead(head)
        } catch {
            cancel()
            exchange.upstreamFailed(
                ProxyError(.malformed(.head), .upstream, "upstream sent a malformed response", detail: "\(error)"))
        }
    }

    func body(_ bytes: Span<UInt8>) {
        receivedBytes += bytes.count
        exchange?.upstreamBody(bytes)
    }

    func finish() {
        let ended = exchange
        (exchange, slot) = (nil, nil)
        ended?.upstreamEnd()
    }

    /// The upstream reset the stream, or its connection refused to carry it.
    func fail(_ code: UInt32) {
        switch code {
        case HTTP2Code.refusedStream where !hasHead:
            fail(ProxyError(.refused, .upstream, "the upstream refused the request"))
        default:
            fail(
                ProxyError(
                    .closed(hasHead ? .body : .head), .upstream, "upstream ended the stream before it was complete",
                    detail: "RST_STREAM with code \(code)"),
                isUnexplained: false)
        }
    }

    /// Only where nothing explains the end can it be that the upstream had closed before the request came.
    func fail(_ error: ProxyError, isUnexplained: Bool = true) {
        if !isUnexplained { mayBeStale = false }
        let failed = exchange
        (exchange, slot) = (nil, nil)
        failed?.upstreamFailed(error)
    }
}
