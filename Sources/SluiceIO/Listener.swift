import CLinux
import Glibc
import SluiceBytes
import Synchronization

/// Counts the open client connections of all workers, so that `limits.connections` holds for the process.
public final class ConnectionBudget: Sendable {
    private let used = Atomic<Int>(0)
    public let limit: Int

    public init(limit: Int) { self.limit = limit }

    public var count: Int { used.load(ordering: .relaxed) }

    /// Takes one place; false if none is left.
    public func take() -> Bool {
        if used.add(1, ordering: .relaxed).newValue <= limit { return true }
        give()
        return false
    }

    public func give() { used.subtract(1, ordering: .relaxed) }
}

/// What the kernel does for each accepted client.
public struct ClientSocketOptions: Sendable {
    /// Bytes not sent yet that it takes over from us; what waits above that stays where it is counted.
    public var unsentBytes: Int
    /// For how long sent bytes may stay without an answer; zero: the system's own patience, many minutes.
    public var unacknowledgedTimeout: Interval

    public init(unsentBytes: Int = 32 << 10, unacknowledgedTimeout: Interval = .seconds(60)) {
        (self.unsentBytes, self.unacknowledgedTimeout) = (unsentBytes, unacknowledgedTimeout)
    }
}

/// Accepts connections on one address. Each worker has its own socket on it (SO_REUSEPORT), and the kernel deals the
/// clients out. Out of places or descriptors, accepting pauses and is tried again soon: no spin, the backlog waits.
public final class Listener: EventHandler, TimerHandler {
    public typealias Accepted = (_ socket: consuming Descriptor, _ peer: SocketAddress) -> Void

    /// Where it really listens: with port 0, the port that the kernel chose.
    public let address: SocketAddress
    private let socket: Descriptor
    private let loop: EventLoop
    private let budget: ConnectionBudget
    private let accepted: Accepted
    private var retry = TimerID.none
    private var isClosed = false
    private let ownsPath: Bool

    /// Connections taken in one turn before others get theirs.
    private static let batch = 64
    private static let retryDelay = Interval.milliseconds(50)

    public init(
        on address: SocketAddress, loop: EventLoop, budget: ConnectionBudget, options: ClientSocketOptions = .init(),
        accepted: @escaping Accepted
    ) throws(SystemError) {
        let kernel = loop.kernel
        let fd = Int32(truncatingIfNeeded: try SystemError.check("socket") { kernel.makeSocket(for: address) })
        socket = Descriptor(owning: fd, of: kernel)
        (self.loop, self.budget, self.accepted) = (loop, budget, accepted)
        if case .unix(let path) = address {
            unlink(path)
            ownsPath = true
        } else {
            ownsPath = false
            try SystemError.check("setsockopt") { kernel.setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1) }
            try SystemError.check("setsockopt") { kernel.setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1) }
            Self.setInherited(fd, options, kernel)
        }
        try SystemError.check("bind") { kernel.bind(fd, to: address) }
        try SystemError.check("listen") { kernel.listen(fd, backlog: 8192) }
        if let bound = kernel.localAddress(fd), case .ip = bound {
            self.address = bound
        } else {
            self.address = address
        }
        try loop.register(fd, interest: .readable, handler: self)
    }

    /// Stops accepting; what waits in the backlog is reset by the kernel.
    public func close() {
        guard !isClosed else { return }
        isClosed = true
        loop.cancel(retry)
        loop.unregister(socket.raw)
        _ = loop.kernel.shutdown(socket.raw, Int32(SHUT_RDWR))
        if ownsPath, case .unix(let path) = address { unlink(path) }
    }

    public func ready(_ readiness: Readiness, on loop: EventLoop) {
        for _ in 0..<Self.batch {
            guard !isClosed else { return }
            guard budget.take() else { return pause() }
            var peer: SocketAddress?
            let result = loop.kernel.accept(socket.raw, peer: &peer)
            let code = result.code
            guard code == 0 else {
                budget.give()
                if [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(code) { return pause() }
                if code == EAGAIN || code == EWOULDBLOCK { return }
                continue  // ECONNABORTED and the like concern only that one client
            }
            let fd = Int32(truncatingIfNeeded: result.value)
            accepted(Descriptor(owning: fd, of: loop.kernel), peer ?? .unix(""))
        }
    }

    public func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard !isClosed, timer == retry else { return }
        retry = .none
        try? loop.modify(socket.raw, interest: .readable)
        ready(.readable, on: loop)
    }

    /// Options that accepted sockets take over from this one, which saves the calls on each: no waiting for more to send,
    /// and a probe after 30 s of silence, so that a client whose machine is gone is noticed within a minute.
    private static func setInherited(_ fd: Int32, _ options: ClientSocketOptions, _ kernel: any Kernel) {
        let tcp = Int32(IPPROTO_TCP)
        _ = kernel.setOption(fd, tcp, TCP_NODELAY, 1)
        _ = kernel.setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1)
        _ = kernel.setOption(fd, tcp, TCP_KEEPIDLE, 30)
        _ = kernel.setOption(fd, tcp, TCP_KEEPINTVL, 10)
        _ = kernel.setOption(fd, tcp, TCP_KEEPCNT, 3)
        _ = kernel.setOption(fd, tcp, TCP_NOTSENT_LOWAT, Int32(clamping: options.unsentBytes))
        if options.unacknowledgedTimeout > .zero {
            let milliseconds = Int32(clamping: options.unacknowledgedTimeout.nanoseconds / 1_000_000)
            _ = kernel.setOption(fd, tcp, TCP_USER_TIMEOUT, milliseconds)
        }
    }

    private func pause() {
        guard retry == .none else { return }
        try? loop.modify(socket.raw, interest: [])
        retry = loop.schedule(after: Self.retryDelay, handler: self)
    }
}
