import SluiceSimulation
import Testing

@Suite struct SimulationTests {
    @Test(arguments: 0..<8) func worldsHoldTheirInvariants(part: Int) {
        for seed in UInt64(part * 25 + 1)...UInt64(part * 25 + 25) {
            let report = World.run(seed)
            #expect(report.violations.isEmpty, "Tests/Simulation/run --seed \(seed)")
        }
    }

    @Test func theSameSeedIsTheSameWorld() {
        for seed: UInt64 in [3, 14, 159, 2653] {
            let (first, second) = (World.run(seed), World.run(seed))
            #expect(first.hash == second.hash && first.turns == second.turns, "seed \(seed)")
        }
    }
}
