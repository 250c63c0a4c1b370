import CLinux
import Glibc
import SluiceBytes

/// What a system call returned: a number that is not negative, or the error's code.
package struct CallResult {
    package let value: Int
    /// 0 if the call succeeded.
    package let code: Int32

    package static func success(_ value: Int) -> CallResult { CallResult(value: value, code: 0) }
    package static func failure(_ code: Int32) -> CallResult { CallResult(value: -1, code: code) }
}

/// All that a loop and the sockets on it ask of the operating system, each call as Linux defines it. There is the real
/// one, and one of the tests in which time, network and faults follow from a seed.
///
/// Used on the loop's thread only. What crosses threads (mailbox, signals, names) stays with the real one.
package protocol Kernel: AnyObject {
    /// The monotonic clock.
    func clock() -> Instant
    /// The time of day, in seconds since 1970.
    func unixTime() -> Int

    /// epoll_create1, epoll_ctl and epoll_wait. `key` comes back with each event of the descriptor.
    func makePoll() -> CallResult
    func control(_ poll: Int32, _ operation: Int32, _ fd: Int32, events: UInt32, key: UInt64) -> CallResult
    func wait(
        _ poll: Int32, _ events: UnsafeMutablePointer<epoll_event>, count: Int, milliseconds: Int32
    ) -> CallResult

    /// A stream socket of the address's family that does not block and is closed on exec.
    func makeSocket(for address: SocketAddress) -> CallResult
    func bind(_ fd: Int32, to address: SocketAddress) -> CallResult
    func listen(_ fd: Int32, backlog: Int32) -> CallResult
    /// getsockname; nil where there is none, or it is of a family that Sluice does not speak.
    func localAddress(_ fd: Int32) -> SocketAddress?
    func accept(_ fd: Int32, peer: inout SocketAddress?) -> CallResult
    func connect(_ fd: Int32, to address: SocketAddress) -> CallResult
    func receive(_ fd: Int32, into buffer: UnsafeMutableBufferPointer<UInt8>) -> CallResult
    /// Without SIGPIPE.
    func send(_ fd: Int32, _ bytes: UnsafeBufferPointer<UInt8>) -> CallResult
    /// Bytes that the peer has not acknowledged, sent or not (SIOCOUTQ).
    func unacknowledged(_ fd: Int32) -> Int
    func shutdown(_ fd: Int32, _ how: Int32) -> CallResult
    /// Sets an integer option.
    func setOption(_ fd: Int32, _ level: Int32, _ name: Int32, _ value: Int32) -> CallResult
    /// Has `close` reset the connection at once (SO_LINGER of 0).
    func resetOnClose(_ fd: Int32)
    /// The socket's pending error, which is then no longer pending (SO_ERROR); 0 for none.
    func takeError(_ fd: Int32) -> Int32
    func close(_ fd: Int32)
}

/// Linux itself.
package final class LinuxKernel: Kernel, Sendable {
    package static let shared = LinuxKernel()

    private static func result(_ value: Int) -> CallResult { value >= 0 ? .success(value) : .failure(errno) }
    private static func result(_ value: Int32) -> CallResult { result(Int(value)) }

    package func clock() -> Instant { EventLoop.clock() }
    package func unixTime() -> Int { EventLoop.unixTime() }

    package func makePoll() -> CallResult { Self.result(epoll_create1(Int32(EPOLL_CLOEXEC))) }

    package func control(_ poll: Int32, _ operation: Int32, _ fd: Int32, events: UInt32, key: UInt64) -> CallResult {
        Self.result(sl_epoll_ctl(poll, operation, fd, events, key))
    }

    package func wait(
        _ poll: Int32, _ events: UnsafeMutablePointer<epoll_event>, count: Int, milliseconds: Int32
    ) -> CallResult {
        Self.result(epoll_wait(poll, events, Int32(clamping: count), milliseconds))
    }

    package func makeSocket(for address: SocketAddress) -> CallResult {
        Self.result(Glibc.socket(address.family, Int32(SL_STREAM) | Int32(SL_NONBLOCK) | Int32(SL_CLOEXEC), 0))
    }

    package func bind(_ fd: Int32, to address: SocketAddress) -> CallResult {
        address.withSockaddr { pointer, length in Self.result(Glibc.bind(fd, pointer, length)) }
    }

    package func listen(_ fd: Int32, backlog: Int32) -> CallResult { Self.result(Glibc.listen(fd, backlog)) }

    package func localAddress(_ fd: Int32) -> SocketAddress? {
        var address: SocketAddress?
        let result = Self.withStorage(of: &address) { getsockname(fd, $0, $1) }
        return result.code == 0 ? address : nil
    }

    package func accept(_ fd: Int32, peer: inout SocketAddress?) -> CallResult {
        Self.withStorage(of: &peer) { accept4(fd, $0, $1, Int32(SL_NONBLOCK) | Int32(SL_CLOEXEC)) }
    }

    /// Has `call` fill in an address.
    private static func withStorage(
        of address: inout SocketAddress?,
        _ call: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> CallResult {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let outcome = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { result(call($0, &length)) }
        }
        address = outcome.code == 0 ? SocketAddress(storage) : nil
        return outcome
    }

    package func connect(_ fd: Int32, to address: SocketAddress) -> CallResult {
        address.withSockaddr { pointer, length in Self.result(Glibc.connect(fd, pointer, length)) }
    }

    package func receive(_ fd: Int32, into buffer: UnsafeMutableBufferPointer<UInt8>) -> CallResult {
        Self.result(recv(fd, buffer.baseAddress, buffer.count, 0))
    }

    package func send(_ fd: Int32, _ bytes: UnsafeBufferPointer<UInt8>) -> CallResult {
        Self.result(Glibc.send(fd, bytes.baseAddress, bytes.count, Int32(SL_NOSIGNAL)))
    }

    package func unacknowledged(_ fd: Int32) -> Int { Int(sl_unacknowledged(fd)) }

    package func shutdown(_ fd: Int32, _ how: Int32) -> CallResult { Self.result(Glibc.shutdown(fd, how)) }

    package func setOption(_ fd: Int32, _ level: Int32, _ name: Int32, _ value: Int32) -> CallResult {
        var value = value
        return Self.result(setsockopt(fd, level, name, &value, socklen_t(MemoryLayout<Int32>.size)))
    }

    package func resetOnClose(_ fd: Int32) {
        var option = Glibc.linger(l_onoff: 1, l_linger: 0)
        _ = setsockopt(fd, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<Glibc.linger>.size))
    }

    package func takeError(_ fd: Int32) -> Int32 {
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length) == 0 ? code : errno
    }

    package func close(_ fd: Int32) { _ = Glibc.close(fd) }
}
