import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO

/// Proxies in front of Sluice, whose word is taken for where a request came from.
struct TrustedProxies: Sendable {
    private let ranges: [AddressRange]
    private let trustsUnix: Bool

    /// Hops of one request that are followed.
    private static let hopLimit = 32

    /// - Throws: for a text that is no address or range.
    init(_ texts: [String]) throws(StartError) {
        trustsUnix = texts.contains("unix")
        var ranges: [AddressRange] = []
        for text in texts where text != "unix" {
            guard let range = AddressRange(text) else { throw StartError("trusted_proxies: '\(text)' is no range") }
            ranges.append(range)
        }
        self.ranges = ranges
    }

    var isEmpty: Bool { ranges.isEmpty && !trustsUnix }

    /// The client's address: the peer's own, or where trusted proxies alone stand in between, the last that one of them names
    /// and that is none of theirs. What stands left of it could have been made up by the client. nil: not known.
    func client(of peer: SocketAddress, _ fields: HeaderFields) -> IPAddress? {
        var client: IPAddress?
        switch peer {
        case .ip(let address, _):
            let address = address.unmapped
            guard isTrusted(address) else { return address }
            client = address
        case .unix:
            guard trustsUnix else { return nil }
        }
        var hops = 0
        for index in (0..<fields.count).reversed() where ASCII.equalFolded(fields.name(at: index), "x-forwarded-for") {
            let entries = fields.valueString(at: index).split(separator: ",", omittingEmptySubsequences: false)
            for entry in entries.reversed() {
                hops += 1
                guard hops <= Self.hopLimit, let address = Self.address(entry) else { return client }
                client = address
                if !isTrusted(address) { return client }
            }
        }
        return client
    }

    private func isTrusted(_ address: IPAddress) -> Bool { ranges.contains { $0.contains(address) } }

    /// `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]:80`.
    private static func address(_ text: Substring) -> IPAddress? {
        let bytes = text.utf8.drop { $0 == ASCII.space || $0 == ASCII.tab }
        guard bytes.count <= 64 else { return nil }
        var name = String(Substring(bytes))
        while name.utf8.last == ASCII.space || name.utf8.last == ASCII.tab { name.removeLast() }
        if name.hasPrefix("[") {
            guard let end = name.firstIndex(of: "]") else { return nil }
            return IPAddress(String(name[name.index(after: name.startIndex)..<end]))?.unmapped
        }
        if name.utf8.count(where: { $0 == ASCII.colon }) == 1, let colon = name.firstIndex(of: ":") {
            name = String(name[..<colon])
        }
        return IPAddress(name)?.unmapped
    }
}
