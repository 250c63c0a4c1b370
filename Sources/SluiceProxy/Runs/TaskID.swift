import Glibc

/// The name of a task: a ULID, 26 characters of Crockford's base32, of which the first ten are the time and sixteen cannot be guessed.
enum TaskID {
    static let length = 26
    private static let digits = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ".utf8)

    static func make() -> String {
        var random = [UInt8](repeating: 0, count: 10)
        _ = getentropy(&random, random.count)
        return make(milliseconds: unixMilliseconds(), random: random)
    }

    /// `milliseconds` since 1970, of which 48 bits count; `random`: ten bytes.
    static func make(milliseconds: UInt64, random: [UInt8]) -> String {
        var text: [UInt8] = []
        text.reserveCapacity(length)
        for digit in (0..<10).reversed() { text.append(digits[Int(milliseconds >> UInt64(5 * digit) & 31)]) }
        // Five bytes are eight digits.
        for half in [random.prefix(5), random.dropFirst(5).prefix(5)] {
            let bits = half.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            for digit in (0..<8).reversed() { text.append(digits[Int(bits >> UInt64(5 * digit) & 31)]) }
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func unixMilliseconds() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(max(0, time.tv_sec)) &* 1000 &+ UInt64(max(0, time.tv_nsec)) / 1_000_000
    }

    /// Whether it could be one: anything else is nobody's.
    static func isID(_ text: String) -> Bool {
        text.utf8.count == length && text.utf8.allSatisfy { digits.contains($0) }
    }
}
