import SluiceBytes
import SluiceHTTP
import SluiceIO

/// One stream of an HTTP/2 client: carries what its exchange says into the session.
final class HTTP2ClientStream: ClientStream {
    let slot: Int
    /// A cycle while the exchange lives; broken when it, or the stream, is over.
    var exchange: Exchange?
    /// A cycle while the stream is open. An exchange that goes on without its client holds the stream for longer.
    private let connection: HTTP2ClientConnection
    private var isGone = false
    /// A head that waits for the first body bytes: without any, it ends the stream itself.
    private var head: ResponseHead?
    private var length = BodyLength.none

    init(_ slot: Int, connection: HTTP2ClientConnection) { (self.slot, self.connection) = (slot, connection) }

    private var session: HTTP2Session { connection.session }

    /// The stream is closed, and its slot may be another's.
    func leave() { (isGone, exchange) = (true, nil) }

    // MARK: - ClientStream

    func sendHead(_ head: ResponseHead, length: BodyLength) { (self.head, self.length) = (head, length) }

    func openBody(in out: inout ByteQueue) -> ByteQueue.Mark? { nil }

    func flushBody(_ mark: ByteQueue.Mark?, _ out: inout ByteQueue, isLast: Bool) {
        if isGone { return out.removeAll() }
        let isBodyless = isLast && out.isEmpty
        sendHeldHead(isLast: isBodyless)
        session.send(slot, &out, isLast: isLast, room: connection.room, now: connection.worker.loop.now)
        connection.setNeedsFlush()
        if isLast { exchange = nil }
    }

    func flush() {
        guard head != nil, !isGone else { return }
        sendHeldHead(isLast: false)
        connection.setNeedsFlush()
    }

    private func sendHeldHead(isLast: Bool) {
        guard let head else { return }
        self.head = nil
        session.respond(slot, head, length: length, isLast: isLast)
    }

    func abort() {
        exchange = nil
        if isGone { return }
        session.resetAfterSending(slot)
        connection.setNeedsFlush()
    }

    func sendContinue() {
        guard head == nil, !isGone else { return }
        session.sendContinue(slot)
        connection.setNeedsFlush()
    }

    func pauseBody() { if !isGone { session.setReading(slot, false) } }

    func resumeBody() {
        if isGone { return }
        session.setReading(slot, true)
        connection.setNeedsFlush()
    }

    func ping() { if !isGone { connection.ping() } }

    var isCongested: Bool { !isGone && session.isCongested(slot) }
    var waitingSince: Instant? { isGone ? nil : session.waitingSince(slot) }
    var sentBytes: Int { isGone ? 0 : session.sentBytes(slot) }
    var peerText: String { connection.peerText }
    var isTLS: Bool { connection.isTLS }
    var waitingBytes: Int { session.waitingBytes(slot) }
    var peerConnection: Connection? { connection.peerConnection }
}
