import SluiceBytes
import SluiceHTTP
import SluiceIO

/// One HTTP/1.1 client: reads requests one after the other and writes their answers in the same order.
///
/// While an exchange runs, bytes of further (pipelined) requests stay in the `Connection`, which then reads no more.
final class HTTP1ClientConnection: ClientConnection, ConnectionDelegate, ClientStream, TimerHandler {
    private let worker: Worker
    private let connection: Connection
    private var parser: HTTP1RequestParser
    private var exchange: Exchange?
    private var isRequestRead = true
    /// What is left of the request's body is so small that reading it costs less than a new connection.
    private var isBodySmall = false
    private var keepsAlive = true
    private var version = RequestHead.Version.http11
    private var isHead = false
    private var isChunked = false
    private var isUntilClose = false
    /// A head that waits for the first body bytes, to leave in one write with them.
    private var waitingHead: (head: ResponseHead, length: BodyLength)?
    private var hasSentHead = false
    private var isOver = false
    private var timer = TimerID.none
    /// When the connection was accepted, or last became free for a request.
    private var idleSince: Instant
    /// When the first byte of a head that is not whole came.
    private var headStarted: Instant?
    private var isFirstRequest = true
    private var drainStarted: Instant?
    /// `Connection.sentBytes` when the exchange began.
    private var sentBefore = 0

    init(_ connection: Connection, worker: Worker) {
        (self.connection, self.worker) = (connection, worker)
        parser = HTTP1RequestParser(limits: worker.limits.http1Request)
        idleSince = worker.loop.now
        connection.lowMarkBytes = worker.limits.streamBufferLowBytes
        connection.flushPatience = worker.limits.flushPatience
        timer = worker.loop.schedule(at: idleDeadline(), handler: self)
    }

    var peer: SocketAddress { connection.peer }

    /// The answer that is next to begin says that the connection closes; until then it stays open for a moment, since a request
    /// may be on its way, and a client that loses one cannot know whether it was read.
    func drain() {
        guard drainStarted == nil else { return }
        drainStarted = worker.loop.now
        if exchange == nil {
            worker.loop.move(timer, to: idleDeadline())
        } else if !hasSentHead || waitingHead != nil {
            keepsAlive = false
        }
    }

    /// Ends a live exchange with an error in its own dialect.
    func failForDrain() {
        keepsAlive = false
        guard let exchange else { return closeNow() }
        exchange.fail(ProxyError(.draining, .proxy, "the server is going down"))
    }

    var bufferedBytes: Int { connection.pendingBytes }

    // MARK: - ConnectionDelegate

    func connectionEstablished(_ connection: Connection) {}

    func connection(_ connection: Connection, received bytes: Span<UInt8>) -> Int {
        var offset = 0
        do throws(HTTPError) {
            while !isOver {
                if isRequestRead, exchange != nil { return offset }
                switch try parser.next(bytes, at: &offset) {
                case .needMore:
                    noteHead()
                    return bytes.count
                case .head(let head, let length): begin(head, length)
                case .interim: break
                case .body(let range): exchange?.requestBody(bytes.extracting(range))
                case .end:
                    isRequestRead = true
                    if let exchange { exchange.requestEnd() } else { becomeIdle() }
                }
            }
        } catch {
            refuse(error)
        }
        return bytes.count
    }

    func connectionEnded(_ connection: Connection) {
        if exchange != nil { exchange?.clientGone() }
        closeNow()
    }

    func connectionDrained(_ connection: Connection) { exchange?.clientDrained() }

    func connection(_ connection: Connection, failed error: ConnectionError) {
        exchange?.clientGone()
        closeNow()
    }

    // MARK: - Requests

    private func begin(_ head: RequestHead, _ length: BodyLength) {
        (isRequestRead, hasSentHead, headStarted) = (false, false, nil)
        isFirstRequest = false
        keepsAlive = parser.keepsAlive && drainStarted == nil
        (version, isHead) = (head.version, head.method == "HEAD")
        switch length {
        case .none: isBodySmall = true
        case .fixed(let count): isBodySmall = count <= worker.limits.streamBufferHighBytes
        default: isBodySmall = false
        }
        sentBefore = connection.sentBytes
        let exchange = Exchange(head, bodyLength: length, client: self, worker: worker)
        self.exchange = exchange
        exchange.begin()
    }

    /// A partial head starts the clock that a slow sender is measured by.
    private func noteHead() {
        guard exchange == nil, headStarted == nil, !parser.isIdle else { return }
        headStarted = worker.loop.now
        worker.loop.move(timer, to: idleDeadline())
    }

    /// A request that is not HTTP, or crosses a limit: an answer, and the end of the connection, since nobody knows
    /// where the next request would begin.
    private func refuse(_ error: HTTPError) {
        keepsAlive = false
        isRequestRead = true
        if let exchange { return exchange.fail(ProxyError(refusing: error)) }
        let head = RequestHead(method: "-", target: "-", authority: "")
        (hasSentHead, sentBefore) = (false, connection.sentBytes)
        let exchange = Exchange(head, bodyLength: .none, client: self, worker: worker)
        self.exchange = exchange
        exchange.fail(ProxyError(refusing: error))
    }

