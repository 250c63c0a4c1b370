import CLinux
import Glibc
import SluiceBytes
import SluiceIO

/// What of the operating system goes wrong, in percent of the calls.
struct KernelFaults {
    var interrupts = 0.0
    /// Readiness reported that is none: the call then says EAGAIN.
    var spurious = 0.0
    var acceptErrors = 0.0
    var socketErrors = 0.0
    /// The process does not run for a while.
    var stalls = 0.0
}

/// The operating system of one world: descriptors, epoll and a clock over the simulated network.
///
/// The lowest free descriptor is the next one, as the real one has it, so that whatever confuses an old owner of a number
/// with its new one is found. Misuse that Linux would forgive or punish by chance (a call on a closed descriptor, a close of a
/// registered one) is a violation here.
final class SimulatedKernel: Kernel {
    private enum Entry {
        case poll
        case unconnected
        case socket(Socket)
        case listener(Network.Backlog)
    }
    /// Below are descriptors of the real process, such as the mailbox's: taken into epoll, and never ready.
    private static let base: Int32 = 1024

    private struct Registration {
        let fd: Int32
        var interest: UInt32
        var key: UInt64
    }

    let timeline: Timeline
    let network: Network
    private let faults: KernelFaults
    private var random: SeededRandom
    private var table: [Entry?] = []
    private var registrations: [Registration] = []
    private var bound: [Int32: SocketAddress] = [:]
    private var outOfDescriptorsUntil: UInt64 = 0
    /// What the code under test did that no program may do.
    private(set) var misuse: [String] = []
    /// Virtual time in which the process did not run, in nanoseconds.
    private(set) var stalled: UInt64 = 0
    /// Calls that moved a byte or made, took or ended a connection.
    private(set) var progress = 0
    private(set) var turns = 0
    private(set) var socketFaults = 0

    init(_ timeline: Timeline, _ network: Network, _ faults: KernelFaults, _ random: SeededRandom) {
        (self.timeline, self.network, self.faults, self.random) = (timeline, network, faults, random)
    }

    var openCount: Int { table.count { $0 != nil } }
    var openSocketCount: Int { table.count { if case .socket? = $0 { true } else { false } } }

    var openOnes: [String] {
        table.compactMap { entry in
            switch entry {
            case .socket(let socket): "socket \(socket.serial)"
            case .poll: "epoll"
            case .unconnected: "a socket that never connected"
            case .listener: "a listener"
            case nil: nil
            }
        }
    }

    /// True if the proxy has closed that end.
    static func isGone(_ far: Socket) -> Bool { far.peer?.isClosed ?? true }

    private func open(_ entry: Entry) -> Int32 {
        if let free = table.firstIndex(where: { $0 == nil }) {
            table[free] = entry
            return Self.base + Int32(free)
        }
        table.append(entry)
        return Self.base + Int32(table.count - 1)
    }

    private func entry(_ fd: Int32, _ call: StaticString) -> Entry? {
        let index = Int(fd) - Int(Self.base)
        guard index >= 0, index < table.count, let entry = table[index] else {
            misuse.append("\(call) on descriptor \(fd), which is not open")
            return nil
        }
        return entry
    }

    private func socket(_ fd: Int32, _ call: StaticString) -> Socket? {
        if case .socket(let socket)? = entry(fd, call) { socket } else { nil }
    }

    // MARK: - Clock and epoll

    func clock() -> Instant { timeline.instant }
    func unixTime() -> Int { 1_800_000_000 + Int(truncatingIfNeeded: timeline.instant.nanoseconds / 1_000_000_000) }

    func makePoll() -> CallResult { .success(Int(open(.poll))) }

    func control(_ poll: Int32, _ operation: Int32, _ fd: Int32, events: UInt32, key: UInt64) -> CallResult {
        guard fd >= Self.base else { return .success(0) }
        guard entry(fd, "epoll_ctl") != nil else { return .failure(EBADF) }
        let index = registrations.firstIndex { $0.fd == fd }
        switch (operation, index) {
        case (EPOLL_CTL_ADD, nil): registrations.append(Registration(fd: fd, interest: events, key: key))
        case (EPOLL_CTL_ADD, _): return .failure(EEXIST)
        case (EPOLL_CTL_MOD, let index?): (registrations[index].interest, registrations[index].key) = (events, key)
        case (EPOLL_CTL_DEL, let index?): registrations.remove(at: index)
        default: return .failure(ENOENT)
        }
        return .success(0)
    }

    func wait(_ poll: Int32, _ events: UnsafeMutablePointer<epoll_event>, count: Int, milliseconds: Int32) -> CallResult
    {
        turns += 1
        if random.chance(faults.interrupts) { return .failure(EINTR) }
        var pause = random.within(microseconds(2)...microseconds(30))
        if random.chance(faults.stalls) {
            pause = random.skewed(SluiceSimulation.milliseconds(1)...SluiceSimulation.milliseconds(900))
            stalled &+= UInt64(pause)
        }
        timeline.advance(to: timeline.now &+ UInt64(pause))
        let deadline = milliseconds < 0 ? UInt64.max : timeline.now &+ UInt64(milliseconds) * 1_000_000
        while true {
            let found = collect(events, count)
            if found > 0 || milliseconds == 0 { return .success(found) }
            guard let next = timeline.next, next <= deadline else {
                guard deadline < .max else {
                    misuse.append("epoll_wait without an end, and nothing will ever happen")
                    return .failure(EIO)
                }
                timeline.advance(to: deadline)
                return .success(collect(events, count))
            }
            timeline.advance(to: next)
        }
    }

