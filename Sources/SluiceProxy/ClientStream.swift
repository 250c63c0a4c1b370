import SluiceBytes
import SluiceHTTP

/// The client's side of one exchange: where its answer goes. HTTP/1.1 gives one a connection, HTTP/2 many.
///
/// A body run is written between `openBody` and `flushBody` straight into a scratch queue, so that HTTP/1.1 can put the
/// chunk's size before it without a copy.
protocol ClientStream: AnyObject {
    /// Queues the head; it leaves with the first body bytes, or by `flush`.
    func sendHead(_ head: ResponseHead, length: BodyLength)
    /// Begins a run of body bytes in `out`, which is empty.
    func openBody(in out: inout ByteQueue) -> ByteQueue.Mark?
    /// Ends the run and sends it, taking all of `out`. With `isLast` the body is complete: the exchange is over.
    func flushBody(_ mark: ByteQueue.Mark?, _ out: inout ByteQueue, isLast: Bool)
    /// Sends the head if it still waits, without a body byte.
    func flush()
    /// The body ends here and is not complete: the client must not take it for that. The exchange is over.
    func abort()
    /// 100 (Continue), if the client waits for it.
    func sendContinue()
    /// Request body bytes are not wanted for now, or again.
    func pauseBody()
    func resumeBody()

    /// Response bytes that the client has not taken yet.
    var waitingBytes: Int { get }
    /// When the client last took bytes.
    var lastProgress: Instant { get }
    var sentBytes: Int { get }
    /// Address, and the subject of its certificate if it showed one.
    var peerText: String { get }
}

/// The upstream's side of one exchange.
protocol UpstreamStream: AnyObject {
    func pauseReading()
    func resumeReading()
    /// Sends request bytes, already framed. Empties `bytes`.
    func send(_ bytes: inout ByteQueue)
    /// Request bytes that the upstream has not taken yet.
    var waitingBytes: Int { get }
    /// Ends the work on the other side at once.
    func cancel()
    /// The connection had served another exchange before, so it may have been closed by the upstream meanwhile.
    var isReused: Bool { get }
    var receivedBytes: Int { get }
}

/// Hears what comes back. Implemented by the exchange.
protocol UpstreamStreamDelegate: AnyObject {
    func upstreamReady(_ stream: any UpstreamStream)
    func upstreamHead(_ head: ResponseHead)
    func upstreamBody(_ bytes: Span<UInt8>)
    /// All that one read brought has been handed over, and the body goes on: what was made of it leaves now.
    func upstreamPaused()
    /// The body ended as HTTP says it must. The stream is back in its pool by now.
    func upstreamEnd()
    func upstreamFailed(_ error: ProxyError)
    func upstreamDrained()
}
