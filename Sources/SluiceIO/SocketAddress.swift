import CLinux
import Glibc

/// Where a socket is or goes: IPv4, IPv6 or a unix path.
public enum SocketAddress: Hashable, Sendable, CustomStringConvertible {
    case ip(IPAddress, port: UInt16)
    case unix(String)

    /// `127.0.0.1:80`, `[::1]:80`, `:80` (all IPv4 addresses), `unix:/path`. Names are the resolver's matter: nil.
    public init?(_ text: String) {
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst(5))
            guard !path.isEmpty, path.utf8.count < 108 else { return nil }
            self = .unix(path)
            return
        }
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        if host.isEmpty { host = "0.0.0.0" }
        if host == "localhost" { host = "127.0.0.1" }
        guard let address = IPAddress(String(host)) else { return nil }
        self = .ip(address, port: port)
    }

    public var description: String {
        switch self {
        case .ip(.v4, let port): "\(addressText):\(port)"
        case .ip(.v6, let port): "[\(addressText)]:\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }

    /// Without the port; `unix` for a unix socket.
    public var addressText: String {
        switch self {
        case .ip(let address, _): address.description
        case .unix: "unix"
        }
    }

    var family: Int32 {
        switch self {
        case .ip(.v4, _): AF_INET
        case .ip(.v6, _): AF_INET6
        case .unix: AF_UNIX
        }
    }

    /// Calls `body` with the C form. The pointer is dead afterwards.
    func withSockaddr<R, E: Error>(_ body: (UnsafePointer<sockaddr>, socklen_t) throws(E) -> R) throws(E) -> R {
        var storage = sockaddr_storage()
        let length = fill(&storage)
        return try withUnsafePointer(to: &storage) { pointer throws(E) in
            try body(UnsafeRawPointer(pointer).assumingMemoryBound(to: sockaddr.self), length)
        }
    }

    private func fill(_ storage: inout sockaddr_storage) -> socklen_t {
        withUnsafeMutableBytes(of: &storage) { raw in
            switch self {
            case .ip(.v4(let address), let port):
                var value = sockaddr_in()
                value.sin_family = sa_family_t(AF_INET)
                value.sin_port = port.bigEndian
                value.sin_addr.s_addr = address.bigEndian
                raw.storeBytes(of: value, as: sockaddr_in.self)
                return socklen_t(MemoryLayout<sockaddr_in>.size)
            case .ip(.v6(let high, let low), let port):
                var value = sockaddr_in6()
                value.sin6_family = sa_family_t(AF_INET6)
                value.sin6_port = port.bigEndian
                withUnsafeMutableBytes(of: &value.sin6_addr) { bytes in
                    bytes.storeBytes(of: high.bigEndian, as: UInt64.self)
                    bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
                }
                raw.storeBytes(of: value, as: sockaddr_in6.self)
                return socklen_t(MemoryLayout<sockaddr_in6>.size)
            case .unix(let path):
                raw.storeBytes(of: sa_family_t(AF_UNIX), as: sa_family_t.self)
                for (offset, byte) in path.utf8.prefix(107).enumerated() { raw[2 + offset] = byte }
                return socklen_t(2 + min(107, path.utf8.count) + 1)
            }
        }
    }

    /// What the kernel filled in; nil for a family that Sluice does not speak.
    init?(_ storage: sockaddr_storage) {
        let address: SocketAddress? = withUnsafeBytes(of: storage) { raw in
            switch Int32(raw.load(as: sa_family_t.self)) {
            case AF_INET:
                let value = raw.load(as: sockaddr_in.self)
                return .ip(.v4(UInt32(bigEndian: value.sin_addr.s_addr)), port: UInt16(bigEndian: value.sin_port))
            case AF_INET6:
                let port = UInt16(bigEndian: raw.load(as: sockaddr_in6.self).sin6_port)
                let high = UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
                let low = UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
                return .ip(.v6(high, low), port: port)
            case AF_UNIX: return .unix("")
            default: return nil
            }
        }
        guard let address else { return nil }
        self = address
    }
}
