import Glibc
import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO

/// What happens to a store, for the metrics and the log of its worker.
enum RedisStoreEvent {
    case up
    /// It was up, or was tried for the first time.
    case down(RedisFailure)
    case failed(RedisFailure.Kind)
    /// So many bytes of answers were not stored.
    case dropped(Int)
}

/// Generations in Redis, so that any replica can resume what another one began. Belongs to one worker.
///
/// A body is a Redis Stream whose entries have the position behind their last byte as their id, so that reading from a position is
/// one `XRANGE`, and a hole shows: an entry that begins behind the end of the one before. What Redis does not take is dropped, never
/// waited for. At most one batch of bytes is under way; what comes meanwhile becomes the next one.
final class RedisStore: ReplayStore {
    /// Somebody wants a generation of this worker's to end.
    var onStop: (String) -> Void = { _ in }

    let keys: RedisKeys
    let loop: EventLoop
    let commands: RedisConnection
    let news: RedisNews
    /// Tells this worker's generations from those of others.
    let owner: String
    private var report: (RedisStoreEvent) -> Void
    private let resolver: Resolver

    /// Own ones that run, or whose end Redis does not know yet.
    private var kept: [String: RedisGeneration] = [:]
    /// Of those, how many run.
    private var running = 0
    /// With bytes that wait.
    private var dirty: [RedisGeneration] = []
    private var waitingBytes = 0
    private var isBatchUnderWay = false
    private var isBatchDue = false
    private var batchTimer = TimerID.none
    private var lastBatch = Instant(nanoseconds: 0)
    /// From one batch to the next: at a few hundred tokens a second they share what a system call costs.
    private static let batchGap = Interval.milliseconds(4)
    private var tickTimer = TimerID.none
    private var leasedAt = Instant(nanoseconds: 0)
    private var followers: [ObjectIdentifier: RedisFollower] = [:]
    /// What was last told of it; nil before the first attempt.
    private var wasUp: Bool?
    private var isRetired = false

    /// What waits to be sent, of all generations.
    static let waitingLimit = Limit("redis_waiting_bytes", 4 << 20)
    /// How the owners and the readers of generations hear of each other's end.
    struct Times: Sendable {
        /// An owner that does not renew its lease for so long is gone.
        var lease = Interval.seconds(5)
        var renewal = Interval.milliseconds(1500)
        /// What runs is forgotten after this if nobody refreshes it, but not before its `keep`.
        var shortestKeep = Interval.seconds(30)
        var refresh = Interval.seconds(10)
        /// A reader looks for himself, in case an announcement was lost.
        var poll = Interval.seconds(1)
        /// For so long a reader waits for a Redis that is away.
        var patience = Interval.seconds(3)
    }
    let times: Times

    /// `resolver`: its own.
    init(
        _ spec: RedisSpec, tls: TLSContext?, loop: EventLoop, resolver: Resolver, seed: UInt64, times: Times = Times(),
        report: @escaping (RedisStoreEvent) -> Void
    ) {
        self.times = times
        keys = RedisKeys(prefix: spec.prefix)
        (self.loop, self.resolver, self.report) = (loop, resolver, report)
        owner = Self.makeOwner()
        commands = RedisConnection(spec, tls: tls, loop: loop, resolver: resolver, seed: seed)
        let subscriber = RedisConnection(
            spec, tls: tls, loop: loop, resolver: resolver, isSubscriber: true, seed: seed &+ 1)
        news = RedisNews(subscriber) { report(.failed($0.kind)) }
        // A server that takes no writes is of no use, so a write is what it is greeted with.
        commands.greeting = [leaseCommand]
        commands.delegate = self
        commands.start()
        // At once, so that nothing that is to be stopped is overheard.
        news.listen(to: keys.control(owner), self)
    }

    /// Not to be guessed, since whoever knows it could stop what it owns.
    private static func makeOwner() -> String {
        var bytes = [UInt8](repeating: 0, count: 16)
        _ = getentropy(&bytes, bytes.count)
        return Digest.hex(bytes)
    }

