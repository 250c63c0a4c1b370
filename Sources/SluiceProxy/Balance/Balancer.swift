import SluiceBytes
import SluiceConfig

/// Chooses the place for an attempt. Pure: it is handed what is known of the places and the time, and its random numbers follow
/// from its seed.
///
/// Only places that are well take part, and of those the ones that have failed this request already only where no other is left.
/// Where none is well, all take part (the field calls it panic mode): what answers a health check and what answers a request need
/// not be the same, and nobody is helped by an error that no place was asked for. A place in its slow start takes part in
/// a growing part of the choices: its least part is `PlaceHealth.leastShare`, and it gets neither nothing nor all at once.
struct Balancer {
    struct Choice: Equatable {
        let index: Int
        /// No place is well.
        let isPanic: Bool
    }

    private let policy: Balance
    private let slowStart: Interval
    private(set) var random: SplitMix64
    /// Round robin: what each place is owed (the smooth weighted one of nginx, which spreads a heavy place's turns evenly).
    private var credit: [Int]

    init(_ policy: Balance, places: [PlaceState], slowStart: Interval, seed: UInt64) {
        (self.policy, self.slowStart) = (policy, slowStart)
        random = SplitMix64(seed: seed)
        credit = [Int](repeating: 0, count: places.count)
        // Workers must not all begin with the first.
        for _ in 0..<random.below(places.count) { _ = nextInTurn(places, among: PlaceSet(places.indices)) }
    }

    /// nil only where there are no places. Reads each place once or twice; allocates nothing.
    mutating func pick(_ places: [PlaceState], avoiding tried: PlaceSet, now: Instant) -> Choice? {
        var (candidates, well) = (PlaceSet(), PlaceSet())
        for index in places.indices where places[index].health.isAvailable(at: now) {
            well.insert(index)
            if places[index].takesPart(at: now, slowStart: slowStart) { candidates.insert(index) }
        }
        if candidates.isEmpty { candidates = well }
        let isPanic = candidates.isEmpty
        if isPanic { candidates = PlaceSet(places.indices) }
        let untried = candidates.subtracting(tried)
        if !untried.isEmpty { candidates = untried }
        let awake = withoutSlowStarters(candidates, places, now)
        return choose(places, among: awake.isEmpty ? candidates : awake).map { Choice(index: $0, isPanic: isPanic) }
    }

    /// Draws for each place in its slow start whether it takes part.
    private mutating func withoutSlowStarters(
        _ candidates: PlaceSet, _ places: [PlaceState], _ now: Instant
    ) -> PlaceSet {
        var result = candidates
        for index in places.indices where candidates.contains(index) {
            let share = places[index].health.share(at: now, slowStart: slowStart)
            if share < 1, random.fraction() >= share { result.remove(index) }
        }
        return result
    }

    private mutating func choose(_ places: [PlaceState], among candidates: PlaceSet) -> Int? {
        if candidates.count < 2 { return candidates.first }
        switch policy {
        case .leastRequests: return byWeight(places, among: leastLoaded(places, among: candidates))
        case .roundRobin: return nextInTurn(places, among: candidates)
        case .weighted: return byWeight(places, among: candidates)
        }
    }

    /// All whose load for their weight is the least. Sets are small, so all are looked at, not two at random.
    private func leastLoaded(_ places: [PlaceState], among candidates: PlaceSet) -> PlaceSet {
        var least = PlaceSet()
        var best: PlaceState?
        for index in places.indices where candidates.contains(index) {
            let place = places[index]
            if let current = best {
                let (load, lowest) = (place.inFlight * current.weight, current.inFlight * place.weight)
                if load > lowest { continue }
                if load < lowest { least = PlaceSet() }
            }
            best = place
            least.insert(index)
        }
        return least
    }

    private mutating func byWeight(_ places: [PlaceState], among candidates: PlaceSet) -> Int? {
        if candidates.count < 2 { return candidates.first }
        var total = 0
        for index in places.indices where candidates.contains(index) { total += places[index].weight }
        var point = random.below(total)
        for index in places.indices where candidates.contains(index) {
            if point < places[index].weight { return index }
            point -= places[index].weight
        }
        return candidates.first
    }

    private mutating func nextInTurn(_ places: [PlaceState], among candidates: PlaceSet) -> Int? {
        var total = 0
        var next: Int?
        for index in places.indices where candidates.contains(index) {
            credit[index] += places[index].weight
            total += places[index].weight
            if let current = next, credit[index] <= credit[current] { continue }
            next = index
        }
        if let next { credit[next] -= total }
        return next
    }
}
