import Glibc

/// An IPv4 or IPv6 address as integers in host order (v6: upper and lower half).
public enum IPAddress: Hashable, Sendable, CustomStringConvertible {
    case v4(UInt32)
    case v6(UInt64, UInt64)

    /// A literal in text form, without brackets or zone.
    public init?(_ text: String) {
        var four = in_addr()
        if inet_pton(AF_INET, text, &four) == 1 {
            self = .v4(UInt32(bigEndian: four.s_addr))
            return
        }
        var six = in6_addr()
        guard inet_pton(AF_INET6, text, &six) == 1 else { return nil }
        self = withUnsafeBytes(of: &six) { bytes in
            .v6(
                UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
                UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        }
    }

    public var description: String {
        switch self {
        case .v4(let address):
            return "\(address >> 24).\(address >> 16 & 255).\(address >> 8 & 255).\(address & 255)"
        case .v6(let high, let low):
            var bytes = (high.bigEndian, low.bigEndian)
            return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { text in
                guard let base = text.baseAddress,
                    inet_ntop(AF_INET6, &bytes, base, socklen_t(INET6_ADDRSTRLEN)) != nil
                else { return "?" }
                return String(cString: base)
            }
        }
    }
}

extension IPAddress {
    /// The addresses of a name in the order of its `turn`-th dial: those of each family rotate, so that connections spread over
    /// them, and the families keep their places (RFC 8305 §4).
    public static func rotated(_ addresses: [IPAddress], by turn: Int) -> [IPAddress] {
        let four = rotate(addresses.filter(\.isV4), by: turn)
        let six = rotate(addresses.filter { !$0.isV4 }, by: turn)
        var (nextFour, nextSix) = (four.makeIterator(), six.makeIterator())
        return addresses.compactMap { $0.isV4 ? nextFour.next() : nextSix.next() }
    }

    private static func rotate(_ addresses: [IPAddress], by turn: Int) -> [IPAddress] {
        guard addresses.count > 1 else { return addresses }
        let start = Int(UInt(bitPattern: turn) % UInt(addresses.count))
        return Array(addresses[start...] + addresses[..<start])
    }

    var isV4: Bool {
        if case .v4 = self { true } else { false }
    }
}
