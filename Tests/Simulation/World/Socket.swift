import CLinux
import Glibc
import SluiceBytes
import SluiceIO

/// How the network between the two ends of one connection behaves.
struct Weather {
    /// From sending to arriving, at least and at most.
    var latency = microseconds(50)...microseconds(400)
    /// Bytes that are under way or stand unread at the other end, at most.
    var capacity = 64 << 10
    /// That a write takes only a part, and that a read gives only a part, in percent.
    var shortWrites = 0.0
    var shortReads = 0.0
    /// Pieces that one write arrives in, at most.
    var pieces = 1
    /// Bytes that one read gives, at most.
    var readLimit = 64 << 10
}

/// One end of a simulated TCP connection. The proxy's ends stand behind descriptors, the actors hold theirs.
///
/// What Linux does is modelled as far as a program can see it without looking at packets: bytes in order, a bounded amount
/// under way, FIN, RST that overtakes what was not sent yet, an RST as the answer to bytes for a closed end, what stands in
/// the queue readable even behind an RST, and the error told once.
final class Socket {
    let serial: Int
    let timeline: Timeline
    let weather: Weather
    var random: SeededRandom
    /// Cut by `sever` when the world ends.
    private(set) var peer: Socket?

    private(set) var isConnected = false
    private(set) var inbox: [UInt8] = []
    private var taken = 0
    /// SOCK_DONE: the peer's FIN has come.
    private(set) var hasFIN = false
    private(set) var isReadShut = false
    private(set) var isWriteShut = false
    private(set) var error: Int32 = 0
    private(set) var isDead = false
    private(set) var isClosed = false
    var resetsOnClose = false
    /// `accept` has taken it away.
    var isSacrificed = false
    /// Bytes sent by this end that are not in the other's queue yet.
    private(set) var underWay = 0
    /// Raised where the network loses what is under way.
    private var epoch = 0
    private var lastArrival: UInt64 = 0
    private var wantsSpace = false
    /// Has something new to see. For the actors' ends.
    var changed: (() -> Void)?
    /// The peer's end (FIN, RST) has come.
    var peerLeft: (() -> Void)?
    /// Told what happens to this end, where somebody wants to read it.
    var tell: ((String) -> Void)?
    private(set) var receivedBytes = 0
    private(set) var sentBytes = 0

    init(_ serial: Int, _ timeline: Timeline, _ weather: Weather, _ random: SeededRandom) {
        (self.serial, self.timeline, self.weather, self.random) = (serial, timeline, weather, random)
    }

    var unread: Int { inbox.count - taken }
    private var free: Int { max(0, weather.capacity - underWay - (peer.map { $0.isClosed ? 0 : $0.unread } ?? 0)) }

    /// The two become one connection.
    static func join(_ first: Socket, _ second: Socket) { (first.peer, second.peer) = (second, first) }

    func establish() {
        guard !isDead, !isClosed else { return }
        isConnected = true
        tell?("is connected")
        changed?()
    }

    func sever() { (peer, changed, peerLeft) = (nil, nil, nil) }

    /// What epoll reports, after tcp_poll of Linux.
    var readiness: UInt32 {
        var mask: UInt32 = 0
        if isDead || (isReadShut && isWriteShut) { mask |= SL_HUP }
        if isReadShut { mask |= SL_IN | SL_RDHUP }
        if isConnected || isDead {
            if unread > 0 { mask |= SL_IN }
            if isWriteShut || free * 3 >= weather.capacity { mask |= SL_OUT }
        }
        if error != 0 { mask |= SL_ERR }
        return mask
    }

    // MARK: - Calls

    func takeError() -> Int32 {
        defer { error = 0 }
        return error
    }

    func send(_ bytes: UnsafeBufferPointer<UInt8>) -> CallResult {
        if error != 0 { return .failure(takeError()) }
        if isWriteShut || isDead { return .failure(EPIPE) }
        guard isConnected else { return .failure(EAGAIN) }
        var count = min(bytes.count, free)
        if count == 0 {
            wantsSpace = true
            return .failure(EAGAIN)
        }
        if random.chance(weather.shortWrites) { count = random.within(1...count) }
        if count < bytes.count { wantsSpace = true }
        sentBytes += count
        tell?("sends \(count) of \(bytes.count) bytes")
        transmit(Array(bytes[..<count]))
        return .success(count)
    }

    /// Returns how many of `bytes` were taken; nil if the connection is broken.
    func send(_ bytes: ArraySlice<UInt8>) -> Int? {
        let result = bytes.withUnsafeBufferPointer { send($0) }
        if result.code == 0 { return result.value }
        return result.code == EAGAIN ? 0 : nil
    }

