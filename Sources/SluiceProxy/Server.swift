import Glibc
import SluiceBytes
import SluiceConfig
import SluiceIO
import Synchronization

/// The running proxy: one thread and loop for each core, all on the same addresses. May be called from any thread but the
/// workers'.
public final class Server: Sendable {
    /// Reads the configuration, and builds all that is made of it. Faults of the file are `ConfigurationFaults`.
    public typealias Loader = @Sendable () throws -> ServerSnapshot

    struct Handle: Sendable {
        let mailbox: Mailbox
        let life: Life
    }
    /// Set by the worker's own thread.
    final class Life: Sendable {
        /// Its loop has ended.
        let isOver = Atomic<Bool>(false)
        /// The last round of `askLoops` that it has answered.
        let round = Atomic<UInt64>(0)
    }
    /// Carries a worker into its thread; touched by the main thread only before that thread starts.
    private struct Carrier: @unchecked Sendable {
        let worker: Worker
    }
    private struct State: Sendable {
        var snapshot: ServerSnapshot
        var listeners: ServerListeners
    }

    let handles: [Handle]
    private let state: Mutex<State>
    let shared: SharedState
    private let load: Loader
    private let reloaded: @Sendable () -> Void
    private let draining = Atomic<Bool>(false)
    let history = ReloadHistory()
    private let successorServes = Mutex<(@Sendable () -> Void)?>(nil)

    /// Opens all listeners and starts the workers; when it returns, connections are accepted. Call `Signals.block` first.
    /// `inherited` are sockets that another process left for this one; those that fit no listener are closed. `load` is for
    /// `reload`; after one that succeeded, `reloaded` is called on its thread. `ended` is called once, on a worker's thread, when the last worker has drained and stopped.
    public init(
        _ snapshot: ServerSnapshot, log: LogWriter, inherited: [InheritedSocket] = [], load: @escaping Loader,
        reloaded: @escaping @Sendable () -> Void = {}, ended: @escaping @Sendable () -> Void
    ) throws(StartError) {
        let configuration = snapshot.configuration
        let shared = SharedState(configuration.limits, log: log)
        var listeners = ServerListeners(
            workers: configuration.workers ?? Self.coreCount(), inherited: inherited)
        try listeners.change(to: configuration.listeners, options: configuration.limits.clientSocketOptions)
        for name in listeners.dropUnused() { log.write(.warning, "unused_socket", ["address": name]) }
        var carriers: [Carrier] = []
        do throws(SystemError) {
            for shares in listeners.shares {
                let worker = try Worker(snapshot, shared: shared)
                try worker.listen(shares)
                carriers.append(Carrier(worker: worker))
            }
        } catch {
            throw StartError("cannot start: \(error)")
        }
        self.shared = shared
        (self.load, self.reloaded) = (load, reloaded)
        state = Mutex(State(snapshot: snapshot, listeners: listeners))
        handles = carriers.map { Handle(mailbox: $0.worker.loop.mailbox, life: Life()) }
        let running = RunningCount(carriers.count)
        tell(configuration)
        // Before the first exchange can end.
        shared.traces.configure(snapshot.tracing)
        do throws(SystemError) {
            for (index, carrier) in carriers.enumerated() {
                let life = handles[index].life
                try startThread(named: "worker-\(index)") {
                    carrier.worker.run()
                    life.isOver.store(true, ordering: .releasing)
                    if running.leave() { shared.processes.stop { shared.traces.flush(ended) } }
                }
            }
        } catch {
            throw StartError("cannot start a thread: \(error)")
        }
        shared.processes.begin()
    }

    private func tell(_ configuration: Configuration) {
        for warning in configuration.warnings { shared.log.write(.warning, "environment", ["error": warning]) }
    }

    /// The managed processes as they are now; from any thread.
    public var processes: [ProcessStatus] { shared.processes.statuses }

    private final class RunningCount: Sendable {
        private let count: Atomic<Int>
        init(_ count: Int) { self.count = Atomic(count) }
        /// True for the last one.
        func leave() -> Bool { count.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 }
    }

    /// Where it listens: with port 0, the port that the kernel chose.
    public var addresses: [SocketAddress] { state.withLock { $0.listeners.addresses } }

    /// The files that the configuration in force was made of.
    public var files: [String] { state.withLock { $0.snapshot.configuration.files } }

    // MARK: - Reload

    /// Reloads that changed the configuration, and those that failed.
    public var reloads: (done: Int, failed: Int) {
        let history = history.current
        return (history.succeeded, history.failed)
    }

