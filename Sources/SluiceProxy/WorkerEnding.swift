import SluiceBytes
import SluiceIO

extension Worker {
    /// For how long a client's connection that is to end waits for a request that may be on its way.
    static let requestGrace = Interval.milliseconds(500)
}

/// The last part of a worker's life: ends what outlives the drain timeout, and stops the loop once the last byte is sent.
final class WorkerEnding: TimerHandler {
    private unowned let worker: Worker
    private var deadline = TimerID.none
    private var isOverdue = false

    /// What clients are given to take the errors of streams that were ended.
    static let farewell = Interval.seconds(10)

    init(_ worker: Worker, timeout: Interval) {
        self.worker = worker
        deadline = worker.loop.schedule(after: timeout, handler: self)
    }

    /// Nothing is live any more.
    func stop() { worker.loop.stopWhenClosed() }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard isOverdue else {
            isOverdue = true
            deadline = loop.schedule(after: Self.farewell, handler: self)
            return worker.failLive()
        }
        worker.closeClients()
        loop.stopNow()
    }
}

/// Exchanges whose client has left and whose upstream is let finish: nobody else would end them.
struct ExchangeOrphans {
    private struct Orphan { weak var exchange: Exchange? }
    private var orphans: [Orphan] = []
    private var tidyAt = 64

    mutating func add(_ exchange: Exchange) {
        if orphans.count >= tidyAt {
            orphans.removeAll { $0.exchange.map { $0.phase == .over } ?? true }
            tidyAt = max(64, orphans.count * 2)
        }
        orphans.append(Orphan(exchange: exchange))
    }

    mutating func end() {
        for orphan in orphans {
            guard let exchange = orphan.exchange, exchange.phase != .over else { continue }
            exchange.end(ProxyError(.draining, .proxy, "").reason)
        }
        orphans = []
    }
}
