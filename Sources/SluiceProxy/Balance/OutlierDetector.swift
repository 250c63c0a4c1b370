import SluiceBytes
import SluiceConfig

/// Ejects places whose attempts fail one after the other, as far as enough others are left. Pure.
struct OutlierDetector {
    private let spec: OutlierSpec
    /// Requests can go to another upstream, so that no place of this one need stay.
    private let hasFallback: Bool

    init(_ spec: OutlierSpec, hasFallback: Bool = false) { (self.spec, self.hasFallback) = (spec, hasFallback) }

    /// An attempt at a place has ended. Returns for how long the place is ejected, if it is now.
    func attemptEnded(
        _ outcome: AttemptOutcome, at index: Int, of places: inout [PlaceState], now: Instant
    ) -> Interval? {
        guard places.indices.contains(index) else { return nil }
        guard let isFailure = Self.isFailure(outcome) else { return nil }
        guard isFailure else {
            places[index].health.succeeded(at: now)
            return nil
        }
        let health = places[index].health
        // What fails while the place is ejected was mostly begun before.
        guard spec.consecutiveFailures > 0, !health.isEjected(at: now) else { return nil }
        places[index].health.failed()
        guard health.failures + 1 >= spec.consecutiveFailures || health.isOnProbation else { return nil }
        guard mayEject(index, of: places, now: now) else { return nil }
        return places[index].health.eject(by: spec, at: now)
    }

    /// nil: it says nothing about the place. A 429 is about the client's share, other 4xx are about the request.
    private static func isFailure(_ outcome: AttemptOutcome) -> Bool? {
        switch outcome {
        case .abandoned: nil
        case .failed: true
        case .answered(let status): status >= 500
        }
    }

    /// Another place must be left that can be asked, and no more than the given part may be out, though one always may.
    private func mayEject(_ index: Int, of places: [PlaceState], now: Instant) -> Bool {
        if hasFallback { return true }
        var (ejected, left) = (0, 0)
        for (other, place) in places.enumerated() where other != index {
            if place.health.isEjected(at: now) { ejected += 1 }
            if place.health.isAvailable(at: now) { left += 1 }
        }
        let allowed = spec.maxEjectedPercent == 0 ? 0 : max(1, places.count * spec.maxEjectedPercent / 100)
        return left > 0 && ejected < allowed
    }
}
