import Glibc
import SluiceBytes
import SluiceIO
import SluiceProxy

/// What becomes of the process once it serves: signals, reloads, the drain, a successor, and what the service manager hears
/// of it. Lives on the main thread's loop.
final class ProcessLife: TimerHandler {
    static let signals = [SIGTERM, SIGINT, SIGHUP, SIGUSR2] + (Orphans.comeHere ? [SIGCHLD] : [])

    private let server: Server
    private let log: LogWriter
    /// It holds this object while a timer is set.
    private unowned let loop: EventLoop
    private let environment: [String: String]
    private let notifier: ServiceNotifier
    private var handler: Signals?
    private var watch: FileWatch?
    private var upgrade: Upgrade?
    private var stops = 0
    /// A signal or an operator has asked for the end.
    private var isEnding = false
    private var drainTimer = TimerID.none
    private var watchdogTimer = TimerID.none
    private let watchdogInterval: Interval?
    private var watchdogRound: UInt64 = 0

    /// `environment`: as the process got it.
    init(_ server: Server, log: LogWriter, loop: EventLoop, environment: [String: String]) throws {
        (self.server, self.log, self.loop, self.environment) = (server, log, loop, environment)
        notifier = ServiceNotifier(environment)
        watchdogInterval = ServiceMessage.watchdogInterval(environment, process: getpid())
        loop.owner = self
        handler = try Signals(Self.signals, on: loop) { [unowned self] in signalled($0) }
    }

    /// Call when the server accepts: whoever waits for that is told.
    func begin() {
        notifier.send(.ready(status: status))
        Successor.reportReady(environment)
        askLoops()
    }

    private var status: String { "serving on \(server.addresses.map(\.description).joined(separator: ", "))" }

    // MARK: - Signals

    private func signalled(_ signal: Int32) {
        switch signal {
        case SIGHUP: _ = reload()
        case SIGUSR2: startSuccessor()
        case SIGCHLD: Orphans.reap()
        default: stop()
        }
    }

    /// As SIGTERM asks for it; the second time at once.
    func stop() {
        stops += 1
        if stops > 1 {
            log.write(.warning, "stopped", ["reason": "a second signal"])
            log.flush()
            exit(1)
        }
        end()
    }

    /// Drains, once, whoever asks for it.
    func end() {
        guard !isEnding else { return }
        isEnding = true
        if upgrade?.isOver == true {
            // It drains already, since another process has taken over.
            return
        }
        // It was to take the sockets over: now it is to stop as well, as soon as it can.
        upgrade?.stop()
        let delay = server.announceDrain()
        notifier.send(.stopping(within: server.drainLimit))
        if delay == .zero {
            drain()
        } else {
            log.write(.info, "draining_soon", ["delay_ms": "\(delay.milliseconds)"])
            drainTimer = loop.schedule(after: delay, handler: self)
        }
    }

    private func drain() {
        log.write(.info, "draining")
        server.drain()
    }

    // MARK: - Reload

    /// Returns the faults that kept the old configuration in force.
    func reload() -> [String] {
        notifier.send(.reloading(since: EventLoop.clock()))
        let faults = server.reload()
        notifier.send(.ready(status: faults.first.map { "\(status); the last reload failed: \($0)" } ?? status))
        return faults
    }

    /// Reloads when a file of the configuration has changed.
    func watchFiles() {
        do throws(SystemError) {
            watch = try FileWatch(server.files, on: loop) { [unowned self] in
                log.write(.info, "files_changed")
                _ = reload()
            }
        } catch {
            log.write(.error, "watch_failed", ["error": "\(error)"])
        }
    }

    /// The configuration was made of other files, perhaps. Reloads come from other threads too.
    func watchAgain() {
        guard let watch else { return }
        do throws(SystemError) {
            try watch.watch(server.files)
        } catch {
            log.write(.error, "watch_failed", ["error": "\(error)"])
        }
    }

    // MARK: - Upgrade

    private func startSuccessor() {
        if let problem = reasonAgainstUpgrade { return log.write(.error, "upgrade_failed", ["error": problem]) }
        do throws(SystemError) {
            let successor = try Successor.start(
                CommandLine.arguments, environment: environment, sockets: server.sockets)
            log.write(.info, "upgrading", ["process": "\(successor.process)"])
            upgrade = try Upgrade(successor, on: loop) { [unowned self] in upgraded($0) }
        } catch {
            log.write(.error, "upgrade_failed", ["error": "\(error)"])
        }
    }

    private var reasonAgainstUpgrade: String? {
        if isEnding || upgrade?.isOver == true { return "the process is draining" }
        if upgrade != nil { return "an upgrade is under way" }
        // The successor would start it again, and find its port taken for as long as this process drains.
        if let process = server.processes.first {
            return "the managed process of \(process.name) cannot be handed over; restart instead"
        }
        // The end of process 1 is the end of its container, and of the successor with it.
        return getpid() == 1 ? "process 1 of a container cannot hand over; replace the container" : nil
    }

    private func upgraded(_ outcome: Upgrade.Outcome) {
        switch outcome {
        case .serves(let process):
            notifier.send(.successor(process: process))
            log.write(.info, "upgraded", ["process": "\(process)"])
            if watchdogTimer != .none { loop.cancel(watchdogTimer) }
            watch?.close()
            watch = nil
            guard !isEnding else { return }
            log.write(.info, "draining")
            server.drain(handedOver: true)
        case .failed(let reason):
            upgrade = nil
            log.write(.error, "upgrade_failed", ["error": reason])
        }
    }

    // MARK: - Time

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        if timer == drainTimer {
            drain()
        } else if timer == watchdogTimer {
            // A loop that hangs does not answer; then nothing is sent, and the manager restarts us.
            if server.loopsHaveAnswered(watchdogRound) { notifier.send(.watchdog) }
            askLoops()
        }
    }

    private func askLoops() {
        guard let watchdogInterval else { return }
        watchdogRound += 1
        server.askLoops(watchdogRound)
        watchdogTimer = loop.schedule(after: watchdogInterval, handler: self)
    }
}
