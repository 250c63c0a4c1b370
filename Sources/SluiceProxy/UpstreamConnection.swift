import SluiceBytes
import SluiceHTTP
import SluiceIO

/// One HTTP/1.1 connection to an upstream: serves one exchange at a time, and goes back to its pool in between.
final class UpstreamConnection: ConnectionDelegate, UpstreamStream {
    private let connection: Connection
    private unowned let pool: UpstreamPool
    private var parser: HTTP1ResponseParser
    /// A cycle while the exchange is served; broken where it ends, fails or is cancelled.
    private var exchange: (any UpstreamStreamDelegate)?
    private var phase = ProxyError.Phase.head
    private var isEstablished = false
    private(set) var isReused = false
    private var isPaused = false
    /// When it came back to the pool.
    var idleSince: Instant

    init(_ connection: Connection, pool: UpstreamPool, limits: HTTP1Limits) {
        (self.connection, self.pool) = (connection, pool)
        parser = HTTP1ResponseParser(limits: limits)
        idleSince = connection.loop.now
    }

    /// Begins TLS if there is any, and tells `exchange` when requests can be sent.
    func start(for exchange: any UpstreamStreamDelegate) {
        self.exchange = exchange
        connection.start(self)
    }

    /// Takes up a further exchange.
    func reuse(for exchange: any UpstreamStreamDelegate) {
        (self.exchange, isReused, phase) = (exchange, true, .head)
        exchange.upstreamReady(self)
    }

    /// From the dial that made it to the exchange that waited.
    func hand(to exchange: any UpstreamStreamDelegate) {
        self.exchange = exchange
        exchange.upstreamReady(self)
    }

    /// Call before the request's bytes: HEAD has no response body.
    func expectResponse(to method: String) { parser.begin(requestMethod: method) }

    var isOpen: Bool { connection.isOpen }
    var waitingBytes: Int { connection.pendingBytes }
    var receivedBytes: Int { connection.receivedBytes }

    func send(_ bytes: inout ByteQueue) { connection.send(&bytes) }

    func pauseReading() {
        isPaused = true
        connection.pauseReading()
    }

    func resumeReading() {
        isPaused = false
        connection.resumeReading()
    }

    func cancel() {
        exchange = nil
        connection.close()
        pool.ended(self)
    }

    func closeIdle() { connection.close() }

    // MARK: - ConnectionDelegate

    func connectionEstablished(_ connection: Connection) {
        isEstablished = true
        exchange?.upstreamReady(self)
    }

    func connection(_ connection: Connection, received bytes: Span<UInt8>) -> Int {
        var offset = 0
        do throws(HTTPError) {
            while let exchange {
                switch try parser.next(bytes, at: &offset) {
                case .needMore:
                    if phase == .body { exchange.upstreamPaused() }
                    return bytes.count
                case .interim: continue
                case .head(let head, _):
                    phase = .body
                    exchange.upstreamHead(head)
                case .body(let range): exchange.upstreamBody(bytes.extracting(range))
                case .end:
                    finish(bytesFollow: offset < bytes.count)
                    return bytes.count
                }
            }
        } catch {
            fail(ProxyError(.malformed(phase), .upstream, "upstream sent a malformed response", detail: "\(error)"))
            return bytes.count
        }
        // Nobody is waiting: the upstream speaks out of turn, or the exchange has just let go.
        connection.close()
        pool.ended(self)
        return bytes.count
    }

    func connectionEnded(_ connection: Connection) {
        guard exchange != nil else { return drop() }
        do throws(HTTPError) {
            if try parser.finish() { return finish(bytesFollow: false) }
        } catch {}
        fail(ProxyError(.closed(phase), .upstream, "upstream closed the connection before its answer was complete"))
    }

    func connectionDrained(_ connection: Connection) { exchange?.upstreamDrained() }

    func connection(_ connection: Connection, failed error: ConnectionError) {
        guard exchange != nil else { return drop() }
        let detail = "\(error)"
        if case .tls = error, !isEstablished {
            return fail(ProxyError(.tls, .upstream, "no secure connection to the upstream", detail: detail))
        }
        fail(
            ProxyError(
                .closed(phase), .upstream, "upstream closed the connection before its answer was complete",
                detail: detail))
    }

    private func drop() {
        connection.close()
        pool.ended(self)
    }

    private func finish(bytesFollow: Bool) {
        let ended = exchange
        exchange = nil
        if isPaused { resumeReading() }
        if parser.keepsAlive && !bytesFollow && connection.isOpen {
            pool.giveBack(self)
        } else {
            drop()
        }
        ended?.upstreamEnd()
    }

    private func fail(_ error: ProxyError) {
        let failed = exchange
        exchange = nil
        drop()
        failed?.upstreamFailed(error)
    }
}
