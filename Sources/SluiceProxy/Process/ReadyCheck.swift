import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO

/// Asks once whether a process is ready: whether its port accepts, or, with a path, whether that answers 2xx. Ends by one call of
/// `done`, or by `cancel`.
final class ReadyCheck: ConnectionDelegate, TimerHandler {
    private let loop: EventLoop
    private let path: String?
    private let authority: String
    private let done: (Bool) -> Void
    private var connector: Connector?
    private var connection: Connection?
    private var parser = HTTP1ResponseParser()
    private var timer = TimerID.none
    private var isOver = false

    /// A server that takes longer to say that it is well is not.
    private static let timeout = Interval.seconds(5)

    /// `done` is called later, never from inside `init`.
    init(_ url: UpstreamURL, path: String?, on loop: EventLoop, done: @escaping (Bool) -> Void) {
        (self.loop, self.path, self.done) = (loop, path, done)
        authority = url.authority
        timer = loop.schedule(after: Self.timeout, handler: self)
        connector = Connector(to: Self.addresses(url), on: loop) { [weak self] result in
            guard let self, !isOver else { return }
            connector = nil
            guard case .success(let connected) = result, !connected.isConnectedToItself else { return end(false) }
            opened(connected)
        }
    }

    private static func addresses(_ url: UpstreamURL) -> [SocketAddress] {
        if let path = url.unixPath { return [.unix(path)] }
        let port = UInt16(truncatingIfNeeded: url.port)
        let hosts = url.host == "localhost" ? ["127.0.0.1", "::1"] : [url.host]
        return hosts.compactMap { IPAddress($0).map { .ip($0, port: port) } }
    }

    func cancel() {
        isOver = true
        loop.cancel(timer)
        connector?.cancel()
        connection?.close()
        (connector, connection) = (nil, nil)
    }

    private func end(_ isReady: Bool) {
        guard !isOver else { return }
        cancel()
        done(isReady)
    }

    func timerFired(_ timer: TimerID, on loop: EventLoop) { end(false) }

    private func opened(_ connected: Connector.Connected) {
        guard path != nil else { return end(true) }
        do throws(SystemError) {
            let connection = try Connection(connected.take(), peer: connected.address, engine: nil, loop: loop)
            self.connection = connection
            connection.start(self)
        } catch {
            end(false)
        }
    }

    // MARK: - ConnectionDelegate

    func connectionEstablished(_ connection: Connection) {
        guard let path else { return }
        var fields = HeaderFields()
        fields.append("User-Agent", "sluice")
        fields.append("Accept", "*/*")
        fields.append("Connection", "close")
        let head = RequestHead(method: "GET", target: path, authority: authority, fields: fields)
        parser.begin(requestMethod: "GET")
        var bytes = ByteQueue()
        HTTP1Serializer.request(head, length: .none, into: &bytes)
        connection.send(&bytes)
    }

    func connection(_ connection: Connection, received bytes: Span<UInt8>) -> Int {
        var offset = 0
        do throws(HTTPError) {
            while true {
                switch try parser.next(bytes, at: &offset) {
                case .interim: continue
                case .head(let head, _):
                    end((200..<300).contains(head.status))
                    return bytes.count
                default: return bytes.count
                }
            }
        } catch {
            end(false)
            return bytes.count
        }
    }

    func connectionEnded(_ connection: Connection) { end(false) }
    func connectionDrained(_ connection: Connection) {}
    func connection(_ connection: Connection, failed error: ConnectionError) { end(false) }
}
