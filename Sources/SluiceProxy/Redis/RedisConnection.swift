import SluiceBytes
import SluiceConfig
import SluiceIO

/// Hears of a connection to Redis. Called on its loop.
protocol RedisConnectionDelegate: AnyObject {
    /// It takes commands: what is to be said first may be sent from here.
    func redisUp(_ connection: RedisConnection)
    /// It takes none, and tries again by itself; also after each further attempt that failed.
    func redisDown(_ connection: RedisConnection, _ failure: RedisFailure)
    /// A command was answered with an error that says nothing of the next one.
    func redisRefused(_ connection: RedisConnection, _ failure: RedisFailure)
    /// What came on a channel that was subscribed to.
    func redisPublished(_ connection: RedisConnection, channel: [UInt8], message: [UInt8])
}

/// One connection to Redis, made again for as long as it is wanted: name, socket, TLS, `AUTH`, `SELECT`, and from then on commands
/// in a pipeline whose replies have a deadline each. What cannot be sent now is not kept: `send` says so. Belongs to a store, on
/// its loop.
final class RedisConnection: ConnectionDelegate, TimerHandler, TurnHandler {
    typealias Reply = (Result<RESPValue, RedisFailure>) -> Void

    /// What it says after `AUTH` and `SELECT`, and must be answered well before others may: a write, for one that is to write.
    var greeting: [[RESPArgument]] = []
    weak var delegate: (any RedisConnectionDelegate)?
    private(set) var isUp = false
    /// When it last came up.
    private(set) var upSince = Instant(nanoseconds: 0)

    /// Commands and bytes that Redis has not taken or answered yet.
    static let queuedCommands = Limit("redis_commands", 16_384)
    static let queuedBytes = Limit("redis_bytes", 8 << 20)
    private static let backoff = (first: Interval.milliseconds(100), last: Interval.seconds(2))
    /// After so much silence it is asked whether it is still there.
    private static let silence = Interval.seconds(5)

    private enum Phase { case idle, dialing, greeting, up, waiting, closed }
    private struct Pending {
        let deadline: Instant
        let reply: Reply?
    }
    private let spec: RedisSpec
    private let tls: TLSContext?
    private let loop: EventLoop
    private let resolver: Resolver
    /// Pushes come between the replies.
    private let isSubscriber: Bool
    private var phase = Phase.idle
    private var attempts = 0
    private var connector: Connector?
    private var connection: Connection?
    private var parser = RESPParser()
    private var values: [RESPValue] = []
    private var out = ByteQueue()
    private var isFlushDue = false
    /// Sent, in order; those before `answered` are over.
    private var pending: [Pending] = []
    private var answered = 0
    private var timer = TimerID.none
    private var timerDeadline = Instant.distantFuture
    private var lastReply = Instant(nanoseconds: 0)
    private var random: SplitMix64

    init(
        _ spec: RedisSpec, tls: TLSContext?, loop: EventLoop, resolver: Resolver, isSubscriber: Bool = false,
        seed: UInt64
    ) {
        (self.spec, self.tls, self.loop, self.resolver) = (spec, tls, loop, resolver)
        (self.isSubscriber, random) = (isSubscriber, SplitMix64(seed: seed))
    }

    // MARK: - Commands

    var unanswered: Int { pending.count - answered }

    /// Sends at the end of the turn; `reply` is called once, later. Returns false, and does nothing, if it is not up or too much waits.
    @discardableResult
    func send(_ arguments: [RESPArgument], _ reply: Reply? = nil) -> Bool {
        write(reply) { $0.appendCommand(arguments) }
    }

    /// The same for `count` commands that `body` writes; `reply` is the last one's.
    @discardableResult
    func write(_ reply: Reply? = nil, count: Int = 1, _ body: (inout ByteQueue) -> Void) -> Bool {
        guard isUp, hasRoom else { return false }
        for _ in 1..<count { enqueue(nil) { _ in } }
        enqueue(reply, body)
        return true
    }

    /// The same for commands that take effect together or not at all, so that no key is left without its expiry.
    @discardableResult
    func sendTogether(_ commands: [[RESPArgument]]) -> Bool {
        write(count: commands.count + 2) { out in
            out.appendCommand(["MULTI"])
            for command in commands { out.appendCommand(command) }
            out.appendCommand(["EXEC"])
        }
    }

