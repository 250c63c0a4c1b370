import Glibc
import SluiceBytes
import Testing

@testable import SluiceIO

/// Records what a connection says, and takes as much as it is told to.
private final class Recorder: ConnectionDelegate {
    var received: [UInt8] = []
    var takes = Int.max
    var hasEnded = false
    var drains = 0
    var failure: ConnectionError?
    var reacts: () -> Void = {}

    func connectionEstablished(_ connection: Connection) {}
    func connection(_ connection: Connection, received bytes: Span<UInt8>) -> Int {
        let taken = min(takes, bytes.count)
        for index in 0..<taken { received.append(bytes[index]) }
        reacts()
        return taken
    }
    func connectionEnded(_ connection: Connection) { hasEnded = true }
    func connectionDrained(_ connection: Connection) { drains += 1 }
    func connection(_ connection: Connection, failed error: ConnectionError) { failure = error }
}

/// Two connected plain connections on one loop.
private final class Pair {
    let loop: EventLoop
    var listener: Listener?
    var client: Connection?
    var server: Connection?
    let clientSide = Recorder()
    let serverSide = Recorder()
    let budget = ConnectionBudget(limit: 10)
    private var connector: Connector?

    init(on address: String = "127.0.0.1:0") throws {
        loop = try EventLoop()
        let address = try #require(SocketAddress(address))
        let listener = try Listener(on: address, loop: loop, budget: budget) { [unowned self] socket, peer in
            server = try? Connection(socket, peer: peer, engine: nil, loop: loop)
            server?.start(serverSide)
        }
        self.listener = listener
        connector = Connector(to: [listener.address], on: loop) { [unowned self] result in
            guard case .success(let connected) = result else { return }
            client = try? Connection(connected.take(), peer: connected.address, engine: nil, loop: loop)
            client?.start(clientSide)
        }
        try until { self.client != nil && self.server != nil }
    }

    deinit {
        listener?.close()
        client?.close()
        server?.close()
    }

    /// Turns the loop until `condition` holds; a test that would hang fails instead.
    func until(seconds: UInt64 = 10, _ condition: () -> Bool) throws {
        let deadline = EventLoop.clock() + .seconds(seconds)
        while !condition() {
            guard EventLoop.clock() < deadline else { throw Late() }
            try loop.turn(maximumWait: 20)
        }
    }

    struct Late: Error {}

    /// Both sides have bytes to read: the next turn has two events.
    func waitUntilReadable() {
        for connection in [client, server] { waitUntilReadable(connection) }
    }

    func waitUntilReadable(_ connection: Connection?) {
        var waiting = pollfd(fd: connection?.descriptor ?? -1, events: Int16(POLLIN), revents: 0)
        poll(&waiting, 1, 10_000)
    }

    static func send(_ bytes: [UInt8], on connection: Connection?) {
        var queue = ByteQueue()
        queue.append(bytes)
        connection?.send(&queue)
    }
}

@Suite struct ConnectionTests {
    @Test(arguments: ["127.0.0.1:0", "[::1]:0", "unix:/tmp/sluice-test-\(getpid()).sock"])
    func carriesBytesBothWays(address: String) throws {
        let pair = try Pair(on: address)
        Pair.send(Array("ping".utf8), on: pair.client)
        try pair.until { pair.serverSide.received == Array("ping".utf8) }
        Pair.send(Array("pong".utf8), on: pair.server)
        try pair.until { pair.clientSide.received == Array("pong".utf8) }
    }

    private enum End: CaseIterable { case closedBefore, closedAfter, resetAfter }

    /// The difference between a request that the peer may have read and one that came too late for it.
    @Test(arguments: End.allCases)
    private func whatAPeerHasTakenIsKnownAfterTheEnd(end: End) throws {
        let pair = try Pair()
        Pair.send(Array("once".utf8), on: pair.client)
        try pair.until { pair.serverSide.received.count == 4 && pair.client?.takenBytes == 4 }
        if end == .closedBefore { pair.server?.close() }
        // The client has not been told of the end: the loop has not turned.
        Pair.send(Array("again".utf8), on: pair.client)
        if end != .closedBefore { try pair.until { pair.serverSide.received.count == 9 } }
        if end == .closedAfter { pair.server?.close() } else if end == .resetAfter { pair.server?.abort() }
        try pair.until { pair.clientSide.hasEnded || pair.clientSide.failure != nil }
        #expect(pair.clientSide.hasEnded == (end != .resetAfter))
        #expect(pair.client?.sentBytes == 9)
        #expect(pair.client?.takenBytes == (end == .closedBefore ? 4 : 9))
        pair.client?.close()
        #expect(pair.client?.takenBytes == (end == .closedBefore ? 4 : 9))
    }

