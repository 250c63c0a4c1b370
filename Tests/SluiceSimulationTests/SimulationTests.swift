import SluiceSimulation
import Testing

@Suite struct SimulationTests {
    @Test(arguments: 0..<6) func worldsHoldTheirInvariants(part: Int) {
        for seed in UInt64(part * 50 + 1)...UInt64(part * 50 + 50) {
            let report = World.run(seed)
            #expect(report.violations.isEmpty, "Tests/Simulation/run --seed \(seed)")
        }
    }

    @Test(arguments: Scenario.allCases) func faultsThatWereFoundStayAway(scenario: Scenario) {
        for seed: UInt64 in 1...5 {
            let report = World.run(seed, scenario)
            #expect(report.violations.isEmpty, "Tests/Simulation/run --seed \(seed) \(scenario)")
        }
    }

    @Test func theSameSeedIsTheSameWorld() {
        for seed: UInt64 in 1...30 {
            let (first, second) = (World.run(seed), World.run(seed))
            #expect(first.hash == second.hash && first.turns == second.turns, "seed \(seed)")
        }
    }

    /// Worlds in which nothing is asked, or nothing succeeds, would show nothing.
    @Test func worldsAreBusy() {
        let reports = (UInt64(1)...40).map { World.run($0) }
        #expect(reports.reduce(0) { $0 + $1.requests } > 80)
        #expect(reports.reduce(0) { $0 + $1.complete } > 40)
    }
}
