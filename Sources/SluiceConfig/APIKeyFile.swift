import SluiceBytes

/// The text of a key file: a line for each key, with its name, the SHA-256 of the key in hexadecimal, and settings.
///
///     # name        hash                                                               settings
///     team-search   5e884898da28047151d0e56f8dc6292773603d0d6aabbd62a11ef721d1542d8  requests=60/m expires=2027-01-01
///
/// No fault repeats a line, since somebody may have put a key there.
struct APIKeyFile {
    /// What is wrong, with its line, from 1.
    struct Fault: Equatable {
        let line: Int
        let message: String
    }
    private(set) var keys: [APIKeySpec] = []
    private(set) var faults: [Fault] = []

    private static let keyLimit = Limit("api_keys", 100_000)

    init(_ text: [UInt8]) {
        var hashes: Set<[UInt8]> = []
        for (index, line) in text.split(separator: ASCII.lf, omittingEmptySubsequences: false).enumerated() {
            let words = line.prefix { $0 != UInt8(ascii: "#") }
                .split { $0 == ASCII.space || $0 == ASCII.tab || $0 == ASCII.cr }
            if words.isEmpty { continue }
            guard let key = read(words.map { String(decoding: $0, as: UTF8.self) }, line: index + 1) else { continue }
            guard hashes.insert(key.hash).inserted else {
                report(index + 1, "this hash stands here twice")
                continue
            }
            guard keys.count < Self.keyLimit.value else {
                report(index + 1, Self.keyLimit.description)
                return
            }
            keys.append(key)
        }
    }

    private mutating func report(_ line: Int, _ message: String) { faults.append(Fault(line: line, message: message)) }

    private mutating func read(_ words: [String], line: Int) -> APIKeySpec? {
        guard words.count > 1, let hash = Self.hash(words[1]) else {
            report(
                line, "must be a name and the SHA-256 of the key, 64 hexadecimal digits; `sluice key new` makes both")
            return nil
        }
        guard words[0].utf8.count <= 128, words[0].utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != ASCII.quote })
        else {
            report(line, "a name is at most 128 characters of ASCII")
            return nil
        }
        var key = APIKeySpec(name: words[0], hash: hash)
        var limit = RateLimitSpec()
        for word in words.dropFirst(2) {
            let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2, set(parts[0], parts[1], &key, &limit) else {
                let known = "expires=2027-01-31, requests=60/m, burst=10, tokens=100000/m, concurrent=4"
                report(line, "a setting behind the hash is none of \(known)")
                return nil
            }
        }
        if limit.burst != nil, limit.requests == nil { report(line, "burst goes with requests") }
        if !limit.isEmpty { key.limit = limit }
        return key
    }

    private func set(_ name: String, _ value: String, _ key: inout APIKeySpec, _ limit: inout RateLimitSpec) -> Bool {
        switch name {
        case "expires":
            key.expires = Self.time(value)
            return key.expires != nil
        case "requests":
            limit.requests = Rate(value)
            return limit.requests != nil
        case "tokens":
            limit.tokens = Rate(value)
            return limit.tokens != nil
        case "burst":
            limit.burst = Int(value)
            return limit.burst.map { $0 > 0 } ?? false
        case "concurrent":
            limit.concurrent = Int(value)
            return limit.concurrent.map { $0 > 0 } ?? false
        default: return false
        }
    }

    private static func hash(_ text: String) -> [UInt8]? {
        let digits = Array(text.utf8)
        guard digits.count == 64 else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: 64, by: 2) {
            guard let high = ASCII.hexValue(digits[index]), let low = ASCII.hexValue(digits[index + 1]) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    /// Seconds since 1970 of `2027-01-31` or `2027-01-31T12:00:00Z` (RFC 3339, UTC); nil for anything else.
    static func time(_ text: String) -> Int? {
        let bytes = Array(text.utf8)
        let pattern = Array("0000-00-00T00:00:00Z".utf8)
        guard bytes.count == 10 || bytes.count == 20 else { return nil }
        for (byte, wanted) in zip(bytes, pattern) {
            guard wanted == UInt8(ascii: "0") ? ASCII.isDigit(byte) : byte == wanted else { return nil }
        }
        func number(_ start: Int, _ count: Int) -> Int {
            bytes[start..<(start + count)].reduce(0) { $0 * 10 + Int($1 - 0x30) }
        }
        let (year, month, day) = (number(0, 4), number(5, 2), number(8, 2))
        guard 1...12 ~= month, 1...31 ~= day else { return nil }
        // A year is counted from March, so that the leap day is its last; 719,468 days lie before 1970.
        let shifted = month <= 2 ? year - 1 : year
        let ofYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + ofYear - 719_468
        if bytes.count == 10 { return days * 86_400 }
        let (hour, minute, second) = (number(11, 2), number(14, 2), number(17, 2))
        guard hour < 24, minute < 60, second <= 60 else { return nil }
        return days * 86_400 + hour * 3600 + minute * 60 + second
    }
}
