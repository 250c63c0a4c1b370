import SluiceBytes
import SluiceHTTP
import SluiceIO

/// One client of a server of scripts. Held by its `Connection` until that closes; a client that leaves stops its timers.
final class DemoConnection: ConnectionDelegate, TimerHandler {
    private let connection: Connection
    private let serial: Int
    private let source: ScriptSource
    private let closed: () -> Void
    private var parser = HTTP1RequestParser(limits: HTTP1Limits())
    private var head: RequestHead?
    private var body = ByteQueue()
    private var requests = 0
    /// What is still to be sent, and the timer of the next of it.
    private var script: DemoScript?
    private var nextStep = 0
    /// When that is due: reckoned from step to step, so that a timer that is late delays no step but its own.
    private var due = Instant(nanoseconds: 0)
    private var timer = TimerID.none
    private var isOver = false

    private static let bodyLimit = 1 << 20
    private static let idleTimeout = Interval.seconds(60)

    init(_ connection: Connection, serial: Int, source: @escaping ScriptSource, closed: @escaping () -> Void) {
        (self.connection, self.serial, self.source, self.closed) = (connection, serial, source, closed)
    }

    func start() {
        timer = connection.loop.schedule(after: Self.idleTimeout, handler: self)
        connection.start(self)
    }

    func close() { end() }

    // MARK: - ConnectionDelegate

    func connectionEstablished(_ connection: Connection) {}

    func connection(_ connection: Connection, received bytes: Span<UInt8>) -> Int {
        var offset = 0
        do throws(HTTPError) {
            while !isOver, script == nil {
                switch try parser.next(bytes, at: &offset) {
                case .needMore: return bytes.count
                case .head(let head, _):
                    self.head = head
                    if parser.expectsContinue { sendContinue() }
                case .body(let range):
                    guard body.count + range.count <= Self.bodyLimit else {
                        end()
                        return bytes.count
                    }
                    body.append(bytes.extracting(range))
                case .end: answer()
                case .interim: break
                }
            }
        } catch {
            end()
            return bytes.count
        }
        return offset
    }

    func connectionEnded(_ connection: Connection) { end() }
    func connection(_ connection: Connection, failed error: ConnectionError) { end() }

    func connectionDrained(_ connection: Connection) {
        // A stream that waited for a slow reader goes on where it stopped.
        guard script != nil, timer == .none else { return }
        due = connection.loop.now
        play()
    }

    // MARK: - Answering

    private func sendContinue() {
        var bytes = ByteQueue()
        HTTP1Serializer.interim(100, into: &bytes)
        connection.send(&bytes)
    }

    private func answer() {
        guard let head else { return }
        requests += 1
        let script = source(head.method, RequestTarget(head.target), body.span, serial &* 1000 &+ requests)
        body.removeAll()
        body.releaseIfEmpty()
        var fields = HeaderFields()
        fields.append("Content-Type", script.contentType)
        fields.append("X-Request-Id", "req_demo\(serial)-\(requests)")
        var bytes = ByteQueue()
        HTTP1Serializer.response(
            ResponseHead(status: script.status, fields: fields), length: .chunked, keepAlive: parser.keepsAlive,
            version: head.version, into: &bytes)
        connection.send(&bytes)
        self.script = script
        nextStep = 0
        connection.loop.cancel(timer)
        timer = .none
        due = connection.loop.now
        if !waits() { play() }
    }

    /// Sets a timer if the next step is not due yet.
    private func waits() -> Bool {
        guard let script, nextStep < script.steps.count else { return false }
        due = due + script.steps[nextStep].delay
        guard due > connection.loop.now else { return false }
        timer = connection.loop.schedule(at: due, handler: self)
        return true
    }

    /// Sends what is due, and sets the timer for what is not.
    private func play() {
        guard let script, !isOver else { return }
        let isChunked = head?.version == .http11
        var bytes = ByteQueue()
        while nextStep < script.steps.count {
            if connection.pendingBytes > 64 << 10 { break }
            let mark = isChunked ? HTTP1Serializer.openChunk(in: &bytes) : nil
            bytes.append(script.steps[nextStep].bytes)
            if let mark { HTTP1Serializer.closeChunk(mark, in: &bytes) }
            nextStep += 1
            if waits() { break }
        }
        if nextStep == script.steps.count, isChunked { HTTP1Serializer.lastChunk(into: &bytes) }
        connection.send(&bytes)
        if nextStep == script.steps.count { finish(keepsAlive: isChunked && parser.keepsAlive) }
    }

    private func finish(keepsAlive: Bool) {
        script = nil
        guard keepsAlive else {
            connection.closeAfterFlush()
            return end(closes: false)
        }
        timer = connection.loop.schedule(after: Self.idleTimeout, handler: self)
        if connection.hasLeftover { connection.loop.afterTurn { [weak self] in self?.connection.redeliver() } }
    }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer else { return }
        self.timer = .none
        if script != nil { play() } else { end() }
    }

    private func end(closes: Bool = true) {
        guard !isOver else { return }
        isOver = true
        script = nil
        connection.loop.cancel(timer)
        if closes { connection.close() }
        closed()
    }
}
