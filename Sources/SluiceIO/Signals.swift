import CLinux
import Glibc

/// Signals as a descriptor of the loop. Block them before any thread starts, so that every thread inherits the mask.
public final class Signals: EventHandler {
    private let descriptor: Descriptor
    private let handler: (Int32) -> Void

    /// Blocks `signals` in the calling thread and all that it starts later; ignores SIGPIPE.
    public static func block(_ signals: [Int32]) {
        signal(SIGPIPE, SIG_IGN)
        var set = Self.set(signals)
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    /// `handler` gets the signal's number on the loop's thread.
    public init(_ signals: [Int32], on loop: EventLoop, handler: @escaping (Int32) -> Void) throws(SystemError) {
        descriptor = try Self.descriptor(for: signals)
        self.handler = handler
        try loop.register(descriptor.raw, interest: .readable, handler: self)
    }

    public func ready(_ readiness: Readiness, on loop: EventLoop) {
        for signal in Self.next(descriptor) { handler(signal) }
    }

    /// Readable when one of the blocked `signals` has come.
    static func descriptor(for signals: [Int32]) throws(SystemError) -> Descriptor {
        var set = Self.set(signals)
        let flags = Int32(SFD_NONBLOCK) | Int32(SFD_CLOEXEC)
        return Descriptor(owning: try SystemError.check("signalfd") { signalfd(-1, &set, flags) })
    }

    /// The numbers of those that have come since the last time.
    static func next(_ descriptor: borrowing Descriptor) -> [Int32] {
        var info = signalfd_siginfo()
        let size = MemoryLayout<signalfd_siginfo>.size
        var signals: [Int32] = []
        while read(descriptor.raw, &info, size) == size { signals.append(Int32(truncatingIfNeeded: info.ssi_signo)) }
        return signals
    }

    private static func set(_ signals: [Int32]) -> sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        return set
    }
}
