import SluiceBytes
import SluiceHTTP
import SluiceIO

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

    /// Asks a silent client for a sign of life where its protocol has one (HTTP/2 PING) and the body has none.
    func ping()

    /// So many response bytes wait for the client that its upstream must wait too; `clientDrained` follows.
    var isCongested: Bool { get }
    /// Since when the client has taken nothing of what waits for it; nil if nothing waits.
    var waitingSince: Instant? { get }
    var sentBytes: Int { get }
    /// Its address.
    var peerText: String { get }
    var isTLS: Bool { get }
    /// Response bytes that wait for the client in this process.
    var waitingBytes: Int { get }
    /// For what the connection knows of the client: its address, the certificate that it showed.
    var peerConnection: Connection? { get }
}

extension ClientStream {
    var isTLS: Bool { false }
    var waitingBytes: Int { 0 }
    /// A stream that comes over no connection.
    var peerConnection: Connection? { nil }
}

/// The upstream's side of one exchange.
protocol UpstreamStream: AnyObject {
    func pauseReading()
    func resumeReading()
    /// Sends the request; its body too, unless that is relayed. Call once, first.
    func sendRequest(_ request: UpstreamRequest)
    /// Sends bytes of a relayed body and empties `bytes`; with `isLast` the body is complete.
    func sendBody(_ bytes: inout ByteQueue, isLast: Bool)
    /// So many request bytes wait for the upstream that the client must wait too; `upstreamDrained` follows.
    var isCongested: Bool { get }
    /// Ends the work on the other side at once.
    func cancel()
    /// Asked when the connection has ended without a byte of an answer: it had served another exchange before, and had most likely
    /// been closed by the time the request came.
    var wasStale: Bool { get }
    var receivedBytes: Int { get }
}

/// When the end of a used connection means that the other side had closed it before the request came.
enum StaleConnection {
    /// An upstream that had closed tells so within a round trip. Who takes longer has most likely read the request.
    static let window = Interval.seconds(1)

    /// `hasTaken`: the other side's kernel has acknowledged some of the request. Whether a program has read it, nobody can tell: it
    /// may have closed with those bytes unread, which is what happens where both sides act at once.
    static func isStale(hasTaken: Bool, sent: Instant, at now: Instant) -> Bool { !hasTaken || now - sent < window }
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
    /// The upstream's process has ended, or is ready: who waits for a connection waits for something else now.
    func upstreamChanged()
    func upstreamDrained()
}
