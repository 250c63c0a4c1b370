import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO

/// One HTTP/2 client: its session, and an exchange for each of its streams.
///
/// Frames of all streams leave together at the end of a turn of the loop: one record and one write for many tokens.
final class HTTP2ClientConnection: ClientConnection, ConnectionDelegate, TimerHandler, TurnHandler {
    let worker: Worker
    let session: HTTP2Session
    private let connection: Connection
    /// By slot of the session.
    private var streams: [HTTP2ClientStream?] = []
    private var isFlushDue = false
    private var isOver = false
    private var isDraining = false
    private var hasSentLastGoAway = false
    private var timer = TimerID.none
    private var nextTick = Instant.distantFuture
    /// Its SETTINGS, which end the preface, have come (RFC 9113 §3.4).
    private var isGreeted = false
    private let started: Instant
    private var drainStarted: Instant?
    private var idleSince: Instant
    private var lastReceived: Instant
    /// Set while a PING of ours is not answered.
    private var pinged: Instant?

    init(_ connection: Connection, worker: Worker) throws(HTTP2Error) {
        (self.connection, self.worker) = (connection, worker)
        session = try HTTP2Session(.server, limits: worker.limits.http2Client)
        (started, idleSince, lastReceived) = (worker.loop.now, worker.loop.now, worker.loop.now)
        connection.lowMarkBytes = limits.streamBufferLowBytes
        connection.flushPatience = limits.flushPatience
    }

    private var limits: Limits { worker.limits }
    private var now: Instant { worker.loop.now }
    /// How far `session.output` may fill up now.
    var room: Int { max(0, session.outputLimitBytes - connection.pendingBytes) }
    private(set) lazy var peerText = connection.peer.addressText
    var isTLS: Bool { connection.isTLS }

    var peer: SocketAddress { connection.peer }
    var peerConnection: Connection { connection }

    func start() {
        schedule(now + Self.tick)
        setNeedsFlush()
    }

    var bufferedBytes: Int { session.waitingBytes + session.output.count + connection.pendingBytes }

    // MARK: - ConnectionDelegate

    func connectionEstablished(_ connection: Connection) {}

    func connection(_ connection: Connection, received bytes: Span<UInt8>) -> Int {
        lastReceived = now
        pinged = nil
        var failure: HTTP2Error?
        do throws(HTTP2Error) {
            try session.receive(bytes, now: now)
        } catch {
            failure = error
        }
        handleEvents(bytes)
        if let failure { fail(failure) } else { setNeedsFlush() }
        if !isOver, nextTick > now + Self.tick { schedule(now + Self.tick) }
        return bytes.count
    }

    func connectionEnded(_ connection: Connection) { closeNow() }

    func connectionDrained(_ connection: Connection) { setNeedsFlush() }

    func connection(_ connection: Connection, failed error: ConnectionError) { closeNow() }

    // MARK: - Events

    private func handleEvents(_ bytes: Span<UInt8>) {
        while let event = session.nextEvent(), !isOver {
            switch event {
            case .head(let slot): begin(slot)
            case .body(let slot, let range): stream(slot)?.exchange?.requestBody(bytes.extracting(range))
            case .end(let slot): stream(slot)?.exchange?.requestEnd()
            case .drained(let slot): stream(slot)?.exchange?.clientDrained()
            case .closed(let slot, _): closed(slot)
            case .pong: if isDraining { sendLastGoAway() }
            case .settings: isGreeted = true
            case .interim, .goAway: break
            }
        }
    }

    private func stream(_ slot: Int) -> HTTP2ClientStream? { slot < streams.count ? streams[slot] : nil }

    /// Work for a request begins only here, after all that one read brought was parsed: a stream that was opened and reset
    /// in the same read costs no more than that.
    private func begin(_ slot: Int) {
        guard session.isOpen(slot) else { return }
        while streams.count <= slot { streams.append(nil) }
        let stream = HTTP2ClientStream(slot, connection: self)
        streams[slot] = stream
        do throws(HTTPError) {
            let (head, length) = try session.takeRequest(slot)
            let exchange = Exchange(head, bodyLength: length, client: stream, worker: worker)
            stream.exchange = exchange
            exchange.begin()
        } catch {
            let head = RequestHead(method: "-", target: "-", authority: "", version: .http2)
            let exchange = Exchange(head, bodyLength: .none, client: stream, worker: worker)
            stream.exchange = exchange
            exchange.fail(ProxyError(refusing: error))
        }
    }

    private func closed(_ slot: Int) {
        guard let stream = stream(slot) else { return }
        streams[slot] = nil
        let exchange = stream.exchange
        stream.leave()
        exchange?.clientGone()
        if session.streamCount == 0 { idleSince = now }
    }

