import SluiceBytes

/// A time that begins at a second since 1970 and goes on, as RFC 3339 writes it, in UTC and with nanoseconds. The
/// part up to the seconds is kept as long as it stays the same.
struct AnswerTime {
    /// The years 1970 to 9999, which the format can express.
    private static let range = 0...253_402_300_799
    private let start: Int
    private var second = -1
    private var text: [UInt8] = []

    init(seconds: Int) { start = min(max(seconds, Self.range.lowerBound), Self.range.upperBound) }

    mutating func append(_ elapsed: Interval, into out: inout ByteQueue) {
        let passed = Int(truncatingIfNeeded: elapsed.nanoseconds / 1_000_000_000)
        let now = min(start + passed, Self.range.upperBound)
        if now != second {
            second = now
            text = .written { Self.write(now, into: &$0) }
        }
        out.append(text)
        out.append(".")
        Self.padded(Int(truncatingIfNeeded: elapsed.nanoseconds % 1_000_000_000), 9, into: &out)
        out.append("Z")
    }

    private static func write(_ seconds: Int, into out: inout ByteQueue) {
        let (year, month, day) = date(seconds / 86_400)
        padded(year, 4, into: &out)
        out.append("-")
        padded(month, 2, into: &out)
        out.append("-")
        padded(day, 2, into: &out)
        out.append("T")
        padded(seconds % 86_400 / 3600, 2, into: &out)
        out.append(":")
        padded(seconds % 3600 / 60, 2, into: &out)
        out.append(":")
        padded(seconds % 60, 2, into: &out)
    }

    /// The Gregorian date of a day since 1970. Years are counted from March, so that the leap day is the last of
    /// its year, and in eras of 400 years, which all have as many days.
    private static func date(_ days: Int) -> (year: Int, month: Int, day: Int) {
        let sinceEra = days + 719_468
        let (era, dayOfEra) = (sinceEra / 146_097, sinceEra % 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }

    private static func padded(_ value: Int, _ width: Int, into out: inout ByteQueue) {
        var unit = 1
        for _ in 1..<width { unit *= 10 }
        while unit > 0 {
            out.append(UInt8(truncatingIfNeeded: value / unit % 10) &+ 0x30)
            unit /= 10
        }
    }
}
