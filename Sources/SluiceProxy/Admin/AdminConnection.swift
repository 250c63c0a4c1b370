import SluiceBytes
import SluiceHTTP
import SluiceIO

/// What an operator is answered.
struct AdminReply {
    var status = 200
    var contentType = "application/json"
    var body: [UInt8] = []
    var fields: [(String, String)] = []
}

/// One connection of an operator: HTTP/1.1, one small request after the other, each answered whole. Held by its `Connection`
/// until that closes.
final class AdminConnection: ConnectionDelegate, TimerHandler {
    private let connection: Connection
    private unowned let server: AdminServer
    private let closed: () -> Void
    private var parser: HTTP1RequestParser
    private var head: RequestHead?
    private var bodyBytes = 0
    /// The answer is being put together; what the client sends meanwhile waits.
    private var isAnswering = false
    private var isOver = false
    private var timer = TimerID.none
    private var since: Instant

    /// Requests have no use for a body; a small one is read past.
    private static let bodyLimit = 16 << 10
    private static let timeout = Interval.seconds(30)

    init(_ connection: Connection, server: AdminServer, closed: @escaping () -> Void) {
        (self.connection, self.server, self.closed) = (connection, server, closed)
        parser = HTTP1RequestParser(limits: HTTP1Limits(headBytes: 16 << 10, fields: 64))
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
                case .head(let head, _): (self.head, bodyBytes) = (head, 0)
                case .body(let range):
                    bodyBytes += range.count
                    if bodyBytes > Self.bodyLimit { refuse(413, "a request has no use for a body here") }
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
    func connectionDrained(_ connection: Connection) { since = connection.loop.now }

    // MARK: - Answering

    private func begin() {
        guard let head else { return }
        isAnswering = true
        server.answer(head) { [weak self] reply in self?.finish(reply, head) }
    }

    private func finish(_ reply: AdminReply, _ head: RequestHead) {
        guard !isOver, isAnswering else { return }
        isAnswering = false
        since = connection.loop.now
        send(reply, head, keepsAlive: parser.keepsAlive)
        if !parser.keepsAlive { return close() }
        if connection.hasLeftover { connection.loop.afterTurn { [weak self] in self?.connection.redeliver() } }
    }

    private func refuse(_ status: Int, _ message: String) {
        guard !isOver else { return }
        send(.message(status, message), RequestHead(method: "-", target: "-", authority: ""), keepsAlive: false)
        close()
    }

    private func send(_ reply: AdminReply, _ head: RequestHead, keepsAlive: Bool) {
        var fields = HeaderFields()
        fields.append("Content-Type", reply.contentType)
        fields.append("Cache-Control", "no-store")
        fields.append("X-Content-Type-Options", "nosniff")
        for (name, value) in reply.fields { fields.append(name, value) }
        var bytes = ByteQueue()
        HTTP1Serializer.response(
            ResponseHead(status: reply.status, fields: fields), length: .fixed(reply.body.count),
            keepAlive: keepsAlive, version: head.version, into: &bytes)
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

    private func end(closes: Bool = true) {
        guard !isOver else { return }
        isOver = true
        connection.loop.cancel(timer)
        if closes { connection.close() }
        closed()
    }
}
