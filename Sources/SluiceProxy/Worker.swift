import Glibc
import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// One core: a loop, its listeners, its connections and pools. Shares nothing with the others but the snapshot of the
/// configuration, the connection budget and the log, none of which a token passes.
public final class Worker {
    public let loop: EventLoop
    private(set) var snapshot: ServerSnapshot
    /// Those of `snapshot`, here because they are asked for at every turn.
    private(set) var limits: Limits
    private let shared: SharedState
    private var resolver: Resolver
    /// In the order of the configuration.
    private(set) var groups: [UpstreamGroup]
    private var listeners: [Listener] = []
    private var clients: [ObjectIdentifier: (serial: Int, client: any ClientConnection)] = [:]
    private var clientCount = 0
    private var liveExchanges = 0
    private(set) var isDraining = false
    var metrics = WorkerMetrics()
    private var random: UInt64

    /// Scratch for the exchange whose upstream is being read; empty between reads.
    var scratch = ByteQueue()
    /// What was encoded before the head could go out, while it does; empty otherwise.
    var early = ByteQueue()
    var batch = EventBatch()

    /// `kernel`: the network and the clock that it lives on. `seed`: of its ids; nil for a random one.
    package init(
        _ snapshot: ServerSnapshot, shared: SharedState, kernel: any Kernel = LinuxKernel.shared, seed: UInt64? = nil
    ) throws(SystemError) {
        loop = try EventLoop(on: kernel)
        (self.snapshot, self.shared, limits) = (snapshot, shared, snapshot.configuration.limits)
        resolver = snapshot.makeResolver(on: loop)
        groups = []
        random = seed ?? Self.randomSeed()
        loop.owner = self
        groups = makeGroups()
        for group in groups { group.start(after: nil) }
    }

    private static func randomSeed() -> UInt64 {
        var seed: UInt64 = 0
        _ = getentropy(&seed, 8)
        return seed
    }

    private func makeGroups() -> [UpstreamGroup] {
        snapshot.configuration.upstreams.enumerated().map { index, spec in
            let pools = spec.places.map { place in
                UpstreamPool(
                    UpstreamEndpoint(spec.at(place), signing: snapshot.signing[index]), loop: loop, resolver: resolver,
                    tls: snapshot.clientTLS[index], limits: snapshot.configuration.limits,
                    process: shared.processes.gate(for: spec, on: loop))
            }
            let group = UpstreamGroup(spec, pools: pools, loop: loop, seed: random &+ UInt64(index))
            group.onChange = { [unowned self] change in
                metrics.count(change)
                shared.log.write(change)
            }
            return group
        }
    }

    // MARK: - Listening

    /// Opens this worker's sockets on `addresses`, and returns where they are bound.
    package func listen(on addresses: [SocketAddress]) throws(SystemError) -> [SocketAddress] {
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
        guard shared.clients.take(peer) else {
            metrics.refusedConnections &+= 1
            shared.budget.give()
            return
        }
        do {
            let engine = try snapshot.serverTLS[listener]?.makeServerEngine()
            let connection = try Connection(socket, peer: peer, engine: engine, loop: loop)
            let client = ClientDetector(connection, worker: self)
            add(client)
            client.start()
        } catch {
            shared.clients.give(peer)
            shared.budget.give()
            shared.log.write(.warning, "accept", ["error": "\(error)"])
        }
    }

    /// The protocol of a connection is known: another object serves it from here.
    func replace(_ client: any ClientConnection, by heir: any ClientConnection) {
        guard clients.removeValue(forKey: ObjectIdentifier(client)) != nil else { return }
        add(heir)
        if isDraining { heir.drain() }
    }

    private func add(_ client: any ClientConnection) {
        clientCount &+= 1
        clients[ObjectIdentifier(client)] = (clientCount, client)
    }

    /// In the order in which they came, whatever their addresses in memory are.
    private var clientsInOrder: [any ClientConnection] {
        clients.values.sorted { $0.serial < $1.serial }.map(\.client)
    }

    /// A client that broke the protocol or asked for too much, and whose connection is closed for it.
    func noteAbuse(_ error: HTTP2Error, peer: String) {
        shared.log.write(.info, "client connection closed", ["reason": "\(error)", "client": peer])
    }

    func forget(_ client: any ClientConnection) {
        guard clients.removeValue(forKey: ObjectIdentifier(client)) != nil else { return }
        shared.clients.give(client.peer)
        shared.budget.give()
        stopIfDrained()
    }

