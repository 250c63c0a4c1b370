import CLinux
import Glibc
import SluiceBytes

/// What a descriptor is ready for, and what its owner wants to hear of.
public struct Readiness: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let readable = Readiness(rawValue: SL_IN)
    public static let writable = Readiness(rawValue: SL_OUT)
    /// The peer has sent its FIN; unread bytes may still stand before it.
    public static let readClosed = Readiness(rawValue: SL_RDHUP)
    /// Always reported: both directions are gone (a reset, or FIN both ways).
    public static let hangup = Readiness(rawValue: SL_HUP)
    public static let error = Readiness(rawValue: SL_ERR)
}

/// Owns a registered descriptor. Called on the loop's thread only.
public protocol EventHandler: AnyObject {
    func ready(_ readiness: Readiness, on loop: EventLoop)
}

/// Set timers. Called on the loop's thread, at most once for each time a timer was set.
public protocol TimerHandler: AnyObject {
    func timerFired(_ timer: TimerID, on loop: EventLoop)
}

/// Has something to do once after all events of a turn, such as writing what several of them produced.
public protocol TurnHandler: AnyObject {
    func turnEnded(on loop: EventLoop)
}

/// One epoll, one thread, and everything that lives on it. Nothing of it may be touched from another thread; what
/// comes from there comes through `mailbox`.
///
/// Readiness is level-triggered: a handler reads once for each report, so that no connection can starve the others.
public final class EventLoop {
    private struct Slot {
        var generation: UInt32 = 0
        var handler: (any EventHandler)?
    }
    /// Whatever runs on this loop asks this one, and no other, for its sockets.
    package let kernel: any Kernel
    private let epoll: Descriptor
    private var slots: [Slot] = []
    private var ready = [epoll_event](repeating: epoll_event(), count: 512)

    private var wheel: TimerWheel
    private var timerHandlers: [(any TimerHandler)?] = []
    private var due: [TimerID] = []

    private var turnHandlers: [any TurnHandler] = []
    private var deferred: [() -> Void] = []
    package private(set) var isStopped = false
    private var stopsWhenClosed = false
    /// Connections that still send what waits, or wait for their peer's end, and belong to nobody else any more.
    var closing: [ObjectIdentifier: Connection] = [:]

    /// Read once a turn, after waiting: every deadline within a turn is measured from the same point.
    public private(set) var now: Instant
    /// Whatever runs on this loop, for work that comes through the mailbox and must find it.
    public weak var owner: AnyObject?
    /// Where other threads leave work for this loop.
    public let mailbox: Mailbox

