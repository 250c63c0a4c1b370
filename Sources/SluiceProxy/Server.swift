import Glibc
import SluiceBytes
import SluiceConfig
import SluiceIO
import Synchronization

/// Why the server could not start.
public struct StartError: Error, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}

/// The running proxy: one thread and loop for each core, all on the same addresses.
public final class Server: Sendable {
    private struct Handle: Sendable {
        let mailbox: Mailbox
        /// Set by the worker's own thread when its loop has ended.
        let finished: Finished
    }
    private final class Finished: Sendable {
        let flag = Atomic<Bool>(false)
    }
    /// Carries a worker into its thread; touched by the main thread only before that thread starts.
    private struct Carrier: @unchecked Sendable {
        let worker: Worker
    }

    private let handles: [Handle]
    private let current: Mutex<ServerSnapshot>
    /// Where it listens: with port 0, the port that the kernel chose.
    public let addresses: [SocketAddress]
    private let shared: SharedState

    /// Opens all listeners and starts the workers; when it returns, connections are accepted. Call `Signals.block` first.
    /// `ended` is called once, on a worker's thread, when the last worker has drained and stopped.
    public init(
        _ snapshot: ServerSnapshot, log: LogWriter, ended: @escaping @Sendable () -> Void
    ) throws(StartError) {
        let configuration = snapshot.configuration
        let shared = SharedState(configuration.limits, log: log)
        var addresses: [SocketAddress] = []
        for listener in configuration.listeners {
            guard let address = SocketAddress(listener.address) else {
                throw StartError("\(listener.address) is not an address to listen on")
            }
            addresses.append(address)
        }
        var carriers: [Carrier] = []
        do throws(SystemError) {
            for _ in 0..<(configuration.workers ?? Self.coreCount()) {
                let worker = try Worker(snapshot, shared: shared)
                // The first worker's bound ports are the ones that the others share. A unix path has one socket.
                let own = carriers.isEmpty ? addresses : addresses.filter { if case .unix = $0 { false } else { true } }
                let bound = try worker.listen(on: own)
                if carriers.isEmpty { addresses = bound }
                carriers.append(Carrier(worker: worker))
            }
        } catch {
            throw StartError("cannot listen on \(addresses.map(\.description).joined(separator: ", ")): \(error)")
        }
        self.addresses = addresses
        self.shared = shared
        current = Mutex(snapshot)
        handles = carriers.map { Handle(mailbox: $0.worker.loop.mailbox, finished: Finished()) }
        let running = RunningCount(carriers.count)
        do throws(SystemError) {
            for (index, carrier) in carriers.enumerated() {
                let finished = handles[index].finished
                try startThread(named: "worker-\(index)") {
                    carrier.worker.run()
                    finished.flag.store(true, ordering: .releasing)
                    if running.leave() { shared.processes.stop(ended) }
                }
            }
        } catch {
            throw StartError("cannot start a thread: \(error)")
        }
        shared.processes.begin()
    }

    /// The managed processes as they are now; from any thread.
    public var processes: [ProcessStatus] { shared.processes.statuses }

    private final class RunningCount: Sendable {
        private let count: Atomic<Int>
        init(_ count: Int) { self.count = Atomic(count) }
        /// True for the last one.
        func leave() -> Bool { count.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 }
    }

    /// New exchanges go by `snapshot`. Its listeners must be those of the running configuration.
    public func install(_ snapshot: ServerSnapshot) throws(StartError) {
        let running = current.withLock { $0.configuration.listeners.map(\.address) }
        guard snapshot.configuration.listeners.map(\.address) == running else {
            throw StartError("listeners cannot change while the server runs; restart it for that")
        }
        current.withLock { $0 = snapshot }
        shared.clients.change(limit: snapshot.configuration.limits.connectionsPerAddress)
        for handle in handles {
            handle.mailbox.post { loop in (loop.owner as? Worker)?.install(snapshot) }
        }
    }

    /// Stops accepting, lets live exchanges end, and gives those that outlive the drain timeout an error.
    public func drain() {
        let timeout = current.withLock { $0.configuration.drainTimeout }
        for handle in handles {
            handle.mailbox.post { loop in (loop.owner as? Worker)?.drain(timeout: timeout) }
        }
    }

    private static func coreCount() -> Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }
}