    /// A client that goes is to be noticed; of an upstream that goes every byte counts.
    @Test(arguments: [false, true], [false, true]) func endsBehindUnreadBytes(readsToEnd: Bool, resets: Bool) throws {
        let pair = try Pair()
        pair.server?.readsToEnd = readsToEnd
        pair.server?.pauseReading()
        let sent = [UInt8](repeating: 7, count: 50_000)
        Pair.send(sent, on: pair.client)
        try pair.until { pair.client?.pendingBytes == 0 }
        pair.waitUntilReadable(pair.server)
        if resets { pair.client?.abort() } else { pair.client?.close() }
        let hasNoticed = { pair.serverSide.hasEnded || pair.serverSide.failure != nil }
        guard readsToEnd else {
            try pair.until(hasNoticed)
            #expect(pair.serverSide.received.isEmpty)
            return
        }
        for _ in 0..<20 { try pair.loop.turn(maximumWait: 5) }
        #expect(!hasNoticed())
        pair.server?.resumeReading()
        try pair.until(hasNoticed)
        #expect(pair.serverSide.received == sent)
    }

    @Test func theLoopStopsWhenWhatWaitsIsSent() throws {
        let pair = try Pair()
        pair.client?.pauseReading()
        let sent = [UInt8](repeating: 9, count: 16 << 20)
        Pair.send(sent, on: pair.server)
        pair.server?.closeAfterFlush()
        pair.loop.stopWhenClosed()
        for _ in 0..<20 { try pair.loop.turn(maximumWait: 5) }
        #expect(!pair.loop.isStopped)
        pair.client?.resumeReading()
        try pair.until(seconds: 30) { pair.clientSide.hasEnded }
        #expect(pair.clientSide.received.count == sent.count)
        pair.client?.close()
        try pair.until { pair.loop.isStopped }
    }

    /// Who takes nothing of the end of an answer gets a reset, and cannot take it for complete.
    @Test func patienceEndsInAReset() throws {
        let pair = try Pair()
        pair.client?.pauseReading()
        pair.client?.readsToEnd = true
        Pair.send([UInt8](repeating: 9, count: 16 << 20), on: pair.server)
        pair.server?.flushPatience = .milliseconds(50)
        pair.server?.closeAfterFlush()
        try pair.until { pair.server?.isOpen == false }
        pair.client?.resumeReading()
        try pair.until { pair.clientSide.failure != nil || pair.clientSide.hasEnded }
        #expect(pair.clientSide.failure != nil)
    }

