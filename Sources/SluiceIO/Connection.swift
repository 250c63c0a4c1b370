import CLinux
import Glibc
import SluiceBytes

/// Why a connection is gone.
public enum ConnectionError: Error, Sendable, CustomStringConvertible {
    /// Reset, or another fault of the socket.
    case system(SystemError)
    case tls(TLSError)

    public var description: String {
        switch self {
        case .system(let error): error.description
        case .tls(let error): error.description
        }
    }
}

/// Hears of a connection. Called on the loop's thread, never from inside `send`.
public protocol ConnectionDelegate: AnyObject {
    /// TLS is up (at once for plain connections); the connection's `applicationProtocol` is known.
    func connectionEstablished(_ connection: Connection)
    /// Bytes arrived. Returns how many were taken; the rest is kept, reading stops, and it is handed over again by
    /// `Connection.redeliver`. The span is dead afterwards.
    func connection(_ connection: Connection, received bytes: Span<UInt8>) -> Int
    /// The peer ended its side (FIN, or TLS close_notify). Sending may still work.
    func connectionEnded(_ connection: Connection)
    /// What waited has fallen to the low mark, or is all sent.
    func connectionDrained(_ connection: Connection)
    /// Broken, and closed by the time of this call. Not called after `close` or `abort`.
    func connection(_ connection: Connection, failed error: ConnectionError)
}

/// A byte pipe over one socket, plain or TLS, with bounded reading and counted writing. Owned by one protocol
/// connection, on one loop. It owns the descriptor, and whichever way it ends, closes it once.
public final class Connection: EventHandler, TimerHandler {
    public unowned let loop: EventLoop
    /// That of the loop, which may be gone before the last connection.
    private let kernel: any Kernel
    public let peer: SocketAddress
    /// Held until the connection is closed or begins to close, so that no weak reference stands on a token's way.
    private var delegate: (any ConnectionDelegate)?
    let engine: TLSEngine?
    private var fd: Int32
    private var interest: Readiness
    private var isReadingPaused = false
    private var hasEnded = false
    private var wasEstablished = false
    /// Plain bytes that the delegate did not take; at most what one read brought.
    private var leftover = ByteQueue()
    /// Bytes for the socket that it did not take yet.
    private var pending = ByteQueue()
    private var wasOverLowMark = false
    private var closing = Closing.no
    private var lingerTimer = TimerID.none

    private enum Closing { case no, afterFlush, lingering }

    /// For so long a peer may take nothing of what still waits after `closeAfterFlush`.
    public var flushPatience = Interval.seconds(30)

    /// While reading is paused, the peer's end is not noticed before all that it sent has been read. For peers whose every
    /// byte counts even if they have gone: upstreams, and not clients, who are to be noticed when they go.
    public var readsToEnd = false
    /// The socket is broken and `readsToEnd`: out of the loop until reading goes on, since epoll always reports that.
    private var isDetached = false

    /// When the socket last took bytes, or when bytes first had to wait: what a stalled reader is measured from.
    public private(set) var lastProgress: Instant
    /// Bytes taken from and given to the socket.
    public private(set) var receivedBytes = 0
    public var sentBytes: Int { writtenBytes &+ corkedBytes }
    /// Of `sentBytes`, what the peer has acknowledged and so may have read; of a closed connection, what it had by then. A reset
    /// overtakes acknowledgements: after one that no FIN preceded it may be all.
    public var takenBytes: Int { fd >= 0 ? writtenBytes &- kernel.unacknowledged(fd) : takenAtClose }
    private var takenAtClose = 0
    private var writtenBytes = 0
    /// Sent, and still in the loop's cork.
    private var corkedBytes = 0
    /// `connectionDrained` is called when this or less waits.
    public var lowMarkBytes = 0

    /// Takes over a connected socket. Call `start` next.
    public init(
        _ socket: consuming Descriptor, peer: SocketAddress, engine: TLSEngine?, loop: EventLoop
    ) throws(SystemError) {
        (self.loop, self.peer, self.engine) = (loop, peer, engine)
        kernel = loop.kernel
        lastProgress = loop.now
        interest = [.readable, .readClosed]
        fd = -1
        try loop.register(socket.raw, interest: interest, handler: self)
        fd = socket.release()
    }

