import Glibc
import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// One answer that outlives the connection that asked for it. It stands between the exchange that makes the answer and those who
/// read it: the client that asked, which is the first of them, and those that come back for it.
///
/// Belongs to the worker of its exchange. Readers pull: each has a position of its own, and the exchange's upstream is paused when the
/// one that is furthest falls behind.
final class Generation: ClientStream, TimerHandler {
    let facts: GenerationFacts
    let spec: ResumeSpec
    unowned let worker: Worker
    /// Until it has ended. A cycle, which its end breaks.
    var exchange: Exchange?
    private let store: (any ReplayStore)?

    var log: ReplayLog
    private var stamper: EventStamper?
    /// As the first client gets it; others get `head`.
    var ownHead: (head: ResponseHead, length: BodyLength)?
    var head: ResponseHead?
    var ending: GenerationEnding?
    /// It is no stream but an error's status, or a document: told to who waits, and not kept.
    private var isDocument = false

    var readers: [GenerationReader] = []
    var original: OriginalReader?
    var pumpDepth = 0
    /// Nobody finds it any more.
    var isForgotten = false
    /// All together are over their bound. Then what one grows by is taken from its own front.
    private var isTight = false
    private var excessBytes = 0
    private var isReleased = false
    private let isTask: Bool
    /// Tells the client of a task what it is called.
    private var unanswered: (() -> Void)?
    private var reportedBytes = 0
    var isDrainedDue = false

    var life: GenerationLife
    private var isAsking = false
    private var timer = TimerID.none
    private var armedFor = Instant.distantFuture

    // Of the first client, also when it has gone.
    let peerText: String
    let isTLS: Bool
    var sentByOriginal = 0

    /// `isTask`: the client gets another answer than what is kept here, and is no reader of it.
    init(_ facts: GenerationFacts, _ spec: ResumeSpec, drains: Bool, isTask: Bool = false, for exchange: Exchange) {
        (self.facts, self.spec, worker, self.exchange) = (facts, spec, exchange.worker, exchange)
        store = spec.store == .redis ? exchange.worker.replayStore : nil
        log = ReplayLog(limitBytes: spec.bufferBytes)
        // What others can still ask for is not given up.
        life = GenerationLife(spec, drains: drains, outlivesDrain: isTask && store != nil)
        self.isTask = isTask
        (peerText, isTLS) = (exchange.client.peerText, exchange.client.isTLS)
        if isTask {
            life.readersChanged(to: 0, at: now)
        } else {
            let original = OriginalReader(exchange.client, generation: self)
            let reader = GenerationReader(original, of: self, from: 0)
            original.subscription = reader
            (self.original, readers) = (original, [reader])
        }
        store?.begin(facts, keep: spec.ttl)
        noteStorage()
    }

    var now: Instant { worker.loop.now }
    var directory: GenerationDirectory { worker.shared.generations }
    /// Its upstream works for it.
    var isRunning: Bool { ending == nil }
    var hasReaders: Bool { !readers.isEmpty }
    /// 128 random bits in base64url.
    static func makeID() -> String {
        var bytes = [UInt8](repeating: 0, count: 16)
        _ = getentropy(&bytes, bytes.count)
        return Base64URL.encode(bytes)
    }

    // MARK: - What the exchange says

    func sendHead(_ head: ResponseHead, length: BodyLength) {
        var own = head
        if head.status == 200, length == .chunked {
            own.fields.append("X-Stream-Id", facts.id)
            if let style = facts.format.stampStyle { stamper = EventStamper(name: facts.id, style: style) }
        } else {
            isDocument = true
            forget(everywhere: true)
        }
        ownHead = (own, length)
        if let exchange, let original {
            let answer = exchange.compressing(own, length, to: original.client, exchange.route?.codings ?? [])
            (original.client, original.compressed) = (answer.client, exchange.compressed)
            ownHead = (answer.head, answer.length)
        }
        let kept = Self.withoutClientsOwn(own)
        self.head = kept
        if !isDocument { store?.head(facts.id, kept) }
        add { $0?.open(into: &$1) }
    }

