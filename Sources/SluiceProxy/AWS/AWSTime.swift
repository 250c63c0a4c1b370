import SluiceBytes

/// Points of time as AWS writes them, in the calendar that everybody uses and in UTC.
enum AWSTime {
    /// `20150830T123600Z`; the first eight digits are the day that a key is good for.
    static func stamp(_ seconds: Int) -> String {
        let day = seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
        let rest = seconds - day * 86_400
        let date = date(ofDay: day)
        return digits(date.year, 4) + digits(date.month, 2) + digits(date.day, 2) + "T" + digits(rest / 3600, 2)
            + digits(rest / 60 % 60, 2) + digits(rest % 60, 2) + "Z"
    }

    /// Seconds since 1970 of `2026-01-31T12:00:00Z`, with or without a fraction; nil for anything else.
    static func seconds(_ text: String) -> Int? {
        let bytes = Array(text.utf8)
        let pattern = Array("0000-00-00T00:00:00".utf8)
        guard bytes.count > pattern.count, bytes.last == UInt8(ascii: "Z") else { return nil }
        for (byte, wanted) in zip(bytes, pattern) {
            guard wanted == UInt8(ascii: "0") ? ASCII.isDigit(byte) : byte == wanted else { return nil }
        }
        let fraction = bytes[pattern.count..<(bytes.count - 1)]
        guard fraction.isEmpty || fraction.first == UInt8(ascii: ".") && fraction.dropFirst().allSatisfy(ASCII.isDigit)
        else { return nil }
        func number(_ start: Int, _ count: Int) -> Int {
            bytes[start..<(start + count)].reduce(0) { $0 * 10 + Int($1 - 0x30) }
        }
        guard 1...12 ~= number(5, 2), 1...31 ~= number(8, 2) else { return nil }
        let day = day(year: number(0, 4), month: number(5, 2), day: number(8, 2))
        return day * 86_400 + number(11, 2) * 3600 + number(14, 2) * 60 + number(17, 2)
    }

    private static func digits(_ value: Int, _ count: Int) -> String {
        let text = String(value)
        return String(repeating: "0", count: max(0, count - text.count)) + text
    }

    // The calendar repeats every 400 years, which are 146,097 days; a year is counted from March, so that the leap day
    // is its last.

    /// Days since 1970.
    static func day(year: Int, month: Int, day: Int) -> Int {
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let ofEra = shifted - era * 400
        let ofYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + ofEra * 365 + ofEra / 4 - ofEra / 100 + ofYear - 719_468
    }

    private static func date(ofDay day: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = day + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let ofEra = shifted - era * 146_097
        let year = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * year + year / 4 - year / 100)
        let month = (5 * ofYear + 2) / 153
        let date = ofYear - (153 * month + 2) / 5 + 1
        return (year + era * 400 + (month >= 10 ? 1 : 0), month < 10 ? month + 3 : month - 9, date)
    }
}
