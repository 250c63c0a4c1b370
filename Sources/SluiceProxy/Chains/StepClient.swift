import SluiceBytes
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// The client of a step's exchange: the exchange that the step works for. Nothing is sent to it; the answer's text is in `output`.
final class StepClient: ClientStream {
    let name: String
    let request: ChainRun.StepRequest
    /// The whole chain's.
    weak var parent: Exchange?
    /// A new one for each attempt.
    var output: StepOutput?
    /// What the client would have been told.
    var failure: (error: ProxyError, fields: HeaderFields)?
    /// Tokens that the rate limits have been told of.
    var chargedTokens = 0
    let peerText: String
    let isTLS: Bool

    init(_ name: String, _ request: ChainRun.StepRequest, of parent: Exchange) {
        (self.name, self.request, self.parent) = (name, request, parent)
        (peerText, isTLS) = (parent.client.peerText, parent.client.isTLS)
    }

    func sendHead(_ head: ResponseHead, length: BodyLength) {}
    func openBody(in out: inout ByteQueue) -> ByteQueue.Mark? { nil }
    func flushBody(_ mark: ByteQueue.Mark?, _ out: inout ByteQueue, isLast: Bool) { out.removeAll() }
    func flush() {}
    func abort() {}
    func sendContinue() {}
    func pauseBody() {}
    func resumeBody() {}
    func ping() {}
    var isCongested: Bool { false }
    var waitingSince: Instant? { nil }
    var sentBytes: Int { 0 }
}
