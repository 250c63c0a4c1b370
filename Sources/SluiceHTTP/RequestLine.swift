import SluiceBytes

/// The first line of a request (RFC 9112 §3) and what its target means together with Host (§3.2, §3.3).
struct RequestLine {
    let method: String
    let version: RequestHead.Version
    private let target: Range<Int>  // of the head

    /// Parses `line`, which lies at the start of `head`: exactly `method SP target SP HTTP/1.x`.
    init(_ head: Span<UInt8>, _ line: Range<Int>, limits: HTTP1Limits) throws(HTTPError) {
        guard let first = head.firstIndex(of: ASCII.space, in: line),
            let second = head.firstIndex(of: ASCII.space, in: (first + 1)..<line.upperBound)
        else { throw .malformed("request line") }
        let method = head.extracting(line.lowerBound..<first)
        guard HTTP1Grammar.isToken(method) else { throw .malformed("method") }
        version = try Self.version(head.extracting((second + 1)..<line.upperBound))
        target = (first + 1)..<second
        guard !target.isEmpty else { throw .malformed("request target") }
        guard target.count <= limits.targetBytes else { throw limits.targetCrossed }
        for index in target where !Self.isTargetByte(head[index]) { throw .malformed("request target") }
        self.method = HTTP1Grammar.string(method)
    }

    /// `HTTP/1.0` or `HTTP/1.1`; the name is case-sensitive (RFC 9112 §2.3).
    static func version(_ bytes: Span<UInt8>) throws(HTTPError) -> RequestHead.Version {
        if ASCII.equal(bytes, "HTTP/1.1") { return .http11 }
        if ASCII.equal(bytes, "HTTP/1.0") { return .http10 }
        guard bytes.count == 8, ASCII.equal(bytes.extracting(0..<5), "HTTP/"), ASCII.isDigit(bytes[5]),
            bytes[6] == UInt8(ascii: "."), ASCII.isDigit(bytes[7])
        else { throw .malformed("HTTP version") }
        throw .unsupportedVersion
    }

    /// Reduces the target to origin-form (or `*`, or authority-form for CONNECT) and finds the authority.
    /// - Throws: `.malformed` if Host is missing in HTTP/1.1, is no host, or disagrees with the target.
    func resolve(_ head: Span<UInt8>, host: Range<Int>?) throws(HTTPError) -> (target: String, authority: String) {
        guard host != nil || version == .http10 else { throw .malformed("no Host field") }
        if let host, !Authority.isValid(head.extracting(host)) { throw .malformed("Host") }
        if method == "CONNECT" {
            guard Authority.isValid(head.extracting(target)), Authority.hasPort(head.extracting(target)) else {
                throw .malformed("request target")
            }
            return try agree(head, target, host, path: HTTP1Grammar.string(head.extracting(target)))
        }
        switch head[target.lowerBound] {
        case UInt8(ascii: "/"):
            return (
                HTTP1Grammar.string(head.extracting(target)),
                host.map { HTTP1Grammar.string(head.extracting($0)) } ?? ""
            )
        case UInt8(ascii: "*") where target.count == 1 && method == "OPTIONS":
            return ("*", host.map { HTTP1Grammar.string(head.extracting($0)) } ?? "")
        default: return try resolveAbsolute(head, host)
        }
    }

    /// `http://authority/path?query` (RFC 9112 §3.2.2), which a client sends to what it takes for a forward proxy.
    private func resolveAbsolute(
        _ head: Span<UInt8>, _ host: Range<Int>?
    ) throws(HTTPError) -> (target: String, authority: String) {
        guard let start = [7, 8].first(where: { isScheme(head, upTo: $0) }).map({ target.lowerBound + $0 }) else {
            throw .malformed("request target")
        }
        var end = start
        while end < target.upperBound, head[end] != UInt8(ascii: "/"), head[end] != UInt8(ascii: "?") { end += 1 }
        guard Authority.isValid(head.extracting(start..<end)) else { throw .malformed("request target") }
        var path = HTTP1Grammar.string(head.extracting(end..<target.upperBound))
        if path.isEmpty && method == "OPTIONS" {
            path = "*"
        } else if path.utf8.first != UInt8(ascii: "/") {
            path = "/" + path
        }
        return try agree(head, start..<end, host, path: path)
    }

    private func isScheme(_ head: Span<UInt8>, upTo count: Int) -> Bool {
        guard target.count > count else { return false }
        let scheme = head.extracting(target.lowerBound..<(target.lowerBound + count))
        return ASCII.equalFolded(scheme, "http://") || ASCII.equalFolded(scheme, "https://")
    }

    /// The authority of the target, which Host must repeat: a route is chosen by one name, not by one of two.
    private func agree(
        _ head: Span<UInt8>, _ authority: Range<Int>, _ host: Range<Int>?, path: String
    ) throws(HTTPError) -> (target: String, authority: String) {
        if let host {
            guard host.count == authority.count else { throw .malformed("Host disagrees with the target") }
            for (left, right) in zip(host, authority)
            where ASCII.lowercase(head[left]) != ASCII.lowercase(head[right]) {
                throw .malformed("Host disagrees with the target")
            }
        }
        return (path, HTTP1Grammar.string(head.extracting(authority)))
    }

    /// Visible ASCII without `#`: a fragment is never sent. What RFC 3986 also excludes (`{`, `|`, `"`) real clients do send.
    static func isTargetByte(_ byte: UInt8) -> Bool { byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: "#") }
}

/// `host [":" port]` without userinfo (RFC 9110 §4.2), narrowed to the names that DNS and containers use: sub-delimiters
/// and percent-encoding in a host only ever served to confuse two parsers.
enum Authority {
    static func isValid(_ bytes: Span<UInt8>) -> Bool {
        guard let first = bytes.isEmpty ? nil : bytes[0] else { return false }
        var position = 0
        if first == ASCII.leftBracket {
            guard let close = bytes.firstIndex(of: ASCII.rightBracket, in: 0..<bytes.count), close > 2 else {
                return false
            }
            for index in 1..<close where !isAddressByte(bytes[index]) { return false }
            position = close + 1
        } else {
            while position < bytes.count, isNameByte(bytes[position]) { position += 1 }
            guard position > 0 else { return false }
        }
        if position == bytes.count { return true }
        guard bytes[position] == ASCII.colon, bytes.count - position <= 6 else { return false }
        return ASCII.decimal(bytes.extracting((position + 1)..<bytes.count)).map { $0 <= 65535 } ?? false
    }

    /// Of a valid authority.
    static func hasPort(_ bytes: Span<UInt8>) -> Bool {
        var index = bytes.count - 1
        while index >= 0, ASCII.isDigit(bytes[index]) { index -= 1 }
        return index >= 0 && bytes[index] == ASCII.colon && index < bytes.count - 1
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        ASCII.isDigit(byte) || (byte | 0x20) &- 0x61 < 26 || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".")
            || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "~")
    }

    private static func isAddressByte(_ byte: UInt8) -> Bool {
        ASCII.hexValue(byte) != nil || byte == ASCII.colon || byte == UInt8(ascii: ".")
    }
}
