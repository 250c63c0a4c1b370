import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO

/// Posts to one endpoint over HTTP/1.1, one request at a time, on a connection that is kept. Belongs to the exporter, on its loop.
final class OTLPClient: ConnectionDelegate, TimerHandler {
    typealias Completion = (OTLPAnswer) -> Void

    let settings: Tracing
    private let loop: EventLoop
    private let resolver: Resolver
    private var connector: Connector?
    private var connection: Connection?
    private var parser = HTTP1ResponseParser()
    private var request: (body: [UInt8], completion: Completion)?
    /// On the connection, and not before it.
    private var isSent = false
    /// It had answered another request before.
    private var isReused = false
    private var answers = 0
    private var attempt = 0
    private var timer = TimerID.none
    private var head: ResponseHead?
    private var answer: [UInt8] = []

    /// Of an answer, so much is read; a longer one says nothing that is wanted.
    private static let answerBytes = 64 << 10
    /// After so much silence the connection is made anew.
    private static let idleTimeout = Interval.seconds(30)
    private var lastUse = Instant(nanoseconds: 0)

    init(_ settings: Tracing, loop: EventLoop) {
        (self.settings, self.loop) = (settings, loop)
        let servers = settings.nameServers
        resolver = Resolver(loop: loop, servers: servers.isEmpty ? nil : servers.joined(separator: ","))
    }

    private var spec: TracingSpec { settings.spec }

    /// Calls `completion` once, later, unless it is closed before. One at a time.
    func post(_ body: [UInt8], by deadline: Instant, _ completion: @escaping Completion) {
        request = (body, completion)
        timer = loop.schedule(at: min(deadline, loop.now + spec.timeout), handler: self)
        if let connection, connection.isOpen, loop.now - lastUse < Self.idleTimeout {
            isReused = true
            return send()
        }
        dial()
    }

    func close() {
        loop.cancel(timer)
        request = nil
        drop()
        resolver.close()
    }

    // MARK: - Connecting

    private func dial() {
        drop()
        attempt &+= 1
        let (url, number) = (spec.endpoint, attempt)
        let port = UInt16(truncatingIfNeeded: url.port)
        if let path = url.unixPath { return connect([.unix(path)]) }
        if let address = IPAddress(url.host) { return connect([.ip(address, port: port)]) }
        resolver.resolve(url.host) { [weak self] result in
            guard let self, attempt == number, request != nil else { return }
            switch result {
            case .success(let addresses): connect(addresses.map { .ip($0, port: port) })
            case .failure(let error): fail("\(error)")
            }
        }
    }

    private func connect(_ addresses: [SocketAddress]) {
        connector = Connector(to: addresses, on: loop) { [weak self] result in
            guard let self else { return }
            connector = nil
            switch result {
            case .success(let connected): opened(connected)
            case .failure(let error): fail("\(error)")
            }
        }
    }

    private func opened(_ connected: Connector.Connected) {
        guard !connected.isConnectedToItself else { return fail("nobody listens there") }
        do {
            if spec.endpoint.isTLS, settings.tls == nil { return fail("there is no TLS without certificates") }
            let engine = try settings.tls?.makeClientEngine(serverName: spec.tls.serverName ?? spec.endpoint.host)
            let connection = try Connection(connected.take(), peer: connected.address, engine: engine, loop: loop)
            connection.flushPatience = .seconds(2)
            (self.connection, answers) = (connection, 0)
            connection.start(self)
        } catch {
            fail("\(error)")
        }
    }

    private func drop() {
        connector?.cancel()
        connection?.close()
        (connector, connection) = (nil, nil)
        (isSent, isReused, head) = (false, false, nil)
        answer = []
    }

    // MARK: - One request

    func connectionEstablished(_ connection: Connection) {
        guard connection === self.connection, request != nil else { return }
        parser = HTTP1ResponseParser()
        send()
    }

    /// Fields that only the request itself can know.
    private static let own: Set<String> = ["content-type", "content-encoding", "user-agent"]

    private func send() {
        guard let request, let connection else { return }
        var fields = HeaderFields()
        for header in spec.headers where !Self.own.contains(header.name.lowercased()) {
            fields.append(header.name, header.value.revealed)
        }
        fields.append("Content-Type", spec.encoding == .json ? "application/json" : "application/x-protobuf")
        if spec.isCompressed { fields.append("Content-Encoding", "gzip") }
        fields.append("User-Agent", "sluice/\(spec.version)")
        let head = RequestHead(method: "POST", target: spec.path, authority: spec.endpoint.authority, fields: fields)
        var out = ByteQueue()
        HTTP1Serializer.request(head, length: .fixed(request.body.count), into: &out)
        out.append(request.body)
        parser.begin(requestMethod: "POST")
        (isSent, self.head, answer) = (true, nil, [])
        connection.send(&out)
    }

    func connection(_ connection: Connection, received bytes: Span<UInt8>) -> Int {
        guard connection === self.connection else { return bytes.count }
        var offset = 0
        do throws(HTTPError) {
            while true {
                switch try parser.next(bytes, at: &offset) {
                case .needMore: return bytes.count
                case .interim: continue
                case .head(let head, _): self.head = head
                case .body(let range):
                    if answer.count + range.count <= Self.answerBytes { answer += bytes.extracting(range).array }
                case .end:
                    finish(bytesFollow: offset < bytes.count)
                    return bytes.count
                }
            }
        } catch {
            fail("the answer is malformed: \(error)")
        }
        return bytes.count
    }

    private func finish(bytesFollow: Bool) {
        guard let head else { return fail("the answer has no head") }
        let (body, keeps) = (answer, parser.keepsAlive && !bytesFollow)
        let isJSON = head.fields.first("content-type")?.hasPrefix("application/json") ?? false
        let wait = RetryAfter.read(head.fields, unixTime: EventLoop.unixTime())
        (isSent, self.head, answer, lastUse) = (false, nil, [], loop.now)
        answers += 1
        if !keeps { drop() }
        complete(OTLPAnswer(status: head.status, isJSON: isJSON, body: body, retryAfter: wait))
    }

    private func complete(_ answer: OTLPAnswer) {
        guard let request else { return }
        self.request = nil
        loop.cancel(timer)
        timer = .none
        // Behind this turn: whoever hears it may post again, or close us.
        loop.afterTurn { request.completion(answer) }
    }

    private func fail(_ reason: String) {
        // A connection that lay idle had been closed by the time the request came.
        let wasStale = isReused && request != nil && !parser.hasReceived
        drop()
        if wasStale { return dial() }
        complete(.unreachable(reason))
    }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer else { return }
        self.timer = .none
        isReused = false
        fail("no answer in time")
    }

    // MARK: - The connection's end

    func connectionEnded(_ connection: Connection) {
        guard connection === self.connection else { return }
        guard request != nil else { return drop() }
        do throws(HTTPError) {
            if try parser.finish() { return finish(bytesFollow: true) }
        } catch {}
        fail("the connection was closed")
    }

    func connectionDrained(_ connection: Connection) {}

    func connection(_ connection: Connection, failed error: ConnectionError) {
        guard connection === self.connection else { return }
        if request == nil { drop() } else { fail("\(error)") }
    }
}