    // MARK: - Exchanges

    /// What this worker knows of all places of all upstreams.
    var placeStatus: [PlaceStatus] { groups.flatMap(\.status) }

    /// All buffers of the process hold as much as they may.
    var isOverfull: Bool { BufferedBytes.total > bufferedBytesLimit }
    var bufferedBytesLimit: Int { limits.bufferedBytes ?? shared.bufferedBytes }

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
        let mixed = nextRandom()
        return String(unsafeUninitializedCapacity: 16) { digits in
            for index in 0..<16 {
                let digit = UInt8(truncatingIfNeeded: mixed >> UInt64(60 - 4 * index)) & 15
                digits[index] = digit < 10 ? digit + 0x30 : digit + 0x57
            }
            return 16
        }
    }

    /// SplitMix64; for ids and jitter, not for secrets.
    func nextRandom() -> UInt64 {
        random = random &+ 0x9E37_79B9_7F4A_7C15
        var mixed = random
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    // MARK: - Life

    /// New exchanges go by `snapshot`; those that run end on what they began with.
    package func install(_ snapshot: ServerSnapshot) {
        let (old, nameServers) = (groups, self.snapshot.configuration.nameServers)
        self.snapshot = snapshot
        limits = snapshot.configuration.limits
        // The old pools keep theirs: dials under way go on.
        if snapshot.configuration.nameServers != nameServers { resolver = snapshot.makeResolver(on: loop) }
        groups = makeGroups()
        for group in groups { group.start(after: old.first { $0.spec.name == group.spec.name }) }
        for group in old { group.close() }
    }

    /// Takes no new connection or request, and stops the loop when the last exchange is over.
    package func drain(timeout: Interval) {
        guard !isDraining else { return }
        isDraining = true
        for listener in listeners { listener.close() }
        for client in clientsInOrder { client.drain() }
        drainTimer = DrainTimer(self)
        if let drainTimer { _ = loop.schedule(after: timeout, handler: drainTimer) }
        stopIfDrained()
    }

    private var drainTimer: DrainTimer?

    private final class DrainTimer: TimerHandler {
        unowned let worker: Worker
        private var hasFailed = false
        /// For the errors that end what was still live to reach their clients.
        private static let grace = Interval.seconds(5)

        init(_ worker: Worker) { self.worker = worker }

        func timerFired(_ timer: TimerID, on loop: EventLoop) {
            guard !hasFailed else {
                for client in worker.clientsInOrder { client.closeNow() }
                return loop.stopNow()
            }
            hasFailed = true
            _ = loop.schedule(after: Self.grace, handler: self)
            for client in worker.clientsInOrder { client.failForDrain() }
        }
    }

    private func stopIfDrained() {
        if isDraining && clients.isEmpty && liveExchanges == 0 { loop.stopWhenClosed() }
    }

    func run() {
        do throws(SystemError) {
            try loop.run()
        } catch {
            shared.log.write(.error, "worker stopped", ["error": "\(error)"])
        }
        close()
    }

    /// Lets go of what is left when the loop has stopped.
    package func close() {
        for group in groups { group.close() }
        // HTTP/2 connections say GOAWAY at the end of a turn.
        try? loop.turn(maximumWait: 0)
        loop.stopNow()
        resolver.close()
    }

    package var census: WorkerCensus {
        var census = WorkerCensus()
        (census.clients, census.exchanges) = (clients.count, liveExchanges)
        (census.timers, census.budget) = (loop.timerCount, shared.budget.count)
        for group in groups { group.count(into: &census) }
        census.mostBuffered = clients.values.map(\.client.bufferedBytes).max() ?? 0
        return census
    }
}

/// What all workers of a process share.
public final class SharedState: Sendable {
    let budget: ConnectionBudget
    let clients: ClientBudget
    /// Where the configuration gives no `buffered_bytes`.
    let bufferedBytes: Int
    public let log: LogWriter
    let processes: ProcessDirectory

    public init(_ limits: Limits, log: LogWriter) {
        budget = ConnectionBudget(limit: limits.connections)
        clients = ClientBudget(limit: limits.connectionsPerAddress)
        bufferedBytes = max(16 << 20, (MachineMemory.limitBytes() ?? 2 << 30) / 8)
        self.log = log
        processes = ProcessDirectory(log: log)
    }
}
