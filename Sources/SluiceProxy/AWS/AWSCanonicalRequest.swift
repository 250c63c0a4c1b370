import SluiceBytes
import SluiceHTTP

/// A request as both sides write it down to sign it ("Create a signed AWS API request", IAM User Guide): method, path,
/// query, fields, the names of the fields, and the digest of the body, a line each.
///
/// The path as it is sent is escaped once more, as all services but S3 want it: the `%3A` of a model's name becomes
/// `%253A`.
struct AWSCanonicalRequest {
    let text: String
    let signedNames: String

    /// `isSigned` is asked with names in lower case.
    init(_ head: RequestHead, payloadHash: String, isSigned: (String) -> Bool) {
        let parts = head.target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let path = Self.path(parts.first.map { Array($0.utf8) } ?? [])
        let query = parts.count > 1 ? Self.query(parts[1]) : ""
        let fields = Self.fields(head, isSigned)
        signedNames = fields.map(\.name).joined(separator: ";")
        let lines = fields.map { "\($0.name):\($0.value)\n" }.joined()
        text = "\(head.method)\n\(path)\n\(query)\n\(lines)\n\(signedNames)\n\(payloadHash)"
    }

    // MARK: - Path and query

    /// Without empty segments and those of dots (RFC 3986 §5.2.4), each escaped.
    static func path(_ raw: [UInt8]) -> String {
        var segments: [ArraySlice<UInt8>] = []
        for segment in raw.split(separator: UInt8(ascii: "/")) where !segment.elementsEqual(".".utf8) {
            if segment.elementsEqual("..".utf8) { _ = segments.popLast() } else { segments.append(segment) }
        }
        let isFolder = raw.last == UInt8(ascii: "/") && !segments.isEmpty
        return "/" + segments.map { escaped($0) }.joined(separator: "/") + (isFolder ? "/" : "")
    }

    /// Names and values escaped in one way, whatever the sender's was, and sorted as bytes.
    private static func query(_ raw: Substring) -> String {
        let pairs = raw.split(separator: "&").map { pair in
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (unescaped(parts[0]), parts.count > 1 ? unescaped(parts[1]) : "")
        }
        return pairs.sorted(by: <).map { "\($0)=\($1)" }.joined(separator: "&")
    }

    /// Escaped anew, so that equal names are equal.
    private static func unescaped(_ text: Substring) -> String {
        let raw = Array(text.utf8)
        var bytes: [UInt8] = []
        var index = 0
        while index < raw.count {
            if raw[index] == UInt8(ascii: "%"), index + 2 < raw.count, let high = ASCII.hexValue(raw[index + 1]),
                let low = ASCII.hexValue(raw[index + 2])
            {
                bytes.append(high << 4 | low)
                index += 3
            } else {
                bytes.append(raw[index])
                index += 1
            }
        }
        return escaped(bytes[...])
    }

    /// All but the unreserved characters of RFC 3986 §2.3, in upper case.
    static func escaped(_ bytes: ArraySlice<UInt8>) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var out: [UInt8] = []
        for byte in bytes {
            let isLetter = ASCII.lowercase(byte) &- 0x61 < 26
            if isLetter || ASCII.isDigit(byte) || "-._~".utf8.contains(byte) {
                out.append(byte)
            } else {
                out += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    // MARK: - Fields

    /// Sorted by name; values of one name joined by commas, runs of blanks made one.
    private static func fields(_ head: RequestHead, _ isSigned: (String) -> Bool) -> [(name: String, value: String)] {
        var values: [String: String] = isSigned("host") ? ["host": head.authority] : [:]
        for index in 0..<head.fields.count {
            let name = head.fields.nameString(at: index).lowercased()
            guard name != "host", isSigned(name) else { continue }
            let value = head.fields.valueString(at: index).split { $0 == " " || $0 == "\t" }.joined(separator: " ")
            values[name] = values[name].map { "\($0),\(value)" } ?? value
        }
        return values.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
    }
}
