import SluiceBytes
import SluiceConfig

/// What one worker knows of one place of an upstream.
struct PlaceState {
    let weight: Int
    /// Attempts under way.
    var inFlight = 0
    var health = PlaceHealth()

    init(weight: Int) { self.weight = weight }

    /// It is well, and not on trial with an attempt already: while the slow start lasts, a place that comes back is tried by one
    /// attempt at a time until one has gone well.
    func takesPart(at now: Instant, slowStart: Interval) -> Bool {
        guard health.isAvailable(at: now) else { return false }
        return !health.isOnProbation || inFlight == 0 || health.share(at: now, slowStart: slowStart) >= 1
    }
}

/// Whether a place is to be asked. Two judges, of which each can take it out of the turn: active checks, and the outlier
/// detector, which watches the exchanges themselves. A pure value that is told the time.
struct PlaceHealth: Equatable {
    /// As the active checks see it; a place that was never checked counts as well.
    private(set) var isHealthy = true
    /// Checks in a row that contradict `isHealthy`.
    private var contradictions = 0

    /// Attempts that failed in a row.
    private(set) var failures = 0
    private(set) var ejectedUntil: Instant?
    /// How often in a row it was ejected: each time for longer.
    private var ejections = 0
    private var lastEjectionEnd: Instant?
    /// It came back from an ejection and has answered nothing since: the next failure is enough.
    private(set) var isOnProbation = false

    /// Since when it is back; nil where it was never away.
    private var backSince: Instant?

    /// What a place in its slow start has at the least of its share.
    static let leastShare = 0.1

    func isEjected(at now: Instant) -> Bool { ejectedUntil.map { now < $0 } ?? false }
    func isAvailable(at now: Instant) -> Bool { isHealthy && !isEjected(at: now) }

    /// The part of its weight that counts: less than 1 in the slow start.
    func share(at now: Instant, slowStart: Interval) -> Double {
        guard let backSince, now < backSince + slowStart else { return 1 }
        return max(Self.leastShare, (now - backSince).seconds / slowStart.seconds)
    }

    /// The result of an active check. True if it turned the place's health.
    mutating func checked(_ passed: Bool, by spec: HealthCheckSpec, at now: Instant) -> Bool {
        guard passed != isHealthy else {
            contradictions = 0
            return false
        }
        contradictions += 1
        guard contradictions >= (isHealthy ? spec.unhealthyAfter : spec.healthyAfter) else { return false }
        isHealthy = passed
        contradictions = 0
        if passed { comeBack(at: now) }
        return true
    }

    mutating func succeeded(at now: Instant) {
        // An answer to what was asked before the ejection says nothing new.
        guard !isEjected(at: now) else { return }
        failures = 0
        isOnProbation = false
    }

    mutating func failed() { failures += 1 }

    /// Takes it out of the turn, and says for how long. The longer it has kept well since the last time, the less that counts.
    mutating func eject(by spec: OutlierSpec, at now: Instant) -> Interval {
        if let lastEjectionEnd, spec.ejection > .zero {
            let quiet = (now - lastEjectionEnd).nanoseconds / spec.ejection.nanoseconds
            ejections -= min(ejections, Int(clamping: quiet))
        }
        ejections += 1
        let (product, overflow) = spec.ejection.nanoseconds.multipliedReportingOverflow(by: UInt64(ejections))
        let length = min(overflow ? spec.maxEjection : Interval(nanoseconds: product), spec.maxEjection)
        ejectedUntil = now + length
        lastEjectionEnd = ejectedUntil
        failures = 0
        isOnProbation = false
        return length
    }

    /// True once when an ejection has passed.
    mutating func endEjection(at now: Instant) -> Bool {
        guard let until = ejectedUntil, now >= until else { return false }
        ejectedUntil = nil
        failures = 0
        isOnProbation = true
        comeBack(at: until)
        return true
    }

    private mutating func comeBack(at now: Instant) { backSince = max(backSince ?? now, now) }
}
