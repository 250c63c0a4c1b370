import Glibc
import SluiceBytes
import SluiceIO

/// Waits for a successor to say that it serves. If it does not, this process goes on as if nothing had been.
final class Upgrade: EventHandler, TimerHandler {
    enum Outcome {
        case serves(process: Int32)
        case failed(String)
    }

    private let successor: Successor
    private unowned let loop: EventLoop
    private let finished: (Outcome) -> Void
    private var timer = TimerID.none
    private var reaps = 0
    /// It serves.
    private(set) var isOver = false

    /// To read its configuration and open what it has not inherited.
    private static let patience = Interval.seconds(60)
    private static let reapDelay = Interval.milliseconds(50)

    init(
        _ successor: consuming Successor, on loop: EventLoop, finished: @escaping (Outcome) -> Void
    ) throws(SystemError) {
        self.successor = successor
        (self.loop, self.finished) = (loop, finished)
        timer = loop.schedule(after: Self.patience, handler: self)
        try loop.register(self.successor.pipe.raw, interest: .readable, handler: self)
    }

    /// Has the new process drain and end. It inherited our signal mask, so the signal waits for it to listen.
    func stop() { kill(process, SIGTERM) }

    private var process: pid_t { successor.process }

    func ready(_ readiness: Readiness, on loop: EventLoop) {
        var byte: UInt8 = 0
        let count = read(successor.pipe.raw, &byte, 1)
        if count < 0 { return }
        loop.unregister(successor.pipe.raw)
        loop.cancel(timer)
        if count == 1 {
            isOver = true
            finished(.serves(process: process))
        } else {
            reap()
        }
    }

    /// The pipe has ended, so the process does, or should.
    private func reap() {
        var status: Int32 = 0
        let result = waitpid(process, &status, WNOHANG)
        if result == process {
            let signal = status & 0x7F
            let how = signal == 0 ? "exit code \((status >> 8) & 0xFF)" : "signal \(signal)"
            return finished(.failed("the new process ended before it served (\(how))"))
        }
        guard result == 0 else { return finished(.failed("the new process is gone")) }
        reaps += 1
        if reaps == 100 { kill(process, SIGKILL) }
        timer = loop.schedule(after: Self.reapDelay, handler: self)
    }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer else { return }
        if reaps == 0 {
            loop.unregister(successor.pipe.raw)
            kill(process, SIGKILL)
        }
        reap()
    }
}
