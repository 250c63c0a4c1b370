import SluiceBytes
import SluiceConfig
import SluiceIO

/// What a request may expect of an upstream's process.
enum ProcessAvailability: Equatable {
    /// It is on its way, and worth waiting for.
    case starting
    case ready
    /// It could not be started, or is not to be started again. `until`: when it is tried next; `why`: for the log.
    case unavailable(until: Instant?, why: String)
}

/// The life of one managed process, as decisions: what happened and when goes in, what is to be done comes out. A pure value.
///
/// A process is launched when nobody else has its port, is asked until it is ready, and launched again after it has ended, as
/// `restart` says: after a pause that doubles with each run that was not ready for long. It runs at most once at a time: a
/// run is over when nothing that it started is left.
struct ManagedProcess {
    enum Event: Equatable {
        case start
        /// Answers to `.probe`.
        case portFree, portTaken
        case launched(pid: Int32)
        case launchFailed(String)
        /// The answer to `.check`.
        case checked(isReady: Bool)
        case exited(ExitStatus)
        /// Nothing of the run is left.
        case gone
        case timer
        /// It is to end for good.
        case stop
        /// One that is not to be started again gets another chance: the configuration was read again.
        case revive
    }

    enum Action: Equatable {
        /// Find out whether somebody listens at its address.
        case probe
        case launch
        /// Ask whether it is ready.
        case check
        /// End the run; `.gone` is to follow.
        case stop
        /// The supervisor was killed, and cannot do it.
        case killGroup(pid: Int32)
        case report(Report)
        /// Nothing more will come of it.
        case over
    }

    /// For the log.
    enum Report: Equatable {
        case portTaken
        case started(pid: Int32)
        case ready(after: Interval)
        case notReady(after: Interval)
        /// `restart`: after how long it is started again; nil: it is not.
        case failed(String, restart: Interval?)
        case exited(ExitStatus, after: Interval, restart: Interval?, wasAsked: Bool)
        case stopping
        case stopped
    }

    private enum Next: Equatable {
        case restart(at: Instant)
        case fail
        case end
    }

    private enum Phase: Equatable {
        case idle
        case probing
        case blocked(until: Instant)
        case launching
        /// nil while a check is under way.
        case starting(check: Instant?)
        case ready
        case ending(Next)
        case backoff(until: Instant)
        case failed
        case over
    }

    private let spec: ProcessSpec
    private var phase = Phase.idle
    private var runStarted = Instant(nanoseconds: 0)
    private var readySince: Instant?
    /// The last run that ended had been ready.
    private var wasReady = false
    private var lastEnd = ""
    /// Runs since one that was ready for long.
    private var failures = 0
    private var isPortReported = false
    private(set) var pid: Int32?
    /// Launches but the first.
    private(set) var restarts = 0
    private var hasLaunched = false

    /// Between two looks at a port that is somebody else's.
    private static let probeInterval = Interval.seconds(1)
    /// However short `backoff` is, a command that ends at once does not keep a core busy.
    private static let leastBackoff = Interval.milliseconds(100)

    init(_ spec: ProcessSpec) { self.spec = spec }

    // MARK: - What it is

    var availability: ProcessAvailability {
        switch phase {
        case .idle, .probing, .blocked, .launching, .starting: .starting
        case .ready: .ready
        case .ending(.restart(let time)), .backoff(let time):
            wasReady ? .starting : .unavailable(until: time, why: lastEnd)
        case .ending(.fail), .failed: .unavailable(until: nil, why: lastEnd)
        case .ending(.end), .over: .unavailable(until: nil, why: "stopped")
        }
    }

    var state: ProcessStatus.State {
        switch phase {
        case .idle, .probing, .blocked, .launching, .starting: .starting
        case .ready: .ready
        case .ending: .stopping
        case .backoff: .backoff
        case .failed, .over: .failed
        }
    }

    /// When `.timer` is due.
    var deadline: Instant {
        switch phase {
        case .blocked(let time), .backoff(let time): time
        case .launching: startLimit
        case .starting(let check): min(check ?? .distantFuture, startLimit)
        default: .distantFuture
        }
    }

    private var startLimit: Instant {
        spec.ready.timeout == .zero ? .distantFuture : runStarted + spec.ready.timeout
    }

    // MARK: - What happens

