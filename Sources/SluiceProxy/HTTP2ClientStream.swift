import SluiceBytes
import SluiceHTTP
import SluiceIO

/// One stream of an HTTP/2 client: carries what its exchange says into the session.
final class HTTP2ClientStream: ClientStream {
    let slot: Int
    /// A cycle while the exchange lives; broken when it, or the stream, is over.
    var exchange: Exchange?
    /// The connection holds this stream, and outlives it.
    private unowned let connection: HTTP2ClientConnection
    /// A head that waits for the first body bytes: without any, it ends the stream itself.
    private var head: ResponseHead?
    private var length = BodyLength.none

    init(_ slot: Int, connection: HTTP2ClientConnection) { (self.slot, self.connection) = (slot, connection) }

    private var session: HTTP2Session { connection.session }

    // MARK: - ClientStream

    func sendHead(_ head: ResponseHead, length: BodyLength) { (self.head, self.length) = (head, length) }

    func openBody(in out: inout ByteQueue) -> ByteQueue.Mark? { nil }

    func flushBody(_ mark: ByteQueue.Mark?, _ out: inout ByteQueue, isLast: Bool) {
        let isBodyless = isLast && out.isEmpty
        sendHeldHead(isLast: isBodyless)
        session.send(slot, &out, isLast: isLast, room: connection.room, now: connection.worker.loop.now)
        connection.setNeedsFlush()
        if isLast { exchange = nil }
    }

    func flush() {
        guard head != nil else { return }
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
        session.resetAfterSending(slot)
        connection.setNeedsFlush()
    }

    func sendContinue() {
        guard head == nil else { return }
        session.sendContinue(slot)
        connection.setNeedsFlush()
    }

    func pauseBody() { session.setReading(slot, false) }

    func resumeBody() {
        session.setReading(slot, true)
        connection.setNeedsFlush()
    }

    func ping() { connection.ping() }

    var isCongested: Bool { session.isCongested(slot) }
    var waitingSince: Instant? { session.waitingSince(slot) }
    var sentBytes: Int { session.sentBytes(slot) }
    var peerText: String { connection.peerText }
    var peerConnection: Connection? { connection.peerConnection }
}
