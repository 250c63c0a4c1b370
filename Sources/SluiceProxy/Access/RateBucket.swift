import SluiceBytes
import SluiceConfig

/// A token bucket that is kept as one point of time: when it will be full again (the generic cell rate algorithm, ITU-T
/// I.371). A bucket that is full needs no memory of its own, and one in debt is just full later.
struct RateBucket: Equatable, Sendable {
    /// How fast one fills, and how much it holds.
    struct Shape: Equatable, Sendable {
        /// Units that it holds.
        let capacity: Int
        private let count: UInt64
        private let period: UInt64

        /// `burst`: what it holds; nil is what comes in a period.
        init(_ rate: Rate, burst: Int? = nil) {
            capacity = max(1, burst ?? rate.count)
            (count, period) = (UInt64(max(1, rate.count)), max(1, rate.period.nanoseconds))
        }

        /// The time that so many units take to come; at most some centuries. Rounded down, so that taking one after the other
        /// never costs more than taking all at once.
        func time(for units: Int) -> Interval {
            Interval(nanoseconds: Self.scale(UInt64(max(0, units)), period, count))
        }

        /// The units that come in a time, rounded down.
        fileprivate func units(in time: Interval) -> Int {
            Int(clamping: Self.scale(time.nanoseconds, count, period))
        }

        private static func scale(_ value: UInt64, _ factor: UInt64, _ divisor: UInt64) -> UInt64 {
            let (high, low) = value.multipliedFullWidth(by: factor)
            guard high < divisor else { return .max >> 1 }
            return min(.max >> 1, divisor.dividingFullWidth((high, low)).quotient)
        }
    }

    private(set) var fullAt = Instant(nanoseconds: 0)

    /// So long is waited at most until something is there again.
    private static let longestDebt = Interval.seconds(86_400)

    func isFull(at now: Instant) -> Bool { fullAt <= now }

    /// What may be taken now; nothing if it is in debt.
    func level(_ shape: Shape, at now: Instant) -> Int {
        let missing = fullAt - now
        if missing == .zero { return shape.capacity }
        let whole = shape.time(for: shape.capacity)
        guard missing < whole else { return 0 }
        return min(shape.capacity, shape.units(in: Interval(nanoseconds: whole.nanoseconds - missing.nanoseconds)))
    }

    /// How long until `units` could be taken; zero if they can be now. More than it holds waits until it is full.
    func wait(for units: Int, _ shape: Shape, at now: Instant) -> Interval {
        let room = shape.time(for: shape.capacity).nanoseconds
        let wanted = shape.time(for: min(units, shape.capacity)).nanoseconds
        let missing = (fullAt - now).nanoseconds
        let allowed = room > wanted ? room - wanted : 0
        return Interval(nanoseconds: missing > allowed ? missing - allowed : 0)
    }

    /// Takes `units`, whether they are there or not.
    mutating func take(_ units: Int, _ shape: Shape, at now: Instant) {
        fullAt = max(fullAt, now) + shape.time(for: units)
        // A provider that counts nonsense must not lock somebody out for good.
        fullAt = min(fullAt, now + shape.time(for: shape.capacity) + Self.longestDebt)
    }

    /// Gives back what was taken and not used.
    mutating func give(_ units: Int, _ shape: Shape) {
        fullAt = Instant(nanoseconds: (fullAt - Instant(nanoseconds: shape.time(for: units).nanoseconds)).nanoseconds)
    }
}
