/// Where a doctor is sent: `http://` or `https://`, a host, perhaps a port, and the target as it goes out.
public struct DoctorURL: Equatable, Sendable, CustomStringConvertible {
    public let isTLS: Bool
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    public let host: String
    public let port: UInt16
    /// Begins with a slash.
    public let target: String
    /// As `Host` says it: the port only where it is not the scheme's own.
    public let authority: String

    /// nil: not a URL of these two schemes, or one with a user in it.
    public init?(_ text: String) {
        let text = text.prefix { $0 != "#" }
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { return nil }
        guard let scheme = ["http://", "https://"].first(where: { text.lowercased().hasPrefix($0) }) else { return nil }
        isTLS = scheme == "https://"
        let rest = text.dropFirst(scheme.utf8.count)
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        let place = rest[..<end]
        guard !place.isEmpty, !place.contains("@") else { return nil }
        let path = rest[end...]
        target = path.hasPrefix("/") ? String(path) : "/" + path

        var (name, number) = (place, Substring(isTLS ? "443" : "80"))
        if place.hasPrefix("[") {
            guard let close = place.firstIndex(of: "]") else { return nil }
            name = place[place.index(after: place.startIndex)..<close]
            let behind = place[place.index(after: close)...]
            if behind.hasPrefix(":") { number = behind.dropFirst() } else if !behind.isEmpty { return nil }
        } else if let colon = place.lastIndex(of: ":") {
            (name, number) = (place[..<colon], place[place.index(after: colon)...])
        }
        guard !name.isEmpty, let port = UInt16(number), port > 0 else { return nil }
        (host, self.port) = (String(name), port)
        let shown = place.hasPrefix("[") ? "[\(name)]" : String(name)
        authority = port == (isTLS ? 443 : 80) ? shown : "\(shown):\(port)"
    }

    public var description: String { "\(isTLS ? "https" : "http")://\(authority)\(target)" }
}
