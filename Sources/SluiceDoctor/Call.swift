import SluiceBytes
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// How the examined server is reached; the same for all calls.
struct CallSettings {
    enum Version { case best, http1, http2 }

    var url: DoctorURL
    var version = Version.best
    /// nil: clear text.
    var tls: TLSContext?
    /// In place of the URL's.
    var authority: String?
    var method = "GET"
    var body: [UInt8] = []
    var connectTimeout = Interval.seconds(10)
}

/// One request over a connection of its own, and what comes of it. Lives on the loop's thread; held by the loop or its connection until it
/// ends, which it does once, by `ended`.
final class Call: ConnectionDelegate, TimerHandler {
    private let settings: CallSettings
    private let loop: EventLoop
    private let resolver: Resolver
    private let fields: HeaderFields
    private let patience: Interval
    private(set) var recorder: StreamRecorder
    private var connector: Connector?
    private var connection: Connection?
    private var parser = HTTP1ResponseParser(limits: .upstream)
    private var session: HTTP2Session?
    private var slot: Int?
    private var dialled: Instant
    private var connected: Instant
    private var timer = TimerID.none
    private var isOver = false
    private var isUntilClose = false

    /// The answer's head is there; all is over.
    var onHead: ((Call) -> Void)?
    var onEnd: ((Call) -> Void)?

    /// `patience`: for the whole, from the connection on.
    init(
        _ settings: CallSettings, fields: HeaderFields, plan: ProbePlan?, patience: Interval, loop: EventLoop,
        resolver: Resolver
    ) {
        (self.settings, self.loop, self.resolver) = (settings, loop, resolver)
        (self.fields, self.patience) = (fields, patience)
        (dialled, connected) = (loop.now, loop.now)
        recorder = StreamRecorder(requested: loop.now, plan: plan)
    }

    var observation: Observation { recorder.observation }

    func start() {
        dialled = loop.readClock()
        timer = loop.schedule(at: dialled + settings.connectTimeout, handler: self)
        let port = settings.url.port
        if let address = IPAddress(settings.url.host) { return connect([.ip(address, port: port)]) }
        resolver.resolve(settings.url.host) { [self] result in
            guard !isOver else { return }
            switch result {
            case .success(let addresses): connect(addresses.map { .ip($0, port: port) })
            case .failure(let error): end(.unreachable("the name cannot be resolved: \(error)"))
            }
        }
    }

    /// Leaves in the middle, as a client does.
    func leave() { end(.left) }

    // MARK: - Connecting

    private func connect(_ addresses: [SocketAddress]) {
        dialled = loop.readClock()
        connector = Connector(to: addresses, on: loop) { [self] result in
            guard !isOver else { return }
            connector = nil
            switch result {
            case .success(let connected): open(connected)
            case .failure(let error): end(.unreachable("no connection: \(error)"))
            }
        }
    }

    private func open(_ socket: Connector.Connected) {
        connected = loop.readClock()
        do {
            let engine = try settings.tls?.makeClientEngine(serverName: settings.url.host)
            let connection = try Connection(socket.take(), peer: socket.address, engine: engine, loop: loop)
            connection.readsToEnd = true
            self.connection = connection
            connection.start(self)
        } catch {
            end(.unreachable("\(error)"))
        }
    }

    func connectionEstablished(_ connection: Connection) {
        let now = loop.readClock()
        var transport = Observation.Transport()
        transport.local = connection.localAddress?.description ?? ""
        transport.peer = connection.peer.description
        transport.connectTime = connected - dialled
        if let facts = connection.peerFacts {
            transport.tlsVersion = facts.version
            transport.handshakeTime = now - connected
            transport.certificate = .init(subject: facts.subject, issuer: facts.issuer, daysLeft: facts.daysLeft)
        }
        let speaksHTTP2 = connection.isTLS ? connection.applicationProtocol == "h2" : settings.version == .http2
        transport.version = speaksHTTP2 ? "HTTP/2" : "HTTP/1.1"
        recorder.connected(transport)
        loop.move(timer, to: now + patience)
        recorder.requested(at: now)
        if settings.version == .http2, !speaksHTTP2 {
            return end(.unreachable("the server does not offer HTTP/2 (ALPN h2)"))
        }
        if speaksHTTP2 { sendHTTP2() } else { sendHTTP1() }
    }

    // MARK: - Asking

    private var head: RequestHead {
        RequestHead(
            method: settings.method, target: settings.url.target,
            authority: settings.authority ?? settings.url.authority, fields: fields)
    }
    private var length: BodyLength { settings.body.isEmpty ? .none : .fixed(settings.body.count) }

