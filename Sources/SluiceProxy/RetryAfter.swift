import SluiceBytes
import SluiceHTTP

/// What an upstream asks for before it is asked again (RFC 9110 §10.2.3): seconds, or a date; and OpenAI's `retry-after-ms`.
enum RetryAfter {
    /// nil if the upstream does not say, or nothing that can be read. `unixTime`: seconds since 1970.
    static func read(_ fields: HeaderFields, unixTime: Int) -> Interval? {
        if let text = fields.first("retry-after-ms"), let wait = decimal(text, unit: 1_000_000) { return wait }
        guard let text = fields.first("retry-after") else { return nil }
        if let wait = decimal(text, unit: 1_000_000_000) { return wait }
        guard let date = HTTPDate.seconds(text, unixTime: unixTime) else { return nil }
        return .seconds(UInt64(max(0, date - unixTime)))
    }

    /// `12` or, as some write it, `0.5`; more than a year counts as a year.
    private static func decimal(_ text: String, unit: UInt64) -> Interval? {
        let parts = text.utf8.split(separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
        guard let whole = parts.first, !whole.isEmpty, parts.joined().allSatisfy(ASCII.isDigit) else { return nil }
        let year: UInt64 = 31_536_000_000_000_000
        let count = whole.count > 12 ? year : whole.reduce(UInt64(0)) { $0 * 10 + UInt64($1 - 0x30) }
        let (product, overflow) = count.multipliedReportingOverflow(by: unit)
        var wait = min(overflow ? year : product, year)
        var digit = unit / 10
        for byte in (parts.count > 1 ? parts[1].prefix(9) : "".utf8[...]) {
            wait += UInt64(byte - 0x30) * digit
            digit /= 10
        }
        return Interval(nanoseconds: wait)
    }
}

/// Dates in the three ways that RFC 9110 §5.6.7 wants understood.
enum HTTPDate {
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// Seconds since 1970; nil for what is no such date. `unixTime` decides on the century where there are two digits.
    static func seconds(_ text: String, unixTime: Int) -> Int? {
        let separators = Array(" ,-:".utf8)
        var parts = text.utf8.prefix(64).split { separators.contains($0) }.map { String(decoding: $0, as: UTF8.self) }
        guard !parts.isEmpty else { return nil }
        parts.removeFirst()
        if parts.last == "GMT" {
            parts.removeLast()
        } else if parts.count == 6 {
            // asctime: month, day, time, year.
            parts = [parts[1], parts[0], parts[5], parts[2], parts[3], parts[4]]
        }
        guard parts.count == 6, let month = months.firstIndex(of: parts[1]) else { return nil }
        let numbers = [0, 2, 3, 4, 5].compactMap { number(parts[$0]) }
        guard numbers.count == 5 else { return nil }
        let (day, hour, minute, second) = (numbers[0], numbers[2], numbers[3], numbers[4])
        guard 1...31 ~= day, hour < 24, minute < 60, second <= 60 else { return nil }
        let year = parts[2].utf8.count == 2 ? fullYear(numbers[1], unixTime: unixTime) : numbers[1]
        let days = AWSTime.day(year: year, month: month + 1, day: day)
        return days * 86_400 + hour * 3600 + minute * 60 + second
    }

    private static func number(_ text: String) -> Int? {
        text.utf8.count <= 4 && text.utf8.allSatisfy(ASCII.isDigit) ? Int(text) : nil
    }

    /// More than fifty years ahead means the century before.
    private static func fullYear(_ year: Int, unixTime: Int) -> Int {
        let now = 1970 + unixTime / 31_556_952
        let full = now - now % 100 + year
        return full > now + 50 ? full - 100 : full
    }
}
