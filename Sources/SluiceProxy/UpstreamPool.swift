import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO

/// One worker's connections to one upstream: those that can take work now, and the making of new ones for exchanges that
/// wait.
///
/// HTTP/1.1 connections serve one exchange at a time and lie idle in between; HTTP/2 ones serve many at once. Which of the
/// two it is, is known from the configuration, or by ALPN once the first connection is up: until then one connection is
/// made for all who wait. Lives as long as an exchange or a configuration refers to it.
final class UpstreamPool: TimerHandler {
    let endpoint: UpstreamEndpoint
    let loop: EventLoop
    let resolver: Resolver
    let limits: Limits
    /// Of the connection that is being read or written; empty between turns.
    var scratch = ByteQueue()
    private let tls: TLSContext?
    private var idle: [HTTP1UpstreamConnection] = []
    private var shared: [HTTP2UpstreamConnection] = []
    private var waiting: [UpstreamWait] = []
    private var dials: [Dial] = []
    /// nil until a connection has told.
    private var speaksHTTP2: Bool?
    private var sweep = TimerID.none
    private var isClosed = false

    /// What a connection is expected to carry: what the last one did, and 100 before there was one (RFC 9113 §6.5.2).
    private var expectedStreams = 100

    init(_ endpoint: UpstreamEndpoint, loop: EventLoop, resolver: Resolver, tls: TLSContext?, limits: Limits) {
        (self.endpoint, self.loop, self.resolver, self.tls, self.limits) = (endpoint, loop, resolver, tls, limits)
        switch endpoint.spec.http {
        case .http11: speaksHTTP2 = false
        case .http2: speaksHTTP2 = true
        case .auto: speaksHTTP2 = tls == nil ? false : nil
        }
    }

    var spec: UpstreamSpec { endpoint.spec }

    /// Gives `exchange` a stream: at once (and returns nil), or later; then what is returned is cancelled to give up.
    /// `fresh`: not one of the connections that lie idle.
    func acquire(for exchange: any UpstreamStreamDelegate, fresh: Bool) -> UpstreamWait? {
        if let connection = shared.first(where: { $0.hasRoom }) {
            connection.serve(exchange)
            return nil
        }
        while !fresh, let connection = idle.popLast() {
            guard connection.isOpen else { continue }
            connection.serve(exchange, isReused: true)
            return nil
        }
        let wait = UpstreamWait(exchange, pool: self)
        waiting.append(wait)
        dialAsNeeded()
        return wait.isOver ? nil : wait
    }

    private func dialAsNeeded() {
        let perDial = speaksHTTP2 == false ? 1 : expectedStreams
        // Connections that have not said yet what they take will take as many.
        let greeting = shared.count { $0.isGreeting }
        let wanted = max(0, (waiting.count + perDial - 1) / perDial - greeting)
        while dials.count < wanted {
            let dial = Dial(pool: self)
            dials.append(dial)
            dial.start(spec.url)
        }
        while dials.count > wanted { dials.removeLast().cancel() }
    }

    /// Ends what is idle now, and the rest when its last exchange is over.
    func close() {
        isClosed = true
        loop.cancel(sweep)
        let (connections, multiplexed) = (idle, shared)
        idle = []
        for connection in connections { connection.closeIdle() }
        for connection in multiplexed { connection.retire() }
    }

    func count(into census: inout WorkerCensus) {
        census.idleUpstreams += idle.count
        census.sharedUpstreams += shared.count
        census.waiting += waiting.count
        census.dials += dials.count
    }

    // MARK: - Called by those who wait, and by dials

    func giveUp(_ wait: UpstreamWait) {
        waiting.removeAll { $0 === wait }
        dialAsNeeded()
    }

    func makeEngine() throws(TLSError) -> TLSEngine? {
        try tls?.makeClientEngine(serverName: spec.tls.serverName ?? spec.url.host)
    }

    /// A connection is up: it serves who waits.
    func dialSucceeded(_ dial: Dial, _ connection: Connection) {
        dials.removeAll { $0 === dial }
        let isHTTP2 = connection.isTLS ? connection.applicationProtocol == "h2" : spec.http == .http2
        speaksHTTP2 = isHTTP2
        if isHTTP2 { startHTTP2(connection) } else { startHTTP1(connection) }
    }

    private func startHTTP1(_ connection: Connection) {
        let upstream = HTTP1UpstreamConnection(connection, pool: self, limits: limits.http1Response)
        connection.changeDelegate(to: upstream)
        // The first who waits goes on with it; all others, who had hoped to share it, need their own.
        if let next = takeWaiting() { upstream.serve(next, isReused: false) } else { giveBack(upstream) }
        dialAsNeeded()
    }

    private func startHTTP2(_ connection: Connection) {
        do throws(HTTP2Error) {
            let upstream = try HTTP2UpstreamConnection(connection, pool: self)
            connection.changeDelegate(to: upstream)
            shared.append(upstream)
            upstream.start()
            var served = 0
            while upstream.hasRoom, let next = takeWaiting() {
                upstream.serve(next)
                served += 1
            }
            // Whoever waited since before the pool was closed is served; nobody comes after them.
            if isClosed { upstream.retire() }
            if served == 0, !waiting.isEmpty {
                return failWaiting(ProxyError(.refused, .upstream, "the upstream takes no streams"))
            }
        } catch {
            connection.close()
            return failWaiting(ProxyError(.connect, .upstream, "the upstream cannot be reached", detail: "\(error)"))
        }
        dialAsNeeded()
    }