    private var hasRoom: Bool {
        unanswered < Self.queuedCommands.value
            && out.count + (connection?.pendingBytes ?? 0) < Self.queuedBytes.value
    }

    private func enqueue(_ reply: Reply?, _ body: (inout ByteQueue) -> Void) {
        body(&out)
        pending.append(Pending(deadline: loop.now + spec.replyTimeout, reply: reply))
        if unanswered == 1 { setTimer() }
        guard !isFlushDue else { return }
        isFlushDue = true
        loop.atEndOfTurn(self)
    }

    func turnEnded(on loop: EventLoop) {
        isFlushDue = false
        connection?.send(&out)
        out.release(ifOver: 256 << 10)
    }

    // MARK: - Life

    /// Does nothing but for the first time.
    func start() {
        if phase == .idle { dial() }
    }

    private func dial() {
        phase = .dialing
        attempts &+= 1
        setTimer(at: loop.now + spec.connectTimeout)
        let port = UInt16(truncatingIfNeeded: spec.port)
        let attempt = attempts
        if let address = IPAddress(spec.host) { return connect([.ip(address, port: port)]) }
        resolver.resolve(spec.host) { [weak self] result in
            guard let self, phase == .dialing, attempts == attempt else { return }
            switch result {
            case .success(let addresses):
                connect(IPAddress.rotated(addresses, by: attempt).map { .ip($0, port: port) })
            case .failure(let error): fail(RedisFailure(.connect, "\(error)"))
            }
        }
    }

    /// Sends what waits, and ends it for good. Replies that are owed are not waited for.
    func close() {
        guard phase != .closed else { return }
        phase = .closed
        isUp = false
        connector?.cancel()
        connection?.send(&out)
        connection?.closeAfterFlush()
        (connector, connection) = (nil, nil)
        loop.cancel(timer)
        timer = .none
        failPending(RedisFailure(.closed, "the connection was given up"))
    }

    private func connect(_ addresses: [SocketAddress]) {
        connector = Connector(to: addresses, on: loop) { [weak self] result in
            guard let self, phase == .dialing else { return }
            connector = nil
            switch result {
            case .success(let connected): opened(connected)
            case .failure(let error): fail(RedisFailure(.connect, "\(error)"))
            }
        }
    }

    private func opened(_ connected: Connector.Connected) {
        // A port that nobody serves may be given to the very socket that asks for it.
        guard !connected.isConnectedToItself else { return fail(RedisFailure(.connect, "nobody listens there")) }
        do {
            let engine = try tls?.makeClientEngine(serverName: spec.tls.serverName ?? spec.host)
            let connection = try Connection(
                connected.take(), peer: connected.address, engine: engine, loop: loop)
            connection.flushPatience = .seconds(2)
            self.connection = connection
            connection.start(self)
        } catch {
            fail(RedisFailure(.connect, "\(error)"))
        }
    }

    func connectionEstablished(_ connection: Connection) {
        guard phase == .dialing else { return }
        phase = .greeting
        loop.cancel(timer)
        timer = .none
        (parser, lastReply) = (RESPParser(), loop.now)
        var commands: [[RESPArgument]] = []
        if let password = spec.password {
            var words: [RESPArgument] = ["AUTH"]
            if let user = spec.user { words.append(.text(user)) }
            commands.append(words + [.text(password.revealed)])
        }
        if spec.database != 0, !isSubscriber { commands.append(["SELECT", .number(spec.database)]) }
        commands += greeting
        if greeting.isEmpty { commands.append(["PING"]) }
        for (index, command) in commands.enumerated() {
            let isLast = index == commands.count - 1
            enqueue({ [weak self] in self?.greeted($0, isLast: isLast) }, { $0.appendCommand(command) })
        }
    }

    private func greeted(_ reply: Result<RESPValue, RedisFailure>, isLast: Bool) {
        guard phase == .greeting else { return }
        switch reply {
        case .failure(let failure): fail(failure)
        case .success where isLast:
            phase = .up
            (isUp, upSince, attempts) = (true, loop.now, 0)
            delegate?.redisUp(self)
        case .success: break
        }
    }

