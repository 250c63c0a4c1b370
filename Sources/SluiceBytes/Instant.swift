/// A point on the monotonic clock, in nanoseconds. The pure layers are handed it; only the event loop reads the clock.
public struct Instant: Comparable, Hashable, Sendable {
    public var nanoseconds: UInt64

    public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    public static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }

    /// Saturates at the far future, so "never" may be any huge interval.
    public static func + (left: Instant, right: Interval) -> Instant {
        let (sum, overflow) = left.nanoseconds.addingReportingOverflow(right.nanoseconds)
        return Instant(nanoseconds: overflow ? .max : sum)
    }

    /// The time from `right` to `left`; zero if `right` is later.
    public static func - (left: Instant, right: Instant) -> Interval {
        Interval(nanoseconds: left.nanoseconds > right.nanoseconds ? left.nanoseconds - right.nanoseconds : 0)
    }

    public static let distantFuture = Instant(nanoseconds: .max)
}

/// A length of time in nanoseconds; an integer, so that comparing and adding on the token path cost one instruction.
public struct Interval: Comparable, Hashable, Sendable {
    public var nanoseconds: UInt64

    public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    public static func milliseconds(_ count: UInt64) -> Interval {
        let (product, overflow) = count.multipliedReportingOverflow(by: 1_000_000)
        return Interval(nanoseconds: overflow ? .max : product)
    }

    public static func seconds(_ count: UInt64) -> Interval {
        let (product, overflow) = count.multipliedReportingOverflow(by: 1_000_000_000)
        return Interval(nanoseconds: overflow ? .max : product)
    }

    public static let zero = Interval(nanoseconds: 0)
    public var milliseconds: UInt64 { nanoseconds / 1_000_000 }
    public var seconds: Double { Double(nanoseconds) / 1e9 }
    public static func < (left: Interval, right: Interval) -> Bool { left.nanoseconds < right.nanoseconds }
}
