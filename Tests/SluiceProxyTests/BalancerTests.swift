import SluiceBytes
import SluiceConfig
import Testing

@testable import SluiceProxy

@Suite struct BalancerTests {
    private let start = Instant(nanoseconds: 1_000_000_000_000)

    private func places(_ weights: [Int], inFlight: [Int] = []) -> [PlaceState] {
        weights.enumerated().map { index, weight in
            var place = PlaceState(weight: weight)
            if index < inFlight.count { place.inFlight = inFlight[index] }
            return place
        }
    }

    /// How often each place is chosen, nothing changing in between.
    private func picks(
        _ policy: Balance, _ places: [PlaceState], count: Int = 10_000, avoiding tried: PlaceSet = PlaceSet(),
        slowStart: Interval = .zero, at now: Instant? = nil, seed: UInt64 = 7
    ) -> [Int] {
        var balancer = Balancer(policy, places: places, slowStart: slowStart, seed: seed)
        var counts = [Int](repeating: 0, count: places.count)
        for _ in 0..<count {
            if let choice = balancer.pick(places, avoiding: tried, now: now ?? start) { counts[choice.index] += 1 }
        }
        return counts
    }

    private func eject(_ index: Int, of places: inout [PlaceState]) {
        _ = places[index].health.eject(by: OutlierSpec(), at: start)
    }

    private let allWell: [Balance] = Balance.allCases

    @Test(arguments: Balance.allCases) func weightsAreKept(policy: Balance) {
        let counts = picks(policy, places([1, 2, 5]))
        for (count, weight) in zip(counts, [1, 2, 5]) {
            let expected = 10_000 * weight / 8
            #expect(abs(count - expected) < 250, "\(policy) \(counts)")
        }
    }

