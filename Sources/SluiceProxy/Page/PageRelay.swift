import CLinux
import Glibc
import SluiceBytes
import SluiceHTTP
import SluiceIO
import SluiceStreams
import Synchronization

/// A request of the page on its way to a worker of this process and back, over a pair of sockets that nobody else can reach: so it needs
/// no address, no certificate and no port, passes the same routes, limits and log as any client's, and can go nowhere else.
///
/// Lives on the admin's loop; the worker has the other end and takes it for a client. Ends once, by `.end`, `.failed` or `cancel`.
final class PageRelay: ConnectionDelegate {
    enum Event {
        /// The answer has begun: its status and fields as one line of JSON. They are not the page's own, which must not come to mean
        /// anything to the browser: no cookie is set by them, no redirect followed, no document shown.
        case head([UInt8])
        case body([UInt8])
        case end
        /// The answer is cut; with a message, before it began.
        case failed(String?)
    }

    private let connection: Connection
    private var tell: ((Event) -> Void)?
    private var parser = HTTP1ResponseParser(limits: HTTP1Limits(headBytes: 128 << 10, fields: 512))
    private var hasBegun = false

    /// One end of the pair, until a worker takes it.
    private final class Handover: Sendable {
        private let socket: Mutex<Int32>
        init(_ socket: Int32) { self.socket = Mutex(socket) }
        deinit { if let rest = take() { close(rest) } }

        func take() -> Int32? {
            socket.withLock { socket in
                defer { socket = -1 }
                return socket < 0 ? nil : socket
            }
        }
    }

    /// `peer`: for whom the request is made, as logs and limits see it. nil if there is no socket left.
    init?(
        to worker: Int, of server: Server, for peer: SocketAddress, on loop: EventLoop,
        _ tell: @escaping (Event) -> Void
    ) {
        var pair: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, SL_STREAM | SL_CLOEXEC | SL_NONBLOCK, 0, &pair) == 0 else {
            return nil
        }
        let handover = Handover(pair[1])
        guard let connection = try? Connection(Descriptor(owning: pair[0]), peer: peer, engine: nil, loop: loop)
        else { return nil }
        (self.connection, self.tell) = (connection, tell)
        connection.readsToEnd = true
        server.ask(worker) { worker in
            if let socket = handover.take() { worker.adopt(Descriptor(owning: socket), peer) }
        }
    }

    func start(_ call: PageCall) {
        connection.start(self)
        parser.begin(requestMethod: call.head.method)
        var bytes = ByteQueue()
        call.append(to: &bytes)
        connection.send(&bytes)
    }

    func pause() { connection.pauseReading() }
    func resume() { connection.resumeReading() }

    /// The worker sees its client go.
    func cancel() {
        tell = nil
        connection.close()
    }

    // MARK: - ConnectionDelegate

    func connectionEstablished(_ connection: Connection) {}

    func connection(_ connection: Connection, received bytes: Span<UInt8>) -> Int {
        var offset = 0
        do throws(HTTPError) {
            while tell != nil {
                switch try parser.next(bytes, at: &offset) {
                case .needMore: return bytes.count
                case .interim: continue
                case .head(let head, _):
                    hasBegun = true
                    tell?(.head(Self.line(head)))
                case .body(let range): tell?(.body(bytes.extracting(range).array))
                case .end:
                    finish(.end)
                    return bytes.count
                }
            }
        } catch {
            fail()
        }
        return bytes.count
    }

    func connectionEnded(_ connection: Connection) {
        do throws(HTTPError) {
            if try parser.finish() { return finish(.end) }
        } catch {}
        fail()
    }

    func connectionDrained(_ connection: Connection) {}
    func connection(_ connection: Connection, failed error: ConnectionError) { fail() }

    private func fail() { finish(.failed(hasBegun ? nil : "the worker closed the connection without an answer")) }

    private func finish(_ event: Event) {
        guard let tell else { return }
        cancel()
        tell(event)
    }

    private static func line(_ head: ResponseHead) -> [UInt8] {
        let fields = (0..<head.fields.count).map { index -> JSONValue in
            [JSONValue(head.fields.nameString(at: index)), JSONValue(head.fields.valueString(at: index))]
        }
        let document: JSONValue = ["status": JSONValue(head.status), "fields": .array(fields)]
        return document.serialized() + [ASCII.lf]
    }
}

extension Worker {
    /// Takes up a connection from within the process, as if a client had made it.
    func adopt(_ socket: consuming Descriptor, _ peer: SocketAddress) {
        guard !isDraining, shared.budget.take() else { return }
        accept(socket, peer, WorkerListener.inner())
    }
}
