import SluiceBytes
import SluiceConfig

/// What is left of a client's limits, in the fields that the SDKs of OpenAI and Anthropic know.
enum RateFields {
    typealias Field = (name: StaticString, value: String)

    /// Of several rules for the same thing, the one with the least left. `time`: seconds since 1970.
    static func make(
        _ taken: [(charge: RateLimiter.Charge, room: RateTable.Room)], isAnthropic: Bool, at time: Int
    ) -> [Field] {
        var fields: [Field] = []
        let requests = taken.filter { $0.charge.rule.requests != nil }.min { $0.room.requests < $1.room.requests }
        if let (charge, room) = requests, let rate = charge.rule.spec.requests {
            fields += Self.requests(rate.count, room.requests, room.requestsReset, isAnthropic, time)
        }
        let tokens = taken.filter { $0.charge.rule.tokens != nil }.min { $0.room.tokens < $1.room.tokens }
        if let (charge, room) = tokens, let rate = charge.rule.spec.tokens {
            fields += Self.tokens(rate.count, room.tokens, room.tokensReset, isAnthropic, time)
        }
        return fields
    }

    /// For a request that a rule keeps out.
    static func make(_ refusal: RateLimiter.Refusal, isAnthropic: Bool, at time: Int) -> [Field] {
        let retry: Field = ("retry-after", "\(seconds(refusal.reason.retryAfter))")
        switch refusal.reason {
        case .requests(let wait):
            return [retry] + requests(refusal.rule.spec.requests?.count ?? 0, 0, wait, isAnthropic, time)
        case .tokens(let wait):
            return [retry] + tokens(refusal.rule.spec.tokens?.count ?? 0, 0, wait, isAnthropic, time)
        case .concurrent, .full: return [retry]
        }
    }

    private static func requests(
        _ limit: Int, _ left: Int, _ reset: Interval, _ isAnthropic: Bool, _ time: Int
    ) -> [Field] {
        let names: [StaticString] =
            isAnthropic
            ? [
                "anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining",
                "anthropic-ratelimit-requests-reset",
            ] : ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"]
        return fields(names, limit, left, isAnthropic ? moment(time, reset) : duration(reset))
    }

    private static func tokens(
        _ limit: Int, _ left: Int, _ reset: Interval, _ isAnthropic: Bool, _ time: Int
    ) -> [Field] {
        let names: [StaticString] =
            isAnthropic
            ? [
                "anthropic-ratelimit-tokens-limit", "anthropic-ratelimit-tokens-remaining",
                "anthropic-ratelimit-tokens-reset",
            ] : ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"]
        return fields(names, limit, left, isAnthropic ? moment(time, reset) : duration(reset))
    }

    private static func fields(_ names: [StaticString], _ limit: Int, _ left: Int, _ reset: String) -> [Field] {
        zip(names, ["\(limit)", "\(left)", reset]).map { (name: $0, value: $1) }
    }

    /// As OpenAI writes it: `20ms`, `59s`, `6m0s`, `1h0m0s`.
    static func duration(_ interval: Interval) -> String {
        if interval.nanoseconds < 1_000_000_000 { return "\((interval.nanoseconds + 999_999) / 1_000_000)ms" }
        let seconds = seconds(interval)
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60)
        if hours > 0 { return "\(hours)h\(minutes)m\(seconds % 60)s" }
        return minutes > 0 ? "\(minutes)m\(seconds % 60)s" : "\(seconds)s"
    }

    /// RFC 3339, as Anthropic writes it.
    private static func moment(_ time: Int, _ interval: Interval) -> String {
        let digits = Array(AWSTime.stamp(time + seconds(interval)).utf8)
        guard digits.count == 16 else { return "" }
        func part(_ range: Range<Int>) -> String { String(decoding: digits[range], as: UTF8.self) }
        return "\(part(0..<4))-\(part(4..<6))-\(part(6..<8))T\(part(9..<11)):\(part(11..<13)):\(part(13..<15))Z"
    }

    /// Rounded up; at least one, since nobody should come back at once.
    static func seconds(_ interval: Interval) -> Int {
        max(1, Int(clamping: interval.nanoseconds / 1_000_000_000) + (interval.nanoseconds % 1_000_000_000 > 0 ? 1 : 0))
    }
}

extension RateTable.Refusal {
    var retryAfter: Interval {
        switch self {
        case .requests(let wait), .tokens(let wait): wait
        case .concurrent, .full: .seconds(1)
        }
    }

    /// As in the configuration.
    var name: String {
        switch self {
        case .requests: "requests"
        case .tokens: "tokens"
        case .concurrent: "concurrent"
        case .full: "entries"
        }
    }
}
