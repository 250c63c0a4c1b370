import CLinux
import Glibc
import SluiceBytes
import Synchronization

/// Counts the open client connections of all workers, so that `limits.connections` holds for the process.
public final class ConnectionBudget: Sendable {
    private let used = Atomic<Int>(0)
    private let allowed: Atomic<Int>

    public init(limit: Int) { allowed = Atomic(limit) }

    /// May change while connections are open; those that are too many then stay.
    public var limit: Int {
        get { allowed.load(ordering: .relaxed) }
        set { allowed.store(newValue, ordering: .relaxed) }
    }

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

/// Accepts connections from one socket, which may be shared with other loops. Out of places or descriptors, accepting pauses and
/// is tried again soon: no spin, the backlog waits.
public final class Listener: EventHandler, TimerHandler {
    public typealias Accepted = (_ socket: consuming Descriptor, _ peer: SocketAddress) -> Void

    /// Where it really listens: with port 0, the port that the kernel chose.
    public let address: SocketAddress
    /// nil once closed.
    private var socket: ListeningSocket?
    /// Other loops wait for it too.
    private let isShared: Bool
    private let loop: EventLoop
    private let budget: ConnectionBudget
    private let accepted: Accepted
    private var retry = TimerID.none
    private let ownsPath: Bool
    /// To be closed with the listener; -1 if its socket does that itself.
    private var lent: Int32 = -1

    /// Connections taken in one turn before others get theirs.
    private static let batch = 64
    private static let backlog: Int32 = 8192
    private static let retryDelay = Interval.milliseconds(50)

    /// A socket of its own on `address`, from the loop's kernel, whichever that is.
    package convenience init(
        on address: SocketAddress, loop: EventLoop, budget: ConnectionBudget, accepted: @escaping Accepted
    ) throws(SystemError) {
        let kernel = loop.kernel
        let socket = try SystemError.check("socket") { kernel.makeSocket(for: address) }
        let descriptor = Descriptor(owning: Int32(truncatingIfNeeded: socket), of: kernel)
        let raw = descriptor.raw
        try SystemError.check("bind") { kernel.bind(raw, to: address) }
        try SystemError.check("listen") { kernel.listen(raw, backlog: Self.backlog) }
        // A port may have been the kernel's choice; of a path it tells nothing that is not known.
        var place = address
        if case .ip = address { place = kernel.localAddress(raw) ?? address }
        let bound = ListeningSocket(lending: raw, at: place)
        try self.init(taking: bound, loop: loop, budget: budget, accepted: accepted)
        lent = descriptor.release()
    }

    /// Accepts from `socket`, of which others may take their share.
    public init(
        taking socket: ListeningSocket, isShared: Bool = false, ownsPath: Bool = false, loop: EventLoop,
        budget: ConnectionBudget, accepted: @escaping Accepted
    ) throws(SystemError) {
        (self.socket, self.isShared, self.ownsPath, address) = (socket, isShared, ownsPath, socket.address)
        (self.loop, self.budget, self.accepted) = (loop, budget, accepted)
        try startAccepting(socket)
    }

    /// Stops accepting and lets go of the socket. What waits in its queue is reset by the kernel if nobody else holds it,
    /// unless it is taken first: `takingWaiting`.
    public func close(takingWaiting: Bool = false) {
        guard let socket else { return }
        if takingWaiting { accept(from: socket, atMost: Int(Self.backlog)) }
        self.socket = nil
        loop.cancel(retry)
        loop.unregister(socket.descriptor)
        if ownsPath { socket.removePath() }
        if lent >= 0 { loop.kernel.close(lent) }
    }

    public func ready(_ readiness: Readiness, on loop: EventLoop) {
        if let socket { accept(from: socket, atMost: Self.batch) }
    }

    private func accept(from listening: ListeningSocket, atMost limit: Int) {
        for _ in 0..<limit {
            guard socket != nil else { return }
            guard budget.take() else { return pause() }
            var peer: SocketAddress?
            let result = loop.kernel.accept(listening.descriptor, peer: &peer)
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
        guard let socket, timer == retry else { return }
        retry = .none
        try? isShared ? startAccepting(socket) : loop.modify(socket.descriptor, interest: .readable)
        ready(.readable, on: loop)
    }

    private func startAccepting(_ socket: ListeningSocket) throws(SystemError) {
        let interest = isShared ? Readiness(rawValue: SL_IN | SL_EXCLUSIVE) : .readable
        try loop.register(socket.descriptor, interest: interest, handler: self)
    }

    private func pause() {
        guard retry == .none, let socket else { return }
        // What is waited for exclusively cannot be modified.
        if isShared { loop.unregister(socket.descriptor) } else { try? loop.modify(socket.descriptor, interest: []) }
        retry = loop.schedule(after: Self.retryDelay, handler: self)
    }
}
