import SluiceBytes
import SluiceHTTP
import SluiceIO

/// What an operator is answered.
struct AdminReply: Sendable {
    var status = 200
    var contentType = "application/json"
    var cacheControl = "no-store"
    var body: [UInt8] = []
    var fields: [(String, String)] = []

    /// The head that says all of that.
    var head: ResponseHead {
        var fields = HeaderFields()
        fields.append("Content-Type", contentType)
        fields.append("Cache-Control", cacheControl)
        fields.append("X-Content-Type-Options", "nosniff")
        for (name, value) in self.fields { fields.append(name, value) }
        return ResponseHead(status: status, fields: fields)
    }
}

/// One connection of an operator: HTTP/1.1, one small request after the other, each answered whole. Held by its `Connection`
/// until that closes.
final class AdminConnection: ConnectionDelegate, TimerHandler {
    private let connection: Connection
    private unowned let server: AdminServer
    private let closed: () -> Void
    private var parser: HTTP1RequestParser
    private var head: RequestHead?
    /// Kept only where it is a request that the page wants made.
    private var body: [UInt8] = []
    private var keepsBody = false
    private var bodyBytes = 0
    /// What carries such a request out.
    private var relay: PageRelay?
    private var isRelayChunked = true
    /// The answer is being put together; what the client sends meanwhile waits.
    private var isAnswering = false
    private var isOver = false
    private var timer = TimerID.none
    private var since: Instant

    /// Requests have no use for a body; a small one is read past.
    private static let bodyLimit = 16 << 10
    private static let callLimit = 1 << 20
    /// Of a relayed answer, so much may wait for the browser before the route must wait too.
    private static let relayHighBytes = 64 << 10
    private static let timeout = Interval.seconds(30)

    init(_ connection: Connection, server: AdminServer, closed: @escaping () -> Void) {
        (self.connection, self.server, self.closed) = (connection, server, closed)
        parser = HTTP1RequestParser(limits: HTTP1Limits(headBytes: 16 << 10, fields: 64))
        connection.lowMarkBytes = Self.relayHighBytes / 4
        since = connection.loop.now
    }

    func start() {
        timer = connection.loop.schedule(after: Self.timeout, handler: self)
        connection.start(self)
    }

    // MARK: - ConnectionDelegate

    func connectionEstablished(_ connection: Connection) {}

    func connection(_ connection: Connection, received bytes: Span<UInt8>) -> Int {
        var offset = 0
        do throws(HTTPError) {
            while !isOver, !isAnswering {
                switch try parser.next(bytes, at: &offset) {
                case .needMore: return bytes.count
                case .head(let head, _):
                    (self.head, bodyBytes, body) = (head, 0, [])
                    keepsBody = server.isCall(head)
                case .body(let range):
                    bodyBytes += range.count
                    if bodyBytes > (keepsBody ? Self.callLimit : Self.bodyLimit) {
                        refuse(413, keepsBody ? "the request is too large" : "a request has no use for a body here")
                    } else if keepsBody {
                        body += bytes.extracting(range).array
                    }
                case .end: begin()
                case .interim: break
                }
            }
        } catch {
            refuse(error.requestStatus, "the request is not valid HTTP")
        }
        return isOver ? bytes.count : offset
    }

    /// An answer that is on its way is of no use to who has gone.
    func connectionEnded(_ connection: Connection) { end() }
    func connection(_ connection: Connection, failed error: ConnectionError) { end() }
    func connectionDrained(_ connection: Connection) {
        since = connection.loop.now
        relay?.resume()
    }

    // MARK: - Answering

    private func begin() {
        guard let head else { return }
        isAnswering = true
        if keepsBody { return call(head) }
        server.answer(head) { [weak self] reply in self?.finish(reply, head) }
    }

    /// The answer of a route streams through.
    private func call(_ head: RequestHead) {
        let wanted = body
        body = []
        guard let call = PageCall(wanted) else {
            return finish(.message(400, "needs {method, target, host, headers, body}"), head)
        }
        let relay = server.makeRelay(for: connection.peer) { [weak self] event in self?.relayed(event, head) }
        guard let relay else { return finish(.message(503, "no worker takes requests"), head) }
        self.relay = relay
        relay.start(call)
    }

    private func relayed(_ event: PageRelay.Event, _ head: RequestHead) {
        guard !isOver, isAnswering else { return }
        since = connection.loop.now
        var bytes = ByteQueue()
        switch event {
        case .head(let line):
            var reply = AdminReply(contentType: "application/octet-stream")
            reply.fields = PageFiles.relayFields
            let framing = HTTP1Serializer.response(
                reply.head, length: .chunked, keepAlive: parser.keepsAlive, version: head.version, into: &bytes)
            isRelayChunked = framing == .chunked
            append(line, to: &bytes)
        case .body(let body): append(body, to: &bytes)
        case .end:
            // To a proxy that speaks HTTP/1.0 the close is the end.
            guard isRelayChunked else { return close() }
            HTTP1Serializer.lastChunk(into: &bytes)
            connection.send(&bytes)
            return finished()
        case .failed(let message):
            if let message { return finish(.message(502, message), head) }
            // Without its last chunk the answer is visibly cut; where there are none, only a reset tells.
            return isRelayChunked ? close() : abort()
        }
        connection.send(&bytes)
        if connection.pendingBytes > Self.relayHighBytes { relay?.pause() }
    }

    private func append(_ body: [UInt8], to bytes: inout ByteQueue) {
        guard isRelayChunked else { return bytes.append(body) }
        let mark = HTTP1Serializer.openChunk(in: &bytes)
        bytes.append(body)
        HTTP1Serializer.closeChunk(mark, in: &bytes)
    }

    private func finish(_ reply: AdminReply, _ head: RequestHead) {
        guard !isOver, isAnswering else { return }
        send(reply, head, keepsAlive: parser.keepsAlive)
        finished()
    }

    private func finished() {
        (isAnswering, relay) = (false, nil)
        since = connection.loop.now
        if !parser.keepsAlive { return close() }
        if connection.hasLeftover { connection.loop.afterTurn { [weak self] in self?.connection.redeliver() } }
    }

    private func refuse(_ status: Int, _ message: String) {
        guard !isOver else { return }
        send(.message(status, message), RequestHead(method: "-", target: "-", authority: ""), keepsAlive: false)
        close()
    }

    private func send(_ reply: AdminReply, _ head: RequestHead, keepsAlive: Bool) {
        var bytes = ByteQueue()
        HTTP1Serializer.response(
            reply.head, length: .fixed(reply.body.count), keepAlive: keepsAlive, version: head.version, into: &bytes)
        if head.method != "HEAD" { bytes.append(reply.body) }
        connection.send(&bytes)
    }

    // MARK: - Ending

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer, !isOver else { return }
        let latest = connection.pendingBytes > 0 ? max(since, connection.lastProgress) : since
        if loop.now - latest >= Self.timeout, !isAnswering { return end() }
        self.timer = loop.schedule(at: max(latest + Self.timeout, loop.now + .seconds(1)), handler: self)
    }

    private func close() {
        end(closes: false)
        connection.closeAfterFlush()
    }

    private func abort() {
        connection.abort()
        end()
    }

    private func end(closes: Bool = true) {
        guard !isOver else { return }
        isOver = true
        relay?.cancel()
        relay = nil
        connection.loop.cancel(timer)
        if closes { connection.close() }
        closed()
    }
}
