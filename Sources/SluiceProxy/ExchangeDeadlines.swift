import SluiceBytes
import SluiceConfig

/// What of an exchange may last how long. A pure value: it is told what happens and when, and says what is due next.
struct ExchangeDeadlines {
    enum Phase {
        case request, starting, connecting, head, firstToken, body, errorBody
        /// Between two attempts.
        case waiting
        /// It reads an answer that another exchange makes.
        case following
        /// Other exchanges answer the steps before the last.
        case chaining
        case over

        /// Nothing of the answer has come, and nothing but time keeps it from coming.
        var waitsForAnswer: Bool {
            switch self {
            case .starting, .head, .firstToken, .waiting, .chaining: true
            default: false
            }
        }
    }

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
        /// The next attempt.
        case retry
        /// Text that is held for a typing effect.
        case smoothing
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
        /// When text that is held for a typing effect leaves; nil if none is.
        var smoothingDue: Instant?
    }

    private let started: Instant
    /// From where `total` counts.
    private var asked: Instant
    private let slowClient: Interval
    private let requestBody: Interval
    /// What one byte of a request's body earns; zero: any byte puts the end off by `requestBody`.
    private let bodyByte: Interval
    /// When a body that brings nothing more has taken too long. Bytes put it off, by what they earn at the rate that is asked of
    /// the client, but never further than a fresh start.
    private var bodyDeadline: Instant
    private var isBodyPaused = false
    private var isUploading = true
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
    private var retryAt = Instant.distantFuture

    /// From the dialect's terminator to the end of the upstream's message.
    private static let grace = Interval.seconds(1)
    /// For the body of an error, which is only looked at for its words.
    private static let errorBody = Interval.seconds(5)

    init(started: Instant, limits: borrowing Limits) {
        (self.started, slowClient, requestBody) = (started, limits.slowClient, limits.requestBodyTimeout)
        asked = started
        let rate = limits.requestBodyRate
        bodyByte = rate > 0 ? Interval(nanoseconds: UInt64(1_000_000_000 / rate)) : .zero
        bodyDeadline = started + limits.requestBodyTimeout
        (phaseStarted, lastUpstreamRead, lastClientWrite) = (started, started, started)
    }

    /// The route is known, and with it what it and its upstream allow.
    mutating func choose(_ timeouts: Timeouts, keepalive: Interval, earlyHeaders: Interval?) {
        (self.timeouts, self.keepalive, self.earlyHeaders) = (timeouts, keepalive, earlyHeaders)
    }

    /// The steps before it are done; each of them had its own time.
    mutating func beginLastStep(at now: Instant) { asked = now }

    mutating func enter(_ phase: Phase, at now: Instant) { (self.phase, phaseStarted) = (phase, now) }

    /// So many bytes of the request's body came.
    mutating func requestRead(_ count: Int, at now: Instant) {
        let fresh = now + requestBody
        guard bodyByte > .zero, count < 1 << 20 else { return bodyDeadline = fresh }
        bodyDeadline = min(fresh, bodyDeadline + Interval(nanoseconds: bodyByte.nanoseconds * UInt64(count)))
    }

    /// The upstream takes no more of a body that is relayed, or takes it again: whose fault a silence is.
    mutating func requestPaused(_ isPaused: Bool, at now: Instant) {
        guard isPaused != isBodyPaused else { return }
        isBodyPaused = isPaused
        bodyDeadline = now + requestBody
        if phase == .head { phaseStarted = now }
    }

    /// The body is whole: from here on it is the upstream that is waited for.
    mutating func requestComplete(at now: Instant) {
        isUploading = false
        if phase == .head { phaseStarted = now }
    }

    /// Before a connection can be made, the upstream's process must be ready, for which it has so long.
    mutating func awaitProcess(_ wait: Interval, at now: Instant) {
        processWait = wait
        enter(.starting, at: now)
    }
    mutating func upstreamRead(at now: Instant) { lastUpstreamRead = now }
    mutating func clientWritten(at now: Instant) { lastClientWrite = now }

    /// The dialect's terminator has come. True the first time.
    mutating func streamEnded(at now: Instant) -> Bool {
        guard ended == nil else { return false }
        ended = now
        return true
    }

    /// The attempt is over, and another one begins at `instant`; `.distantFuture`: somebody else sees to it.
    mutating func wait(until instant: Instant, at now: Instant) {
        (ended, retryAt) = (nil, instant)
        enter(.waiting, at: now)
    }

    /// When the whole exchange is to be over.
    var end: Instant { timeouts.total > .zero ? asked + timeouts.total : .distantFuture }

    /// What is due next, and when. `.distantFuture` if nothing ever.
    func next(_ situation: Situation) -> (at: Instant, due: Due) {
        var next = (at: Instant.distantFuture, due: Due.keepalive)
        func add(_ start: Instant, _ interval: Interval, _ due: Due) {
            if interval > .zero, start + interval < next.at { next = (start + interval, due) }
        }
        func addBody() {
            if requestBody > .zero, bodyDeadline < next.at { next = (bodyDeadline, .requestBody) }
        }
        if phase == .over { return next }
        if let due = situation.smoothingDue { next = (due, .smoothing) }
        if let ended { add(ended, Self.grace, .endGrace) }
        if let since = situation.clientWaitsSince { add(since, slowClient, .slowClient) }
        if phase != .request, phase != .following { add(asked, timeouts.total, .upstream(.total)) }
        switch phase {
        case .request: addBody()
        case .starting: add(phaseStarted, processWait, .processStart)
        case .connecting: add(phaseStarted, timeouts.connect, .upstream(.connect))
        case .head where isUploading && !isBodyPaused: addBody()
        case .head: add(phaseStarted, timeouts.headers, .upstream(.head))
        case .firstToken: add(phaseStarted, timeouts.firstToken, .upstream(.firstToken))
        case .waiting: if retryAt < next.at { next = (retryAt, .retry) }
        case .errorBody: add(phaseStarted, Self.errorBody, .upstream(.body))
        case .body:
            if !situation.isUpstreamPaused { add(lastUpstreamRead, timeouts.idle, .upstream(.body)) }
        case .following, .chaining, .over: break
        }
        if situation.isCommitted, situation.isStream { add(lastClientWrite, keepalive, .keepalive) }
        if !situation.isCommitted, situation.canCommitEarly, let earlyHeaders,
            phase.waitsForAnswer
        {
            add(started, earlyHeaders, .earlyHeaders)
        }
        return next
    }
}
