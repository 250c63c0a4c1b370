import CLinux
import Glibc
import SluiceBytes

/// Hears of a process that runs under a supervisor. Called on the loop's thread.
public protocol SupervisedProcessDelegate: AnyObject {
    func process(_ process: SupervisedProcess, came event: SupervisedProcess.Event)
    /// The span is dead afterwards.
    func process(_ process: SupervisedProcess, wrote bytes: Span<UInt8>, to stream: SupervisedProcess.Stream)
}

/// The proxy's end of one run of a managed process: a `Supervisor` in a process of its own, and what it and its command say.
public final class SupervisedProcess: EventHandler {
    public enum Event: Equatable, Sendable {
        case started(pid: Int32)
        /// The command could not be run; for people.
        case failed(String)
        case exited(ExitStatus)
        /// Nothing of it is left, and the supervisor has ended too. The last event.
        case gone
    }
    public enum Stream: String, Sendable { case stdout, stderr }

    /// One end of a pipe, read as it comes.
    private final class Output: EventHandler {
        let descriptor: Descriptor
        let stream: Stream
        unowned let process: SupervisedProcess

        init(_ descriptor: consuming Descriptor, _ stream: Stream, _ process: SupervisedProcess) {
            self.descriptor = descriptor
            (self.stream, self.process) = (stream, process)
        }

        func ready(_ readiness: Readiness, on loop: EventLoop) { if !read() { process.forget(self) } }

        /// False at the end.
        func read() -> Bool {
            let buffer = process.loop.readBuffer
            let count = Glibc.read(descriptor.raw, buffer.baseAddress, buffer.count)
            if count > 0 {
                let bytes = UnsafeBufferPointer(rebasing: buffer[..<count])
                process.delegate?.process(process, wrote: bytes.span, to: stream)
                return true
            }
            return count < 0 && (errno == EAGAIN || errno == EINTR)
        }

        /// What stands in the pipe, up to 1 MiB.
        func drain() {
            for _ in 0..<16 {
                var available: Int32 = 0
                guard ioctl(descriptor.raw, UInt(FIONREAD), &available) == 0, available > 0, read() else { return }
            }
        }
    }

    private unowned let loop: EventLoop
    private weak var delegate: (any SupervisedProcessDelegate)?
    private let control: Descriptor
    private var supervisor: pid_t = 0
    private var outputs: [Output] = []
    private var said: [UInt8] = []
    private var isStopping = false
    private var isGone = false

    /// `supervisor`: the program that runs a `Supervisor` for the arguments of a `Job`; it and the command get its environment.
    /// Without `capturesOutput` the command writes to nobody.
    public init(
        _ job: Supervisor.Job, supervisor program: ChildProcess, capturesOutput: Bool, on loop: EventLoop,
        delegate: any SupervisedProcessDelegate
    ) throws(SystemError) {
        let control = try DescriptorPair.sockets()
        let out = try DescriptorPair.pipe()
        let errors = try DescriptorPair.pipe()
        for end in [control.first.raw, out.first.raw, errors.first.raw] {
            try SystemError.check("fcntl") { fcntl(end, F_SETFL, O_NONBLOCK) }
        }
        let program = ChildProcess(
            path: program.path, arguments: program.arguments + job.arguments, environment: program.environment)
        let descriptors: [Int32?] = [
            nil, capturesOutput ? out.second.raw : nil, capturesOutput ? errors.second.raw : nil, control.second.raw,
        ]
        (self.loop, self.delegate) = (loop, delegate)
        self.control = control.first
        if capturesOutput { outputs = [Output(out.first, .stdout, self), Output(errors.first, .stderr, self)] }
        do throws(SystemError) {
            try loop.register(self.control.raw, interest: .readable, handler: self)
            for output in outputs { try loop.register(output.descriptor.raw, interest: .readable, handler: output) }
            // Last, because from here on somebody must wait for it.
            supervisor = try program.spawn(descriptors: descriptors)
        } catch {
            loop.unregister(self.control.raw)
            for output in outputs { forget(output) }
            throw error
        }
    }

    /// Asks the supervisor to end the command and all that it started. `.gone` follows, after the stop timeout at the latest.
    public func stop() {
        guard !isStopping else { return }
        isStopping = true
        shutdown(control.raw, Int32(SHUT_WR))
    }

    /// SIGKILL for the processes of the group that the command led, where no supervisor is left to do it.
    public static func killGroup(of pid: Int32) {
        if pid > 1 { _ = Glibc.kill(-pid, SIGKILL) }
    }

    public func ready(_ readiness: Readiness, on loop: EventLoop) {
        let count = recv(control.raw, loop.readBuffer.baseAddress, 4096, 0)
        if count < 0, errno == EAGAIN || errno == EINTR { return }
        guard count > 0 else { return end() }
        said += loop.readBuffer[..<count]
        while let lineEnd = said.firstIndex(of: ASCII.lf) {
            let line = String(decoding: said[..<lineEnd], as: UTF8.self)
            said.removeFirst(lineEnd + 1)
            if let event = Self.event(line) { deliver(event) }
        }
    }

    private func deliver(_ event: Event) {
        // Its last words explain its end, so they come first.
        for output in outputs { output.drain() }
        delegate?.process(self, came: event)
    }

    private func end() {
        guard !isGone else { return }
        isGone = true
        loop.unregister(control.raw)
        // Its descriptors are closed, so it is about to end: this returns at once.
        while waitpid(supervisor, nil, 0) < 0, errno == EINTR {}
        deliver(.gone)
        for output in outputs { forget(output) }
    }

    private func forget(_ output: Output) {
        loop.unregister(output.descriptor.raw)
        outputs.removeAll { $0 === output }
    }

    private static func event(_ line: String) -> Event? {
        let words = line.split(separator: " ", maxSplits: 2)
        guard words.count > 1, let number = Int32(words[1]) else { return nil }
        switch words[0] {
        case "started": return .started(pid: number)
        case "exited": return .exited(ExitStatus(waitStatus: number))
        case "failed":
            let call = words.count > 2 ? "\(words[2]): " : ""
            return .failed(call + String(cString: strerror(number)))
        default: return nil
        }
    }
}