    mutating func handle(_ event: Event, at now: Instant) -> [Action] {
        switch (phase, event) {
        case (.idle, .start): return probe()
        case (.failed, .revive):
            failures = 0
            return probe()
        case (.ending(.fail), .revive):
            failures = 0
            phase = .ending(.restart(at: now))
            return []
        case (.probing, .portFree): return launch(now)
        case (.probing, .portTaken):
            phase = .blocked(until: now + Self.probeInterval)
            defer { isPortReported = true }
            return isPortReported ? [] : [.report(.portTaken)]
        case (.launching, .launched(let pid)):
            self.pid = pid
            phase = .starting(check: nil)
            return [.report(.started(pid: pid)), .check]
        case (.launching, .launchFailed(let why)):
            lastEnd = why
            let next = decide(isClean: false, now)
            phase = .ending(next)
            return [.report(.failed(why, restart: delay(next, now)))]
        case (.starting, .checked(true)):
            (phase, readySince) = (.ready, now)
            return [.report(.ready(after: now - runStarted))]
        case (.starting, .checked(false)):
            phase = .starting(check: now + spec.ready.interval)
            return []
        case (_, .exited(let status)): return exited(status, now)
        case (_, .gone): return gone(now)
        case (_, .timer): return timer(now)
        case (_, .stop): return stop()
        default: return []
        }
    }

    private mutating func probe() -> [Action] {
        phase = .probing
        return [.probe]
    }

    private mutating func launch(_ now: Instant) -> [Action] {
        if hasLaunched { restarts += 1 }
        (phase, hasLaunched, isPortReported) = (.launching, true, false)
        (runStarted, readySince) = (now, nil)
        return [.launch]
    }

    private mutating func timer(_ now: Instant) -> [Action] {
        guard deadline <= now else { return [] }
        switch phase {
        case .blocked, .backoff: return probe()
        case .launching, .starting:
            guard startLimit <= now else {
                phase = .starting(check: nil)
                return [.check]
            }
            lastEnd = "not ready in time"
            phase = .ending(decide(isClean: false, now))
            return [.report(.notReady(after: now - runStarted)), .stop]
        default: return []
        }
    }

    private mutating func exited(_ status: ExitStatus, _ now: Instant) -> [Action] {
        let ran = now - runStarted
        switch phase {
        case .starting, .ready:
            lastEnd = "it ended with \(status)"
            let next = decide(isClean: status.isClean, now)
            phase = .ending(next)
            return [.report(.exited(status, after: ran, restart: delay(next, now), wasAsked: false))]
        case .ending(let next):
            return [.report(.exited(status, after: ran, restart: delay(next, now), wasAsked: true))]
        default: return []
        }
    }

    private mutating func gone(_ now: Instant) -> [Action] {
        var actions: [Action] = []
        switch phase {
        case .launching, .starting, .ready:
            // Nobody has said how it ended, so nobody has looked after what is left.
            lastEnd = "its supervisor has ended"
            let next = decide(isClean: false, now)
            phase = .ending(next)
            actions = [.report(.failed(lastEnd, restart: delay(next, now)))]
            if let pid { actions.append(.killGroup(pid: pid)) }
        default: break
        }
        guard case .ending(let next) = phase else { return actions }
        pid = nil
        switch next {
        case .restart(let time):
            phase = .backoff(until: time)
            return actions + timer(now)
        case .fail: phase = .failed
        case .end: return actions + end()
        }
        return actions
    }

    private mutating func stop() -> [Action] {
        switch phase {
        case .launching, .starting, .ready:
            phase = .ending(.end)
            return [.report(.stopping), .stop]
        case .ending:
            phase = .ending(.end)
            return []
        case .over: return []
        default: return end()
        }
    }

    private mutating func end() -> [Action] {
        phase = .over
        return hasLaunched ? [.report(.stopped), .over] : [.over]
    }

    // MARK: - Whether and when again

    /// Call once for each end of a run.
    private mutating func decide(isClean: Bool, _ now: Instant) -> Next {
        wasReady = readySince != nil
        switch spec.restart {
        case .never: return .fail
        case .onFailure where isClean: return .fail
        case .onFailure, .always: break
        }
        if let readySince, now - readySince >= spec.maxBackoff { failures = 0 }
        defer { failures += 1 }
        return .restart(at: now + backoff())
    }

    private func backoff() -> Interval {
        var delay = max(spec.backoff, Self.leastBackoff)
        let most = max(spec.maxBackoff, delay)
        for _ in 0..<min(failures, 64) where delay < most {
            delay = delay.nanoseconds > most.nanoseconds / 2 ? most : Interval(nanoseconds: delay.nanoseconds * 2)
        }
        return min(delay, most)
    }

    private func delay(_ next: Next, _ now: Instant) -> Interval? {
        if case .restart(let time) = next { time - now } else { nil }
    }
}

/// One process as an operator sees it.
public struct ProcessStatus: Sendable, Equatable {
    public enum State: String, Sendable, CaseIterable { case starting, ready, stopping, backoff, failed }
    /// Of the upstream, or of the first where several share it.
    public let name: String
    public let state: State
    /// Of the command; nil while it does not run.
    public let pid: Int32?
    public let restarts: Int
}
