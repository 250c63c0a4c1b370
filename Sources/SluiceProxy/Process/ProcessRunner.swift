import Glibc
import SluiceBytes
import SluiceConfig
import SluiceIO

/// Carries out what a `ManagedProcess` decides, and tells it what happens. Lives on the loop of the process thread.
final class ProcessRunner: TimerHandler, SupervisedProcessDelegate {
    let board: ProcessBoard
    private unowned let manager: ProcessManager
    private var machine: ManagedProcess
    private var process: SupervisedProcess?
    private var check: ReadyCheck?
    private var timer = TimerID.none
    private var armedFor = Instant.distantFuture
    /// Not handled yet: an action may bring about the next event.
    private var events: [ManagedProcess.Event] = []
    private var isHandling = false

    private let redaction: Redaction
    private var stdout: ProcessOutput
    private var stderr: ProcessOutput
    private var budget: OutputBudget
    /// Set while lines have been left out and nobody was told.
    private var dropTimer = TimerID.none
    private static let dropInterval = Interval.seconds(2)

    init(_ board: ProcessBoard, manager: ProcessManager) {
        (self.board, self.manager) = (board, manager)
        machine = ManagedProcess(board.spec)
        var secrets = board.spec.environment.filter(\.isSecret).map(\.value.revealed)
        if let key = board.apiKey { secrets.append(key.revealed) }
        redaction = Redaction(secrets)
        (stdout, stderr) = (ProcessOutput(redaction), ProcessOutput(redaction))
        budget = OutputBudget(now: manager.loop.now)
    }

    var address: String { board.url.processAddress }
    private var loop: EventLoop { manager.loop }

    func handle(_ event: ManagedProcess.Event) {
        events.append(event)
        guard !isHandling else { return }
        isHandling = true
        var isOver = false
        while !events.isEmpty {
            for action in machine.handle(events.removeFirst(), at: loop.now) {
                if action == .over { isOver = true } else { perform(action) }
            }
        }
        isHandling = false
        arm()
        board.publish(
            machine.availability,
            ProcessStatus(name: board.name, state: machine.state, pid: machine.pid, restarts: machine.restarts))
        if isOver { end() }
    }