    private func fail(_ failure: RedisFailure) {
        guard phase != .closed, phase != .waiting else { return }
        isUp = false
        phase = .waiting
        connector?.cancel()
        connection?.close()
        (connector, connection) = (nil, nil)
        out.removeAll()
        out.releaseIfEmpty()
        setTimer(at: loop.now + makeBackoff())
        failPending(failure)
        delegate?.redisDown(self, failure)
    }

    /// Twice as long each time, and a random half of it, so that those who lost the same server do not come back together.
    private func makeBackoff() -> Interval {
        let doubled = Self.backoff.first.nanoseconds << UInt64(min(max(attempts - 1, 0), 8))
        let longest = min(doubled, Self.backoff.last.nanoseconds)
        return Interval(nanoseconds: .random(in: longest / 2...longest, using: &random))
    }

    private func failPending(_ failure: RedisFailure) {
        let owed = pending[answered...]
        pending = []
        answered = 0
        for command in owed { command.reply?(.failure(failure)) }
    }

    // MARK: - Time

    /// One that is set and fires earlier looks then what is due, so that no timer is moved for each command.
    private func setTimer() {
        let deadline = answered < pending.count ? pending[answered].deadline : lastReply + Self.silence
        guard timer == .none || deadline < timerDeadline else { return }
        setTimer(at: deadline)
    }

    private func setTimer(at deadline: Instant) {
        loop.cancel(timer)
        timer = loop.schedule(at: deadline, handler: self)
        timerDeadline = deadline
    }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer else { return }
        self.timer = .none
        switch phase {
        case .dialing: fail(RedisFailure(.connect, "no connection within \(spec.connectTimeout.milliseconds) ms"))
        case .waiting: dial()
        case .greeting, .up:
            if answered < pending.count, pending[answered].deadline <= loop.now {
                return fail(RedisFailure(.timeout, "no reply within \(spec.replyTimeout.milliseconds) ms"))
            }
            let isSilent = answered == pending.count && loop.now - lastReply >= Self.silence
            if isSilent { enqueue(nil) { $0.appendCommand(["PING"]) } } else { setTimer() }
        case .idle, .closed: break
        }
    }

    // MARK: - Replies

    func connection(_ connection: Connection, received bytes: Span<UInt8>) -> Int {
        do throws(RESPError) {
            try parser.feed(bytes, into: &values)
        } catch {
            values.removeAll(keepingCapacity: true)
            fail(RedisFailure(.malformed, "\(error)"))
            return bytes.count
        }
        var taken: [RESPValue] = []
        swap(&taken, &values)
        for value in taken where self.connection === connection { take(value) }
        taken.removeAll(keepingCapacity: true)
        swap(&taken, &values)
        return bytes.count
    }

    private func take(_ value: RESPValue) {
        if isSubscriber, case .array(let parts) = value, parts.count == 3, parts[0] == Self.message,
            case .bulk(let channel) = parts[1], case .bulk(let message) = parts[2]
        {
            delegate?.redisPublished(self, channel: channel, message: message)
            return
        }
        guard answered < pending.count else {
            return fail(RedisFailure(.malformed, "a reply that nobody asked for"))
        }
        let reply = pending[answered].reply
        answered += 1
        lastReply = loop.now
        if answered == pending.count {
            pending.removeAll(keepingCapacity: answered < 4096)
            answered = 0
        } else if answered > 4096 {
            pending.removeFirst(answered)
            answered = 0
        }
        guard case .error(let text) = value else {
            reply?(.success(value))
            return
        }
        let failure = RedisFailure(reply: text)
        reply?(.failure(failure))
        if failure.isLasting { fail(failure) } else if phase == .up { delegate?.redisRefused(self, failure) }
    }

    private static let message = RESPValue.bulk(Array("message".utf8))

    func connectionEnded(_ connection: Connection) {
        fail(RedisFailure(.closed, "Redis closed the connection"))
    }

    func connectionDrained(_ connection: Connection) {}

    func connection(_ connection: Connection, failed error: ConnectionError) {
        guard phase == .greeting || phase == .up else { return fail(RedisFailure(.connect, "\(error)")) }
        fail(RedisFailure(.closed, "\(error)"))
    }
}
