import Glibc
import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import SluiceStreams
import Synchronization

/// One core: a loop, its listeners, its connections and pools. Shares nothing with the others but the snapshot of the
/// configuration, the connection budget, the rate limits and the log, none of which a token passes.
public final class Worker {
    public let loop: EventLoop
    private(set) var snapshot: ServerSnapshot
    /// Those of `snapshot`, here because they are asked for at every turn.
    private(set) var limits: Limits
    let shared: SharedState
    private var resolver: Resolver
    /// In the order of the configuration.
    private(set) var groups: [UpstreamGroup]
    /// By listener of the configuration; the same object for as long as reloads keep it.
    private var listeners: [ListenerKey: WorkerListener] = [:]
    private var clients: [ObjectIdentifier: Client] = [:]
    private struct Client {
        let connection: any ClientConnection
        let listener: WorkerListener
        let serial: Int
    }
    private var clientCount = 0
    private var liveExchanges = 0
    private(set) var isDraining = false
    var metrics = WorkerMetrics()
    private(set) var exchangeMetrics = ExchangeMetrics()
    var live = LiveExchanges()
    var log: LogWriter { shared.log }
    /// What of the words of clients and providers may be logged.
    var logContent: LogSpec.Content { snapshot.configuration.log.content }
    private var random: UInt64