    deinit { if fd >= 0 { kernel.close(fd) } }

    /// Begins: a TLS client says hello. `connectionEstablished` comes from here at once if there is no TLS.
    public func start(_ delegate: any ConnectionDelegate) {
        self.delegate = delegate
        guard engine != nil else {
            wasEstablished = true
            delegate.connectionEstablished(self)
            return
        }
        process(Span<UInt8>())
    }

    /// Hands the connection over to another delegate, from within a call to the one it has.
    public func changeDelegate(to delegate: any ConnectionDelegate) {
        guard fd >= 0, closing == .no else { return }
        self.delegate = delegate
    }

    public var isOpen: Bool { fd >= 0 }
    /// For tests that wait for the socket itself; -1 once closed.
    var descriptor: Int32 { fd }
    public var isTLS: Bool { engine != nil }
    /// Bytes that wait for the socket.
    public var pendingBytes: Int { pending.count }
    public var applicationProtocol: String? { engine?.applicationProtocol }
    public var peerSubject: String? { engine?.peerSubject }
    public var peerNames: [String] { engine?.peerNames ?? [] }

    // MARK: - Sending

    /// Sends all of `bytes` and empties it; what the socket does not take now waits in `pendingBytes`.
    /// Errors are reported later, from the loop: a caller never loses itself inside its own `send`.
    public func send(_ bytes: inout ByteQueue) {
        defer { bytes.removeAll() }
        guard fd >= 0, closing == .no, !bytes.isEmpty else { return }
        guard let engine else { return transmit(&bytes) }
        var cipher = ByteQueue()
        swap(&cipher, &loop.ciphertext)
        do throws(TLSError) {
            try engine.send(bytes.span, output: &cipher)
            transmit(&cipher)
        } catch {
            failLater(.tls(error))
        }
        cipher.removeAll()
        swap(&cipher, &loop.ciphertext)
    }

    private func transmit(_ bytes: inout ByteQueue) {
        if pending.isEmpty {
            let count = bytes.count
            if loop.cork(bytes.span, of: self) {
                // It may have been written, by a cork that was full.
                corkedBytes &+= count
                return
            }
            do throws(SystemError) {
                bytes.consume(try write(bytes.span))
            } catch {
                return failLater(.system(error))
            }
            if bytes.isEmpty { return }
            lastProgress = loop.now
        }
        pending.append(moving: &bytes)
        waitForSocket()
    }

    private func waitForSocket() {
        wasOverLowMark = wasOverLowMark || pending.count > lowMarkBytes
        setInterest(interest.union(.writable))
    }

    /// What was corked is due.
    func writeCorked(_ bytes: Span<UInt8>) {
        corkedBytes &-= bytes.count
        guard fd >= 0 else { return }
        var written = 0
        if pending.isEmpty {
            do throws(SystemError) { written = try write(bytes) } catch { return failLater(.system(error)) }
            if written == bytes.count { return }
            lastProgress = loop.now
        }
        pending.append(bytes.extracting(written..<bytes.count))
        waitForSocket()
    }

    /// Returns how many bytes the socket took.
    private func write(_ bytes: Span<UInt8>) throws(SystemError) -> Int {
        let written = try bytes.withUnsafeBufferPointer { buffer throws(SystemError) in
            try SystemError.attempt("send") { kernel.send(fd, buffer) }
        }
        guard let written, written > 0 else { return 0 }
        writtenBytes &+= written
        lastProgress = loop.now
        return written
    }

    private func flush() {
        do throws(SystemError) { pending.consume(try write(pending.span)) } catch { return fail(.system(error)) }
        if pending.isEmpty {
            pending.releaseIfEmpty()
            setInterest(interest.subtracting(.writable))
            if closing == .afterFlush { return linger() }
        }
        guard pending.isEmpty || (wasOverLowMark && pending.count <= lowMarkBytes) else { return }
        wasOverLowMark = false
        delegate?.connectionDrained(self)
    }

    // MARK: - Reading

