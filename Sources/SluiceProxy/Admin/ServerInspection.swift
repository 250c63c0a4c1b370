import SluiceBytes
import SluiceConfig
import SluiceIO
import Synchronization

/// What those may ask of a running server who are not on one of its threads.
extension Server {
    var workerCount: Int { handles.count }

    /// Workers whose loop has not ended.
    var livingWorkers: [Int] { handles.indices.filter { !handles[$0].life.isOver.load(ordering: .acquiring) } }

    /// Has `body` run by that worker on its own thread, if it still turns.
    func ask(_ worker: Int, _ body: @escaping @Sendable (Worker) -> Void) {
        guard handles.indices.contains(worker) else { return }
        handles[worker].mailbox.post { loop in
            if let worker = loop.owner as? Worker { body(worker) }
        }
    }
}

/// How often the configuration was read again, and when last.
final class ReloadHistory: Sendable {
    struct State: Sendable {
        var succeeded = 0
        var failed = 0
        /// Seconds since 1970; 0: never. The start counts as the first success.
        var lastSuccess = 0
        var isLastGood = true
    }
    private let state: Mutex<State>

    init() {
        var first = State()
        first.lastSuccess = EventLoop.unixTime()
        state = Mutex(first)
    }

    func note(succeeded: Bool) {
        let now = EventLoop.unixTime()
        state.withLock { state in
            state.isLastGood = succeeded
            if succeeded {
                state.succeeded += 1
                state.lastSuccess = now
            } else {
                state.failed += 1
            }
        }
    }

    var current: State { state.withLock { $0 } }
}