    /// Ends when the last generation and the last follower are over, and tells nothing more of itself.
    func retire() {
        isRetired = true
        report = { _ in }
        closeIfRetired()
    }

    /// What is not over by now is given up: followers elsewhere hear that its owner is gone.
    func close() {
        if !kept.isEmpty { commands.send(["DEL", .text(keys.lease(owner))]) }
        isRetired = true
        (kept, running, dirty) = ([:], 0, [])
        loop.cancel(tickTimer)
        loop.cancel(batchTimer)
        (tickTimer, batchTimer) = (.none, .none)
        let ended = followers.values
        followers = [:]
        for follower in ended { follower.cancel() }
        commands.close()
        news.close()
        resolver.close()
    }

    private func closeIfRetired() {
        if isRetired, kept.isEmpty, followers.isEmpty { close() }
    }

    // MARK: - What the maker says

    var isAvailable: Bool { commands.isUp }

    func begin(_ facts: GenerationFacts, keep: Interval) {
        let generation = RedisGeneration(facts, keep: keep, keys)
        kept[facts.id] = generation
        running += 1
        if running == 1 { renewLease() }
        announce(generation, isNew: true)
        if tickTimer == .none { tickTimer = loop.schedule(after: times.renewal, handler: self) }
    }

    func head(_ id: String, _ head: ResponseHead) {
        guard let generation = kept[id] else { return }
        generation.head = head
        commands.send(["HSET", .text(generation.recordKey)] + generation.headArguments)
        publish(generation)
    }

    func append(_ id: String, at offset: Int, _ bytes: Span<UInt8>) {
        guard let generation = kept[id], generation.ending == nil else { return }
        generation.end = offset + bytes.count
        guard commands.isUp, waitingBytes + bytes.count <= Self.waitingLimit.value else {
            return report(.dropped(bytes.count))
        }
        if generation.waiting.isEmpty {
            generation.waitingStart = offset
            dirty.append(generation)
        } else if generation.waitingStart + generation.waiting.count != offset {
            // Something between the two was dropped.
            writeBody(generation)
            generation.waitingStart = offset
        }
        generation.waiting.append(bytes)
        waitingBytes += bytes.count
        writeSoon()
    }

    func end(_ id: String, _ ending: GenerationEnding, keep: Interval) {
        guard let generation = kept[id], generation.ending == nil else { return }
        writeBody(generation)
        generation.ending = ending
        (generation.keep, generation.endedAt) = (keep, loop.now)
        stoppedRunning()
        announceEnd(generation)
    }

    func remove(_ id: String) {
        guard RedisKeys.isID(id) else { return }
        if let generation = kept.removeValue(forKey: id) {
            drop(generation)
            if generation.ending == nil { stoppedRunning() }
            expireAlias(generation, after: nil)
        }
        commands.send(["DEL", .text(keys.record(id)), .text(keys.body(id))])
        commands.send(["PUBLISH", .text(keys.news(id)), "removed"])
        closeIfRetired()
    }

    private func stoppedRunning() {
        running -= 1
        guard running == 0 else { return }
        commands.send(["DEL", .text(keys.lease(owner))])
    }

    // MARK: - Records

    private var leaseCommand: [RESPArgument] {
        ["SET", .text(keys.lease(owner)), "1", "PX", .number(Int(clamping: times.lease.milliseconds))]
    }

    private func renewLease() {
        leasedAt = loop.now
        commands.send(leaseCommand)
    }

    private func announce(_ generation: RedisGeneration, isNew: Bool) {
        generation.refreshAt = loop.now + times.refresh
        generation.hasBody = false
        var record: [RESPArgument] = ["HSET", .text(generation.recordKey), "owner", .text(owner)]
        record += ["scope", .text(generation.scope), "state", "run", "format", .text(generation.facts.format.rawValue)]
        if let alias = generation.facts.alias { record += ["alias", .text(alias)] }
        if let workflow = generation.facts.workflow { record += ["workflow", .text(workflow)] }
        record += generation.headArguments
        let keep = RESPArgument.number(keepWhileRunning(generation))
        generation.isAnnounced = commands.sendTogether([record, ["PEXPIRE", .text(generation.recordKey), keep]])
        guard let alias = generation.aliasKey else { return }
        // The newest one bears the name; one that is only told again does not take it back.
        commands.send(["SET", .text(alias), .text(generation.facts.id), "PX", keep] + (isNew ? [] : ["NX"]))
    }

