import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO

/// Who reads a generation, and how far it has got.
final class GenerationReader: ReplaySubscription {
    private let generation: Generation
    private(set) var target: (any ReplayReader)?
    var position: Int
    var hasHead = false
    /// Set while it is being told something.
    var isServed = false
    private var isPaused = false

    init(_ target: any ReplayReader, of generation: Generation, from position: Int) {
        (self.generation, self.target, self.position) = (generation, target, position)
    }

    var isReading: Bool { target != nil && !isPaused }
    var isCaughtUp: Bool { generation.isCaughtUp(self) }

    func pause() { isPaused = true }

    func resume() {
        guard isPaused, target != nil else { return }
        isPaused = false
        generation.resumed(self)
    }

    func cancel() {
        guard target != nil else { return }
        target = nil
        generation.leave(self)
    }

    func end(_ ending: GenerationEnding) {
        let last = target
        cancel()
        last?.replayEnded(ending)
    }

    func fail(_ failure: ReplayFailure) {
        let last = target
        cancel()
        last?.replayFailed(failure)
    }
}

/// The client whose request began a generation. Its exchange makes the answer, and ends when that is made; what this client has
/// not taken by then it still gets.
final class OriginalReader: ReplayReader, TimerHandler {
    /// What compresses its answer may stand before it.
    var client: any ClientStream
    var compressed: CompressedClientStream?
    private let worker: Worker
    /// A cycle while it reads.
    var subscription: GenerationReader?
    private var timer = TimerID.none

    init(_ client: any ClientStream, generation: Generation) { (self.client, worker) = (client, generation.worker) }

    var isCaughtUp: Bool { client.waitingSince == nil && subscription?.isCaughtUp == true }

    /// It has gone, or has all.
    func leave() {
        subscription = nil
        worker.loop.cancel(timer)
    }

    /// The head goes another way: this client's has fields of its own.
    func replayHead(_ head: ResponseHead) {}

    func replayBytes(_ bytes: Span<UInt8>) {
        var run = ByteQueue()
        swap(&run, &worker.replayed)
        let mark = client.openBody(in: &run)
        run.append(bytes)
        client.flushBody(mark, &run, isLast: false)
        run.removeAll()
        swap(&run, &worker.replayed)
        if client.isCongested { subscription?.pause() }
    }

    /// Something that is no part of the answer.
    func send(_ bytes: inout ByteQueue) { replayBytes(bytes.span) }

    func replayEnded(_ ending: GenerationEnding) {
        guard case .whole = ending else { return client.abort() }
        var run = ByteQueue()
        swap(&run, &worker.replayed)
        let mark = client.openBody(in: &run)
        client.flushBody(mark, &run, isLast: true)
        run.removeAll()
        swap(&run, &worker.replayed)
    }

    /// It was the first, but others were faster, and the buffer is smaller than its distance to them.
    func replayFailed(_ failure: ReplayFailure) { client.abort() }

    // MARK: - After the exchange

    /// The exchange, which would have seen to it that the client takes what waits, is over.
    func watchAlone() {
        let patience = worker.limits.slowClient
        guard subscription != nil, patience > .zero else { return }
        timer = worker.loop.schedule(at: (client.waitingSince ?? worker.loop.now) + patience, handler: self)
    }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer, let subscription else { return }
        if let since = client.waitingSince, loop.now - since >= worker.limits.slowClient {
            client.abort()
            subscription.cancel()
        } else {
            watchAlone()
        }
    }
}

/// What silence is broken with.
enum EventKeepalive {
    /// For clients that take a blank line for an event once they know an id: the comment's own line says as much.
    static func withoutBlankLine(_ bytes: inout ByteQueue) {
        guard bytes.count > 2, ASCII.equal(bytes.span.extracting((bytes.count - 3)..<bytes.count), ":\n\n") else {
            return
        }
        bytes.removeAll()
        bytes.append(":\n")
    }
}
