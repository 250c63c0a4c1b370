import SluiceBytes
import SluiceConfig

/// What of an exchange may last how long. A pure value: it is told what happens and when, and says what is due next.
struct ExchangeDeadlines {
    enum Phase { case request, starting, connecting, head, firstToken, body, errorBody, over }

    /// What has lasted too long, or is to be done now.
    enum Due: Equatable {
        /// The upstream said that its stream is over but does not end its message.
        case endGrace
        case slowClient
        case requestBody
        case upstream(ProxyError.Phase)
        /// The upstream's process is not ready.
        case processStart
        case earlyHeaders
        case keepalive
    }

    /// What the exchange knows at the time of asking.
    struct Situation {
        var isCommitted = false
        var isStream = false
        /// The head could go out before the upstream has said anything.
        var canCommitEarly = false
        var isUpstreamPaused = false
        /// Since when the client has taken nothing of what waits for it; nil if nothing waits.
        var clientWaitsSince: Instant?
    }

    private let started: Instant
    private let slowClient: Interval
    private let requestBody: Interval
    private var timeouts = Timeouts()
    /// Zero: never.
    private var keepalive = Interval.zero
    private var earlyHeaders: Interval?
    private var processWait = Interval.zero

    private(set) var phase = Phase.request
    private var phaseStarted: Instant
    private var lastUpstreamRead: Instant
    private var lastClientWrite: Instant
    private var ended: Instant?

    /// From the dialect's terminator to the end of the upstream's message.
    private static let grace = Interval.seconds(1)

    init(started: Instant, limits: borrowing Limits) {
        (self.started, slowClient, requestBody) = (started, limits.slowClient, limits.requestBodyTimeout)
        (phaseStarted, lastUpstreamRead, lastClientWrite) = (started, started, started)
    }

    /// The route is known, and with it what it and its upstream allow.
    mutating func choose(_ timeouts: Timeouts, keepalive: Interval, earlyHeaders: Interval?) {
        (self.timeouts, self.keepalive, self.earlyHeaders) = (timeouts, keepalive, earlyHeaders)
    }

    mutating func enter(_ phase: Phase, at now: Instant) { (self.phase, phaseStarted) = (phase, now) }
    /// Before a connection can be made, the upstream's process must be ready, for which it has so long.
    mutating func awaitProcess(_ wait: Interval, at now: Instant) {
        processWait = wait
        enter(.starting, at: now)
    }
    mutating func requestRead(at now: Instant) { if phase == .request { phaseStarted = now } }
    mutating func upstreamRead(at now: Instant) { lastUpstreamRead = now }
    mutating func clientWritten(at now: Instant) { lastClientWrite = now }

    /// The dialect's terminator has come. True the first time.
    mutating func streamEnded(at now: Instant) -> Bool {
        guard ended == nil else { return false }
        ended = now
        return true
    }

    /// What is due next, and when. `.distantFuture` if nothing ever.
    func next(_ situation: Situation) -> (at: Instant, due: Due) {
        var next = (at: Instant.distantFuture, due: Due.keepalive)
        func add(_ start: Instant, _ interval: Interval, _ due: Due) {
            if interval > .zero, start + interval < next.at { next = (start + interval, due) }
        }
        if phase == .over { return next }
        if let ended { add(ended, Self.grace, .endGrace) }
        if let since = situation.clientWaitsSince { add(since, slowClient, .slowClient) }
        if phase != .request { add(started, timeouts.total, .upstream(.total)) }
        switch phase {
        case .request: add(phaseStarted, requestBody, .requestBody)
        case .starting: add(phaseStarted, processWait, .processStart)
        case .connecting: add(phaseStarted, timeouts.connect, .upstream(.connect))
        case .head: add(phaseStarted, timeouts.headers, .upstream(.head))
        case .firstToken: add(phaseStarted, timeouts.firstToken, .upstream(.firstToken))
        case .body, .errorBody:
            if !situation.isUpstreamPaused { add(lastUpstreamRead, timeouts.idle, .upstream(.body)) }
        case .over: break
        }
        if situation.isCommitted, situation.isStream { add(lastClientWrite, keepalive, .keepalive) }
        let isWaiting = phase == .starting || phase == .head || phase == .firstToken
        if !situation.isCommitted, situation.canCommitEarly, let earlyHeaders, isWaiting {
            add(started, earlyHeaders, .earlyHeaders)
        }
        return next
    }
}