    /// In an order that no program may rely on.
    private func collect(_ events: UnsafeMutablePointer<epoll_event>, _ limit: Int) -> Int {
        var found = 0
        for registration in registrations where found < limit {
            var mask: UInt32 = 0
            switch table[Int(registration.fd - Self.base)] {
            case .socket(let socket): mask = socket.readiness
            case .listener(let backlog): mask = backlog.waiting.isEmpty ? 0 : SL_IN
            case .unconnected: mask = SL_OUT | SL_HUP
            case .poll, nil: break
            }
            mask &= registration.interest | SL_HUP | SL_ERR
            if mask == 0, random.chance(faults.spurious) {
                mask = (random.chance(50) ? SL_IN : SL_OUT) & registration.interest
                if case .socket(let socket)? = table[Int(registration.fd - Self.base)], !socket.isConnected { mask = 0 }
            }
            guard mask != 0 else { continue }
            events[found].events = mask
            events[found].data.u64 = registration.key
            found += 1
        }
        if found > 1 {
            for index in stride(from: found - 1, to: 0, by: -1) {
                let other = random.below(index + 1)
                (events[index], events[other]) = (events[other], events[index])
            }
        }
        return found
    }

    // MARK: - Sockets

    func makeSocket(for address: SocketAddress) -> CallResult {
        // Without its listener, which is the first, there is no world.
        if !bound.isEmpty, random.chance(faults.socketErrors) {
            socketFaults += 1
            return .failure(EMFILE)
        }
        return .success(Int(open(.unconnected)))
    }

    func bind(_ fd: Int32, to address: SocketAddress) -> CallResult {
        bound[fd] = address
        return .success(0)
    }

    func listen(_ fd: Int32, backlog: Int32) -> CallResult {
        guard entry(fd, "listen") != nil, let address = bound[fd] else { return .failure(EINVAL) }
        table[Int(fd - Self.base)] = .listener(network.listen(on: address))
        return .success(0)
    }

    func localAddress(_ fd: Int32) -> SocketAddress? { bound[fd] }

    func accept(_ fd: Int32, peer: inout SocketAddress?) -> CallResult {
        guard case .listener(let backlog)? = entry(fd, "accept") else { return .failure(EBADF) }
        guard !backlog.waiting.isEmpty else { return .failure(EAGAIN) }
        if timeline.now < outOfDescriptorsUntil { return .failure(EMFILE) }
        if random.chance(faults.acceptErrors) {
            switch random.below(3) {
            case 0:
                outOfDescriptorsUntil = timeline.now &+ UInt64(random.within(1...400)) * 1_000_000
                return .failure(EMFILE)
            case 1: return .failure(EINTR)
            default:
                let lost = backlog.waiting.removeFirst().socket
                lost.isSacrificed = true
                lost.abort()
                return .failure(ECONNABORTED)
            }
        }
        let entry = backlog.waiting.removeFirst()
        peer = entry.peer
        progress += 1
        return .success(Int(open(.socket(entry.socket))))
    }

    func connect(_ fd: Int32, to address: SocketAddress) -> CallResult {
        guard case .unconnected? = entry(fd, "connect") else { return .failure(EISCONN) }
        progress += 1
        return network.connectOut(to: address) { table[Int(fd - Self.base)] = .socket($0) }
    }

    func receive(_ fd: Int32, into buffer: UnsafeMutableBufferPointer<UInt8>) -> CallResult {
        guard let socket = socket(fd, "recv") else { return .failure(EBADF) }
        if random.chance(faults.interrupts) { return .failure(EINTR) }
        let result = socket.receive(into: buffer)
        if result.code != EAGAIN { progress += 1 }
        return result
    }

    func send(_ fd: Int32, _ bytes: UnsafeBufferPointer<UInt8>) -> CallResult {
        guard let socket = socket(fd, "send") else { return .failure(EBADF) }
        if random.chance(faults.interrupts) { return .failure(EINTR) }
        let result = socket.send(bytes)
        if result.code != EAGAIN { progress += 1 }
        return result
    }

    func unacknowledged(_ fd: Int32) -> Int { socket(fd, "ioctl")?.underWay ?? 0 }

    func shutdown(_ fd: Int32, _ how: Int32) -> CallResult {
        progress += 1
        switch entry(fd, "shutdown") {
        case .socket(let socket): socket.shutdownWriting()
        case .listener(let backlog): backlog.close()
        default: return .failure(ENOTCONN)
        }
        return .success(0)
    }

    func setOption(_ fd: Int32, _ level: Int32, _ name: Int32, _ value: Int32) -> CallResult {
        entry(fd, "setsockopt") == nil ? .failure(EBADF) : .success(0)
    }

    func resetOnClose(_ fd: Int32) { socket(fd, "setsockopt")?.resetsOnClose = true }

    func takeError(_ fd: Int32) -> Int32 {
        progress += 1
        return socket(fd, "getsockopt")?.takeError() ?? 0
    }

    func close(_ fd: Int32) {
        guard let entry = entry(fd, "close") else { return }
        progress += 1
        if registrations.contains(where: { $0.fd == fd }) {
            misuse.append("close of a descriptor that epoll still has")
        }
        switch entry {
        case .socket(let socket): socket.close()
        case .listener(let backlog): backlog.close()
        case .poll, .unconnected: break
        }
        table[Int(fd - Self.base)] = nil
        bound[fd] = nil
    }
}
