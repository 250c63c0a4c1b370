import SluiceBytes
import SluiceConfig
import Testing

@testable import SluiceProxy

@Suite struct PlaceHealthTests {
    private let start = Instant(nanoseconds: 1_000_000_000_000)

    /// Places under a detector, with a clock that only moves when told.
    private struct Bench {
        var places: [PlaceState]
        let detector: OutlierDetector
        var now: Instant

        init(
            _ count: Int, at now: Instant, hasFallback: Bool = false, change: (inout OutlierSpec) -> Void = { _ in }
        ) {
            var spec = OutlierSpec()
            change(&spec)
            places = [PlaceState](repeating: PlaceState(weight: 1), count: count)
            (detector, self.now) = (OutlierDetector(spec, hasFallback: hasFallback), now)
        }

        mutating func end(_ outcome: AttemptOutcome, at index: Int = 0) -> Interval? {
            detector.attemptEnded(outcome, at: index, of: &places, now: now)
        }

        /// Fails until the place is ejected; after how many times, and for how long.
        mutating func eject(_ index: Int = 0) -> (failures: Int, length: Interval)? {
            for count in 1...20 { if let length = end(.failed, at: index) { return (count, length) } }
            return nil
        }

        mutating func pass(_ interval: Interval) {
            now = now + interval
            for index in places.indices { _ = places[index].health.endEjection(at: now) }
        }
    }

