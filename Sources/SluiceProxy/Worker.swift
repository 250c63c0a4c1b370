import Glibc
import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// One core: a loop, its listeners, its connections and pools. Shares nothing with the others but the snapshot of the
/// configuration, the connection budget, the rate limits and the log, none of which a token passes.
public final class Worker {
    public let loop: EventLoop
    private(set) var snapshot: ServerSnapshot
    /// Those of `snapshot`, here because they are asked for at every turn.
    private(set) var limits: Limits
    private let shared: SharedState
    private let resolver: Resolver
    private var groups: [UpstreamGroup]
    private var listeners: [Listener] = []
    private var clients: [ObjectIdentifier: any ClientConnection] = [:]
    private var liveExchanges = 0
    private(set) var isDraining = false
    var metrics = WorkerMetrics()
    private var random: UInt64

    /// Scratch for the exchange whose upstream is being read; empty between reads.
    var scratch = ByteQueue()
    /// What was encoded before the head could go out, while it does; empty otherwise.
    var early = ByteQueue()
    var batch = EventBatch()

    init(_ snapshot: ServerSnapshot, shared: SharedState) throws(SystemError) {
        loop = try EventLoop()
        (self.snapshot, self.shared, limits) = (snapshot, shared, snapshot.configuration.limits)
        resolver = Resolver(loop: loop)
        groups = []
        var seed: UInt64 = 0
        _ = getentropy(&seed, 8)
        random = seed
        loop.owner = self
        groups = makeGroups()
    }

    private func makeGroups() -> [UpstreamGroup] {
        snapshot.configuration.upstreams.enumerated().map { index, spec in
            let pool = UpstreamPool(
                UpstreamEndpoint(spec, signing: snapshot.signing[index]), loop: loop, resolver: resolver,
                tls: snapshot.clientTLS[index], limits: snapshot.configuration.limits)
            return UpstreamGroup(spec, pools: [pool])
        }
    }

    // MARK: - Listening

    /// Opens this worker's sockets on `addresses`, and returns where they are bound.
    func listen(on addresses: [SocketAddress]) throws(SystemError) -> [SocketAddress] {
        var bound: [SocketAddress] = []
        for (index, address) in addresses.enumerated() {
            let listener = try Listener(
                on: address, loop: loop, budget: shared.budget, options: socketOptions
            ) { [unowned self] socket, peer in
                accept(socket, peer, listener: index)
            }
            listeners.append(listener)
            bound.append(listener.address)
        }
        return bound
    }

    /// A client that takes nothing is ours to judge, by `slow_client`; the kernel only finds those that are gone.
    private var socketOptions: ClientSocketOptions {
        let limits = snapshot.configuration.limits
        return ClientSocketOptions(
            unsentBytes: limits.clientUnsentBytes,
            unacknowledgedTimeout: limits.slowClient == .zero ? .zero : max(.seconds(60), limits.slowClient))
    }

    private func accept(_ socket: consuming Descriptor, _ peer: SocketAddress, listener: Int) {
        do {
            let engine = try snapshot.serverTLS[listener]?.makeServerEngine()
            let connection = try Connection(socket, peer: peer, engine: engine, loop: loop)
            let client = ClientDetector(connection, worker: self)
            clients[ObjectIdentifier(client)] = client
            client.start()
        } catch {
            shared.budget.give()
            shared.log.write(.warning, "accept", ["error": "\(error)"])
        }
    }

    /// The protocol of a connection is known: another object serves it from here.
    func replace(_ client: any ClientConnection, by heir: any ClientConnection) {
        guard clients.removeValue(forKey: ObjectIdentifier(client)) != nil else { return }
        clients[ObjectIdentifier(heir)] = heir
        if isDraining { heir.drain() }
    }

    /// A client that broke the protocol or asked for too much, and whose connection is closed for it.
    func noteAbuse(_ error: HTTP2Error, peer: String) {
        shared.log.write(.info, "client connection closed", ["reason": "\(error)", "client": peer])
    }

    func forget(_ client: any ClientConnection) {
        guard clients.removeValue(forKey: ObjectIdentifier(client)) != nil else { return }
        shared.budget.give()
        stopIfDrained()
    }

    // MARK: - Exchanges

    var limiter: RateLimiter { shared.limiter }

    func group(_ upstream: Int) -> UpstreamGroup { groups[upstream] }

    func exchangeBegan() {
        liveExchanges += 1
        metrics.exchanges &+= 1
    }

    func exchangeEnded(_ record: ExchangeRecord) {
        liveExchanges -= 1
        if snapshot.configuration.log.access { shared.log.access(record) }
        stopIfDrained()
    }

    /// 16 hexadecimal digits; for ids, not for secrets.
    func makeID() -> String {
        random = random &+ 0x9E37_79B9_7F4A_7C15  // SplitMix64
        var mixed = random
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        mixed ^= mixed >> 31
        return String(unsafeUninitializedCapacity: 16) { digits in
            for index in 0..<16 {
                let digit = UInt8(truncatingIfNeeded: mixed >> UInt64(60 - 4 * index)) & 15
                digits[index] = digit < 10 ? digit + 0x30 : digit + 0x57
            }
            return 16
        }
    }

    // MARK: - Life

    /// New exchanges go by `snapshot`; those that run end on what they began with.
    func install(_ snapshot: ServerSnapshot) {
        let old = groups
        self.snapshot = snapshot
        limits = snapshot.configuration.limits
        groups = makeGroups()
        for group in old { group.close() }
    }

    /// Takes no new connection or request, and stops the loop when the last exchange is over.
    func drain(timeout: Interval) {
        guard !isDraining else { return }
        isDraining = true
        for listener in listeners { listener.close() }
        for client in Array(clients.values) { client.drain() }
        drainTimer = DrainTimer(self)
        if let drainTimer { _ = loop.schedule(after: timeout, handler: drainTimer) }
        stopIfDrained()
    }

    private var drainTimer: DrainTimer?

    private final class DrainTimer: TimerHandler {
        unowned let worker: Worker
        init(_ worker: Worker) { self.worker = worker }

        func timerFired(_ timer: TimerID, on loop: EventLoop) {
            for client in Array(worker.clients.values) { client.failForDrain() }
        }
    }

    private func stopIfDrained() {
        if isDraining && clients.isEmpty && liveExchanges == 0 { loop.stop() }
    }

    func run() {
        do throws(SystemError) {
            try loop.run()
        } catch {
            shared.log.write(.error, "worker stopped", ["error": "\(error)"])
        }
        for group in groups { group.close() }
        resolver.close()
    }
}

/// What all workers of a process share.
public final class SharedState: Sendable {
    let budget: ConnectionBudget
    public let log: LogWriter
    let limiter = RateLimiter(capacity: 65_536)

    public init(connections: Int, log: LogWriter) { (budget, self.log) = (ConnectionBudget(limit: connections), log) }
}
