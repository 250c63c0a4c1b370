import CLinux
import Glibc
import SluiceBytes

/// Connects to the first of several addresses that answers (RFC 8305): the next one is tried when the last failed, or
/// has not answered for 250 ms; the first socket that connects wins and the others are closed.
///
/// Ends exactly once: by its result, or by `cancel`, after which it says nothing.
public final class Connector: TimerHandler {
    public typealias Completion = (Result<Connected, SystemError>) -> Void

    /// A connected socket on its way to its owner; whoever gets it takes it out once.
    public final class Connected {
        public let address: SocketAddress
        private var socket: Int32
        private let kernel: any Kernel

        fileprivate init(_ socket: Int32, _ address: SocketAddress, _ kernel: any Kernel) {
            (self.socket, self.address, self.kernel) = (socket, address, kernel)
        }

        deinit { if socket >= 0 { kernel.close(socket) } }

        /// Nobody listens there: the kernel chose as our own port the very one that we asked for (RFC 9293 §3.5, simultaneous open).
        public var isConnectedToItself: Bool {
            var storage = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let result = withUnsafeMutablePointer(to: &storage) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket, $0, &length) }
            }
            return result == 0 && SocketAddress(storage) == address
        }

        public func take() -> Descriptor {
            precondition(socket >= 0, "a socket was taken twice")
            let taken = socket
            socket = -1
            return Descriptor(owning: taken, of: kernel)
        }
    }

    private final class Attempt: EventHandler {
        let fd: Int32
        let address: SocketAddress
        unowned let connector: Connector

        init(_ fd: Int32, _ address: SocketAddress, _ connector: Connector) {
            (self.fd, self.address, self.connector) = (fd, address, connector)
        }

        func ready(_ readiness: Readiness, on loop: EventLoop) {
            connector.attemptEnded(self, code: loop.kernel.takeError(fd))
        }
    }

    private static let stagger = Interval.milliseconds(250)

    private let loop: EventLoop
    private var waiting: ArraySlice<SocketAddress>
    private var attempts: [Attempt] = []
    private var completion: Completion?
    private var timer = TimerID.none
    private var lastError = SystemError("connect", ECONNREFUSED)
    /// Bytes the kernel may hold from this peer, or nil for its own choice.
    private let receiveBufferBytes: Int32?

    /// The completion is called later, never from inside `init`.
    public init(
        to addresses: [SocketAddress], on loop: EventLoop, receiveBufferBytes: Int32? = nil,
        completion: @escaping Completion
    ) {
        (self.loop, self.receiveBufferBytes) = (loop, receiveBufferBytes)
        waiting = addresses[...]
        self.completion = completion
        startNext()
    }

    public func cancel() {
        completion = nil
        stop(keeping: nil)
    }

    public func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer else { return }
        self.timer = .none
        startNext()
    }

    /// What the kernel takes over of requests that the peer does not read; the rest waits where it is counted.
    private static let unsentBytes: Int32 = 64 << 10

    private func startNext() {
        while let address = waiting.popFirst() {
            do throws(SystemError) {
                try start(address)
                if !waiting.isEmpty {
                    loop.cancel(timer)
                    timer = loop.schedule(after: Self.stagger, handler: self)
                }
                return
            } catch {
                lastError = error
            }
        }
        guard attempts.isEmpty else { return }
        let error = lastError
        loop.afterTurn { [self] in end(.failure(error)) }
    }

    private func start(_ address: SocketAddress) throws(SystemError) {
        let kernel = loop.kernel
        let fd = Int32(truncatingIfNeeded: try SystemError.check("socket") { kernel.makeSocket(for: address) })
        let socket = Descriptor(owning: fd, of: kernel)
        if case .ip = address {
            _ = kernel.setOption(fd, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
            _ = kernel.setOption(fd, Int32(IPPROTO_TCP), TCP_NOTSENT_LOWAT, Self.unsentBytes)
        }
        if let receiveBufferBytes { _ = kernel.setOption(fd, SOL_SOCKET, SO_RCVBUF, receiveBufferBytes) }
        let code = kernel.connect(fd, to: address).code
        guard code == 0 || code == EINPROGRESS || code == EINTR else { throw SystemError("connect", code) }
        let attempt = Attempt(fd, address, self)
        try loop.register(fd, interest: .writable, handler: attempt)
        _ = socket.release()  // from here on `attempts` owns it
        attempts.append(attempt)
    }

    private func attemptEnded(_ attempt: Attempt, code: Int32) {
        guard attempts.contains(where: { $0 === attempt }) else { return }
        if code == 0 {
            stop(keeping: attempt)
            end(.success(Connected(attempt.fd, attempt.address, loop.kernel)))
            return
        }
        lastError = SystemError("connect", code)
        close(attempt)
        attempts.removeAll { $0 === attempt }
        startNext()
    }

    private func stop(keeping winner: Attempt?) {
        loop.cancel(timer)
        timer = .none
        waiting = []
        for attempt in attempts {
            if attempt === winner { loop.unregister(attempt.fd) } else { close(attempt) }
        }
        attempts = []
    }

    private func close(_ attempt: Attempt) {
        loop.unregister(attempt.fd)
        loop.kernel.close(attempt.fd)
    }

    private func end(_ result: Result<Connected, SystemError>) {
        guard let completion else { return }
        self.completion = nil
        completion(result)
    }
}
