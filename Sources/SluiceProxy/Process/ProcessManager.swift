import SluiceBytes
import SluiceConfig
import SluiceIO

/// Runs the managed processes, on a loop and thread of its own. At one address one process runs at a time: a new one begins when the
/// one before it has ended.
final class ProcessManager: TimerHandler {
    let loop: EventLoop
    let log: LogWriter
    private var runners: [ProcessRunner] = []
    private var stopped: (() -> Void)?
    private var stopTimer = TimerID.none

    /// For a process that not even SIGKILL ends at once.
    private static let stopGrace = Interval.seconds(5)

    static func stopLimit(_ longest: Interval) -> Interval {
        let start = Instant(nanoseconds: 0)
        return start + longest + stopGrace - start
    }

    init(log: LogWriter) throws(SystemError) {
        (loop, self.log) = (try EventLoop(), log)
        loop.owner = self
    }

    func run() {
        do throws(SystemError) {
            try loop.run()
        } catch {
            log.write(.error, "process_failed", ["error": "the thread of managed processes has ended: \(error)"])
            stopped?()
        }
    }

    // MARK: - What other threads ask for

    func add(_ board: ProcessBoard) {
        guard stopped == nil else { return }
        let isFree = !runners.contains { $0.address == board.url.processAddress }
        let runner = ProcessRunner(board, manager: self)
        runners.append(runner)
        if isFree { runner.handle(.start) }
    }

    /// Nobody wants it any more.
    func release(_ id: Int) { runners.first { $0.board.id == id }?.handle(.stop) }

    func revive(_ id: Int) { runners.first { $0.board.id == id }?.handle(.revive) }

    func stop(_ done: @escaping () -> Void) {
        stopped = done
        let longest = runners.map(\.board.spec.stopTimeout).max() ?? .zero
        stopTimer = loop.schedule(after: Self.stopLimit(longest), handler: self)
        for runner in runners { runner.handle(.stop) }
        endIfStopped()
    }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        let names = runners.map(\.board.name).joined(separator: ", ")
        log.write(.error, "process_failed", ["upstream": names, "error": "it does not end, not even by SIGKILL"])
        runners = []
        endIfStopped()
    }

    // MARK: - What runners tell

    func ended(_ runner: ProcessRunner) {
        runners.removeAll { $0 === runner }
        runner.board.close()
        if stopped == nil { runners.first { $0.address == runner.address }?.handle(.start) }
        endIfStopped()
    }

    private func endIfStopped() {
        guard runners.isEmpty, let done = stopped else { return }
        stopped = nil
        loop.cancel(stopTimer)
        loop.stop()
        done()
    }
}
