import SluiceBytes

/// A Redis server that all replicas share.
public struct RedisSpec: Sendable, Equatable {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    public var host: String
    public var port: Int
    public var isTLS: Bool
    /// nil: the server's default user.
    public var user: String?
    public var password: Secret?
    public var database = 0
    /// All names of keys and channels begin with it.
    public var prefix = "sluice:"
    /// Name, socket and TLS.
    public var connectTimeout = Interval.seconds(1)
    /// For each reply; then the connection is given up.
    public var replyTimeout = Interval.seconds(1)
    public var tls = ClientTLSSpec()

    public init(host: String, port: Int = 6379, isTLS: Bool = false) {
        (self.host, self.port, self.isTLS) = (host, port, isTLS)
    }

    /// `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, with `rediss` over TLS; nil for anything else. A password may stand there as
    /// it is, or with percent escapes.
    public init?(url text: String) {
        let isTLS = text.hasPrefix("rediss://")
        guard isTLS || text.hasPrefix("redis://") else { return nil }
        var rest = text.dropFirst(isTLS ? 9 : 8)
        var credentials: Substring?
        if let at = rest.lastIndex(of: "@") { (credentials, rest) = (rest[..<at], rest[rest.index(after: at)...]) }
        // Its own part of an upstream's URL is read by the same rules.
        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        guard let place = UpstreamURL("http://\(rest[..<slash])"), place.basePath.isEmpty else { return nil }
        let hasPort = rest[..<slash].last?.isNumber == true && rest[..<slash].contains(":")
        self.init(host: place.host, port: hasPort || place.port != 80 ? place.port : 6379, isTLS: isTLS)
        let path = rest[slash...].dropFirst()
        guard path.isEmpty || UInt16(path) != nil else { return nil }
        database = Int(path) ?? 0
        guard let credentials else { return }
        let colon = credentials.firstIndex(of: ":")
        let name = Self.unescaped(credentials[..<(colon ?? credentials.startIndex)])
        let secret = Self.unescaped(colon.map { credentials[credentials.index(after: $0)...] } ?? credentials)
        user = name.isEmpty ? nil : name
        password = secret.isEmpty ? nil : Secret(secret)
    }

    /// An escape that is none stays as it is.
    private static func unescaped(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(2).compactMap { ASCII.hexValue($0) }
            if byte == UInt8(ascii: "%"), digits.count == 2 {
                bytes.append(digits[0] << 4 | digits[1])
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
