import SluiceBytes
import SluiceIO
import SluiceStreams

/// Plays one probe stream to its client. Held by its exchange, and by the loop while a timer is set; ends with the exchange.
final class ProbeServing: TimerHandler {
    private weak var exchange: Exchange?
    private let loop: EventLoop
    private let desk: ProbeDesk
    let plan: ProbePlan
    private let hello: String
    private let started: Instant
    private var script: ProbeScript
    private var timer = TimerID.none
    private var isOver = false

    init(_ plan: ProbePlan, hello: String, exchange: Exchange) {
        (self.exchange, loop, desk) = (exchange, exchange.worker.loop, exchange.worker.shared.probes)
        (self.plan, self.hello, started) = (plan, hello, exchange.worker.loop.now)
        script = ProbeScript(plan)
    }

    /// Sends what is due, and sets the timer for what is not.
    func play() {
        guard let exchange, !isOver else { return }
        if let due = script.due, started + due <= loop.now {
            exchange.commitProbe(plan)
            exchange.openBody()
            script.play(at: loop.readClock() - started, hello: hello, into: &exchange.worker.scratch)
            exchange.flushBody(isLast: script.isOver)
        }
        // Who takes nothing may have been dropped by now.
        guard !isOver else { return }
        guard let due = script.due else { return exchange.end("probe") }
        timer = loop.schedule(at: started + due, handler: self)
        exchange.arm()
    }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer else { return }
        self.timer = .none
        play()
    }

    /// The exchange is over, with its answer whole or not.
    func exchangeEnded() {
        guard !isOver else { return }
        isOver = true
        loop.cancel(timer)
        desk.end(plan.id, script.isOver ? .done : .gone, events: script.sentEvents, at: loop.now)
    }
}