    @Test func whatTheSocketDoesNotTakeWaitsAndThenArrives() throws {
        let pair = try Pair()
        pair.client?.pauseReading()
        let sent = (0..<(16 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        Pair.send(sent, on: pair.server)
        #expect((pair.server?.pendingBytes ?? 0) > 0)
        #expect(pair.serverSide.drains == 0)
        pair.client?.resumeReading()
        try pair.until(seconds: 30) { pair.clientSide.received.count == sent.count }
        #expect(pair.clientSide.received == sent)
        #expect(pair.server?.pendingBytes == 0)
        #expect(pair.serverSide.drains > 0)
    }

    @Test func whatIsNotTakenIsHandedOverAgain() throws {
        let pair = try Pair()
        pair.serverSide.takes = 3
        Pair.send(Array("abcdef".utf8), on: pair.client)
        try pair.until { pair.serverSide.received == Array("abc".utf8) }
        #expect(pair.server?.hasLeftover == true)
        pair.server?.redeliver()
        #expect(pair.serverSide.received == Array("abcdef".utf8))
        #expect(pair.server?.hasLeftover == false)
    }

    @Test func theEndIsNoticedWhileReadingIsPaused() throws {
        let pair = try Pair()
        pair.server?.pauseReading()
        pair.client?.closeAfterFlush()
        try pair.until { pair.serverSide.hasEnded }
        #expect(pair.serverSide.failure == nil)
    }

    @Test func aResetIsNoticedWhileReadingIsPaused() throws {
        let pair = try Pair()
        pair.server?.pauseReading()
        pair.client?.abort()
        try pair.until { pair.serverSide.failure != nil }
        #expect(pair.server?.isOpen == false)
    }

    /// Bytes that wait in the kernel when the peer ends, or resets, the connection.
    @Test func whereBytesAreWantedTheyComeBeforeTheEnd() throws {
        let pair = try Pair()
        pair.server?.readsToEnd = true
        pair.server?.pauseReading()
        let sent = [UInt8](repeating: 7, count: 30_000)
        Pair.send(sent, on: pair.client)
        pair.client?.closeAfterFlush()
        for _ in 0..<20 { try pair.loop.turn(maximumWait: 5) }
        #expect(!pair.serverSide.hasEnded && pair.serverSide.received.isEmpty)
        pair.server?.resumeReading()
        try pair.until { pair.serverSide.hasEnded }
        #expect(pair.serverSide.received == sent && pair.serverSide.failure == nil)
    }

    @Test func whereBytesAreWantedTheyComeBeforeAReset() throws {
        let pair = try Pair()
        pair.server?.readsToEnd = true
        pair.server?.pauseReading()
        let sent = [UInt8](repeating: 7, count: 30_000)
        Pair.send(sent, on: pair.client)
        pair.client?.abort()
        for _ in 0..<20 { try pair.loop.turn(maximumWait: 5) }
        #expect(pair.serverSide.failure == nil && pair.serverSide.received.isEmpty)
        pair.server?.resumeReading()
        try pair.until { pair.serverSide.failure != nil }
        #expect(pair.serverSide.received == sent && pair.server?.isOpen == false)
    }

    @Test func closeAfterFlushDeliversEverythingFirst() throws {
        let pair = try Pair()
        let sent = [UInt8](repeating: 7, count: 4 << 20)
        Pair.send(sent, on: pair.server)
        pair.server?.closeAfterFlush()
        try pair.until(seconds: 30) { pair.clientSide.hasEnded }
        #expect(pair.clientSide.received.count == sent.count)
    }

    /// Two events in one turn, so that what is sent for them is corked; each sends as many pieces as there are, in turn.
    @Test(arguments: [1, 3, 40], [10, 5_000]) func corkedBytesLeaveWithTheTurnInOrder(pieces: Int, size: Int) throws {
        let pair = try Pair()
        var sent: [UInt8] = []
        let send: () -> Void = {
            for index in 0..<pieces {
                let piece = [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: size)
                sent += piece
                Pair.send(piece, on: pair.server)
                Pair.send(piece, on: pair.client)
            }
        }
        (pair.serverSide.reacts, pair.clientSide.reacts) = (send, send)
        Pair.send([1], on: pair.client)
        Pair.send([1], on: pair.server)
        pair.waitUntilReadable()
        try pair.loop.turn(maximumWait: 1000)
        #expect(sent.count == 2 * pieces * size)
        (pair.serverSide.reacts, pair.clientSide.reacts) = ({}, {})
        try pair.until { pair.serverSide.received.count == sent.count + 1 }
        try pair.until { pair.clientSide.received.count == sent.count + 1 }
        #expect(pair.serverSide.received.dropFirst().elementsEqual(sent))
        #expect(pair.clientSide.received.dropFirst().elementsEqual(sent))
        #expect(pair.server?.sentBytes == sent.count + 1 && pair.server?.pendingBytes == 0)
    }

    /// A connection that is closed in the turn in which it sent something has sent it.
    @Test(arguments: [false, true]) func closingPullsTheCork(isGentle: Bool) throws {
        let pair = try Pair()
        defer { pair.serverSide.reacts = {} }  // it holds the pair that holds it
        pair.serverSide.reacts = {
            Pair.send(Array("last words".utf8), on: pair.server)
            if isGentle { pair.server?.closeAfterFlush() } else { pair.server?.close() }
        }
        Pair.send([1], on: pair.client)
        Pair.send([1], on: pair.server)
        pair.waitUntilReadable()
        try pair.loop.turn(maximumWait: 1000)
        try pair.until { pair.clientSide.hasEnded }
        #expect(pair.clientSide.received == [1] + Array("last words".utf8))
    }

    @Test func noDescriptorTimerOrPlaceIsLeftBehind() throws {
        let before = openDescriptors()
        for _ in 0..<20 {
            let pair = try Pair()
            Pair.send([1, 2, 3], on: pair.client)
            pair.client?.closeAfterFlush()
            try pair.until { pair.serverSide.hasEnded }
            pair.server?.close()
            try pair.until { pair.client?.isOpen == false }
            #expect(pair.loop.timerCount == 0)
        }
        // Other suites run meanwhile and hold a few of their own.
        #expect(openDescriptors() < before + 20)
    }

    private func openDescriptors() -> Int {
        (0..<1024).count { fcntl($0, F_GETFD) != -1 }
    }

    @Test func acceptingPausesAtTheBudgetAndGoesOn() throws {
        let loop = try EventLoop()
        let budget = ConnectionBudget(limit: 1)
        var accepted = 0
        let listener = try Listener(on: try #require(SocketAddress("127.0.0.1:0")), loop: loop, budget: budget) {
            _, _ in
            accepted += 1
        }
        defer { listener.close() }
        var connected: [Connector.Connected] = []
        let connectors = (0..<2).map { _ in
            Connector(to: [listener.address], on: loop) { if case .success(let one) = $0 { connected.append(one) } }
        }
        let deadline = EventLoop.clock() + .seconds(10)
        while connected.count < 2 || accepted < 1, EventLoop.clock() < deadline { try loop.turn(maximumWait: 20) }
        for _ in 0..<5 { try loop.turn(maximumWait: 20) }
        #expect(accepted == 1)
        budget.give()
        while accepted < 2, EventLoop.clock() < deadline { try loop.turn(maximumWait: 20) }
        #expect(accepted == 2)
        withExtendedLifetime(connectors) {}
    }

    @Test func theNextAddressIsTriedWhenTheFirstRefuses() throws {
        let pair = try Pair()
        let good = try #require(pair.listener?.address)
        let refused = try #require(SocketAddress("127.0.0.1:1"))
        var reached: SocketAddress?
        let connector = Connector(to: [refused, good], on: pair.loop) {
            if case .success(let connected) = $0 { reached = connected.address }
        }
        try pair.until { reached != nil }
        #expect(reached == good)
        withExtendedLifetime(connector) {}
    }
}