    /// Until Redis has confirmed it, it is told again.
    private func announceEnd(_ generation: RedisGeneration) {
        guard let ending = generation.ending else { return }
        let id = generation.facts.id
        let rest = max(generation.endedAt + generation.keep - loop.now, .milliseconds(1))
        let record: [RESPArgument] = ["HSET", .text(generation.recordKey), "state", ending == .whole ? "whole" : "cut"]
        commands.send(record + ["length", .number(generation.end)]) { [weak self] result in
            if case .failure(let failure) = result, failure.isLasting { return }
            self?.kept[id] = nil
            self?.closeIfRetired()
        }
        commands.send(["PEXPIRE", .text(generation.recordKey), milliseconds(rest)])
        commands.send(["PEXPIRE", .text(generation.bodyKey), milliseconds(rest)])
        expireAlias(generation, after: rest)
        publish(generation)
    }

    /// Only if the name is still this one's. What another replica gives it in between is refreshed by that one.
    private func expireAlias(_ generation: RedisGeneration, after rest: Interval?) {
        guard let alias = generation.aliasKey else { return }
        let id = generation.facts.id
        commands.send(["GET", .text(alias)]) { [weak self] result in
            guard let self, case .success(let value) = result, value.text == id else { return }
            if let rest {
                commands.send(["PEXPIRE", .text(alias), milliseconds(rest)])
            } else {
                commands.send(["DEL", .text(alias)])
            }
        }
    }

    private func refresh(_ generation: RedisGeneration) {
        generation.refreshAt = loop.now + times.refresh
        let keep = RESPArgument.number(keepWhileRunning(generation))
        commands.send(["PEXPIRE", .text(generation.recordKey), keep]) { [weak self] result in
            // Somebody has emptied Redis, or it has made room for others.
            guard case .success(.integer(0)) = result, generation.ending == nil else { return }
            self?.announce(generation, isNew: false)
        }
        if generation.hasBody { commands.send(["PEXPIRE", .text(generation.bodyKey), keep]) }
        if let alias = generation.aliasKey { commands.send(["PEXPIRE", .text(alias), keep]) }
    }

    private func keepWhileRunning(_ generation: RedisGeneration) -> Int {
        Int(clamping: max(generation.keep, times.shortestKeep).milliseconds)
    }

    private func milliseconds(_ interval: Interval) -> RESPArgument { .number(Int(clamping: interval.milliseconds)) }

    private func publish(_ generation: RedisGeneration) {
        commands.send(["PUBLISH", .text(generation.newsChannel), .number(generation.end)])
    }

    // MARK: - Bodies

    private func writeSoon() {
        guard !isBatchDue, !isBatchUnderWay else { return }
        isBatchDue = true
        let next = lastBatch + Self.batchGap
        if next <= loop.now { loop.atEndOfTurn(self) } else { batchTimer = loop.schedule(at: next, handler: self) }
    }

    /// All that waits, and then nothing more before Redis has answered: under load more goes into one command.
    private func writeBatch() {
        isBatchDue = false
        guard !isBatchUnderWay else { return }
        lastBatch = loop.now
        dirty.removeAll { $0.waiting.isEmpty }
        // Only the reply to the last of all is waited for.
        let last = dirty.popLast()
        for generation in dirty { writeBody(generation) }
        dirty.removeAll(keepingCapacity: true)
        if let last { isBatchUnderWay = writeBody(last, batchReply) }
    }

    private lazy var batchReply: RedisConnection.Reply = { [weak self] _ in
        guard let self, isBatchUnderWay else { return }
        isBatchUnderWay = false
        if !dirty.isEmpty { writeSoon() }
    }