    func receive(into buffer: UnsafeMutableBufferPointer<UInt8>) -> CallResult {
        if unread > 0 {
            var count = min(unread, buffer.count, weather.readLimit)
            if random.chance(weather.shortReads) { count = random.within(1...count) }
            for index in 0..<count { buffer[index] = inbox[taken + index] }
            take(count)
            return .success(count)
        }
        if hasFIN { return .success(0) }
        if error != 0 { return .failure(takeError()) }
        if isReadShut || isDead { return .success(0) }
        return .failure(isConnected ? EAGAIN : ENOTCONN)
    }

    /// At most `limit` of what has arrived.
    func read(_ limit: Int) -> [UInt8] {
        let count = min(unread, limit)
        guard count > 0 else { return [] }
        let bytes = Array(inbox[taken..<(taken + count)])
        take(count)
        return bytes
    }

    private func take(_ count: Int) {
        taken += count
        receivedBytes += count
        if taken == inbox.count {
            inbox.removeAll(keepingCapacity: true)
            taken = 0
        } else if taken > 64 << 10 {
            inbox.removeFirst(taken)
            taken = 0
        }
        peer?.spaceFreed()
    }

    private func spaceFreed() {
        guard wantsSpace, changed != nil else { return }
        wantsSpace = false
        timeline.after(delay()) { [weak self] in self?.changed?() }
    }

    func shutdownWriting() {
        guard !isWriteShut, !isDead else { return }
        tell?("sends a FIN")
        isWriteShut = true
        let epoch = epoch
        arrive { [weak self] in
            guard let self, self.epoch == epoch else { return }
            peer?.finArrived()
        }
    }

    /// Closes as `close` does: with a FIN behind what was sent, or with an RST if something stands unread.
    func close() {
        guard !isClosed else { return }
        tell?("is closed\(resetsOnClose ? " by a reset" : ""), \(unread) bytes unread, \(underWay) under way")
        isClosed = true
        if isDead || !isConnected {
            isDead = true
        } else if resetsOnClose || unread > 0 {
            reset()
        } else {
            shutdownWriting()
        }
    }

    func abort() {
        resetsOnClose = true
        close()
    }

    // MARK: - The network

    private func delay() -> Int { random.within(weather.latency) }

    /// Behind everything that this end sent before.
    private func arrive(_ action: @escaping () -> Void) {
        lastArrival = max(lastArrival, timeline.now &+ UInt64(delay()))
        timeline.at(lastArrival, action)
    }

    private func transmit(_ bytes: [UInt8]) {
        underWay += bytes.count
        var rest = bytes[...]
        for _ in 1..<max(2, random.within(1...max(1, weather.pieces)) + 1) where rest.count > 1 {
            let piece = rest.prefix(random.within(1...rest.count))
            rest = rest.dropFirst(piece.count)
            transmitPiece(piece)
        }
        if !rest.isEmpty { transmitPiece(rest) }
    }

    private func transmitPiece(_ piece: ArraySlice<UInt8>) {
        let epoch = epoch
        arrive { [weak self] in
            guard let self else { return }
            underWay -= piece.count
            if self.epoch == epoch { peer?.arrived(piece) }
        }
    }

    private func arrived(_ piece: ArraySlice<UInt8>) {
        if isDead { return }
        if isClosed {
            // Bytes for an end that nobody reads any more: the sender learns it by an RST, and what was still to go is lost.
            isDead = true
            return reset()
        }
        inbox += piece
        changed?()
    }

    private func finArrived() {
        guard !isDead, !hasFIN else { return }
        tell?("gets a FIN behind \(unread) unread bytes")
        (hasFIN, isReadShut) = (true, true)
        peerLeft?()
        changed?()
    }

    /// An RST: perhaps at once, before what is under way, which is then lost.
    private func reset() {
        isDead = true
        (isReadShut, isWriteShut) = (true, true)
        let action = { [weak self] in
            guard let self else { return }
            peer?.resetArrived()
        }
        if random.chance(50) {
            epoch += 1
            timeline.after(delay(), action)
        } else {
            arrive(action)
        }
    }

    private func resetArrived() {
        guard !isDead else { return }
        tell?("gets an RST behind \(unread) unread bytes")
        isDead = true
        epoch += 1
        error = hasFIN ? EPIPE : ECONNRESET
        (isReadShut, isWriteShut) = (true, true)
        peerLeft?()
        changed?()
    }

    /// No connection comes about.
    func refuse(_ code: Int32) {
        guard !isClosed else { return }
        tell?("is refused")
        isDead = true
        error = code
        (isReadShut, isWriteShut) = (true, true)
        changed?()
    }
}
