import SluiceBytes
import SluiceConfig
import SluiceIO
import Synchronization

/// The managed processes of a server, in reach of every thread: whoever needs one claims it here, and all who claim the same get
/// the same. The thread that runs them begins with the first.
final class ProcessDirectory: Sendable {
    private struct Entry {
        let board: ProcessBoard
        /// Gone once nobody wants the process; the board stays until it has ended.
        weak var handle: ProcessHandle?
    }
    private struct State {
        var entries: [Entry] = []
        var lastID = 0
        var mailbox: Mailbox?
        /// Until `begin`.
        var waiting: Carrier?
        var hasBegun = false
    }
    /// Carries the manager into its thread; touched by another only before that starts.
    private struct Carrier: @unchecked Sendable {
        let manager: ProcessManager
    }

    private let log: LogWriter
    private let state = Mutex(State())

    init(log: LogWriter) { self.log = log }

    /// One loop's view of the process of `upstream`, which is started if nobody has claimed it; nil if it has none.
    func gate(for upstream: UpstreamSpec, on loop: EventLoop) -> ProcessGate? {
        guard let spec = upstream.process else { return nil }
        return ProcessGate(claim(upstream, spec), on: loop)
    }

    private func claim(_ upstream: UpstreamSpec, _ spec: ProcessSpec) -> ProcessHandle {
        state.withLock { state in
            state.entries.removeAll { $0.handle == nil && $0.board.hasEnded }
            for entry in state.entries
            where entry.board.spec == spec && entry.board.url.processAddress == upstream.url.processAddress {
                guard let handle = entry.handle else { continue }
                let id = entry.board.id
                state.mailbox?.post { loop in (loop.owner as? ProcessManager)?.revive(id) }
                return handle
            }
            state.lastID += 1
            let board = ProcessBoard(id: state.lastID, upstream, spec)
            let handle = ProcessHandle(board, makeThread(&state))
            state.entries.append(Entry(board: board, handle: handle))
            state.mailbox?.post { loop in (loop.owner as? ProcessManager)?.add(board) }
            return handle
        }
    }

    private func makeThread(_ state: inout State) -> Mailbox? {
        if let mailbox = state.mailbox { return mailbox }
        do throws(SystemError) {
            let manager = try ProcessManager(log: log)
            let carrier = Carrier(manager: manager)
            if state.hasBegun { try Self.start(carrier) } else { state.waiting = carrier }
            state.mailbox = manager.loop.mailbox
        } catch {
            log.write(.error, "process_failed", ["error": "no thread for managed processes: \(error)"])
        }
        return state.mailbox
    }

    private static func start(_ carrier: Carrier) throws(SystemError) {
        try startThread(named: "processes") { carrier.manager.run() }
    }

    /// From here on processes are started: before, the server may still find that it cannot listen.
    func begin() {
        state.withLock { state in
            state.hasBegun = true
            guard let carrier = state.waiting else { return }
            state.waiting = nil
            do throws(SystemError) {
                try Self.start(carrier)
            } catch {
                log.write(.error, "process_failed", ["error": "no thread for managed processes: \(error)"])
            }
        }
    }

    /// Ends all of them, and calls `done` when nothing of them is left, at the latest a little after the longest stop timeout.
    func stop(_ done: @escaping @Sendable () -> Void) {
        let mailbox = state.withLock { $0.hasBegun ? $0.mailbox : nil }
        guard let mailbox else { return done() }
        mailbox.post { loop in
            guard let manager = loop.owner as? ProcessManager else { return done() }
            manager.stop(done)
        }
    }

    /// How long `stop` may take.
    var stopLimit: Interval {
        let timeouts = state.withLock { $0.entries.map(\.board.spec.stopTimeout) }
        return timeouts.max().map(ProcessManager.stopLimit) ?? .zero
    }

    /// One for each name: while one process takes another's place, the new one's.
    var statuses: [ProcessStatus] {
        let boards = state.withLock { state in state.entries.map(\.board).filter { !$0.hasEnded } }
        var statuses: [ProcessStatus] = []
        for status in boards.map(\.status) {
            statuses.removeAll { $0.name == status.name }
            statuses.append(status)
        }
        return statuses
    }
}
