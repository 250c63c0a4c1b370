import SluiceBytes

/// An origin-form target cut into path and query (RFC 9112 §3.2.1), and what routing makes of both.
public struct RequestTarget: Sendable, Equatable {
    /// As it came; route by `normalizedPath`.
    public let path: String
    /// Behind the first `?`, still encoded; nil if there is none.
    public let query: String?

    public init(_ target: String) {
        let cut = target.utf8.firstIndex(of: UInt8(ascii: "?"))
        path = String(target[..<(cut ?? target.endIndex)])
        query = cut.map { String(target[target.utf8.index(after: $0)...]) }
    }

    /// The path that routes are compared with, or nil if it is none that a well-meaning client sends.
    public var normalizedPath: String? { Self.normalizedPath(path) }

    /// Decodes percent-encoded unreserved characters, writes other escapes in upper case, merges slashes and removes dot
    /// segments (RFC 3986 §6.2.2).
    ///
    /// Refused, because two servers read them differently: a path that does not start with `/` or climbs above its root;
    /// encoded slashes, backslashes and control bytes; raw backslashes, white space, `?`, `#` and non-ASCII; dot segments with a
    /// parameter (`/..;/`); incomplete escapes. `%25` stays encoded, so nothing is ever decoded twice.
    public static func normalizedPath(_ path: String) -> String? {
        isPlain(path) ? path : normalized(path)
    }

    /// Nothing in it needs a look: only unreserved characters, and no two slashes, or slash and dot, in a row.
    private static func isPlain(_ path: String) -> Bool {
        var before: UInt8 = 0
        for byte in path.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "~"):
                if before == 0 { return false }
            case UInt8(ascii: "/"): if before == UInt8(ascii: "/") { return false }
            case UInt8(ascii: "."): if before == UInt8(ascii: "/") || before == 0 { return false }
            default: return false
            }
            before = byte
        }
        return before != 0
    }

    private static func normalized(_ path: String) -> String? {
        guard let decoded = decodeUnreserved(path) else { return nil }
        var segments: [ArraySlice<UInt8>] = []
        var endsInSlash = true
        for segment in decoded.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            endsInSlash = true
            switch Dots(segment) {
            case .ambiguous: return nil
            case .parent: if segments.popLast() == nil { return nil }
            case .current: break
            case .no where segment.isEmpty: break
            case .no:
                segments.append(segment)
                endsInSlash = false
            }
        }
        var normal: [UInt8] = []
        for segment in segments { normal += [UInt8(ascii: "/")] + segment }
        if endsInSlash { normal.append(UInt8(ascii: "/")) }
        return String(decoding: normal, as: UTF8.self)
    }

    /// What a segment means for the path it stands in.
    private enum Dots {
        case no, current, parent, ambiguous

        init(_ segment: ArraySlice<UInt8>) {
            let dots = segment.prefix { $0 == UInt8(ascii: ".") }.count
            if dots == 1 || dots == 2 {
                let rest = segment.dropFirst(dots)
                if rest.isEmpty {
                    self = dots == 1 ? .current : .parent
                    return
                }
                if rest.first == ASCII.semicolon || rest.starts(with: "%3B".utf8) {
                    self = .ambiguous
                    return
                }
            }
            self = .no
        }
    }

    private static func decodeUnreserved(_ path: String) -> [UInt8]? {
        guard path.utf8.first == UInt8(ascii: "/") else { return nil }
        var decoded: [UInt8] = []
        decoded.reserveCapacity(path.utf8.count)
        var rest = path.utf8.makeIterator()
        while let byte = rest.next() {
            guard byte == UInt8(ascii: "%") else {
                let isRefused = byte == ASCII.backslash || byte == UInt8(ascii: "?") || byte == UInt8(ascii: "#")
                guard byte > 0x20, byte < 0x7F, !isRefused else { return nil }
                decoded.append(byte)
                continue
            }
            guard let high = rest.next().flatMap(ASCII.hexValue), let low = rest.next().flatMap(ASCII.hexValue) else {
                return nil
            }
            let value = high << 4 | low
            guard value >= 0x20, value != 0x7F, value != UInt8(ascii: "/"), value != ASCII.backslash else { return nil }
            if isUnreserved(value) {
                decoded.append(value)
            } else {
                decoded += [UInt8(ascii: "%"), upperHex(high), upperHex(low)]
            }
        }
        return decoded
    }

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        ASCII.isDigit(byte) || (byte | 0x20) &- 0x61 < 26 || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".")
            || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "~")
    }

    private static func upperHex(_ digit: UInt8) -> UInt8 { digit < 10 ? digit &+ 0x30 : digit &+ 0x37 }

    // MARK: - Query

    /// The pairs of the query in order, decoded as a form is (WHATWG URL §5.1): `+` is a space, an incomplete escape stays
    /// as it is, invalid UTF-8 is repaired. Bounded by the target's own limit; of a form's body, what stands behind as many pairs as
    /// a target could hold is the last one's value.
    public func queryItems() -> [(name: String, value: String)] {
        (query ?? "").utf8.split(separator: UInt8(ascii: "&"), maxSplits: Self.pairLimit).map { pair in
            let equals = pair.firstIndex(of: UInt8(ascii: "="))
            let value = equals.map { pair[pair.index(after: $0)...] }
            return (Self.decodeForm(pair[..<(equals ?? pair.endIndex)]), value.map(Self.decodeForm) ?? "")
        }
    }

    private static let pairLimit = 8192

    /// The first value of that name; empty if it stands without `=`.
    public func value(named name: String) -> String? { queryItems().first { $0.name == name }?.value }

    private static func decodeForm(_ text: Substring.UTF8View) -> String {
        let bytes = Array(text)
        var decoded: [UInt8] = []
        decoded.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            if byte == UInt8(ascii: "%"), index + 2 < bytes.count, let high = ASCII.hexValue(bytes[index + 1]),
                let low = ASCII.hexValue(bytes[index + 2])
            {
                decoded.append(high << 4 | low)
                index += 3
                continue
            }
            decoded.append(byte == UInt8(ascii: "+") ? ASCII.space : byte)
            index += 1
        }
        return String(decoding: decoded, as: UTF8.self)
    }
}
