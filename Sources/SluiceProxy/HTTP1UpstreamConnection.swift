import SluiceBytes
import SluiceHTTP
import SluiceIO

/// One HTTP/1.1 connection to an upstream: serves one exchange at a time, and goes back to its pool in between.
final class HTTP1UpstreamConnection: ConnectionDelegate, UpstreamStream {
    private let connection: Connection
    /// A cycle while it lies idle, broken when the pool is closed: one that is still busy then outlives its pool's owner.
    private let pool: UpstreamPool
    private var parser: HTTP1ResponseParser
    /// A cycle while the exchange is served; broken where it ends, fails or is cancelled.
    private var exchange: (any UpstreamStreamDelegate)?
    private var phase = ProxyError.Phase.head
    private var isBodyChunked = false
    private var wasIdle = false
    /// `Connection.sentBytes` before the request.
    private var sentBefore = 0
    private var sent = Instant.distantFuture
    private var isPaused = false
    /// When it came back to the pool.
    var idleSince: Instant
    /// From then on it takes no further exchange.
    let expiry: Instant

    init(_ connection: Connection, pool: UpstreamPool, limits: HTTP1Limits) {
        (self.connection, self.pool) = (connection, pool)
        parser = HTTP1ResponseParser(limits: limits)
        connection.readsToEnd = true
        idleSince = connection.loop.now
        expiry = pool.makeExpiry()
    }

    /// Takes up an exchange: the first one, or a further one.
    func serve(_ exchange: any UpstreamStreamDelegate, isReused: Bool) {
        (self.exchange, wasIdle, phase) = (exchange, isReused, .head)
        exchange.upstreamReady(self)
    }

    var isOpen: Bool { connection.isOpen }
    var isCongested: Bool { connection.pendingBytes > pool.limits.streamBufferHighBytes }
    var receivedBytes: Int { connection.receivedBytes }
    var wasStale: Bool {
        let hasTaken = connection.takenBytes > sentBefore
        return wasIdle && StaleConnection.isStale(hasTaken: hasTaken, sent: sent, at: connection.loop.now)
    }

    func sendRequest(_ request: UpstreamRequest) {
        parser.begin(requestMethod: request.head.method)
        (sentBefore, sent) = (connection.sentBytes, connection.loop.now)
        isBodyChunked = request.length == .chunked
        var bytes = ByteQueue()
        swap(&bytes, &pool.scratch)
        HTTP1Serializer.request(request.head, length: request.length, into: &bytes)
        bytes.append(request.body)
        connection.send(&bytes)
        swap(&bytes, &pool.scratch)
    }

    func sendBody(_ bytes: inout ByteQueue, isLast: Bool) {
        guard isBodyChunked else { return connection.send(&bytes) }
        var framed = ByteQueue()
        if !bytes.isEmpty {
            let mark = HTTP1Serializer.openChunk(in: &framed)
            framed.append(bytes.span)
            HTTP1Serializer.closeChunk(mark, in: &framed)
            bytes.removeAll()
        }
        if isLast { HTTP1Serializer.lastChunk(into: &framed) }
        connection.send(&framed)
    }

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

    func connectionEstablished(_ connection: Connection) {}

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
                case .body(let range):
                    guard offset < bytes.count else {
                        exchange.upstreamBody(bytes.extracting(range))
                        continue
                    }
                    if try collect(bytes, range, at: &offset) {
                        finish(bytesFollow: offset < bytes.count)
                        return bytes.count
                    }
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

    /// Hands over all body bytes of this read in one run. True if the message is complete.
    private func collect(_ bytes: Span<UInt8>, _ first: Range<Int>, at offset: inout Int) throws(HTTPError) -> Bool {
        var run = ByteQueue()
        swap(&run, &pool.scratch)
        defer { swap(&run, &pool.scratch) }
        run.append(bytes.extracting(first))
        var failure: HTTPError?
        var isEnd = false
        do throws(HTTPError) {
            isEnd = try parser.collectBody(bytes, at: &offset, into: &run)
        } catch {
            failure = error
        }
        // What came before a fault is still the client's.
        exchange?.upstreamBody(run.span)
        run.removeAll()
        if let failure { throw failure }
        return isEnd && exchange != nil
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
        fail(
            ProxyError(
                .closed(phase), .upstream, "upstream closed the connection before its answer was complete",
                detail: "\(error)"))
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