    // MARK: - Sending

    func setNeedsFlush() {
        guard !isFlushDue, !isOver else { return }
        isFlushDue = true
        worker.loop.atEndOfTurn(self)
    }

    func turnEnded(on loop: EventLoop) {
        isFlushDue = false
        guard !isOver else { return }
        let hasMore = session.pump(room: room, now: now)
        handleEvents(Span<UInt8>())
        guard !isOver else { return }
        if !session.output.isEmpty { connection.send(&session.output) }
        // Where the socket took all of it, no `connectionDrained` follows.
        if hasMore, connection.pendingBytes == 0 { setNeedsFlush() }
        session.output.release(ifOver: 4 << 10)
        if let failure = session.failure { worker.noteAbuse(failure, peer: peerText) }
        if session.isOver { return closeAfterFlush() }
        if isDraining, hasSentLastGoAway, session.streamCount == 0 { closeAfterFlush() }
    }

    func ping() {
        guard pinged == nil else { return }
        pinged = now
        session.ping()
        setNeedsFlush()
    }

    // MARK: - Ending

    func drain() {
        guard !isDraining else { return }
        (isDraining, drainStarted) = (true, now)
        session.announceShutdown()
        // Its answer comes after all requests that the client had sent by then.
        session.ping()
        schedule(now + Self.tick)
        setNeedsFlush()
    }

    private func sendLastGoAway() {
        guard !hasSentLastGoAway else { return }
        hasSentLastGoAway = true
        session.goAway(HTTP2Code.noError)
        setNeedsFlush()
    }

    func failForDrain() {
        sendLastGoAway()
        for stream in streams {
            stream?.exchange?.fail(ProxyError(.draining, .proxy, "the server is going down"))
        }
    }

    /// The peer broke the protocol: it is told so, and its exchanges end as if it had gone.
    private func fail(_ error: HTTP2Error) {
        guard !isOver else { return }
        worker.noteAbuse(error, peer: peerText)
        connection.send(&session.output)
        closeAfterFlush()
    }

    private func closeAfterFlush() {
        guard !isOver else { return }
        end()
        connection.closeAfterFlush()
        worker.forget(self)
    }

    func closeNow() {
        guard !isOver else { return }
        end()
        connection.close()
        worker.forget(self)
    }

    private func end() {
        isOver = true
        worker.loop.cancel(timer)
        for stream in streams {
            let exchange = stream?.exchange
            stream?.leave()
            exchange?.clientGone()
        }
        streams = []
    }

    // MARK: - Time

    /// How often a connection that is in use is looked at; also how long the last GOAWAY waits for the answer to a PING.
    private static let tick = Interval.seconds(1)

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer, !isOver else { return }
        self.timer = .none
        if let drainStarted, now - drainStarted >= Self.tick { sendLastGoAway() }
        checkTimes()
        if !isOver { schedule(nextCheck()) }
    }

    private func schedule(_ check: Instant) {
        nextTick = check
        if timer == .none {
            timer = worker.loop.schedule(at: check, handler: self)
        } else {
            worker.loop.move(timer, to: check)
        }
    }

    private func checkTimes() {
        if let started = session.headStarted, now - started >= limits.requestHeadTimeout { return closeNow() }
        if !isGreeted, now - started >= limits.handshakeTimeout { return closeNow() }
        if let pinged, now - pinged >= limits.pingTimeout { return closeNow() }
        if limits.slowClient > .zero, connection.pendingBytes > 0, now - connection.lastProgress >= limits.slowClient {
            return closeNow()
        }
        if session.streamCount == 0, now - idleSince >= limits.clientIdleTimeout, !isDraining {
            session.goAway(HTTP2Code.noError)
            session.pump(room: room, now: now)
            connection.send(&session.output)
            return closeAfterFlush()
        }
        resetFinishedThatStall()
        if session.resetLingering(after: Self.tick, at: now) { setNeedsFlush() }
    }

    /// Streams whose exchange is over, while the client takes nothing of what still waits for it.
    private func resetFinishedThatStall() {
        guard limits.slowClient > .zero else { return }
        for stream in streams {
            guard let stream, stream.exchange == nil, let since = session.waitingSince(stream.slot),
                now - since >= limits.slowClient
            else { continue }
            session.reset(stream.slot, HTTP2Code.cancel)
            setNeedsFlush()
        }
    }

    /// Idle connections are looked at when they have been idle for long enough; others each second.
    private func nextCheck() -> Instant {
        if isGreeted, session.streamCount == 0, session.headStarted == nil, pinged == nil,
            connection.pendingBytes == 0, drainStarted == nil
        {
            return max(idleSince + limits.clientIdleTimeout, now + Self.tick)
        }
        return now + Self.tick
    }
}