    /// Scratch for the exchange whose upstream is being read; empty between reads.
    var scratch = ByteQueue()
    /// What was encoded before the head could go out, while it does; empty otherwise.
    var early = ByteQueue()
    var batch = EventBatch()
    /// What is kept of an answer, while ids are put in; and a run on its way to one of its readers. Empty otherwise.
    var stamped = ByteQueue()
    var replayed = ByteQueue()
    private(set) lazy var generations = WorkerGenerations(self)
    private var redisStore: RedisStore?
    /// Where generations are kept for other processes; nil where there are none.
    var replayStore: (any ReplayStore)? { redisStore }
    /// What a compressed answer says, while it is looked at; empty otherwise.
    var inflated = ByteQueue()
    /// What a run of a body is compressed to, while it is; empty otherwise.
    var coded = ByteQueue()

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
        redisStore = makeReplayStore()
        shared.modelNames.configure(snapshot.modelNames)
    }

    private static func randomSeed() -> UInt64 {
        var seed: UInt64 = 0
        _ = getentropy(&seed, 8)
        return seed
    }

    private func makeGroups() -> [UpstreamGroup] {
        // Those behind which a route has another one.
        let lists = snapshot.configuration.routes.flatMap(\.choiceLists)
        let backed = Set(lists.flatMap { $0.dropLast().map(\.upstream) })
        return snapshot.configuration.upstreams.enumerated().map { index, spec in
            let pools = spec.places.map { place in
                UpstreamPool(
                    UpstreamEndpoint(spec.at(place), signing: snapshot.signing[index]), loop: loop, resolver: resolver,
                    tls: snapshot.clientTLS[index], limits: snapshot.configuration.limits,
                    process: shared.processes.gate(for: spec, on: loop))
            }
            let group = UpstreamGroup(
                spec, pools: pools, loop: loop, seed: random &+ UInt64(index), hasFallback: backed.contains(index))
            group.onChange = { [unowned self] change in
                metrics.count(change)
                shared.log.write(change)
            }
            return group
        }
    }

    // MARK: - Listening

    /// Opens sockets of the loop's own kernel. They are not in the configuration's care.
    package func listen(on addresses: [SocketAddress]) throws(SystemError) -> [SocketAddress] {
        var bound: [SocketAddress] = []
        for (index, address) in addresses.enumerated() {
            let listener = try WorkerListener(on: address, index: index, worker: self)
            listeners[ListenerKey(place: .address(address), occurrence: index)] = listener
            bound += listener.addresses
        }
        return bound
    }

    /// Accepts from this worker's sockets, listed as the configuration lists its listeners. Those that are open stay so.
    func listen(_ shares: [ListenerShare]) throws(SystemError) {
        for (index, share) in shares.enumerated() {
            if let listener = listeners[share.key] {
                listener.index = index
            } else {
                listeners[share.key] = try WorkerListener(share, index: index, worker: self)
            }
        }
    }

    /// Who waits to be accepted still is; connections end with their last exchange.
    private func closeListeners(except kept: Set<ListenerKey>) {
        for (key, listener) in listeners where !kept.contains(key) {
            listeners[key] = nil
            listener.close(takingWaiting: true)
            let own = clients.values.filter { $0.listener === listener }.sorted { $0.serial < $1.serial }
            for client in own { client.connection.drain() }
        }
    }

    func accept(_ socket: consuming Descriptor, _ peer: SocketAddress, _ listener: WorkerListener) {
        guard shared.clients.take(peer) else {
            metrics.refusedConnections &+= 1
            shared.budget.give()
            return
        }
        do {
            let engine = listener.isInner ? nil : try snapshot.serverTLS[listener.index]?.makeServerEngine()
            let connection = try Connection(socket, peer: peer, engine: engine, loop: loop)
            let client = ClientDetector(connection, worker: self)
            add(client, listener)
            client.start()
        } catch {
            shared.clients.give(peer)
            shared.budget.give()
            shared.log.write(.warning, "accept", ["error": "\(error)"])
        }
    }

    /// The protocol of a connection is known: another object serves it from here.
    func replace(_ client: any ClientConnection, by heir: any ClientConnection) {
        guard let listener = clients.removeValue(forKey: ObjectIdentifier(client))?.listener else { return }
        add(heir, listener)
        if isDraining || listener.isClosed { heir.drain() }
    }

    private func add(_ client: any ClientConnection, _ listener: WorkerListener) {
        clientCount &+= 1
        clients[ObjectIdentifier(client)] = Client(connection: client, listener: listener, serial: clientCount)
    }

    /// In the order in which they came, whatever their addresses in memory are.
    private var clientsInOrder: [any ClientConnection] {
        clients.values.sorted { $0.serial < $1.serial }.map(\.connection)
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

    var limiter: RateLimiter { shared.limiter }

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
        if record.route != PagePath.label {
            if record.route != ProbePath.label { exchangeMetrics.count(record, shared.modelNames) }
            if snapshot.configuration.log.access { shared.log.access(record) }
        }
        stopIfDrained()
    }

    /// A step before the last of some exchange is over.
    func stepEnded(_ record: ExchangeRecord, _ name: String) {
        exchangeMetrics.countStep(record, name, shared.modelNames)
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
    package func install(_ snapshot: ServerSnapshot) { install(snapshot, nil) }

    func install(_ snapshot: ServerSnapshot, _ shares: [ListenerShare]?) {
        if let shares { closeListeners(except: Set(shares.map(\.key))) }
        let (old, nameServers) = (groups, self.snapshot.configuration.nameServers)
        let oldRedis = self.snapshot.redisSpec
        self.snapshot = snapshot
        limits = snapshot.configuration.limits
        // The old pools keep theirs: dials under way go on.
        if snapshot.configuration.nameServers != nameServers { resolver = snapshot.makeResolver(on: loop) }
        groups = makeGroups()
        for group in groups { group.start(after: old.first { $0.spec.name == group.spec.name }) }
        shared.modelNames.configure(snapshot.modelNames)
        for group in old { group.close() }
        if snapshot.redisSpec != oldRedis {
            if let redisStore { retire(redisStore) }
            redisStore = makeReplayStore()
        }
        guard !isDraining, let shares else { return }
        do throws(SystemError) {
            try listen(shares)
        } catch {
            shared.log.write(.error, "listen", ["error": "\(error)"])
        }
    }

    /// Takes no new connection but, with `takingWaiting`, those that wait to be accepted, and stops the loop when the last
    /// exchange is over.
    package func drain(timeout: Interval, takingWaiting: Bool = true) {
        guard !isDraining else { return }
        for listener in listeners.values { listener.close(takingWaiting: takingWaiting) }
        isDraining = true
        for client in clientsInOrder { client.drain() }
        generations.drain()
        ending = WorkerEnding(self, timeout: timeout)
        stopIfDrained()
    }

    private var ending: WorkerEnding?
    private var orphans = ExchangeOrphans()

    /// An exchange goes on though its client has gone.
    func leftBehind(_ exchange: Exchange) { orphans.add(exchange) }

    /// The time for draining is over.
    func failLive() {
        generations.failLive()
        for client in clientsInOrder { client.failForDrain() }
        orphans.end()
        stopIfDrained()
    }

    func closeClients() {
        for client in clientsInOrder { client.closeNow() }
    }

    /// Readers of this worker's answers on other threads have got their last word.
    func generationReadersLeft() { stopIfDrained() }

    private func stopIfDrained() {
        guard isDraining, clients.isEmpty, liveExchanges == 0, !generations.areReadElsewhere else { return }
        ending?.stop()
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
        generations.close()
        redisStore?.close()
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
        census.mostBuffered = clients.values.map(\.connection.bufferedBytes).max() ?? 0
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
    let modelNames = ModelNames()
    let processes: ProcessDirectory
    let limiter = RateLimiter(capacity: 65_536)
    let generations = GenerationDirectory()
    let probes = ProbeDesk()
    /// Spans on their way to whoever collects them.
    let traces: TraceExport
    /// Workers that do not reach their store of answers.
    let storesDown = Atomic<Int>(0)
    /// Who answers what the demo's page asks; nil where there is none.
    let pageDesk = Mutex<Mailbox?>(nil)

    public init(_ limits: Limits, log: LogWriter) {
        budget = ConnectionBudget(limit: limits.connections)
        clients = ClientBudget(limit: limits.connectionsPerAddress)
        bufferedBytes = max(16 << 20, (MachineMemory.limitBytes() ?? 2 << 30) / 8)
        self.log = log
        processes = ProcessDirectory(log: log)
        traces = TraceExport(log: log)
    }
}