    @Test func failuresInARowEject() {
        var bench = Bench(3, at: start)
        for _ in 0..<4 { #expect(bench.end(.failed) == nil) }
        #expect(bench.end(.answered(status: 502)) == .seconds(30))
        #expect(bench.places[0].health.isEjected(at: start + .seconds(29)))
        #expect(!bench.places[0].health.isEjected(at: start + .seconds(30)))
    }

    @Test(arguments: [200, 204, 400, 401, 404, 429, 499]) func whatThePlaceAnsweredItselfIsNoFailure(status: Int) {
        var bench = Bench(2, at: start)
        for _ in 0..<4 { _ = bench.end(.failed) }
        #expect(bench.end(.answered(status: status)) == nil)
        #expect(bench.places[0].health.failures == 0)
        for _ in 0..<4 { #expect(bench.end(.failed) == nil) }
        #expect(bench.end(.failed) != nil)
    }

    @Test func whatWasAbandonedSaysNothing() {
        var bench = Bench(2, at: start)
        for _ in 0..<4 { _ = bench.end(.failed) }
        #expect(bench.end(.abandoned) == nil && bench.places[0].health.failures == 4)
        #expect(bench.end(.failed) != nil)
    }

    @Test func eachEjectionInARowIsLongerUpToTheLimit() {
        var bench = Bench(2, at: start) { $0.maxEjection = .seconds(100) }
        var lengths: [Interval] = []
        for _ in 0..<5 {
            guard let ejection = bench.eject() else { break }
            lengths.append(ejection.length)
            bench.pass(ejection.length)
        }
        #expect(lengths == [.seconds(30), .seconds(60), .seconds(90), .seconds(100), .seconds(100)])
        // Quiet for two ejections' time: two of five are forgiven, and this one counts.
        bench.pass(.seconds(60))
        #expect(bench.eject()?.length == .seconds(100))
        bench.pass(.seconds(100 + 30 * 20))
        #expect(bench.eject()?.length == .seconds(30))
    }

    @Test func onProbationOneFailureIsEnoughAndOneAnswerEndsIt() {
        var bench = Bench(2, at: start)
        #expect(bench.eject()?.failures == 5)
        bench.pass(.seconds(30))
        #expect(bench.places[0].health.isOnProbation)
        #expect(bench.eject()?.failures == 1)
        bench.pass(.seconds(60))
        _ = bench.end(.answered(status: 200))
        #expect(bench.eject()?.failures == 5)
    }

    @Test func whatEndsDuringAnEjectionChangesNothing() {
        var bench = Bench(2, at: start)
        _ = bench.eject()
        let health = bench.places[0].health
        _ = bench.end(.failed)
        _ = bench.end(.answered(status: 200))
        #expect(bench.places[0].health == health)
    }

    @Test(arguments: [(2, 50, 1), (4, 50, 2), (5, 50, 2), (3, 10, 1), (3, 100, 2), (1, 100, 0), (4, 0, 0)])
    func onlySoManyAreOut(count: Int, percent: Int, expected: Int) {
        var bench = Bench(count, at: start) { $0.maxEjectedPercent = percent }
        let ejected = (0..<count).count { bench.eject($0) != nil }
        #expect(ejected == expected)
    }

    @Test func theLastOneThatIsWellStays() {
        var bench = Bench(2, at: start)
        let check = HealthCheckSpec(path: "/")
        for _ in 0..<3 { _ = bench.places[1].health.checked(false, by: check, at: start) }
        #expect(bench.eject(0) == nil)
        // What it has done wrong is not forgotten when the other is back.
        for _ in 0..<2 { _ = bench.places[1].health.checked(true, by: check, at: start) }
        #expect(bench.eject(0)?.failures == 1)
    }

    /// Whatever the percentage: requests have somewhere else to go.
    @Test(arguments: [1, 2, 3]) func withAnotherUpstreamBehindAllMayBeOut(count: Int) {
        var bench = Bench(count, at: start, hasFallback: true)
        #expect((0..<count).allSatisfy { bench.eject($0)?.failures == 5 })
    }

    @Test func aPlaceOnTrialIsTriedByOneAtATime() {
        var bench = Bench(2, at: start)
        _ = bench.eject()
        bench.pass(.seconds(30))
        let slow = Interval.seconds(10)
        #expect(bench.places[0].takesPart(at: bench.now, slowStart: slow))
        bench.places[0].inFlight = 1
        #expect(!bench.places[0].takesPart(at: bench.now, slowStart: slow))
        #expect(bench.places[0].takesPart(at: bench.now, slowStart: .zero))
        #expect(bench.places[0].takesPart(at: bench.now + slow, slowStart: slow))
        _ = bench.end(.answered(status: 200))
        #expect(bench.places[0].takesPart(at: bench.now, slowStart: slow))
    }

    @Test func zeroFailuresIsNever() {
        var bench = Bench(2, at: start) { $0.consecutiveFailures = 0 }
        #expect(bench.eject() == nil)
    }

    @Test func anIndexThatIsNoPlaceIsIgnored() {
        var bench = Bench(2, at: start)
        #expect(bench.end(.failed, at: 2) == nil && bench.end(.failed, at: -1) == nil)
    }

    @Test func checksTurnHealthAfterSoManyInARow() {
        var health = PlaceHealth()
        let check = HealthCheckSpec(path: "/")
        var turns: [Bool] = []
        for passed in [false, false, true, false, false, false, false, true, false, true, true, true] {
            turns.append(health.checked(passed, by: check, at: start))
        }
        #expect(turns.enumerated().filter(\.element).map(\.offset) == [5, 10])
        #expect(health.isHealthy && health.isAvailable(at: start))
    }

    @Test func aPlaceThatIsFoundWellStartsSlowly() {
        var health = PlaceHealth()
        let check = HealthCheckSpec(path: "/")
        #expect(health.share(at: start, slowStart: .seconds(10)) == 1)
        for _ in 0..<3 { _ = health.checked(false, by: check, at: start) }
        #expect(!health.isAvailable(at: start))
        for _ in 0..<2 { _ = health.checked(true, by: check, at: start + .seconds(5)) }
        let shares = [5, 6, 10, 14, 15, 99].map { health.share(at: start + .seconds($0), slowStart: .seconds(10)) }
        #expect(shares == [0.1, 0.1, 0.5, 0.9, 1, 1])
        #expect(health.share(at: start + .seconds(5), slowStart: .zero) == 1)
    }
}
