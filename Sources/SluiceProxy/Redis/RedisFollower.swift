import SluiceBytes
import SluiceHTTP
import SluiceIO

/// Reads one generation out of Redis for one reader: what is stored, then what is added, when it is told of it or once a second.
final class RedisFollower: ReplaySubscription, RedisListener, TimerHandler {
    private let id: String
    private let store: RedisStore
    /// nil once it has heard its last call.
    private var reader: (any ReplayReader)?
    private var position: Int
    private var timer = TimerID.none
    private var isPaused = false
    private var hasHead = false
    /// A question is under way; and there is more to be asked then.
    private var isReading = false
    private var isStale = false
    /// What was read and not taken: the rest of one reply.
    private var held: ArraySlice<RedisEntry> = []
    private var record = Record()
    private var awaySince: Instant?

    /// What is known of the whole, read just before the entries.
    private struct Record {
        var owner: String?
        var state: String?
        var length: Int?
        var isOwnerGone = false
        /// There were as many entries as were asked for.
        var isPartial = false
    }

    /// Entries to ask for: as many as make up about 128 KiB.
    private var batch = 32
    private static let batchBytes = 128 << 10

    init(_ id: String, from position: Int, _ reader: any ReplayReader, of store: RedisStore) {
        (self.id, self.position, self.reader, self.store) = (id, max(0, position), reader, store)
    }

    func start() {
        guard RedisKeys.isID(id), position < 1 << 52 else {
            return store.loop.afterTurn { [self] in fail(.unknown) }
        }
        guard store.commands.isUp else {
            return store.loop.afterTurn { [self] in fail(.storeAway) }
        }
        store.news.listen(to: store.keys.news(id), self)
        timer = store.loop.schedule(after: store.times.poll, handler: self)
        read()
    }

    // MARK: - ReplaySubscription

    func pause() { isPaused = true }

    func resume() {
        guard isPaused, reader != nil else { return }
        isPaused = false
        store.loop.afterTurn { [weak self] in
            guard let self, !isPaused else { return }
            if held.isEmpty { read() } else { deliver() }
        }
    }

    func cancel() { finish() }

    // MARK: - When to read

    func redisHeard(_ message: [UInt8]?) { read() }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer, reader != nil else { return }
        self.timer = loop.schedule(after: store.times.poll, handler: self)
        guard store.commands.isUp else {
            let since = awaySince ?? loop.now
            awaySince = since
            if loop.now - since >= store.times.patience { fail(.storeAway) }
            return
        }
        awaySince = nil
        read(asksForOwner: true)
    }

    private func read(asksForOwner: Bool = false) {
        guard reader != nil, !isPaused, held.isEmpty else { return }
        guard !isReading else {
            isStale = true
            return
        }
        isStale = false
        record = Record(owner: record.owner)
        // A lease that Redis lost while it was away is renewed by an owner that comes back as we have.
        let isTrusted = store.loop.now - store.commands.upSince > store.times.lease
        if asksForOwner, isTrusted, let owner = record.owner {
            store.commands.send(["EXISTS", .text(store.keys.lease(owner))]) { [weak self] result in
                if case .success(.integer(0)) = result { self?.record.isOwnerGone = true }
            }
        }
        var question: [RESPArgument] = ["HMGET", .text(store.keys.record(id)), "owner", "state", "length"]
        if !hasHead { question += ["status", "fields"] }
        let isHeadAsked = !hasHead
        store.commands.send(question) { [weak self] result in self?.take(record: result, isHeadAsked) }
        // The record first: when it says that nothing will be added, the entries that are read after it are all.
        let entries: [RESPArgument] = ["XRANGE", .text(store.keys.body(id)), .text("\(position + 1)-0"), "+"]
        let wanted = batch
        isReading = store.commands.send(entries + ["COUNT", .number(wanted)]) { [weak self] result in
            self?.take(entries: result, wanted: wanted)
        }
    }

    // MARK: - What was read

    private func take(record result: Result<RESPValue, RedisFailure>, _ isHeadAsked: Bool) {
        guard reader != nil, case .success(let value) = result, let fields = value.elements(isHeadAsked ? 5 : 3) else {
            return
        }
        (record.owner, record.state) = (fields[0].text, fields[1].text)
        record.length = fields[2].bytes.flatMap { ASCII.decimal($0.span) }
        guard record.state != nil else { return fail(hasHead ? .forgotten : .unknown) }
        guard isHeadAsked, let status = fields[3].bytes, let lines = fields[4].bytes,
            let head = RedisHead.decode(status: status, fields: lines)
        else { return }
        hasHead = true
        reader?.replayHead(head)
    }

    private func take(entries result: Result<RESPValue, RedisFailure>, wanted: Int) {
        isReading = false
        guard reader != nil else { return }
        // What is wrong with the connection is told to the store; the next second tries again.
        guard case .success(.array(let values)) = result, record.state != nil else { return }
        let entries = values.compactMap(RedisEntry.init)
        guard entries.count == values.count, entries.isEmpty || hasHead else { return fail(.forgotten) }
        record.isPartial = entries.count == wanted
        if !entries.isEmpty {
            let bytes = entries.reduce(0) { $0 + $1.bytes.count + 64 }
            batch = min(1024, max(16, Self.batchBytes / max(1, bytes / entries.count)))
        }
        held = entries[...]
        deliver()
    }

    private func deliver() {
        let isNew = !held.isEmpty
        while !isPaused, reader != nil, let entry = held.popFirst() {
            guard entry.end > position else { continue }
            guard entry.start <= position else { return fail(.forgotten) }
            let fresh = entry.bytes[(position - entry.start)...]
            position = entry.end
            fresh.withUnsafeBufferPointer { reader?.replayBytes($0.span) }
        }
        guard held.isEmpty, reader != nil else { return }
        goOn(isNew: isNew)
    }

    /// All that was read is delivered.
    private func goOn(isNew: Bool) {
        // What is left is found again by reading anew.
        guard !isPaused else { return }
        if record.isPartial || isStale && record.state == "run" { return read() }
        switch record.state {
        case "run":
            if record.isOwnerGone, !isNew { fail(.ownerGone) }
        case "whole", "cut":
            // Fewer than there should be: the owner could not store them.
            guard hasHead, let length = record.length, position >= length else { return fail(.forgotten) }
            let (ending, reader) = (record.state == "whole" ? GenerationEnding.whole : .cut, reader)
            finish()
            reader?.replayEnded(ending)
        default: fail(.forgotten)
        }
    }

    private func fail(_ failure: ReplayFailure) {
        guard let reader else { return }
        finish()
        reader.replayFailed(failure)
    }

    private func finish() {
        guard reader != nil else { return }
        reader = nil
        held = []
        store.loop.cancel(timer)
        timer = .none
        store.news.stopListening(to: store.keys.news(id), self)
        store.ended(self)
    }
}