    /// The configuration in force.
    var configuration: Configuration { state.withLock { $0.snapshot.configuration } }

    /// The same with all that is built from it.
    var currentSnapshot: ServerSnapshot { state.withLock { $0.snapshot } }

    /// Reads the configuration and its certificates again. New exchanges go by it, live ones end on the old one. Listeners that
    /// are new are open when it returns; those that are gone accept no more.
    ///
    /// Returns what is wrong: then nothing has changed. Reloads by several threads happen one after the other.
    public func reload() -> [String] {
        let faults = state.withLock { install(&$0) }
        history.note(succeeded: faults.isEmpty)
        if faults.isEmpty {
            reloaded()
        } else {
            shared.log.write(.error, "reload_failed", ["error": faults.joined(separator: "; ")])
        }
        return faults
    }

    private func install(_ state: inout State) -> [String] {
        guard !isDraining else { return ["the process is draining"] }
        do {
            let snapshot = try load()
            let configuration = snapshot.configuration
            try state.listeners.change(
                to: configuration.listeners, options: configuration.limits.clientSocketOptions)
            state.snapshot = snapshot
            shared.log.change(to: configuration.log)
            tell(configuration)
            shared.traces.configure(snapshot.tracing)
            shared.budget.limit = configuration.limits.connections
            shared.clients.change(limit: configuration.limits.connectionsPerAddress)
            for (handle, shares) in zip(handles, state.listeners.shares) {
                handle.mailbox.post { loop in (loop.owner as? Worker)?.install(snapshot, shares) }
            }
            let addresses = state.listeners.addresses.map(\.description).joined(separator: ", ")
            shared.log.write(
                .info, "reloaded", ["listeners": addresses, "configurations": "\(ServerSnapshot.liveCount)"])
            if let workers = configuration.workers, workers != handles.count {
                let problem = "workers stays \(handles.count) until the process is restarted"
                shared.log.write(.warning, "reload_partial", ["error": problem])
            }
            return []
        } catch let error as ConfigurationFaults {
            return error.issues.map(\.description)
        } catch {
            return ["\(error)"]
        }
    }

    // MARK: - Ending

    /// True from the moment that the process is to end: for whoever asks whether it is ready for more.
    public var isDraining: Bool { draining.load(ordering: .acquiring) }

    /// Says that it is not ready for more, and goes on as before; `drain` follows. Returns what the configuration wants to pass
    /// in between.
    public func announceDrain() -> Interval {
        draining.store(true, ordering: .releasing)
        return state.withLock { $0.snapshot.configuration.drainDelay }
    }

    /// How long it may take from `announceDrain` to the end.
    public var drainLimit: Interval {
        state.withLock { state in
            let configuration = state.snapshot.configuration
            let start = Instant(nanoseconds: 0)
            let workers = start + configuration.drainDelay + configuration.drainTimeout + WorkerEnding.farewell
            let traces = configuration.tracing == nil ? Interval.zero : TraceExport.farewell
            return workers + shared.processes.stopLimit + traces - start
        }
    }

    /// Stops accepting, lets live exchanges end, and gives those that outlive the drain timeout an error. `handedOver`: another
    /// process accepts from the same sockets.
    public func drain(handedOver: Bool = false) {
        draining.store(true, ordering: .releasing)
        if handedOver { successorServes.withLock { $0 }?() }
        let timeout = state.withLock { state in
            state.listeners.close(handedOver: handedOver)
            return state.snapshot.configuration.drainTimeout
        }
        for handle in handles {
            handle.mailbox.post { loop in
                (loop.owner as? Worker)?.drain(timeout: timeout, takingWaiting: !handedOver)
            }
        }
    }

    /// Has `body` called when another process has taken over; on any thread.
    func whenSuccessorServes(_ body: @escaping @Sendable () -> Void) { successorServes.withLock { $0 = body } }

    /// All sockets, for a process that takes over.
    public var sockets: [InheritedSocket] { state.withLock { $0.listeners.all } }

    // MARK: - Watching the loops

    /// Has every loop answer, when it comes to it, with `round`, a number that grows.
    public func askLoops(_ round: UInt64) {
        for handle in handles {
            let life = handle.life
            handle.mailbox.post { _ in life.round.store(round, ordering: .releasing) }
        }
    }

    /// Whether every loop that runs has answered `round`.
    public func loopsHaveAnswered(_ round: UInt64) -> Bool {
        handles.allSatisfy { handle in
            handle.life.isOver.load(ordering: .acquiring) || handle.life.round.load(ordering: .acquiring) >= round
        }
    }

    private static func coreCount() -> Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }
}
