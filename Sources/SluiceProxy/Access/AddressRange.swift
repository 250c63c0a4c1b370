import SluiceIO

/// Addresses that begin with the same bits: `10.0.0.0/8`, `2001:db8::/32`, or one alone.
struct AddressRange: Sendable, Equatable {
    private let address: IPAddress
    private let bits: Int

    /// nil for anything else.
    init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let address = parts.first.flatMap({ IPAddress($0) }) else { return nil }
        let width = if case .v4 = address { 32 } else { 128 }
        guard let bits = parts.count == 2 ? Int(parts[1]) : width, 0...width ~= bits else { return nil }
        (self.address, self.bits) = (address, bits)
    }

    func contains(_ other: IPAddress) -> Bool {
        switch (address, other) {
        case (.v4(let own), .v4(let other)): bits == 0 || (own ^ other) >> (32 - UInt32(bits)) == 0
        case (.v6(let high, let low), .v6(let otherHigh, let otherLow)):
            if bits == 0 {
                true
            } else if bits <= 64 {
                (high ^ otherHigh) >> (64 - UInt64(bits)) == 0
            } else {
                high == otherHigh && (low ^ otherLow) >> (128 - UInt64(bits)) == 0
            }
        default: false
        }
    }
}

extension IPAddress {
    /// An IPv4 address in the form of IPv6 (`::ffff:1.2.3.4`) as what it is.
    var unmapped: IPAddress {
        guard case .v6(0, let low) = self, low >> 32 == 0xFFFF else { return self }
        return .v4(UInt32(truncatingIfNeeded: low))
    }
}
