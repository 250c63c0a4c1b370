import Glibc
import SluiceIO
import Synchronization

/// A server on a loopback port, one connection after another, on a thread of its own: takes a request's head, writes
/// what it is told.
final class StubServer: Sendable {
    let url: String
    private let seen = Shared<[String]>([])

    /// Heads of the requests that have come.
    var requests: [String] { seen.value }

    init(_ answer: @escaping @Sendable (String) -> String) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr = in_addr(s_addr: UInt32(0x7F00_0001).bigEndian)
        var count = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                bind(listener, name, count) == 0 && listen(listener, 8) == 0 && getsockname(listener, name, &count) == 0
            }
        }
        guard listener >= 0, isBound else { throw SystemError("listen", errno) }
        url = "http://127.0.0.1:\(UInt16(bigEndian: name.sin_port))/creds?x=1"
        let seen = seen
        // Ends with the process.
        try startThread(named: "stub") {
            while true {
                let client = accept(listener, nil, nil)
                guard client >= 0 else { return }
                let head = Self.head(client)
                seen.change { $0.append(head) }
                let bytes = Array(answer(head).utf8)
                _ = bytes.withUnsafeBytes { send(client, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
                close(client)
            }
        }
    }

    private static func head(_ client: Int32) -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1024)
        while !bytes.suffix(4).elementsEqual("\r\n\r\n".utf8) {
            let count = recv(client, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            bytes += buffer[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    static func answer(_ status: Int, _ body: String) -> String {
        "HTTP/1.1 \(status) Word\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }
}

/// A value that a test and its threads share.
final class Shared<Value: Sendable>: Sendable {
    private let state: Mutex<Value>

    init(_ value: Value) { state = Mutex(value) }

    var value: Value { state.withLock { $0 } }
    func change(_ body: (inout sending Value) -> Void) { state.withLock { body(&$0) } }
}

/// Polls, since no thread tells the test when; false after ten seconds.
func eventually(_ condition: () -> Bool) -> Bool {
    for _ in 0..<2000 {
        if condition() { return true }
        usleep(5000)
    }
    return condition()
}
