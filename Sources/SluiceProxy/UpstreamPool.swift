import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO

/// One worker's connections to one upstream: those that wait for work, and the making of new ones.
///
/// Lives as long as an exchange or a configuration refers to it; connections that are idle when it is closed end then.
final class UpstreamPool: TimerHandler {
    let spec: UpstreamSpec
    private let loop: EventLoop
    private let resolver: Resolver
    private let tls: TLSContext?
    private let limits: Limits
    private var idle: [UpstreamConnection] = []
    private var sweep = TimerID.none
    private var isClosed = false
    /// Connections that are open or being made.
    private(set) var openCount = 0

    init(_ spec: UpstreamSpec, loop: EventLoop, resolver: Resolver, tls: TLSContext?, limits: Limits) {
        (self.spec, self.loop, self.resolver, self.tls, self.limits) = (spec, loop, resolver, tls, limits)
    }

    /// Gives `exchange` a connection: an idle one at once (unless it must be fresh), or a new one later. The exchange
    /// holds what is returned until `upstreamReady` or `upstreamFailed`, and cancels it to give up.
    func acquire(for exchange: any UpstreamStreamDelegate, fresh: Bool) -> Dial? {
        if !fresh {
            while let connection = idle.popLast() {
                guard connection.isOpen else { continue }
                connection.reuse(for: exchange)
                return nil
            }
        }
        openCount += 1
        let dial = Dial(pool: self, exchange: exchange)
        dial.start(spec.url, resolver: resolver, loop: loop)
        return dial
    }

    /// Ends what is idle now, and what comes back later.
    func close() {
        isClosed = true
        loop.cancel(sweep)
        let connections = idle
        idle = []
        for connection in connections {
            connection.closeIdle()
            openCount -= 1
        }
    }

    // MARK: - Called by connections

    func giveBack(_ connection: UpstreamConnection) {
        guard !isClosed, idle.count < limits.idleUpstreamConnections else {
            connection.closeIdle()
            openCount -= 1
            return
        }
        connection.idleSince = loop.now
        idle.append(connection)
        if sweep == .none { sweep = loop.schedule(after: limits.upstreamIdleTimeout, handler: self) }
    }

    func ended(_ connection: UpstreamConnection) {
        openCount -= 1
        idle.removeAll { $0 === connection }
    }

    func dialEnded() { openCount -= 1 }

    /// Makes the HTTP side of a connected socket.
    func open(_ connected: Connector.Connected) throws(ConnectionError) -> UpstreamConnection {
        var engine: TLSEngine?
        if let tls {
            do throws(TLSError) {
                engine = try tls.makeClientEngine(serverName: spec.tls.serverName ?? spec.url.host)
            } catch {
                throw .tls(error)
            }
        }
        do throws(SystemError) {
            let connection = try Connection(connected.take(), peer: connected.address, engine: engine, loop: loop)
            connection.lowMarkBytes = limits.streamBufferLowBytes
            return UpstreamConnection(connection, pool: self, limits: limits.http1Response)
        } catch {
            throw .system(error)
        }
    }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == sweep else { return }
        sweep = .none
        let oldest = idle.prefix { loop.now - $0.idleSince >= limits.upstreamIdleTimeout }
        idle.removeFirst(oldest.count)
        for connection in oldest {
            connection.closeIdle()
            openCount -= 1
        }
        if let first = idle.first {
            sweep = loop.schedule(at: first.idleSince + limits.upstreamIdleTimeout, handler: self)
        }
    }
}

/// The making of one connection: name, addresses, socket, TLS. Held by the exchange that waits for it.
final class Dial: UpstreamStreamDelegate {
    private let pool: UpstreamPool
    private weak var exchange: (any UpstreamStreamDelegate)?
    private var connector: Connector?
    private var connection: UpstreamConnection?
    private var isOver = false

    init(pool: UpstreamPool, exchange: any UpstreamStreamDelegate) { (self.pool, self.exchange) = (pool, exchange) }

    func start(_ url: UpstreamURL, resolver: Resolver, loop: EventLoop) {
        if let path = url.unixPath { return connect([.unix(path)], loop) }
        let port = UInt16(truncatingIfNeeded: url.port)
        if let address = IPAddress(url.host) { return connect([.ip(address, port: port)], loop) }
        resolver.resolve(url.host) { [weak self] result in
            guard let self, !isOver else { return }
            switch result {
            case .success(let addresses): connect(addresses.map { .ip($0, port: port) }, loop)
            case .failure(let error):
                fail(ProxyError(.resolve, .upstream, "the upstream's name cannot be resolved", detail: "\(error)"))
            }
        }
    }

    func cancel() {
        guard !isOver else { return }
        isOver = true
        connector?.cancel()
        if let connection { connection.cancel() } else { pool.dialEnded() }
        (connector, connection) = (nil, nil)
    }

    private func connect(_ addresses: [SocketAddress], _ loop: EventLoop) {
        connector = Connector(to: addresses, on: loop) { [weak self] result in
            guard let self, !isOver else { return }
            connector = nil
            switch result {
            case .success(let connected): opened(connected)
            case .failure(let error):
                fail(ProxyError(.connect, .upstream, "the upstream cannot be reached", detail: "\(error)"))
            }
        }
    }

    private func opened(_ connected: Connector.Connected) {
        do throws(ConnectionError) {
            let connection = try pool.open(connected)
            self.connection = connection
            connection.start(for: self)
        } catch {
            fail(ProxyError(.connect, .upstream, "the upstream cannot be reached", detail: "\(error)"))
        }
    }

    private func fail(_ error: ProxyError) {
        isOver = true
        if connection == nil { pool.dialEnded() }
        let failed = exchange
        exchange = nil
        failed?.upstreamFailed(error)
    }

    // MARK: - UpstreamStreamDelegate, until the connection is the exchange's

    func upstreamReady(_ stream: any UpstreamStream) {
        guard !isOver, let connection else { return }
        isOver = true
        self.connection = nil
        guard let exchange else { return connection.cancel() }
        connection.hand(to: exchange)
    }

    func upstreamFailed(_ error: ProxyError) { fail(error) }
    func upstreamHead(_ head: ResponseHead) {}
    func upstreamBody(_ bytes: Span<UInt8>) {}
    func upstreamPaused() {}
    func upstreamEnd() {}
    func upstreamDrained() {}
}

extension Limits {
    var http1Request: HTTP1Limits {
        var limits = HTTP1Limits()
        limits.headBytes = requestHeadBytes
        limits.fields = requestFields
        limits.targetBytes = targetBytes
        limits.chunkExtensionBytes = chunkExtensionBytes
        return limits
    }

    var http1Response: HTTP1Limits {
        var limits = HTTP1Limits()
        limits.headBytes = upstreamHeadBytes
        limits.fields = upstreamFields
        limits.chunkExtensionBytes = chunkExtensionBytes
        return limits
    }
}