    /// What belongs to the first client only.
    private static func withoutClientsOwn(_ head: ResponseHead) -> ResponseHead {
        let fields = head.fields
        return ResponseHead(
            status: head.status,
            fields: fields.filtered { index in
                let name = fields.name(at: index)
                for own: StaticString in ["x-request-id", "vary", "set-cookie", "content-length"]
                where ASCII.equalFolded(name, own) { return false }
                for own: StaticString in ["access-control-", "x-ratelimit-", "anthropic-ratelimit-"] {
                    let count = own.utf8CodeUnitCount
                    if name.count > count, ASCII.equalFolded(name.extracting(0..<count), own) { return false }
                }
                return true
            })
    }

    func openBody(in out: inout ByteQueue) -> ByteQueue.Mark? { nil }

    func flushBody(_ mark: ByteQueue.Mark?, _ out: inout ByteQueue, isLast: Bool) {
        if ending == nil, !out.isEmpty { keep(out.span) }
        out.removeAll()
        if isLast { finish(.whole) } else { pump() }
    }

    func flush() { pump() }

    func abort() { finish(.cut) }

    /// The exchange is over: whatever has been said by then was all.
    func exchangeEnded() {
        finish(.cut)
        exchange = nil
    }

    /// Goes to the first client only, if it has read all there is.
    func keepalive(_ bytes: inout ByteQueue) {
        if facts.format.stampStyle == .inEvents { EventKeepalive.withoutBlankLine(&bytes) }
        if let original, original.isCaughtUp { original.send(&bytes) }
        bytes.removeAll()
    }

    func ping() { original?.client.ping() }
    func sendContinue() { original?.client.sendContinue() }
    func pauseBody() { original?.client.pauseBody() }
    func resumeBody() { original?.client.resumeBody() }

    // MARK: - What the exchange asks

    /// Who is furthest of its readers has fallen behind. Without readers nobody is waited for: their time is bounded by `grace`.
    var isCongested: Bool {
        guard let furthest else { return false }
        return log.end - furthest > aheadLimit
    }
    var aheadLimit: Int {
        let usual = spec.bufferBytes / 2
        return isTight ? min(usual, worker.limits.streamBufferHighBytes) : usual
    }
    /// A position that the body has not got to is no reader's place.
    var furthest: Int? { readers.lazy.map(\.position).filter { $0 <= self.log.end }.max() }

    var waitingSince: Instant? { original?.client.waitingSince }
    var sentBytes: Int { original?.client.sentBytes ?? sentByOriginal }
    var waitingBytes: Int { original?.client.waitingBytes ?? 0 }
    var peerConnection: Connection? { original?.client.peerConnection }

    // MARK: - The first client

    /// Of a task: its client is told the name when whoever is asked for it next will know it.
    func answerClient(_ answer: @escaping () -> Void) {
        guard let store else { return answer() }
        unanswered = answer
        store.whenKnown(facts.id) { [self] in
            let answer = unanswered
            unanswered = nil
            answer?()
        }
    }

    func clientDrained() { original?.subscription?.resume() }

    /// It closed, or was reset; the answer goes on.
    func clientLeft() {
        unanswered = nil
        original?.compressed?.release()
        original?.subscription?.cancel()
    }

    /// It takes nothing.
    func dropClient() {
        guard let original else { return }
        original.client.abort()
        clientLeft()
    }

    // MARK: - Keeping

    private func keep(_ bytes: Span<UInt8>) {
        guard stamper != nil else { return append(bytes) }
        add { $0?.stamp(bytes, into: &$1) }
    }

    private func add(_ write: (inout EventStamper?, inout ByteQueue) -> Void) {
        guard stamper != nil else { return }
        var run = ByteQueue()
        swap(&run, &worker.stamped)
        write(&stamper, &run)
        append(run.span)
        run.removeAll()
        swap(&run, &worker.stamped)
    }

    private func append(_ bytes: Span<UInt8>) {
        if bytes.isEmpty { return }
        if !isDocument { store?.append(facts.id, at: log.end, bytes) }
        log.append(bytes)
        noteStorage()
    }