    /// Reads nothing more until `resumeReading`. The end of the peer's side is still noticed.
    public func pauseReading() {
        guard !isReadingPaused else { return }
        isReadingPaused = true
        setInterest(interest.subtracting(.readable))
    }

    public func resumeReading() {
        guard isReadingPaused else { return }
        isReadingPaused = false
        guard fd >= 0 else { return }
        if leftover.isEmpty { return wantReading() }
        loop.afterTurn { [weak self] in self?.redeliver() }
    }

    /// Hands over again what the delegate left, when it can take more.
    public func redeliver() {
        guard fd >= 0, !leftover.isEmpty, !isReadingPaused else { return }
        var held = ByteQueue()
        swap(&held, &leftover)
        let taken = delegate?.connection(self, received: held.span) ?? held.count
        held.consume(taken)
        if !held.isEmpty {
            swap(&held, &leftover)
        } else {
            wantReading()
            if hasEnded, fd >= 0 { delegate?.connectionEnded(self) }
        }
    }

    /// True if the peer sent bytes that nobody took yet.
    public var hasLeftover: Bool { !leftover.isEmpty }

    private func wantReading() {
        guard fd >= 0, !isReadingPaused, leftover.isEmpty, !hasEnded else { return }
        setInterest(interest.union(readsToEnd ? [.readable, .readClosed] : .readable))
        reattach()
    }

    public func ready(_ readiness: Readiness, on loop: EventLoop) {
        if readiness.contains(.readable), interest.contains(.readable) {
            // Also after a reset: what arrived before it stands in the queue still, and `recv` reports the reset after it.
            receive()
        } else if readsToEnd, isReadingPaused, !readiness.isDisjoint(with: [.error, .readClosed, .hangup]) {
            setInterest(interest.subtracting(.readClosed))
            guard readiness.isDisjoint(with: [.error, .hangup]) else { return detach() }
        } else if readiness.contains(.error) {
            return fail(.system(SystemError("recv", socketError())))
        } else if !readiness.isDisjoint(with: [.readClosed, .hangup]) {
            // Reading is paused, so the FIN is all that can be learnt: say so, and do not be told again.
            setInterest(interest.subtracting(.readClosed))
            if readiness.contains(.hangup) { return fail(.system(SystemError("recv", ECONNRESET))) }
            endReading()
        }
        if readiness.contains(.writable), fd >= 0 { flush() }
    }

    private func detach() {
        loop.unregister(fd)
        isDetached = true
    }

    private func reattach() {
        guard isDetached else { return }
        isDetached = false
        do throws(SystemError) {
            try loop.register(fd, interest: interest, handler: self)
        } catch {
            failLater(.system(error))
        }
    }

    private func receive() {
        let buffer = loop.readBuffer
        let count: Int?
        do throws(SystemError) {
            count = try SystemError.attempt("recv") { kernel.receive(fd, into: buffer) }
        } catch {
            return fail(.system(error))
        }
        guard let count else { return }
        if count == 0 {
            setInterest(interest.subtracting([.readable, .readClosed]))
            if engine != nil, engine?.receivedCloseNotify == false, closing == .no { return fail(.tls(.truncated)) }
            endReading()
            return
        }
        receivedBytes &+= count
        if closing != .no { return }  // lingering: what still comes is read so that it cannot reset what was sent
        let bytes = UnsafeBufferPointer(rebasing: UnsafeBufferPointer(buffer)[..<count])
        process(bytes.span)
    }

    private func process(_ bytes: Span<UInt8>) {
        guard let engine else { return deliver(bytes) }
        var plain = ByteQueue()
        var cipher = ByteQueue()
        swap(&plain, &loop.plaintext)
        swap(&cipher, &loop.ciphertext)
        var failure: TLSError?
        do throws(TLSError) {
            try engine.receive(bytes, plaintext: &plain, output: &cipher)
        } catch {
            failure = error
        }
        if !cipher.isEmpty { transmit(&cipher) }
        cipher.removeAll()
        swap(&cipher, &loop.ciphertext)
        if !wasEstablished, engine.isHandshakeComplete, fd >= 0, failure == nil {
            wasEstablished = true
            delegate?.connectionEstablished(self)
        }
        if !plain.isEmpty, fd >= 0 { deliver(plain.span) }
        plain.removeAll()
        swap(&plain, &loop.plaintext)
        if let failure {
            fail(.tls(failure))
        } else if engine.receivedCloseNotify, !hasEnded {
            endReading()
        }
    }