    @Test func roundRobinSpreadsAHeavyPlacesTurns() {
        let places = places([3, 1])
        var balancer = Balancer(.roundRobin, places: places, slowStart: .zero, seed: 1)
        let order = (0..<16).compactMap { _ in balancer.pick(places, avoiding: PlaceSet(), now: start)?.index }
        #expect(order.count(where: { $0 == 1 }) == 4)
        // Never four in a row: that would be a turn too many.
        for first in 0..<12 { #expect(order[first..<(first + 4)].contains(1), "\(order)") }
    }

    @Test func workersDoNotAllBeginWithTheFirst() {
        let firsts = (0..<64).compactMap { seed -> Int? in
            let places = places([1, 1, 1, 1])
            var balancer = Balancer(.roundRobin, places: places, slowStart: .zero, seed: UInt64(seed))
            return balancer.pick(places, avoiding: PlaceSet(), now: start)?.index
        }
        #expect(Set(firsts) == [0, 1, 2, 3])
    }

    @Test func leastRequestsTakesTheLeastLoadedForItsWeight() {
        #expect(picks(.leastRequests, places([1, 1, 1], inFlight: [3, 1, 2])) == [0, 10_000, 0])
        // 4/4 is less than 2/1, and the same as 1/1.
        let counts = picks(.leastRequests, places([4, 1, 1], inFlight: [4, 2, 1]))
        #expect(counts[1] == 0 && abs(counts[0] - 8000) < 250)
        #expect(picks(.leastRequests, places([4, 1], inFlight: [3, 1])) == [10_000, 0])
    }

    @Test func leastRequestsKeepsPlacesLevel() {
        var places = places([1, 1, 2])
        var balancer = Balancer(.leastRequests, places: places, slowStart: .zero, seed: 3)
        for _ in 0..<400 {
            guard let index = balancer.pick(places, avoiding: PlaceSet(), now: start)?.index else { continue }
            places[index].inFlight += 1
        }
        #expect(places.map(\.inFlight) == [100, 100, 200])
    }

    @Test(arguments: Balance.allCases) func anEjectedPlaceIsNeverChosen(policy: Balance) {
        var places = places([1, 5, 1], inFlight: [9, 0, 9])
        eject(1, of: &places)
        #expect(picks(policy, places)[1] == 0)
        #expect(picks(policy, places, at: start + .seconds(31))[1] > 0)
    }

    @Test(arguments: Balance.allCases) func whatWasTriedIsAvoidedWhileThereIsAnother(policy: Balance) {
        let three = places([1, 1, 1])
        let counts = picks(policy, three, avoiding: PlaceSet([0, 2]))
        #expect(counts == [0, 10_000, 0])
        #expect(picks(policy, three, avoiding: PlaceSet(0...2)).allSatisfy { $0 > 3000 })
        // One that is well, though tried, comes before one that is not.
        var one = places([1, 1])
        eject(1, of: &one)
        #expect(picks(policy, one, avoiding: PlaceSet([0])) == [10_000, 0])
    }

    @Test(arguments: Balance.allCases) func whereNoneIsWellAllAreTried(policy: Balance) {
        var places = places([1, 1, 1])
        for index in 0..<3 { eject(index, of: &places) }
        #expect(picks(policy, places).allSatisfy { $0 > 3000 })
        var balancer = Balancer(policy, places: places, slowStart: .zero, seed: 1)
        #expect(balancer.pick(places, avoiding: PlaceSet([0, 1]), now: start) == .init(index: 2, isPanic: true))
        #expect(balancer.pick(places, avoiding: PlaceSet(), now: start + .seconds(31))?.isPanic == false)
    }

    @Test(arguments: Balance.allCases) func aPlaceThatComesBackGetsAGrowingShare(policy: Balance) {
        var places = places([1, 1])
        eject(1, of: &places)
        let back = start + .seconds(30)
        let ended = places[1].health.endEjection(at: back)
        #expect(ended)
        var last = 0
        for (after, expected) in [(0, 500), (10, 500), (50, 2500), (100, 5000)] as [(UInt64, Int)] {
            let counts = picks(policy, places, slowStart: .seconds(100), at: back + .seconds(after))
            // Round robin gives a place that missed its turns no more than its turn.
            #expect(abs(counts[1] - expected) < 300 || policy == .roundRobin, "\(policy) after \(after): \(counts)")
            #expect(counts[1] >= last - 150 && counts[1] > 0, "\(policy) after \(after): \(counts)")
            last = counts[1]
        }
        #expect(abs(last - 5000) < 300)
    }

    @Test func aPlaceInSlowStartIsNotFloodedForBeingIdle() {
        var places = places([1, 1], inFlight: [50, 0])
        eject(1, of: &places)
        _ = places[1].health.endEjection(at: start + .seconds(30))
        let counts = picks(.leastRequests, places, slowStart: .seconds(100), at: start + .seconds(30))
        #expect(abs(counts[1] - 1000) < 200, "\(counts)")
    }

    @Test(arguments: Balance.allCases) func aPlaceOnTrialGetsNoSecondAttempt(policy: Balance) {
        var places = places([1, 1], inFlight: [9, 0])
        eject(1, of: &places)
        let back = start + .seconds(30)
        _ = places[1].health.endEjection(at: back)
        places[1].inFlight = 1
        #expect(picks(policy, places, slowStart: .seconds(100), at: back + .seconds(99))[1] == 0)
        // If it is the only one that is well, it is no panic.
        eject(0, of: &places)
        var balancer = Balancer(policy, places: places, slowStart: .seconds(100), seed: 1)
        #expect(
            balancer.pick(places, avoiding: PlaceSet(), now: start + .seconds(29)) == .init(index: 1, isPanic: false))
    }

    @Test func theOnlyOneLeftIsChosenInItsSlowStartToo() {
        var places = places([1, 1])
        eject(1, of: &places)
        _ = places[1].health.endEjection(at: start + .seconds(30))
        let counts = picks(
            .leastRequests, places, avoiding: PlaceSet([0]), slowStart: .seconds(100), at: start + .seconds(30))
        #expect(counts == [0, 10_000])
    }

    @Test func theSameSeedChoosesTheSame() {
        let some = places([1, 2, 3])
        #expect(picks(.weighted, some, seed: 5) == picks(.weighted, some, seed: 5))
        #expect(picks(.weighted, some, seed: 5) != picks(.weighted, some, seed: 6))
    }

    @Test func sixtyFourPlacesAndNone() {
        let most = places([Int](repeating: 1, count: PlaceSpec.limit))
        #expect(picks(.weighted, most).allSatisfy { $0 > 80 })
        var balancer = Balancer(.leastRequests, places: [], slowStart: .zero, seed: 1)
        #expect(balancer.pick([], avoiding: PlaceSet(), now: start) == nil)
    }
}
