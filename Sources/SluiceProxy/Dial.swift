import SluiceBytes
import SluiceConfig
import SluiceIO

/// The making of one connection to an upstream: name, addresses, socket, TLS. Owned by its pool; ends once, by what it
/// tells the pool or by `cancel`.
final class Dial: ConnectionDelegate {
    /// A cycle until the dial is over: a pool may be given up by all but its dials.
    private let pool: UpstreamPool
    private var connector: Connector?
    private var connection: Connection?
    private var isOver = false

    private let turn: Int

    init(pool: UpstreamPool) { (self.pool, turn) = (pool, pool.nextAddress) }

    func start(_ url: UpstreamURL) {
        if let path = url.unixPath { return connect([.unix(path)]) }
        let port = UInt16(truncatingIfNeeded: url.port)
        if let address = IPAddress(url.host) { return connect([.ip(address, port: port)]) }
        pool.resolver.resolve(url.host) { [weak self] result in
            guard let self, !isOver else { return }
            switch result {
            case .success(let addresses):
                connect(IPAddress.rotated(addresses, by: turn).map { .ip($0, port: port) })
            case .failure(let error):
                fail(ProxyError(.resolve, .upstream, "the upstream's name cannot be resolved", detail: "\(error)"))
            }
        }
    }

    func cancel() {
        isOver = true
        connector?.cancel()
        connection?.close()
        (connector, connection) = (nil, nil)
    }

    private func connect(_ addresses: [SocketAddress]) {
        let receiveBuffer = Int32(clamping: pool.limits.upstreamReceiveBufferBytes)
        connector = Connector(to: addresses, on: pool.loop, receiveBufferBytes: receiveBuffer) { [weak self] result in
            guard let self, !isOver else { return }
            connector = nil
            switch result {
            case .success(let connected): opened(connected)
            case .failure(let error) where error.isOutOfDescriptors:
                fail(ProxyError(.limit(Limit("descriptors", 0), status: 503), .proxy, "the server is overloaded"))
            case .failure(let error):
                fail(ProxyError(.connect, .upstream, "the upstream cannot be reached", detail: "\(error)"))
            }
        }
    }

    private func opened(_ connected: Connector.Connected) {
        do {
            let engine = try pool.makeEngine()
            let connection = try Connection(
                connected.take(), peer: connected.address, engine: engine, loop: pool.loop)
            connection.lowMarkBytes = pool.limits.streamBufferLowBytes
            self.connection = connection
            connection.start(self)
        } catch {
            fail(ProxyError(.connect, .upstream, "the upstream cannot be reached", detail: "\(error)"))
        }
    }

    private func fail(_ error: ProxyError) {
        guard !isOver else { return }
        isOver = true
        connection?.close()
        connection = nil
        pool.dialFailed(self, error)
    }

    // MARK: - ConnectionDelegate, until the connection is the pool's

    func connectionEstablished(_ connection: Connection) {
        guard !isOver else { return }
        isOver = true
        self.connection = nil
        pool.dialSucceeded(self, connection)
    }

    /// An upstream that speaks before it is asked.
    func connection(_ connection: Connection, received bytes: Span<UInt8>) -> Int { bytes.count }

    func connectionEnded(_ connection: Connection) {
        fail(ProxyError(.closed(.connect), .upstream, "upstream closed the connection before it was made"))
    }

    func connectionDrained(_ connection: Connection) {}

    func connection(_ connection: Connection, failed error: ConnectionError) {
        if case .tls = error {
            return fail(ProxyError(.tls, .upstream, "no secure connection to the upstream", detail: "\(error)"))
        }
        fail(ProxyError(.connect, .upstream, "the upstream cannot be reached", detail: "\(error)"))
    }
}
