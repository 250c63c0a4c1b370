import SluiceBytes
import SluiceConfig

/// How many repetitions an upstream may get from one worker, so that they never multiply an outage: a share of the requests
/// of the last ten seconds, and always so many a second. A pure value that is told the time.
struct RetryBudget {
    private static let span: UInt64 = 10

    private let percent: Int
    private let floor: Int
    /// By second modulo `span`.
    private var requests = [Int](repeating: 0, count: Int(span))
    private var repeats = [Int](repeating: 0, count: Int(span))
    /// The second that the newest counts are of.
    private var second: UInt64 = 0

    init(_ spec: RetrySpec) { (percent, floor) = (spec.budgetPercent, spec.minPerSecond) }

    /// A request goes to the upstream for the first time.
    mutating func requestBegan(at now: Instant) {
        let slot = advance(to: now)
        requests[slot] += 1
    }

    /// Whether one may be repeated now; if so, that is counted.
    mutating func take(at now: Instant) -> Bool {
        let slot = advance(to: now)
        // Bounded by what one worker can be asked in ten seconds, so far below overflow.
        let allowed = requests.reduce(0, +) * percent / 100
        guard repeats[slot] < floor || repeats.reduce(0, +) < allowed else { return false }
        repeats[slot] += 1
        return true
    }

    /// Forgets what is older than the span.
    private mutating func advance(to now: Instant) -> Int {
        let current = max(second, now.nanoseconds / 1_000_000_000)
        let passed = min(current - second, Self.span)
        for step in 0..<passed {
            let slot = Int((current - step) % Self.span)
            (requests[slot], repeats[slot]) = (0, 0)
        }
        second = current
        return Int(current % Self.span)
    }
}