    private func end() {
        check?.cancel()
        check = nil
        tellDropped()
        manager.ended(self)
    }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        if timer == dropTimer { return tellDropped() }
        guard timer == self.timer else { return }
        (self.timer, armedFor) = (.none, .distantFuture)
        handle(.timer)
    }

    private func arm() {
        guard machine.deadline != armedFor else { return }
        loop.cancel(timer)
        armedFor = machine.deadline
        timer = armedFor == .distantFuture ? .none : loop.schedule(at: armedFor, handler: self)
    }

    // MARK: - Actions

    private func perform(_ action: ManagedProcess.Action) {
        switch action {
        case .probe: ask(path: nil) { $0 ? .portTaken : .portFree }
        case .check: ask(path: board.spec.ready.path) { .checked(isReady: $0) }
        case .launch: launch()
        case .stop: process?.stop()
        case .killGroup(let pid): SupervisedProcess.killGroup(of: pid)
        case .report(let report): log(report)
        case .over: break
        }
    }

    private func ask(path: String?, _ event: @escaping (Bool) -> ManagedProcess.Event) {
        check?.cancel()
        check = ReadyCheck(board.url, path: path, on: loop) { [weak self] isReady in
            guard let self else { return }
            check = nil
            handle(event(isReady))
        }
    }

    private func launch() {
        let spec = board.spec
        let job = Supervisor.Job(
            command: spec.command, directory: spec.directory, stopSignal: spec.stopSignal.number,
            stopTimeout: spec.stopTimeout)
        let program = ChildProcess(
            path: "/proc/self/exe", arguments: ["sluice", "supervise"], environment: environment)
        do throws(SystemError) {
            process = try SupervisedProcess(
                job, supervisor: program, capturesOutput: spec.output == .log, on: loop, delegate: self)
        } catch {
            handle(.launchFailed("\(error)"))
            handle(.gone)
        }
    }

    /// The proxy's own, but for what a service manager says to it alone and what it is to serve itself (the process may be another
    /// Sluice), and the configured one.
    private var environment: [String] {
        let own = board.spec.environment
        let hidden =
            own.map(\.name) + [
                "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
                "SLUICE_CONFIG", "SLUICE_LISTEN",
            ]
        let inherited = ChildProcess.environment().filter { entry in
            !hidden.contains { entry.hasPrefix($0 + "=") }
        }
        return inherited + own.map { "\($0.name)=\($0.value.revealed)" }
    }

    // MARK: - SupervisedProcessDelegate

    func process(_ process: SupervisedProcess, came event: SupervisedProcess.Event) {
        switch event {
        case .started(let pid): handle(.launched(pid: pid))
        case .failed(let why): handle(.launchFailed(why))
        case .exited(let status):
            finishOutput()
            handle(.exited(status))
        case .gone:
            finishOutput()
            self.process = nil
            handle(.gone)
        }
    }

    func process(_ process: SupervisedProcess, wrote bytes: Span<UInt8>, to stream: SupervisedProcess.Stream) {
        let lines =
            switch stream {
            case .stdout: stdout.feed(bytes)
            case .stderr: stderr.feed(bytes)
            }
        for line in lines { write(line, stream) }
    }

    private func finishOutput() {
        if let line = stdout.finish() { write(line, .stdout) }
        if let line = stderr.finish() { write(line, .stderr) }
        tellDropped()
    }

    private func write(_ line: String, _ stream: SupervisedProcess.Stream) {
        if budget.admits(line, at: loop.now) {
            log(.info, "process_output", [("stream", stream.rawValue), ("line", line)])
        } else if dropTimer == .none {
            dropTimer = loop.schedule(after: Self.dropInterval, handler: self)
        }
    }

    private func tellDropped() {
        loop.cancel(dropTimer)
        dropTimer = .none
        let lines = budget.takeDropped()
        if lines > 0 { log(.warning, "process_output_dropped", [("lines", "\(lines)")]) }
    }

    // MARK: - The log

    private func log(_ report: ManagedProcess.Report) {
        switch report {
        case .portTaken:
            let error = "another program listens at \(address): the process is started when it has gone"
            log(.warning, "process_waiting", [("error", error)])
        case .started(let pid):
            log(.info, "process_started", [("program", board.spec.command.first ?? ""), ("pid", "\(pid)")])
        case .ready(let after): log(.info, "process_ready", [("after_ms", "\(after.milliseconds)")])
        case .notReady(let after): log(.error, "process_not_ready", [("after_ms", "\(after.milliseconds)")])
        case .failed(let why, let restart):
            let program = ("program", board.spec.command.first ?? "")
            log(.error, "process_failed", [program, ("error", why), again(restart)])
        case .exited(let status, let after, let restart, let wasAsked):
            let how =
                switch status {
                case .code(let code): ("code", "\(code)")
                case .signal(let signal): ("signal", "\(signal)")
                }
            var fields = [how, ("after_ms", "\(after.milliseconds)")]
            if !wasAsked { fields.append(again(restart)) }
            log(wasAsked ? .info : .error, "process_exited", fields)
        case .stopping: log(.info, "process_stopping", [])
        case .stopped: log(.info, "process_stopped", [])
        }
    }

    private func again(_ restart: Interval?) -> (String, String) {
        restart.map { ("restart_in_ms", "\($0.milliseconds)") } ?? ("restart", "never")
    }

    private func log(_ level: LogSpec.Level, _ event: String, _ fields: [(String, String)]) {
        manager.log.write(level, event, fields: [("upstream", board.name)] + fields)
    }
}

extension ProcessSpec.StopSignal {
    var number: Int32 {
        switch self {
        case .SIGTERM: Glibc.SIGTERM
        case .SIGINT: Glibc.SIGINT
        case .SIGQUIT: Glibc.SIGQUIT
        case .SIGHUP: Glibc.SIGHUP
        case .SIGKILL: Glibc.SIGKILL
        }
    }
}
