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
        let type = Int32(SL_STREAM) | Int32(SL_NONBLOCK) | Int32(SL_CLOEXEC)
        socket = Descriptor(owning: try SystemError.check("socket") { Glibc.socket(address.family, type, 0) })
        (self.loop, self.budget, self.accepted) = (loop, budget, accepted)
        let fd = socket.raw
        if case .unix(let path) = address {
            unlink(path)
            ownsPath = true
        } else {
            ownsPath = false
            try SystemError.check("setsockopt") { setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1) }
            try SystemError.check("setsockopt") { setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1) }
            Self.setInherited(fd, options)
        }
        _ = try address.withSockaddr { pointer, length throws(SystemError) in
            try SystemError.check("bind") { bind(fd, pointer, length) }
        }
        try SystemError.check("listen") { listen(fd, 8192) }
        self.address = Self.boundAddress(fd) ?? address
        try loop.register(fd, interest: .readable, handler: self)
    }

    /// Stops accepting; what waits in the backlog is reset by the kernel.
    public func close() {
        guard !isClosed else { return }
        isClosed = true
        loop.cancel(retry)
        loop.unregister(socket.raw)
        shutdown(socket.raw, Int32(SHUT_RDWR))
        if ownsPath, case .unix(let path) = address { unlink(path) }
    }

    public func ready(_ readiness: Readiness, on loop: EventLoop) {
        for _ in 0..<Self.batch {
            guard !isClosed else { return }
            guard budget.take() else { return pause() }
            var storage = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let fd = withUnsafeMutablePointer(to: &storage) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    accept4(socket.raw, $0, &length, Int32(SL_NONBLOCK) | Int32(SL_CLOEXEC))
                }
            }
            guard fd >= 0 else {
                let code = errno
                budget.give()
                if [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(code) { return pause() }
                if code == EAGAIN || code == EWOULDBLOCK { return }
                continue  // ECONNABORTED and the like concern only that one client
            }
            let peer = SocketAddress(storage) ?? .unix("")
            accepted(Descriptor(owning: fd), peer)
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
    private static func setInherited(_ fd: Int32, _ options: ClientSocketOptions) {
        let tcp = Int32(IPPROTO_TCP)
        _ = setOption(fd, tcp, TCP_NODELAY, 1)
        _ = setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1)
        _ = setOption(fd, tcp, TCP_KEEPIDLE, 30)
        _ = setOption(fd, tcp, TCP_KEEPINTVL, 10)
        _ = setOption(fd, tcp, TCP_KEEPCNT, 3)
        _ = setOption(fd, tcp, TCP_NOTSENT_LOWAT, Int32(clamping: options.unsentBytes))
        if options.unacknowledgedTimeout > .zero {
            let milliseconds = Int32(clamping: options.unacknowledgedTimeout.nanoseconds / 1_000_000)
            _ = setOption(fd, tcp, TCP_USER_TIMEOUT, milliseconds)
        }
    }

    private func pause() {
        guard retry == .none else { return }
        try? loop.modify(socket.raw, interest: [])
        retry = loop.schedule(after: Self.retryDelay, handler: self)
    }

    private static func boundAddress(_ fd: Int32) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(fd, $0, &length) }
        }
        guard result == 0, case .ip(let address, let port)? = SocketAddress(storage) else { return nil }
        return .ip(address, port: port)
    }
}

/// Sets an integer socket option.
func setOption(_ fd: Int32, _ level: Int32, _ name: Int32, _ value: Int32) -> Int32 {
    var value = value
    return setsockopt(fd, level, name, &value, socklen_t(MemoryLayout<Int32>.size))
}
