import SluiceBytes
import SluiceConfig
import SluiceIO
import Synchronization

/// What is known of one managed process, where every thread finds it: written by the thread that runs the process, and told to
/// the loops of those that wait for it.
final class ProcessBoard: Sendable {
    /// A loop that wants to hear of changes.
    private struct Subscriber {
        let mailbox: Mailbox
        let link: ProcessGate.Link
    }
    private struct State {
        var availability = ProcessAvailability.starting
        var status: ProcessStatus
        var subscribers: [Subscriber] = []
        var hasEnded = false
    }

    let id: Int
    let spec: ProcessSpec
    let url: UpstreamURL
    let name: String
    /// Of the upstream; never in the log.
    let apiKey: Secret?
    private let state: Mutex<State>

    init(id: Int, _ upstream: UpstreamSpec, _ spec: ProcessSpec) {
        (self.id, self.spec, url, name, apiKey) = (id, spec, upstream.url, upstream.name, upstream.apiKey)
        state = Mutex(State(status: ProcessStatus(name: upstream.name, state: .starting, pid: nil, restarts: 0)))
    }

    var status: ProcessStatus { state.withLock { $0.status } }
    /// It is over, and will not be written any more.
    var hasEnded: Bool { state.withLock { $0.hasEnded } }

    func close() { state.withLock { $0.hasEnded = true } }

    func publish(_ availability: ProcessAvailability, _ status: ProcessStatus) {
        state.withLock { state in
            state.status = status
            guard state.availability != availability else { return }
            state.availability = availability
            for subscriber in state.subscribers {
                let link = subscriber.link
                subscriber.mailbox.post { _ in link.gate?.changed(to: availability) }
            }
        }
    }

    /// From here on `link` hears of changes; what holds now is returned.
    func subscribe(_ mailbox: Mailbox, _ link: ProcessGate.Link) -> ProcessAvailability {
        state.withLock { state in
            state.subscribers.append(Subscriber(mailbox: mailbox, link: link))
            return state.availability
        }
    }

    func unsubscribe(_ link: ProcessGate.Link) {
        state.withLock { $0.subscribers.removeAll { $0.link === link } }
    }
}

/// The wish that a process runs. When the last pool that needs it has gone, and with it the last exchange, so does the process.
final class ProcessHandle: Sendable {
    let board: ProcessBoard
    /// Of the thread that runs processes; nil if there is none, because the system had no room for it.
    private let mailbox: Mailbox?

    init(_ board: ProcessBoard, _ mailbox: Mailbox?) { (self.board, self.mailbox) = (board, mailbox) }

    deinit {
        let id = board.id
        mailbox?.post { loop in (loop.owner as? ProcessManager)?.release(id) }
    }
}

/// One worker's view of a managed process: asked by the pool of its upstream, told by the process's thread. Lives on its loop.
final class ProcessGate: TimerHandler {
    /// What the other thread may hold of it.
    final class Link: @unchecked Sendable {
        /// Written before the loop's thread can see it, and from then on touched only there: in work that the mailbox runs.
        weak var gate: ProcessGate?
    }

    private let handle: ProcessHandle
    private let loop: EventLoop
    private let link = Link()
    private var availability = ProcessAvailability.starting
    private weak var pool: UpstreamPool?
    private var redial = TimerID.none
    private var redials = 0

    /// A process that has just ended refuses connections for a moment before that is known here.
    private static let redialInterval = Interval.milliseconds(100)
    private static let redialLimit = 20

    init(_ handle: ProcessHandle, on loop: EventLoop) {
        (self.handle, self.loop) = (handle, loop)
        link.gate = self
        availability = handle.board.subscribe(loop.mailbox, link)
    }

    deinit { handle.board.unsubscribe(link) }

    func serve(_ pool: UpstreamPool) { self.pool = pool }

    /// Connections may be made.
    var isOpen: Bool { availability == .ready && redial == .none }

    /// How long an exchange waits here; nil if it need not.
    var wait: Interval? { availability == .ready ? nil : handle.board.spec.wait }

    /// Why nobody is to wait; nil if it is worth it.
    var refusal: ProxyError? {
        switch availability {
        case .ready: return nil
        case .starting:
            return wait == .zero ? ProxyError(.starting, .upstream, "the upstream is still starting") : nil
        case .unavailable(let until, let why):
            let seconds = until.map { (($0 - loop.now).milliseconds + 999) / 1000 } ?? 1
            var error = ProxyError(.unavailable, .upstream, "the upstream is not running", detail: why)
            error.retryAfterSeconds = Int(clamping: max(1, seconds))
            return error
        }
    }

    func changed(to availability: ProcessAvailability) {
        self.availability = availability
        loop.cancel(redial)
        (redial, redials) = (.none, 0)
        pool?.processChanged(isUp: availability == .ready)
    }

    /// A connection was refused though the process is said to be ready. True if it is worth another try soon: then the pool is told.
    func redialsSoon() -> Bool {
        guard availability == .ready, redials < Self.redialLimit else { return false }
        redials += 1
        if redial == .none { redial = loop.schedule(after: Self.redialInterval, handler: self) }
        return true
    }

    func connected() { redials = 0 }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == redial else { return }
        redial = .none
        pool?.processChanged(isUp: availability == .ready)
    }
}
