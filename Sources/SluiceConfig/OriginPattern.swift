import SluiceBytes

/// Origins of web pages as the configuration names them: `https://app.example.com`, `https://*.example.com`, `*` or `null`.
///
/// Browsers write an origin in one way only (WHATWG HTML, "serialization of an origin"): lower case, and no port that is the
/// scheme's own. What comes is compared with that byte by byte.
public enum OriginPattern: Sendable, Equatable {
    case any
    /// Of sandboxed frames and local files: anybody can have it.
    case opaque
    case exact(String)
    /// One label stands between the two: `https://` and `.example.com:8443`.
    case label(before: String, after: String)

    /// nil for what is no origin: a path behind it, no scheme, a `*` elsewhere.
    public init?(_ text: String) {
        if text == "*" {
            self = .any
            return
        }
        if text == "null" {
            self = .opaque
            return
        }
        guard let parts = Self.parts(Array(text.lowercased().utf8)) else { return nil }
        let scheme = String(decoding: parts.scheme, as: UTF8.self) + "://"
        let port = parts.port.map { ":\($0)" } ?? ""
        let host = String(decoding: parts.host, as: UTF8.self)
        if host.hasPrefix("*.") {
            guard Self.isHost(parts.host.dropFirst(2)) else { return nil }
            self = .label(before: scheme, after: host.dropFirst() + port)
        } else {
            guard Self.isHost(parts.host) else { return nil }
            self = .exact(scheme + host + port)
        }
    }

    /// Whether the value of an `Origin` field is one of these.
    public func matches(_ origin: String) -> Bool {
        switch self {
        case .any: return origin != "null"
        case .opaque: return origin == "null"
        case .exact(let exact): return origin == exact
        case .label(let before, let after):
            guard origin.utf8.count > before.utf8.count + after.utf8.count, origin.hasPrefix(before),
                origin.hasSuffix(after)
            else { return false }
            let label = origin.utf8.dropFirst(before.utf8.count).dropLast(after.utf8.count)
            return label.count <= 63
                && label.allSatisfy { byte in
                    ASCII.isDigit(byte) || byte &- 0x61 < 26 || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")
                }
        }
    }

    private static func parts(_ text: [UInt8]) -> (scheme: ArraySlice<UInt8>, host: ArraySlice<UInt8>, port: Int?)? {
        guard let colon = text.firstIndex(of: ASCII.colon), text[colon...].starts(with: "://".utf8) else { return nil }
        let scheme = text[..<colon]
        guard let first = scheme.first, first &- 0x61 < 26,
            scheme.allSatisfy({ $0 &- 0x61 < 26 || ASCII.isDigit($0) || "+-.".utf8.contains($0) })
        else { return nil }
        var host = text[(colon + 3)...]
        guard !host.isEmpty else { return nil }
        var port: Int?
        let bracket = host.lastIndex(of: ASCII.rightBracket) ?? host.startIndex
        if let mark = host[bracket...].lastIndex(of: ASCII.colon) {
            guard let number = Int(String(decoding: host[(mark + 1)...], as: UTF8.self)), 1...65_535 ~= number else {
                return nil
            }
            port = number
            host = host[..<mark]
        }
        let own = scheme.elementsEqual("https".utf8) ? 443 : scheme.elementsEqual("http".utf8) ? 80 : 0
        return (scheme, host, port == own ? nil : port)
    }

    private static func isHost(_ host: ArraySlice<UInt8>) -> Bool {
        if host.first == ASCII.leftBracket {
            return host.count > 3 && host.last == ASCII.rightBracket
                && host.dropFirst().dropLast().allSatisfy { ASCII.hexValue($0) != nil || $0 == ASCII.colon }
        }
        return !host.isEmpty && host.first != UInt8(ascii: ".")
            && host.allSatisfy { ASCII.isDigit($0) || $0 &- 0x61 < 26 || "-._".utf8.contains($0) }
    }
}