    /// What the furthest reader has not read stays, whatever the bounds say: they pause the upstream.
    func trim() {
        log.trim(needed: furthest ?? .max)
        if excessBytes > 0 { log.shrink(by: excessBytes, needed: furthest ?? .max) }
        noteStorage()
    }

    /// What there is of it besides its body, roughly: many short answers must not be free.
    private static let ownBytes = 2 << 10

    private func noteStorage() {
        let held = isReleased ? 0 : Self.ownBytes + log.storageBytes
        let change = held - reportedBytes
        guard change != 0 else { return }
        reportedBytes = held
        isTight = worker.generations.noteStorage(change)
        excessBytes = isTight ? max(0, excessBytes + change) : 0
    }

    private func finish(_ ending: GenerationEnding) {
        guard self.ending == nil else { return }
        if case .whole = ending { add { $0?.close(into: &$1) } }
        self.ending = ending
        exchange = nil
        if isTask { directory.endTask() }
        life.end(at: now)
        if !isDocument { store?.end(facts.id, ending, keep: spec.ttl) }
        if !isForgotten {
            directory.ended(facts.id, hasReaders: hasReaders, bytes: reportedBytes)
        }
        pump()
        original?.watchAlone()
        arm()
    }

    // MARK: - Ending

    /// A client has asked for its end. What is over is forgotten, what runs is stopped and told so to its readers.
    func stop(forgetsEnded: Bool = true) {
        guard ending == nil else { return forgetsEnded ? forget(everywhere: true) : () }
        exchange?.stopGeneration(ProxyError(.stopped, .client, "the answer was stopped"))
    }

    /// The process is to end.
    func drain() {
        life.drain()
        if readers.isEmpty { act(life.next.due) } else { arm() }
    }

    /// The time for draining is over.
    func failForDrain() { exchange?.fail(ProxyError(.draining, .proxy, "the server is going down")) }

    /// Nobody can find it in this process from here on; its memory goes with its last reader. What the store has of it stays there for
    /// its time: other processes may be asked, most of all when this one is to end.
    func forget(everywhere: Bool = false) {
        if everywhere { store?.remove(facts.id) }
        if !isForgotten {
            isForgotten = true
            directory.remove(facts.id)
            worker.generations.remove(self)
        }
        if ending != nil, readers.isEmpty, pumpDepth == 0 { release() }
    }

    func release() {
        isReleased = true
        worker.loop.cancel(timer)
        timer = .none
        log.forget(upTo: log.end)
        log = ReplayLog(limitBytes: spec.bufferBytes)
        noteStorage()
    }

    // MARK: - Time

    func arm() {
        let deadline = isForgotten ? .distantFuture : life.next.at
        guard deadline < armedFor else { return }
        armedFor = deadline
        if timer == .none {
            timer = worker.loop.schedule(at: deadline, handler: self)
        } else {
            worker.loop.move(timer, to: deadline)
        }
    }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer else { return }
        (self.timer, armedFor) = (.none, .distantFuture)
        let next = life.next
        if next.at <= now { act(next.due) } else { arm() }
    }

    private func act(_ due: GenerationLife.Due) {
        switch due {
        case .forget: forget()
        case .abandon:
            guard let store, ending == nil else { return abandon() }
            return askForReaders(of: store)
        }
        arm()
    }

    /// Nobody reads it in this process. Until the store has answered nothing is due.
    private func askForReaders(of store: any ReplayStore) {
        guard !isAsking else { return }
        isAsking = true
        store.isRead(facts.id) { [weak self] isRead in
            guard let self else { return }
            isAsking = false
            guard ending == nil, life.next.at <= now else { return arm() }
            guard isRead else { return abandon() }
            life.isReadElsewhere(at: now)
            arm()
        }
    }

    private func abandon() {
        if worker.isDraining {
            failForDrain()
        } else {
            worker.metrics.resumption.abandoned += 1
            exchange?.stopGeneration(ProxyError(.abandoned, .client, "nobody read the answer any more"))
        }
        arm()
    }
}
