import SluiceBytes
import SluiceHTTP
import SluiceIO

/// A client's stream whose body is compressed on its way: it stands between an exchange and the stream that the client's
/// connection gave it.
///
/// Whatever the exchange flushes is flushed through the compressor too, so that nothing waits in it. Who waits, what waits and what
/// has been sent are the connection's matter, and so they count compressed bytes.
final class CompressedClientStream: ClientStream {
    let coding: BodyCoding
    private let wire: any ClientStream
    private let worker: Worker
    private weak var exchange: Exchange?
    /// nil: the body is over.
    private var compressor: BodyCompressor?
    private(set) var plainBytes = 0
    private(set) var codedBytes = 0

    /// nil: there is no memory for it.
    init?(_ coding: BodyCoding, to wire: any ClientStream, of exchange: Exchange) {
        guard let compressor = BodyCompressor(coding) else { return nil }
        (self.coding, self.wire, self.exchange) = (coding, wire, exchange)
        worker = exchange.worker
        self.compressor = consume compressor
    }

    /// Hands the compressor's memory back, and counts what it did; what follows goes nowhere.
    func release() {
        guard compressor != nil else { return }
        compressor = nil
        worker.metrics.compression.count(self)
    }

    // MARK: - Body

    /// The run is plain; its place in the message is opened when it is compressed.
    func openBody(in out: inout ByteQueue) -> ByteQueue.Mark? { nil }

    func flushBody(_ mark: ByteQueue.Mark?, _ out: inout ByteQueue, isLast: Bool) {
        // A flush of nothing would cost bytes that say nothing.
        if out.isEmpty, !isLast { return wire.flush() }
        guard compressor != nil else { return out.removeAll() }
        var coded = ByteQueue()
        swap(&coded, &worker.coded)
        let wireMark = wire.openBody(in: &coded)
        let before = coded.count
        plainBytes += out.count
        let isWhole = compressor?.append(out.span, isLast: isLast, into: &coded) ?? false
        codedBytes += coded.count - before
        out.removeAll()
        if isLast || !isWhole { release() }
        if isWhole { wire.flushBody(wireMark, &coded, isLast: isLast) } else { fail() }
        coded.removeAll()
        coded.release(ifOver: Self.keptBytes)
        swap(&coded, &worker.coded)
    }

    /// Storage that a worker keeps for the next run.
    private static let keptBytes = 256 << 10

    /// No library has been seen to fail here. If one does, the client gets a body that is visibly cut.
    private func fail() {
        wire.abort()
        worker.loop.afterTurn { [weak exchange] in exchange?.clientGone("compression_failed") }
    }

    /// The compressed body gets no end of its own: no decoder takes it for complete.
    func abort() {
        release()
        wire.abort()
    }

    // MARK: - The connection's

    func sendHead(_ head: ResponseHead, length: BodyLength) { wire.sendHead(head, length: length) }
    func flush() { wire.flush() }
    func sendContinue() { wire.sendContinue() }
    func pauseBody() { wire.pauseBody() }
    func resumeBody() { wire.resumeBody() }
    func ping() { wire.ping() }
    var isCongested: Bool { wire.isCongested }
    var waitingSince: Instant? { wire.waitingSince }
    var sentBytes: Int { wire.sentBytes }
    var peerText: String { wire.peerText }
    var isTLS: Bool { wire.isTLS }
    var waitingBytes: Int { wire.waitingBytes }
    var peerConnection: Connection? { wire.peerConnection }
}
