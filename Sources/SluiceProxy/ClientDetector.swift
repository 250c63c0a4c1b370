import SluiceBytes
import SluiceHTTP
import SluiceIO

/// One client's connection as its worker sees it, whatever HTTP it speaks.
protocol ClientConnection: AnyObject {
    var peer: SocketAddress { get }
    /// Takes no further request; the connection ends with its last exchange.
    func drain()
    /// Ends live exchanges with an error in their own dialect.
    func failForDrain()
    /// Ends the connection, whatever it is doing.
    func closeNow()
    /// That wait for the client, of all its streams.
    var bufferedBytes: Int { get }
}

/// A new connection until its protocol is known: by ALPN over TLS; else by the preface that begins every HTTP/2
/// connection and no HTTP/1.1 request (RFC 9113 §3.3, §3.4).
final class ClientDetector: ClientConnection, ConnectionDelegate, TimerHandler {
    private let worker: Worker
    private let connection: Connection
    private var matched = 0
    private var timer = TimerID.none
    private var deadline = Instant.distantFuture

    private static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    init(_ connection: Connection, worker: Worker) { (self.connection, self.worker) = (connection, worker) }

    var peer: SocketAddress { connection.peer }

    func start() {
        deadline = worker.loop.now + worker.limits.handshakeTimeout
        timer = worker.loop.schedule(at: deadline, handler: self)
        connection.start(self)
    }

    /// A client that has just connected has sent its request, or is about to.
    func drain() {
        guard connection.receivedBytes == 0 else { return }
        worker.loop.move(timer, to: min(deadline, worker.loop.now + Worker.requestGrace))
    }

    func failForDrain() { end() }
    func closeNow() { end() }
    var bufferedBytes: Int { connection.pendingBytes }

    private func end() {
        worker.loop.cancel(timer)
        connection.close()
        worker.forget(self)
    }

    func connectionEstablished(_ connection: Connection) {
        guard connection.isTLS else { return }
        if connection.applicationProtocol == "h2" { _ = becomeHTTP2() } else { _ = becomeHTTP1() }
    }

    func connection(_ connection: Connection, received bytes: Span<UInt8>) -> Int {
        var index = 0
        while index < bytes.count, matched + index < Self.preface.count, bytes[index] == Self.preface[matched + index] {
            index += 1
        }
        if matched + index == Self.preface.count {
            return deliver(to: becomeHTTP2(), bytes)
        } else if index == bytes.count {
            matched += index
            return index
        }
        return deliver(to: becomeHTTP1(), bytes)
    }

    /// What was matched before is known, so it was not kept.
    private func deliver(to heir: (any ConnectionDelegate)?, _ bytes: Span<UInt8>) -> Int {
        guard let heir else { return bytes.count }
        if matched > 0 { _ = heir.connection(connection, received: Self.preface.span.extracting(0..<matched)) }
        return connection.isOpen ? heir.connection(connection, received: bytes) : bytes.count
    }

    private func becomeHTTP1() -> HTTP1ClientConnection {
        let heir = HTTP1ClientConnection(connection, worker: worker)
        inherit(heir)
        return heir
    }

    private func becomeHTTP2() -> HTTP2ClientConnection? {
        do throws(HTTP2Error) {
            let heir = try HTTP2ClientConnection(connection, worker: worker)
            inherit(heir)
            heir.start()
            return heir
        } catch {
            end()
            return nil
        }
    }

    private func inherit(_ heir: any ClientConnection & ConnectionDelegate) {
        worker.loop.cancel(timer)
        connection.changeDelegate(to: heir)
        worker.replace(self, by: heir)
    }

    func connectionEnded(_ connection: Connection) { end() }
    func connectionDrained(_ connection: Connection) {}
    func connection(_ connection: Connection, failed error: ConnectionError) { end() }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer else { return }
        self.timer = .none
        guard connection.receivedBytes > 0, loop.now < deadline else { return end() }
        // It was to end soon, but its handshake has begun since.
        self.timer = loop.schedule(at: deadline, handler: self)
    }
}