    private func sendHTTP1() {
        parser.begin(requestMethod: settings.method)
        var bytes = ByteQueue()
        HTTP1Serializer.request(head, length: length, into: &bytes)
        bytes.append(settings.body)
        connection?.send(&bytes)
    }

    private func sendHTTP2() {
        var limits = HTTP2Limits()
        (limits.side, limits.headBytes, limits.fields) = (.upstream, 64 << 10, 200)
        do throws(HTTP2Error) {
            let session = try HTTP2Session(.client, limits: limits)
            self.session = session
            slot = session.request(head, isTLS: settings.url.isTLS, length: length)
            if let slot, !settings.body.isEmpty {
                var bytes = ByteQueue()
                bytes.append(settings.body)
                session.send(slot, &bytes, isLast: true, room: 1 << 20, now: loop.now)
            }
            flush(session)
        } catch {
            end(.malformed("\(error)"))
        }
    }

    private func flush(_ session: HTTP2Session) {
        session.pump(room: 1 << 20, now: loop.now)
        if !session.output.isEmpty { connection?.send(&session.output) }
    }

    // MARK: - What comes

    func connection(_ connection: Connection, received bytes: Span<UInt8>) -> Int {
        let now = loop.readClock()
        if let session { readHTTP2(session, bytes, now) } else { readHTTP1(bytes, now) }
        return bytes.count
    }

    private func readHTTP1(_ bytes: Span<UInt8>, _ now: Instant) {
        var offset = 0
        var run = ByteQueue()
        var isWhole = false
        do throws(HTTPError) {
            reading: while !isOver {
                switch try parser.next(bytes, at: &offset) {
                case .needMore: break reading
                case .interim: continue
                case .head(let head, let length):
                    isUntilClose = length == .untilClose
                    tell(head, now)
                case .body(let range): run.append(bytes.extracting(range))
                case .end:
                    isWhole = true
                    break reading
                }
            }
            tell(run.span, now)
            if isWhole { end(.whole) }
        } catch {
            tell(run.span, now)
            end(.malformed("\(error)"))
        }
    }

    private func readHTTP2(_ session: HTTP2Session, _ bytes: Span<UInt8>, _ now: Instant) {
        var failure: HTTP2Error?
        do throws(HTTP2Error) { try session.receive(bytes, now: now) } catch { failure = error }
        var run = ByteQueue()
        var ending: Observation.Ending?
        while ending == nil, let event = session.nextEvent() {
            switch event {
            case .head(let slot):
                do throws(HTTPError) {
                    tell(try session.takeResponse(slot), now)
                } catch {
                    ending = .malformed("\(error)")
                }
            case .body(_, let range): run.append(bytes.extracting(range))
            case .end: ending = .whole
            case .closed(_, let code): ending = .streamReset(code)
            case .goAway, .interim, .drained, .settings, .pong: break
            }
        }
        tell(run.span, now)
        if let ending { return end(ending) }
        if let failure { return end(.malformed("\(failure)")) }
        if !isOver { flush(session) }
    }

    private func tell(_ head: ResponseHead, _ now: Instant) {
        recorder.head(head, at: now)
        onHead?(self)
    }

    private func tell(_ run: Span<UInt8>, _ now: Instant) {
        guard run.count > 0, !isOver else { return }
        recorder.body(run, at: now)
    }

    func connectionEnded(_ connection: Connection) {
        let isEnd = session == nil && isUntilClose && observation.head != nil
        end(isEnd ? .untilClose : .closed)
    }

    func connectionDrained(_ connection: Connection) { if let session { flush(session) } }

    func connection(_ connection: Connection, failed error: ConnectionError) {
        if observation.transport.local.isEmpty { return end(.unreachable("\(error)")) }
        end(.reset("\(error)"))
    }

    // MARK: - The end

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer else { return }
        self.timer = .none
        if observation.transport.local.isEmpty { return end(.unreachable("no connection in time")) }
        end(.timedOut)
    }

    private func end(_ ending: Observation.Ending) {
        guard !isOver else { return }
        isOver = true
        recorder.finishOpening()
        recorder.end(ending, at: loop.readClock())
        loop.cancel(timer)
        connector?.cancel()
        if ending == .left, let session, let slot {
            session.reset(slot, HTTP2Code.cancel)
            flush(session)
        }
        connection?.close()
        let told = onEnd
        (onHead, onEnd) = (nil, nil)
        told?(self)
    }
}