    /// Returns whether `reply` will be called.
    @discardableResult
    private func writeBody(_ generation: RedisGeneration, _ reply: RedisConnection.Reply? = nil) -> Bool {
        guard !generation.waiting.isEmpty else { return false }
        waitingBytes -= generation.waiting.count
        while !generation.waiting.isEmpty {
            let count = min(generation.waiting.count, generation.entryBytes)
            let isWritten =
                generation.hasBody
                ? commands.write { generation.writeEntry(count, into: &$0) }
                : commands.write(count: 4) {
                    generation.writeFirstEntry(count, keepWhileRunning(generation), into: &$0)
                }
            guard isWritten else {
                report(.dropped(generation.waiting.count))
                generation.waiting.removeAll()
                return false
            }
            generation.hasBody = true
            generation.waiting.consume(count)
            generation.waitingStart += count
        }
        generation.waiting.release(ifOver: 16 << 10)
        return commands.write(reply) { generation.writeNews(into: &$0) }
    }

    private func drop(_ generation: RedisGeneration) {
        guard !generation.waiting.isEmpty else { return }
        waitingBytes -= generation.waiting.count
        report(.dropped(generation.waiting.count))
        generation.waiting.removeAll()
        generation.waiting.releaseIfEmpty()
    }

    // MARK: - What others ask

    func follow(_ id: String, from position: Int, _ reader: any ReplayReader) -> any ReplaySubscription {
        let follower = RedisFollower(id, from: position, reader, of: self)
        followers[ObjectIdentifier(follower)] = follower
        follower.start()
        return follower
    }

    func ended(_ follower: RedisFollower) {
        followers[ObjectIdentifier(follower)] = nil
        closeIfRetired()
    }

    func isOwn(_ id: String) -> Bool { kept[id].map { $0.ending == nil } ?? false }
}

// MARK: - Time and connections

extension RedisStore: RedisConnectionDelegate, RedisListener, TimerHandler, TurnHandler {
    func turnEnded(on loop: EventLoop) { writeBatch() }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        if timer == tickTimer { return tick() }
        guard timer == batchTimer else { return }
        batchTimer = .none
        writeBatch()
    }

    /// Renews what would run out, some of it at a time.
    private func tick() {
        loop.cancel(tickTimer)
        tickTimer = .none
        if running > 0, loop.now - leasedAt >= .seconds(1) { renewLease() }
        var rest = 1024
        for (id, generation) in kept {
            if generation.ending != nil, generation.endedAt + generation.keep < loop.now {
                kept[id] = nil
                continue
            }
            guard generation.refreshAt <= loop.now, rest > 0, commands.isUp else { continue }
            rest -= 1
            if generation.isAnnounced, generation.ending == nil {
                refresh(generation)
            } else {
                announce(generation, isNew: false)
                announceEnd(generation)
            }
        }
        closeIfRetired()
        guard !kept.isEmpty else { return }
        tickTimer = loop.schedule(after: rest == 0 ? .milliseconds(100) : times.renewal, handler: self)
    }

    func redisUp(_ connection: RedisConnection) {
        if wasUp != true { report(.up) }
        wasUp = true
        for generation in kept.values {
            (generation.isAnnounced, generation.refreshAt) = (false, loop.now)
        }
        leasedAt = loop.now
        // The greeting was one, and is not needed yet.
        if running == 0 { commands.send(["DEL", .text(keys.lease(owner))]) }
        tick()
    }

    func redisDown(_ connection: RedisConnection, _ failure: RedisFailure) {
        report(.failed(failure.kind))
        for generation in dirty { drop(generation) }
        dirty = []
        isBatchUnderWay = false
        if wasUp != false { report(.down(failure)) }
        wasUp = false
    }

    func redisRefused(_ connection: RedisConnection, _ failure: RedisFailure) { report(.failed(failure.kind)) }

    func redisPublished(_ connection: RedisConnection, channel: [UInt8], message: [UInt8]) {}

    /// On the control channel.
    func redisHeard(_ message: [UInt8]?) {
        guard let message else { return }
        let id = String(decoding: message, as: UTF8.self)
        if isOwn(id) { onStop(id) }
    }
}
