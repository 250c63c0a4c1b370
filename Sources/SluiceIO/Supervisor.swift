import CLinux
import Glibc
import SluiceBytes

/// What `sluice supervise` does: runs one command, and sees to it that neither the command nor anything that it started outlives
/// the proxy, in whichever way that ends.
///
/// It is a process of its own, with one thread. A socket from the proxy stands as descriptor 3: its end is the wish to stop, and the
/// kernel ends it also where the proxy was killed. Orphans among the command's descendants become the supervisor's children
/// (PR_SET_CHILD_SUBREAPER), so none can leave, and when there is no child left, all have ended. Should the supervisor itself be
/// killed, the kernel kills the command (PR_SET_PDEATHSIG).
public struct Supervisor {
    public struct Job: Sendable {
        /// Looked up in PATH unless it has a slash in it.
        public var command: [String]
        public var directory: String?
        public var stopSignal: Int32
        public var stopTimeout: Interval

        public init(command: [String], directory: String?, stopSignal: Int32, stopTimeout: Interval) {
            (self.command, self.directory, self.stopSignal) = (command, directory, stopSignal)
            self.stopTimeout = stopTimeout
        }

        /// Of `sluice supervise`.
        var arguments: [String] {
            var arguments = ["--stop-signal", "\(stopSignal)", "--stop-timeout", "\(stopTimeout.milliseconds)ms"]
            if let directory { arguments += ["--directory", directory] }
            return arguments + ["--"] + command
        }
    }

    static let control: Int32 = 3
    private static let signals = [SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT]
    /// Between two rounds of SIGKILL: what is forked meanwhile is met in the next one. What a second of that does not end hangs in
    /// the kernel, and is looked at more rarely.
    private static let killInterval = Interval.milliseconds(20)
    private static let rareKillInterval = Interval.seconds(1)

    private let job: Job
    /// The command; nil once it has ended.
    private var leader: pid_t?
    /// When what is left gets SIGKILL; nil while nothing is to end.
    private var deadline: Instant?
    private var killRounds = 0

    public init(_ job: Job) { self.job = job }

    /// Returns when nothing is left to supervise.
    public mutating func run() {
        _ = fcntl(Self.control, F_SETFD, FD_CLOEXEC)
        Signals.block(Self.signals)
        guard sl_become_subreaper() == 0 else { return report("failed \(errno) prctl") }
        do throws(SystemError) {
            let events = try Signals.descriptor(for: Self.signals)
            leader = try start()
            if let leader { report("started \(leader)") }
            supervise(events)
        } catch {
            report("failed \(error.code) \(error.call)")
        }
    }

    private func report(_ line: String) {
        var line = line + "\n"
        line.withUTF8 { _ = send(Self.control, $0.baseAddress, $0.count, Int32(SL_NOSIGNAL)) }
    }

    // MARK: - Starting

    /// Throws what kept the command from running, with the call that failed.
    private func start() throws(SystemError) -> pid_t {
        let outcome = try DescriptorPair.pipe()
        let own = getpid()
        let said = outcome.second.raw
        // A copy of this process, which has one thread: whatever the child needs is made before.
        let child = CStrings.with(job.command) { arguments in
            let child = sl_fork()
            if child == 0 { become(arguments, said, parent: own) }
            return child
        }
        guard child > 0 else { throw SystemError("fork", errno) }
        return try Self.started(child, outcome)
    }

    /// In the child: does not return. What fails is told through the pipe, which a successful exec closes.
    private func become(
        _ arguments: UnsafePointer<UnsafeMutablePointer<CChar>?>, _ outcome: Int32, parent: pid_t
    ) -> Never {
        var stage: UInt8 = 0
        _ = sl_die_with_parent()
        if getppid() != parent { _exit(127) }
        setsid()
        signal(SIGPIPE, SIG_DFL)
        var none = sigset_t()
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, nil)
        if let directory = job.directory, chdir(directory) != 0 {
            stage = 1
        } else if let program = arguments.pointee {
            execvp(program, arguments)
        }
        let said: [UInt8] = [stage, UInt8(truncatingIfNeeded: errno)]
        _ = write(outcome, said, said.count)
        _exit(127)
    }

    private static func started(_ child: pid_t, _ outcome: consuming DescriptorPair) throws(SystemError) -> pid_t {
        var said: [UInt8] = [0, 0]
        let raw = outcome.first.raw
        _ = close(outcome.second.release())
        let count = try SystemError.check("read") { read(raw, &said, said.count) }
        guard count == 2 else { return child }
        waitpid(child, nil, 0)
        throw said[0] == 1 ? SystemError("chdir", Int32(said[1])) : SystemError("exec", Int32(said[1]))
    }

    // MARK: - Running

    private mutating func supervise(_ events: borrowing Descriptor) {
        var entries = [
            pollfd(fd: Self.control, events: Int16(POLLIN), revents: 0),
            pollfd(fd: events.raw, events: Int16(POLLIN), revents: 0),
        ]
        while true {
            poll(&entries, 2, wait())
            if entries[1].revents != 0, Signals.next(events).contains(where: { $0 != SIGCHLD }) { beginStop() }
            if entries[0].revents != 0, !isOpen() {
                entries[0].fd = -1  // poll passes it over
                beginStop()
            }
            if reap() { return }
            if let deadline, EventLoop.clock() >= deadline { kill() }
        }
    }

    /// In milliseconds, for `poll`.
    private func wait() -> Int32 {
        guard let deadline else { return -1 }
        let left = deadline - EventLoop.clock()
        let interval = killRounds < 50 ? Self.killInterval : Self.rareKillInterval
        return Int32(clamping: (left == .zero ? interval : left).milliseconds + 1)
    }

    /// The proxy is there and has not asked to stop.
    private func isOpen() -> Bool {
        var byte: UInt8 = 0
        let count = recv(Self.control, &byte, 1, Int32(SL_DONTWAIT))
        return count > 0 || count < 0 && (errno == EAGAIN || errno == EINTR)
    }

    /// True when nobody is left.
    private mutating func reap() -> Bool {
        while true {
            var status: Int32 = 0
            let pid = waitpid(-1, &status, WNOHANG)
            if pid == 0 { return false }
            if pid < 0 {
                if errno == EINTR { continue }
                return true
            }
            guard pid == leader else { continue }
            report("exited \(status)")
            leader = nil
            // Whoever it left behind would keep its port or its GPU.
            beginStop()
            ask(ProcessTree.descendants(of: getpid()))
        }
    }

    private mutating func beginStop() {
        guard deadline == nil else { return }
        deadline = EventLoop.clock() + job.stopTimeout
        if let leader { ask([-leader]) }
    }

    private func ask(_ targets: [pid_t]) {
        for target in targets { _ = Glibc.kill(target, job.stopSignal) }
    }

    private mutating func kill() {
        killRounds &+= 1
        if let leader { _ = Glibc.kill(-leader, SIGKILL) }
        for pid in ProcessTree.descendants(of: getpid()) { _ = Glibc.kill(pid, SIGKILL) }
    }
}
