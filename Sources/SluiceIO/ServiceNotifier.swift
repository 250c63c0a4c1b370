import CLinux
import Glibc
import SluiceBytes

/// What the service manager is told, in its words (sd_notify(3)).
public enum ServiceMessage: Equatable, Sendable {
    case ready(status: String)
    case reloading(since: Instant)
    /// `within`: it may take so long, whatever the manager would give it otherwise.
    case stopping(within: Interval)
    case watchdog
    /// Another process is the service from now on, and serves.
    case successor(process: Int32)

    public var text: String {
        switch self {
        case .ready(let status): "READY=1\nSTATUS=\(Self.line(status))"
        case .reloading(let since): "RELOADING=1\nMONOTONIC_USEC=\(since.nanoseconds / 1000)"
        case .stopping(let time): "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=\(time.nanoseconds / 1000)"
        case .watchdog: "WATCHDOG=1"
        case .successor(let process): "MAINPID=\(process)\nREADY=1"
        }
    }

    /// A line end would begin another variable.
    private static func line(_ text: String) -> String {
        String(decoding: text.utf8.prefix(1024).map { $0 < 0x20 ? 0x20 : $0 }, as: UTF8.self)
    }

    /// How often WATCHDOG=1 has to come for the manager to be content, halved so that one may be late; nil: it does not watch,
    /// or not the process of that number.
    public static func watchdogInterval(_ environment: [String: String], process: Int32) -> Interval? {
        guard let period = environment["WATCHDOG_USEC"].flatMap({ UInt64($0) }), period > 1, period < 1 << 50 else {
            return nil
        }
        if let watched = environment["WATCHDOG_PID"], watched != "\(process)" { return nil }
        return Interval(nanoseconds: period / 2 * 1000)
    }
}

/// Sends datagrams to the service manager's socket, `NOTIFY_SOCKET`. Without one it does nothing; what cannot be sent is
/// lost, since nothing here may wait for the manager.
public final class ServiceNotifier: Sendable {
    private let descriptor: Int32
    private let path: String

    public init(_ environment: [String: String]) {
        path = environment["NOTIFY_SOCKET"] ?? ""
        let isUsable = (path.hasPrefix("/") || path.hasPrefix("@")) && (2..<108).contains(path.utf8.count)
        let type = Int32(SL_DATAGRAM) | Int32(SL_NONBLOCK) | Int32(SL_CLOEXEC)
        descriptor = isUsable ? socket(AF_UNIX, type, 0) : -1
    }

    deinit { if descriptor >= 0 { _ = close(descriptor) } }

    public func send(_ message: ServiceMessage) {
        guard descriptor >= 0 else { return }
        var storage = sockaddr_un()
        storage.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &storage.sun_path) { bytes in
            for (offset, byte) in path.utf8.enumerated() { bytes[offset] = byte }
            if path.hasPrefix("@") { bytes[0] = 0 }  // abstract: no file has this name
        }
        // An abstract name ends with its length, not with a zero.
        let length = socklen_t(2 + path.utf8.count + (path.hasPrefix("@") ? 0 : 1))
        let text = Array(message.text.utf8)
        _ = withUnsafePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                sendto(descriptor, text, text.count, Int32(SL_NOSIGNAL), address, length)
            }
        }
    }
}