    private func deliver(_ bytes: Span<UInt8>) {
        if !leftover.isEmpty {
            leftover.append(bytes)
            return
        }
        let taken = delegate?.connection(self, received: bytes) ?? bytes.count
        guard taken < bytes.count, fd >= 0 else { return }
        leftover.append(bytes.extracting(taken..<bytes.count))
        setInterest(interest.subtracting(.readable))
    }

    private func endReading() {
        guard !hasEnded, fd >= 0 else { return }
        hasEnded = true
        if closing == .lingering { return close() }
        if closing == .no { delegate?.connectionEnded(self) }
    }

    // MARK: - Ending

    /// Closes now. What waits is lost; a FIN (or, if unread bytes are there, a reset) tells the peer.
    public func close() {
        guard fd >= 0 else { return }
        if corkedBytes > 0 { loop.uncork() }
        if closing != .no { loop.closing[ObjectIdentifier(self)] = nil }
        loop.cancel(lingerTimer)
        loop.unregister(fd)
        takenAtClose = takenBytes
        kernel.close(fd)
        fd = -1
        pending.removeAll()
        pending.releaseIfEmpty()
        leftover.removeAll()
        leftover.releaseIfEmpty()
        delegate = nil
    }

    /// Closes now with a reset, so that the peer cannot take what it has for complete.
    public func abort() {
        guard fd >= 0 else { return }
        kernel.resetOnClose(fd)
        close()
    }

    /// Sends what waits, then FIN, and closes when the peer has closed too, or after a short while. Nothing more is
    /// delivered. Reading goes on meanwhile, since closing over unread bytes would reset what was just sent. A peer that
    /// takes nothing for `flushPatience` gets a reset, so that it cannot take what it has for complete.
    public func closeAfterFlush() {
        guard fd >= 0, closing == .no else { return }
        if let engine {
            var cipher = ByteQueue()
            engine.close(output: &cipher)
            if !cipher.isEmpty { transmit(&cipher) }
        }
        if corkedBytes > 0 { loop.uncork() }
        closing = .afterFlush
        delegate = nil
        guard fd >= 0 else { return }
        loop.closing[ObjectIdentifier(self)] = self
        leftover.removeAll()
        isReadingPaused = false
        if hasEnded && pending.isEmpty { return close() }
        if !hasEnded { setInterest(interest.union([.readable, .readClosed])) }
        lingerTimer = loop.schedule(after: flushPatience, handler: self)
        if pending.isEmpty { linger() }
    }

    private func linger() {
        closing = .lingering
        _ = kernel.shutdown(fd, Int32(SHUT_WR))
        if hasEnded { return close() }
        loop.cancel(lingerTimer)
        lingerTimer = loop.schedule(after: .seconds(2), handler: self)
    }

    public func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == lingerTimer else { return }
        guard closing == .afterFlush else { return close() }
        let deadline = lastProgress + flushPatience
        if deadline > loop.now { lingerTimer = loop.schedule(at: deadline, handler: self) } else { abort() }
    }

    private func fail(_ error: ConnectionError) {
        guard fd >= 0 else { return }
        let delegate = delegate
        close()
        // EPIPE says that the FIN came first: then the reset answers bytes that found nobody, and overtakes nothing.
        if case .system(let error) = error, error.code != EPIPE { takenAtClose = writtenBytes }
        delegate?.connection(self, failed: error)
    }

    private func failLater(_ error: ConnectionError) {
        loop.afterTurn { [weak self] in self?.fail(error) }
    }

    private func setInterest(_ wanted: Readiness) {
        guard wanted != interest, fd >= 0 else { return }
        interest = wanted
        if isDetached { return }
        do throws(SystemError) { try loop.modify(fd, interest: wanted) } catch { failLater(.system(error)) }
    }

    private func socketError() -> Int32 {
        let code = kernel.takeError(fd)
        return code == 0 ? ECONNRESET : code
    }
}