    private func takeWaiting() -> (any UpstreamStreamDelegate)? {
        while !waiting.isEmpty {
            if let exchange = waiting.removeFirst().take() { return exchange }
        }
        return nil
    }

    /// No connection came about. Where each dial is one exchange's, only the first fails with it.
    func dialFailed(_ dial: Dial, _ error: ProxyError) {
        dials.removeAll { $0 === dial }
        if speaksHTTP2 == false {
            takeWaiting()?.upstreamFailed(error)
            dialAsNeeded()
        } else {
            failWaiting(error)
        }
    }

    private func failWaiting(_ error: ProxyError) {
        var failed: [any UpstreamStreamDelegate] = []
        while let exchange = takeWaiting() { failed.append(exchange) }
        for exchange in failed { exchange.upstreamFailed(error) }
        dialAsNeeded()
    }

    // MARK: - Called by connections

    func giveBack(_ connection: HTTP1UpstreamConnection) {
        guard !isClosed, idle.count < limits.idleUpstreamConnections else { return connection.closeIdle() }
        connection.idleSince = loop.now
        idle.append(connection)
        if sweep == .none { sweep = loop.schedule(after: limits.upstreamIdleTimeout, handler: self) }
    }

    func ended(_ connection: HTTP1UpstreamConnection) { idle.removeAll { $0 === connection } }

    /// A stream ended, or the peer allows more.
    func hasRoom(_ connection: HTTP2UpstreamConnection) {
        if !connection.isGreeting { expectedStreams = max(1, connection.peerStreams) }
        while connection.hasRoom, let next = takeWaiting() { connection.serve(next) }
        dialAsNeeded()
    }

    /// The connection takes no more exchanges.
    func retired(_ connection: HTTP2UpstreamConnection) {
        shared.removeAll { $0 === connection }
        if !isClosed, !waiting.isEmpty { dialAsNeeded() }
    }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == sweep else { return }
        sweep = .none
        let oldest = idle.prefix { loop.now - $0.idleSince >= limits.upstreamIdleTimeout }
        idle.removeFirst(oldest.count)
        for connection in oldest { connection.closeIdle() }
        if let first = idle.first {
            sweep = loop.schedule(at: first.idleSince + limits.upstreamIdleTimeout, handler: self)
        }
    }
}

/// An exchange's place in the queue for a connection. Held by the exchange, which cancels it to give up.
final class UpstreamWait {
    private weak var exchange: (any UpstreamStreamDelegate)?
    private let pool: UpstreamPool
    private(set) var isOver = false

    init(_ exchange: any UpstreamStreamDelegate, pool: UpstreamPool) { (self.exchange, self.pool) = (exchange, pool) }

    func cancel() {
        guard !isOver else { return }
        isOver = true
        pool.giveUp(self)
    }

    func take() -> (any UpstreamStreamDelegate)? {
        guard !isOver else { return nil }
        isOver = true
        return exchange
    }
}

extension Limits {
    /// What is over for us still has to reach its client, but even where `slow_client` is off not for ever.
    var flushPatience: Interval { slowClient > .zero ? slowClient : .seconds(300) }

    var http1Request: HTTP1Limits {
        var limits = HTTP1Limits()
        limits.headBytes = requestHeadBytes
        limits.fields = requestFields
        limits.targetBytes = targetBytes
        limits.chunkExtensionBytes = chunkExtensionBytes
        return limits
    }

    var http1Response: HTTP1Limits {
        var limits = HTTP1Limits.upstream
        limits.headBytes = upstreamHeadBytes
        limits.fields = upstreamFields
        limits.chunkExtensionBytes = chunkExtensionBytes
        return limits
    }

    var http2Client: HTTP2Limits {
        var limits = http2
        limits.headBytes = requestHeadBytes
        limits.fields = requestFields
        limits.targetBytes = targetBytes
        limits.concurrentStreams = http2Streams
        limits.resets = http2Resets
        limits.resetsPerSecond = http2ResetsPerSecond
        return limits
    }

    var http2Upstream: HTTP2Limits {
        var limits = http2
        limits.side = .upstream
        limits.headBytes = upstreamHeadBytes
        limits.fields = upstreamFields
        // A provider may well end many streams at once; it is chosen by the operator, and gains nothing by it.
        limits.resets = 10_000
        limits.resetsPerSecond = 1_000
        return limits
    }

    private var http2: HTTP2Limits {
        var limits = HTTP2Limits()
        limits.streamWindowBytes = http2StreamWindowBytes
        limits.connectionWindowBytes = http2ConnectionWindowBytes
        (limits.streamHighBytes, limits.streamLowBytes) = (streamBufferHighBytes, streamBufferLowBytes)
        return limits
    }
}