    /// Bytes just read from some socket of this loop; handed on as a span and dead after the handler returns.
    let readBuffer = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 64 << 10)
    /// Scratch of TLS sessions on this loop; empty between events. Taken out with `swap` while in use.
    var plaintext = ByteQueue()
    var ciphertext = ByteQueue()
    private var cork = Cork()
    private var isCorking = false

    public convenience init() throws(SystemError) { try self.init(on: LinuxKernel.shared) }

    package init(on kernel: any Kernel) throws(SystemError) {
        self.kernel = kernel
        let poll = try SystemError.check("epoll_create1") { kernel.makePoll() }
        epoll = Descriptor(owning: Int32(truncatingIfNeeded: poll), of: kernel)
        mailbox = try Mailbox()
        now = kernel.clock()
        wheel = TimerWheel(now: now)
        try control(EPOLL_CTL_ADD, mailbox.descriptor, .readable, generation: Self.mailboxGeneration)
    }

    deinit { readBuffer.deallocate() }

    // MARK: - Descriptors

    /// Starts reporting. The loop holds `handler` until `unregister`.
    public func register(_ fd: Int32, interest: Readiness, handler: any EventHandler) throws(SystemError) {
        let index = Int(fd)
        while slots.count <= index { slots.append(Slot()) }
        try control(EPOLL_CTL_ADD, fd, interest, generation: slots[index].generation)
        slots[index].handler = handler
    }

    public func modify(_ fd: Int32, interest: Readiness) throws(SystemError) {
        try control(EPOLL_CTL_MOD, fd, interest, generation: slots[Int(fd)].generation)
    }

    /// Call before the descriptor is closed. Events of this turn that were for it are dropped by the generation.
    public func unregister(_ fd: Int32) {
        guard Int(fd) < slots.count, slots[Int(fd)].handler != nil else { return }
        slots[Int(fd)].generation = (slots[Int(fd)].generation &+ 1) & 0x7FFF_FFFF
        slots[Int(fd)].handler = nil
        _ = kernel.control(epoll.raw, EPOLL_CTL_DEL, fd, events: 0, key: 0)
    }

    private static let mailboxGeneration: UInt32 = .max  // slots stay below it

    private func control(_ call: Int32, _ fd: Int32, _ interest: Readiness, generation: UInt32) throws(SystemError) {
        let key = UInt64(generation) << 32 | UInt64(UInt32(bitPattern: fd))
        try SystemError.check("epoll_ctl") { kernel.control(epoll.raw, call, fd, events: interest.rawValue, key: key) }
    }

    // MARK: - Timers

    /// Timers that are set; for the checks that none is left behind.
    public var timerCount: Int { wheel.count }

    /// The loop holds `handler` until the timer fires or is cancelled.
    public func schedule(at deadline: Instant, handler: any TimerHandler) -> TimerID {
        let timer = wheel.schedule(at: deadline)
        while timerHandlers.count <= Int(timer.index) { timerHandlers.append(nil) }
        timerHandlers[Int(timer.index)] = handler
        return timer
    }

    public func schedule(after delay: Interval, handler: any TimerHandler) -> TimerID {
        schedule(at: now + delay, handler: handler)
    }

    public func move(_ timer: TimerID, to deadline: Instant) { wheel.move(timer, to: deadline) }

    public func cancel(_ timer: TimerID) {
        guard wheel.isSet(timer) else { return }
        wheel.cancel(timer)
        timerHandlers[Int(timer.index)] = nil
    }

    // MARK: - After the events of a turn

    /// Calls `handler` once at the end of this turn. Asking twice calls twice: keep a flag.
    public func atEndOfTurn(_ handler: any TurnHandler) { turnHandlers.append(handler) }

    /// Runs `work` at the end of this turn; for what must not happen inside the caller's own stack. Not for tokens.
    public func afterTurn(_ work: @escaping () -> Void) { deferred.append(work) }

    // MARK: - Running

    /// Turns until `stop`.
    public func run() throws(SystemError) {
        while !isStopped { try turn(maximumWait: -1) }
    }

    public func stop() { isStopped = true }

    /// Stops when the last connection that is being closed has sent what waits: `Connection.flushPatience` bounds it.
    public func stopWhenClosed() { stopsWhenClosed = true }

    /// Ends the connections that are being closed, those that still have something to send by a reset, and stops.
    public func stopNow() {
        for connection in closing.values.sorted(by: { $0.descriptor < $1.descriptor }) {
            if connection.pendingBytes > 0 { connection.abort() } else { connection.close() }
        }
        stop()
    }

    /// Waits for events, at most `maximumWait` milliseconds (-1: no limit) or until the next timer, and handles them.
    public func turn(maximumWait: Int32) throws(SystemError) {
        var wait = turnHandlers.isEmpty && deferred.isEmpty ? maximumWait : 0
        if let delay = wheel.delay(from: now), wait < 0 || delay < wait { wait = delay }
        let count = try SystemError.check("epoll_wait") {
            kernel.wait(epoll.raw, &ready, count: ready.count, milliseconds: wait)
        }
        now = kernel.clock()
        isCorking = count > 1
        for position in 0..<count { dispatch(ready[position]) }
        isCorking = false
        uncork()
        fireTimers()
        endTurn()
        if stopsWhenClosed, closing.isEmpty { isStopped = true }
    }

    /// Takes `run` to be written soon, or returns false: then it is to be written now.
    func cork(_ run: Span<UInt8>, of connection: Connection) -> Bool {
        guard isCorking else { return false }
        cork.add(run, of: connection)
        if cork.isFull { uncork() }
        return true
    }

    func uncork() {
        guard !cork.isEmpty else { return }
        // Nothing that is called from here sends, but the rule for scratch holds for this one too.
        var full = Cork()
        swap(&full, &cork)
        full.pull()
        swap(&full, &cork)
    }

    private func dispatch(_ event: epoll_event) {
        let generation = UInt32(truncatingIfNeeded: event.data.u64 >> 32)
        if generation == Self.mailboxGeneration {
            mailbox.drain(on: self)
            return
        }
        let fd = Int(UInt32(truncatingIfNeeded: event.data.u64))
        // A handler earlier in this batch may have closed `fd`, and the kernel may have reissued it.
        guard fd < slots.count, slots[fd].generation == generation, let handler = slots[fd].handler else { return }
        handler.ready(Readiness(rawValue: event.events), on: self)
    }

    private func fireTimers() {
        guard wheel.count > 0 else { return }
        wheel.expire(now: now, into: &due)
        guard !due.isEmpty else { return }
        // The wheel has retired these, so their places may be taken again by handlers that run: take all owners first.
        var firing: [(TimerID, any TimerHandler)] = []
        for timer in due {
            if let handler = timerHandlers[Int(timer.index)] { firing.append((timer, handler)) }
            timerHandlers[Int(timer.index)] = nil
        }
        due.removeAll(keepingCapacity: true)
        for (timer, handler) in firing { handler.timerFired(timer, on: self) }
    }

    private func endTurn() {
        // Handlers may ask again; a bound keeps a mistake from starving the sockets.
        for _ in 0..<16 where !turnHandlers.isEmpty || !deferred.isEmpty {
            var handlers: [any TurnHandler] = []
            swap(&handlers, &turnHandlers)
            for handler in handlers { handler.turnEnded(on: self) }
            if turnHandlers.isEmpty {
                handlers.removeAll(keepingCapacity: true)
                swap(&handlers, &turnHandlers)
            }
            if deferred.isEmpty { continue }
            let work = deferred
            deferred.removeAll(keepingCapacity: true)
            for item in work { item() }
        }
    }

    /// Seconds since 1970, for what people and providers call time.
    public static func unixTime() -> Int { time(nil) }

    /// The same as the kernel of this loop has it.
    public func unixTime() -> Int { kernel.unixTime() }

    /// The clock as it is at this moment, and not when the turn began.
    public func readClock() -> Instant { kernel.clock() }

    /// The monotonic clock.
    public static func clock() -> Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec))
    }
}
