import Glibc
import SluiceBytes

/// Files and pipes of commands: what is there is read, all that is given is written. A descriptor that somebody set to
/// non-blocking is waited for.
enum StandardStreams {
    struct Fault: Error, CustomStringConvertible {
        let message: String
        /// Whoever read the output has left; nobody is there to complain to.
        let isClosed: Bool

        init(_ call: String, _ code: Int32) {
            message = "\(call): \(String(cString: strerror(code)))"
            isClosed = code == EPIPE
        }

        var description: String { message }
    }

    /// Reads what has come, at least one byte; 0 at the end.
    static func read(
        into buffer: inout [UInt8], from descriptor: Int32 = 0, name: String = "standard input"
    ) throws(Fault) -> Int {
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count >= 0 { return count }
            try wait(descriptor, Int16(POLLIN), name)
        }
    }

    static func readFile(_ path: String) throws(Fault) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Fault(path, errno) }
        defer { close(descriptor) }
        return try readAll(from: descriptor, name: path)
    }

    /// All of it, to the end.
    static func readAll(from descriptor: Int32 = 0, name: String = "standard input") throws(Fault) -> [UInt8] {
        var (all, buffer) = ([UInt8](), [UInt8](repeating: 0, count: 64 << 10))
        while true {
            let count = try read(into: &buffer, from: descriptor, name: name)
            if count == 0 { return all }
            all += buffer[..<count]
        }
    }

    /// Writes all of `queue` and leaves it empty.
    static func write(_ queue: inout ByteQueue, to descriptor: Int32 = 1) throws(Fault) {
        while !queue.isEmpty {
            let count = queue.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count >= 0 {
                queue.consume(count)
            } else {
                try wait(descriptor, Int16(POLLOUT), "standard output")
            }
        }
    }

    /// After a call that failed: returns if it is worth trying again.
    private static func wait(_ descriptor: Int32, _ events: Int16, _ name: String) throws(Fault) {
        let code = errno
        if code == EINTR { return }
        guard code == EAGAIN else { throw Fault(name, code) }
        var entry = pollfd(fd: descriptor, events: events, revents: 0)
        poll(&entry, 1, -1)
    }
}
