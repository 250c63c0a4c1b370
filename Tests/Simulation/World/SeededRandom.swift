/// SplitMix64. Each actor and socket of a world has its own, made from the world's: what one of them draws changes nothing
/// for the others.
public struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    public init(_ seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state = state &+ 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A generator of its own, which differs for each call.
    mutating func fork() -> SeededRandom { SeededRandom(next()) }

    mutating func chance(_ percent: Double) -> Bool {
        percent > 0 && Double(next() >> 11) / 9_007_199_254_740_992 * 100 < percent
    }

    /// 0 for an empty range.
    mutating func below(_ count: Int) -> Int { count > 0 ? Int(next() % UInt64(count)) : 0 }

    mutating func within(_ range: ClosedRange<Int>) -> Int { range.lowerBound + below(range.count) }

    mutating func pick<T>(_ choices: [T]) -> T { choices[below(choices.count)] }

    /// Rather near the lower bound, now and then near the upper one, as delays are.
    mutating func skewed(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + below(below(range.count) + 1)
    }
}
