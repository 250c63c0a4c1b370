import CLinux
import Glibc
import SluiceBytes

/// A socket that listens, bound by us or handed to us. Those that accept from it hold it; it is closed when the last of
/// them lets go.
///
/// Several sockets on one port (SO_REUSEPORT) let the kernel deal clients out; one socket in several loops serves those
/// that were handed over, and unix paths, of which there can be one only.
public final class ListeningSocket: Sendable {
    /// Where it really listens: with port 0, the port that the kernel chose.
    public let address: SocketAddress
    /// For a child that takes it over.
    public let descriptor: Int32
    /// The file of a unix socket, if it is ours to remove.
    private let file: File?
    private let isLent: Bool

    /// A file as it was when we bound it; another one may stand under its name later.
    private struct File: Equatable {
        let path: String
        let device: UInt
        let inode: UInt

        init?(_ path: String) {
            var status = stat()
            guard lstat(path, &status) == 0 else { return nil }
            (self.path, device, inode) = (path, UInt(status.st_dev), UInt(status.st_ino))
        }
    }

    private static let backlog: Int32 = 8192

    /// Binds and listens. The port may be shared with other sockets of the same user.
    /// - Throws: EADDRINUSE also for a unix path where somebody listens, or that is no socket.
    public init(binding address: SocketAddress, options: ClientSocketOptions = .init()) throws(SystemError) {
        let socket = try Self.makeSocket(address)
        let raw = socket.raw
        if case .unix(let path) = address {
            try Self.removeStale(path)
        } else {
            try SystemError.check("setsockopt") { setOption(raw, SOL_SOCKET, SO_REUSEADDR, 1) }
            try SystemError.check("setsockopt") { setOption(raw, SOL_SOCKET, SO_REUSEPORT, 1) }
        }
        try Self.bind(raw, to: address)
        try SystemError.check("listen") { listen(raw, Self.backlog) }
        if case .unix(let path) = address { file = File(path) } else { file = nil }
        self.address = Self.boundAddress(raw) ?? address
        isLent = false
        descriptor = socket.release()
        apply(options)
    }

    /// Takes over a descriptor of another process; it is closed if it is no listening stream socket. `ownsPath`: whoever had it
    /// before bound it, as we would, and left the path to us.
    /// - Throws: EINVAL if it is something else, EBADF if it is nothing.
    public init(
        inheriting raw: Int32, ownsPath: Bool, options: ClientSocketOptions = .init()
    ) throws(SystemError) {
        let flags = try SystemError.check("fcntl") { fcntl(raw, F_GETFL) }
        let socket = Descriptor(owning: raw)
        guard Self.option(raw, SO_ACCEPTCONN) == 1, Self.option(raw, SO_TYPE) == Int32(SL_STREAM),
            let address = Self.boundAddress(raw)
        else { throw SystemError("listen", EINVAL) }
        try SystemError.check("fcntl") { fcntl(raw, F_SETFD, FD_CLOEXEC) }
        try SystemError.check("fcntl") { fcntl(raw, F_SETFL, flags | O_NONBLOCK) }
        if ownsPath, case .unix(let path) = address { file = File(path) } else { file = nil }
        self.address = address
        isLent = false
        descriptor = socket.release()
        apply(options)
    }

    /// One that its listener closes.
    init(lending raw: Int32, at address: SocketAddress) {
        (self.address, descriptor, file, isLent) = (address, raw, nil, true)
    }

    deinit { if !isLent { _ = close(descriptor) } }

    public var ownsPath: Bool { file != nil }

    /// Removes the file of a unix socket of ours, unless another has taken its name since.
    public func removePath() {
        if let file, File(file.path) == file { unlink(file.path) }
    }

    /// Options that accepted sockets take over from this one, which saves the calls on each: no waiting for more to send,
    /// and a probe after 30 s of silence, so that a client whose machine is gone is noticed within a minute.
    public func apply(_ options: ClientSocketOptions) {
        guard case .ip = address else { return }
        let tcp = Int32(IPPROTO_TCP)
        _ = setOption(descriptor, tcp, TCP_NODELAY, 1)
        _ = setOption(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1)
        _ = setOption(descriptor, tcp, TCP_KEEPIDLE, 30)
        _ = setOption(descriptor, tcp, TCP_KEEPINTVL, 10)
        _ = setOption(descriptor, tcp, TCP_KEEPCNT, 3)
        _ = setOption(descriptor, tcp, TCP_NOTSENT_LOWAT, Int32(clamping: options.unsentBytes))
        let milliseconds = Int32(clamping: options.unacknowledgedTimeout.nanoseconds / 1_000_000)
        _ = setOption(descriptor, tcp, TCP_USER_TIMEOUT, milliseconds)
    }

    /// Throws EADDRINUSE if somebody listens on `address`, also if the port could be shared: whoever starts a second
    /// process by mistake should not get half of the clients.
    public static func checkIsFree(_ address: SocketAddress) throws(SystemError) {
        guard case .ip(_, let port) = address, port != 0 else { return }
        let socket = try makeSocket(address)
        try SystemError.check("setsockopt") { setOption(socket.raw, SOL_SOCKET, SO_REUSEADDR, 1) }
        try bind(socket.raw, to: address)
    }

    private static func makeSocket(_ address: SocketAddress) throws(SystemError) -> Descriptor {
        let type = Int32(SL_STREAM) | Int32(SL_NONBLOCK) | Int32(SL_CLOEXEC)
        return Descriptor(owning: try SystemError.check("socket") { Glibc.socket(address.family, type, 0) })
    }

    private static func bind(_ raw: Int32, to address: SocketAddress) throws(SystemError) {
        _ = try address.withSockaddr { pointer, length throws(SystemError) in
            try SystemError.check("bind") { Glibc.bind(raw, pointer, length) }
        }
    }

    /// A socket's file outlives a process that was killed.
    private static func removeStale(_ path: String) throws(SystemError) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else { throw SystemError("bind", EADDRINUSE) }
        let probe = try makeSocket(.unix(path))
        let result = SocketAddress.unix(path).withSockaddr { pointer, length in connect(probe.raw, pointer, length) }
        guard result < 0, errno == ECONNREFUSED else { throw SystemError("bind", EADDRINUSE) }
        unlink(path)
    }

    private static func option(_ raw: Int32, _ name: Int32) -> Int32 {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(raw, SOL_SOCKET, name, &value, &length) == 0 ? value : -1
    }

    private static func boundAddress(_ raw: Int32) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(raw, $0, &length) }
        }
        guard result == 0 else { return nil }
        guard Int32(storage.ss_family) == AF_UNIX else { return SocketAddress(storage) }
        return withUnsafeBytes(of: storage) { bytes in
            let path = bytes[2..<max(2, min(Int(length), bytes.count))].prefix { $0 != 0 }
            return .unix(String(decoding: path, as: UTF8.self))
        }
    }
}

/// Sets an integer socket option.
private func setOption(_ fd: Int32, _ level: Int32, _ name: Int32, _ value: Int32) -> Int32 {
    var value = value
    return setsockopt(fd, level, name, &value, socklen_t(MemoryLayout<Int32>.size))
}