    private func exchangeOver() {
        exchange = nil
        waitingHead = nil
        guard keepsAlive, isRequestRead || isBodySmall else {
            return closeGently()
        }
        becomeIdle()
        if connection.hasLeftover { worker.loop.afterTurn { [weak self] in self?.connection.redeliver() } }
    }

    private func closeGently() {
        isOver = true
        worker.loop.cancel(timer)
        connection.closeAfterFlush()
        worker.forget(self)
    }

    private func becomeIdle() {
        // The last exchange may have paused its request's body and ended before that was all sent on.
        connection.resumeReading()
        idleSince = worker.loop.now
        worker.loop.move(timer, to: idleDeadline())
    }

    func closeNow() {
        guard !isOver else { return }
        isOver = true
        exchange = nil
        worker.loop.cancel(timer)
        connection.close()
        worker.forget(self)
    }

    /// What waits for a slow reader still goes out.
    private func closeIdle() {
        guard connection.pendingBytes > 0 else { return closeNow() }
        isOver = true
        connection.closeAfterFlush()
        worker.forget(self)
    }

    // MARK: - Time

    private func idleDeadline() -> Instant {
        let limits = worker.limits
        // Not idle: it still takes the last answer, or stalls in it.
        if exchange == nil, connection.pendingBytes > 0 { return connection.lastProgress + limits.flushPatience }
        if let headStarted { return headStarted + limits.requestHeadTimeout }
        let start = isFirstRequest ? idleSince : max(idleSince, connection.lastProgress)
        let deadline = start + (isFirstRequest ? limits.handshakeTimeout : limits.clientIdleTimeout)
        guard let drainStarted else { return deadline }
        return min(deadline, max(drainStarted, idleSince) + Worker.requestGrace)
    }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer, !isOver else { return }
        self.timer = .none
        // An exchange has its own timer; this one looks again later.
        let deadline = exchange == nil ? idleDeadline() : loop.now + .seconds(10)
        if deadline > loop.now {
            self.timer = loop.schedule(at: deadline, handler: self)
        } else if connection.pendingBytes > 0 {
            connection.abort()
            closeNow()
        } else if headStarted != nil {
            let error = ProxyError(.requestTimeout, .client, "the request did not arrive in time")
            keepsAlive = false
            isRequestRead = true
            (hasSentHead, sentBefore) = (false, connection.sentBytes)
            let exchange = Exchange(
                RequestHead(method: "-", target: "-", authority: ""), bodyLength: .none, client: self, worker: worker)
            self.exchange = exchange
            exchange.fail(error)
        } else {
            closeIdle()
        }
    }

    // MARK: - ClientStream

    var isCongested: Bool {
        connection.pendingBytes > worker.limits.streamBufferHighBytes
    }
    var waitingSince: Instant? { connection.pendingBytes > 0 ? connection.lastProgress : nil }
    var sentBytes: Int { connection.sentBytes - sentBefore }
    private(set) lazy var peerText = connection.peer.addressText
    var isTLS: Bool { connection.isTLS }
    var waitingBytes: Int { connection.pendingBytes }
    var peerConnection: Connection? { connection }

    func sendHead(_ head: ResponseHead, length: BodyLength) {
        var length = length
        if case .chunked = length, version == .http10 { length = .untilClose }
        isChunked = length == .chunked
        isUntilClose = length == .untilClose
        if isUntilClose || !(isRequestRead || isBodySmall) { keepsAlive = false }
        // Of a request that did not arrive in time, the rest may still come: RFC 9110 §15.5.9 closes for that.
        if head.status == 408 { keepsAlive = false }
        hasSentHead = true
        waitingHead = (head, length)
    }

    private func writeHead(into out: inout ByteQueue) {
        guard let (head, length) = waitingHead else { return }
        waitingHead = nil
        HTTP1Serializer.response(
            head, length: length, keepAlive: keepsAlive, version: version, isHead: isHead, into: &out)
    }

    func openBody(in out: inout ByteQueue) -> ByteQueue.Mark? {
        writeHead(into: &out)
        return isChunked ? HTTP1Serializer.openChunk(in: &out) : nil
    }

    func flushBody(_ mark: ByteQueue.Mark?, _ out: inout ByteQueue, isLast: Bool) {
        if let mark { HTTP1Serializer.closeChunk(mark, in: &out) }
        if isLast, isChunked { HTTP1Serializer.lastChunk(into: &out) }
        if !out.isEmpty { connection.send(&out) }
        if isLast { exchangeOver() }
    }

    func flush() {
        guard waitingHead != nil else { return }
        var bytes = ByteQueue()
        writeHead(into: &bytes)
        connection.send(&bytes)
    }

    /// HTTP/1.1 has no ping; TCP keepalive, set on the listener, finds clients that are gone.
    func ping() {}

    func abort() {
        keepsAlive = false
        isOver = true
        exchange = nil
        worker.loop.cancel(timer)
        // Without the last chunk, a chunked or counted body is visibly cut. Where the close is the end, only a reset tells.
        if isUntilClose { connection.abort() } else { connection.closeAfterFlush() }
        worker.forget(self)
    }

    func sendContinue() {
        guard parser.expectsContinue, !isRequestRead, !hasSentHead else { return }
        var bytes = ByteQueue()
        HTTP1Serializer.interim(100, into: &bytes)
        connection.send(&bytes)
    }

    func pauseBody() { connection.pauseReading() }
    func resumeBody() { connection.resumeReading() }
}
