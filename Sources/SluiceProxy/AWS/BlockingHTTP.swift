import Glibc
import SluiceBytes
import SluiceHTTP
import SluiceIO

/// One request over plain HTTP, on a thread that may block.
enum BlockingHTTP {
    struct Answer: Equatable {
        var status = 0
        var body: [UInt8] = []
    }

    struct Failure: Error, CustomStringConvertible {
        let description: String

        init(_ description: String) { self.description = description }
        init(call: StaticString) { description = SystemError(call, errno).description }
    }

    static let bodyLimit = 64 << 10
    /// For each call, and for the answer in all.
    static let timeoutSeconds = 5

    /// `request` is the whole of it, and a GET.
    static func exchange(_ request: [UInt8], with address: IPAddress, _ port: Int) throws(Failure) -> Answer {
        let connection = try connect(address, port)
        var sent = 0
        while sent < request.count {
            let count = request[sent...].withUnsafeBytes {
                send(connection.raw, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Failure(call: "send") }
            sent += count
        }
        return try receive(connection)
    }

    private static func connect(_ address: IPAddress, _ port: Int) throws(Failure) -> Descriptor {
        let isFour = if case .v4 = address { true } else { false }
        let raw = socket(isFour ? AF_INET : AF_INET6, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard raw >= 0 else { throw Failure(call: "socket") }
        let connection = Descriptor(owning: raw)
        var timeout = timeval(tv_sec: timeoutSeconds, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(raw, SOL_SOCKET, option, &timeout, socklen_t(MemoryLayout<timeval>.size))
        }
        let result =
            switch address {
            case .v4(let bits):
                with(
                    sockaddr_in(
                        sin_family: sa_family_t(AF_INET), sin_port: in_port_t(port).bigEndian,
                        sin_addr: in_addr(s_addr: bits.bigEndian), sin_zero: (0, 0, 0, 0, 0, 0, 0, 0))
                ) { Glibc.connect(raw, $0, $1) }
            case .v6(let high, let low): with(address6(high, low, port)) { Glibc.connect(raw, $0, $1) }
            }
        guard result == 0 else { throw Failure(call: "connect") }
        return connection
    }

    private static func address6(_ high: UInt64, _ low: UInt64, _ port: Int) -> sockaddr_in6 {
        var name = sockaddr_in6()
        name.sin6_family = sa_family_t(AF_INET6)
        name.sin6_port = in_port_t(port).bigEndian
        withUnsafeMutableBytes(of: &name.sin6_addr) { bytes in
            bytes.storeBytes(of: high.bigEndian, as: UInt64.self)
            bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
        return name
    }

    private static func with<Name>(_ name: Name, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        withUnsafePointer(to: name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<Name>.size)) }
        }
    }

    private static func receive(_ connection: borrowing Descriptor) throws(Failure) -> Answer {
        var answer = Answer()
        var parser = HTTP1ResponseParser()
        parser.begin(requestMethod: "GET")
        let deadline = time(nil) + timeoutSeconds
        var buffer = [UInt8](repeating: 0, count: 4096)
        do {
            while true {
                let count = recv(connection.raw, &buffer, buffer.count, 0)
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw Failure(call: "recv") }
                if count == 0 {
                    guard try parser.finish() else { throw Failure("the answer is cut") }
                    return answer
                }
                if try take(buffer.span.extracting(0..<count), &parser, &answer) { return answer }
                guard answer.body.count <= bodyLimit else { throw Failure("the answer is over \(bodyLimit) bytes") }
                guard time(nil) <= deadline else { throw Failure("the answer takes too long") }
            }
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure("the answer is no HTTP: \(error)")
        }
    }

    /// True at the end of the answer.
    private static func take(
        _ bytes: Span<UInt8>, _ parser: inout HTTP1ResponseParser, _ answer: inout Answer
    ) throws(HTTPError) -> Bool {
        var offset = 0
        while true {
            switch try parser.next(bytes, at: &offset) {
            case .needMore: return false
            case .head(let head, _): answer.status = head.status
            case .interim: continue
            case .body(let range):
                bytes.extracting(range).withUnsafeBufferPointer { answer.body.append(contentsOf: $0) }
            case .end: return true
            }
        }
    }
}
