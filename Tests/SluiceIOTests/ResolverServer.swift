import Glibc
import SluiceIO
import Synchronization

/// A name server on a UDP port of its own, in a thread. What it answers depends on the name only.
final class ResolverServer: Sendable {
    struct Answer: Sendable {
        var code: UInt8 = 0
        var v4: [[UInt8]] = []
        var v6: [[UInt8]] = []
        var ttl: UInt8 = 60
        var isSilent = false
    }

    let port: UInt16
    private let socket: Int32
    private let asked = Mutex<[String: Int]>([:])

    init(_ answers: [String: Answer]) throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let socket = socket
        withUnsafeMutableBytes(of: &address) { raw in
            let pointer = raw.baseAddress?.assumingMemoryBound(to: sockaddr.self)
            bind(socket, pointer, length)
            getsockname(socket, pointer, &length)
        }
        port = UInt16(bigEndian: address.sin_port)
        try startThread(named: "dns") { [self] in serve(answers) }
    }

    /// Questions for a name, of either family.
    func questions(for name: String) -> Int { asked.withLock { $0[name, default: 0] } }

    /// Ends the thread, which closes the socket.
    func stop() {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let socket = socket
        withUnsafeBytes(of: address) { raw in
            let pointer = raw.baseAddress?.assumingMemoryBound(to: sockaddr.self)
            sendto(socket, nil, 0, 0, pointer, socklen_t(raw.count))
        }
    }

    private func serve(_ answers: [String: Answer]) {
        var buffer = [UInt8](repeating: 0, count: 512)
        while true {
            var peer = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let count = withUnsafeMutableBytes(of: &peer) { raw in
                recvfrom(
                    socket, &buffer, buffer.count, 0, raw.baseAddress?.assumingMemoryBound(to: sockaddr.self), &length)
            }
            guard count > 12, let (name, type, end) = Self.question(buffer[..<count]) else { break }
            asked.withLock { $0[name, default: 0] += 1 }
            let answer = answers[name] ?? Answer(code: 3)
            if answer.isSilent { continue }
            let reply = Self.reply(buffer[..<end], type: type, answer)
            withUnsafeMutableBytes(of: &peer) { raw in
                _ = sendto(
                    socket, reply, reply.count, 0, raw.baseAddress?.assumingMemoryBound(to: sockaddr.self), length)
            }
        }
        close(socket)
    }

    /// The name, the type, and where the question ends (RFC 1035 §4.1.2).
    private static func question(_ bytes: ArraySlice<UInt8>) -> (String, UInt8, Int)? {
        var labels: [String] = []
        var index = 12
        while index < bytes.count, bytes[index] > 0 {
            let end = index + 1 + Int(bytes[index])
            guard end < bytes.count else { return nil }
            labels.append(String(decoding: bytes[(index + 1)..<end], as: UTF8.self))
            index = end
        }
        guard index + 5 <= bytes.count else { return nil }
        return (labels.joined(separator: "."), bytes[index + 2], index + 5)
    }

    private static func reply(_ question: ArraySlice<UInt8>, type: UInt8, _ answer: Answer) -> [UInt8] {
        let records = type == 1 ? answer.v4 : type == 28 ? answer.v6 : []
        var bytes = Array(question)
        bytes[2] = 0x81
        bytes[3] = 0x80 | answer.code
        bytes.replaceSubrange(4..<12, with: [0, 1, 0, UInt8(records.count), 0, 0, 0, 0])
        for record in records {
            // A pointer to the question's name, type, class IN, TTL, length.
            bytes += [0xC0, 0x0C, 0, type, 0, 1, 0, 0, 0, answer.ttl, 0, UInt8(record.count)] + record
        }
        return bytes
    }
}
