import SluiceBytes
import SluiceHTTP
import SluiceIO

/// A reader on another thread, as the worker that has the generation knows it. One portion is on its way to it at a time; the next
/// one leaves when the reader has asked for it.
final class RemoteReader: ReplayReader {
    enum Message: Sendable {
        case head(ResponseHead)
        case bytes([UInt8])
        case ended(GenerationEnding)
        case failed(ReplayFailure)
    }
    private let token: UInt64
    private let replies: Mailbox
    private unowned let owner: WorkerGenerations
    var subscription: (any ReplaySubscription)?

    init(_ token: UInt64, replies: Mailbox, owner: WorkerGenerations) {
        (self.token, self.replies, self.owner) = (token, replies, owner)
    }

    static func post(_ message: Message, _ token: UInt64, _ mailbox: Mailbox) {
        mailbox.post { loop in (loop.owner as? Worker)?.generations.heard(message, token) }
    }

    private func post(_ message: Message) { Self.post(message, token, replies) }

    func replayHead(_ head: ResponseHead) { post(.head(head)) }

    func replayBytes(_ bytes: Span<UInt8>) {
        subscription?.pause()
        post(.bytes(bytes.array))
    }

    func replayEnded(_ ending: GenerationEnding) {
        post(.ended(ending))
        owner.left(token)
    }

    func replayFailed(_ failure: ReplayFailure) {
        post(.failed(failure))
        owner.left(token)
    }
}

/// The other end of it, where the reader is.
final class RemoteSubscription: ReplaySubscription {
    let token: UInt64
    /// A generation that nobody finds any more is still read by those that had found it.
    private let owner: Mailbox?
    private let worker: Worker
    private var reader: (any ReplayReader)?
    private var isPaused = false
    /// The last portion has come, and the next has not been asked for.
    private var owesAnswer = false

    init(_ token: UInt64, at owner: Mailbox?, _ reader: any ReplayReader, worker: Worker) {
        (self.token, self.owner, self.reader, self.worker) = (token, owner, reader, worker)
    }

    func heard(_ message: RemoteReader.Message) {
        switch message {
        case .head(let head): reader?.replayHead(head)
        case .bytes(let bytes):
            owesAnswer = true
            reader?.replayBytes(bytes.span)
            askForMore()
        case .ended(let ending): leave()?.replayEnded(ending)
        case .failed(let failure): failed(failure)
        }
    }

    func failed(_ failure: ReplayFailure) { leave()?.replayFailed(failure) }

    func pause() { isPaused = true }

    func resume() {
        isPaused = false
        askForMore()
    }

    func cancel() {
        guard leave() != nil else { return }
        let token = token
        post { $0.generations.detach(token) }
    }

    private func askForMore() {
        guard owesAnswer, !isPaused, reader != nil else { return }
        owesAnswer = false
        let token = token
        post { $0.generations.takesMore(token) }
    }

    private func post(_ work: @escaping @Sendable (Worker) -> Void) {
        owner?.post { loop in if let worker = loop.owner as? Worker { work(worker) } }
    }

    private func leave() -> (any ReplayReader)? {
        let last = reader
        reader = nil
        worker.generations.forget(self)
        return last
    }
}
