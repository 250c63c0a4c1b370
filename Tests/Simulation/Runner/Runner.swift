import Glibc
import SluiceSimulation

/// `Simulation SEEDS [FIRST]` lives through so many worlds; `Simulation --seed N [SCENARIO]` through one, telling all.
enum Runner {
    static func run() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        if arguments.first == "--seed", (2...3).contains(arguments.count), let seed = UInt64(arguments[1]) {
            let scenario = arguments.count == 3 ? Scenario(rawValue: arguments[2]) : nil
            if arguments.count == 3, scenario == nil {
                print("scenarios: \(Scenario.allCases.map(\.rawValue).joined(separator: " "))")
                exit(2)
            }
            exit(replay(seed, scenario))
        }
        let numbers = arguments.compactMap { UInt64($0) }
        guard numbers.count == arguments.count, numbers.count <= 2 else {
            print("usage: Simulation [SEEDS [FIRST]] | --seed N [SCENARIO]")
            exit(2)
        }
        exit(live(numbers.first ?? 2_000, from: numbers.dropFirst().first ?? 1))
    }

    /// At once, so that a crash does not take it along.
    private static func say(_ text: String) {
        var text = text
        _ = text.withUTF8 { write(1, $0.baseAddress, $0.count) }
    }

    private static func replay(_ seed: UInt64, _ scenario: Scenario?) -> Int32 {
        let report = World.run(seed, scenario, traces: true)
        for violation in report.violations { print("violation: \(violation)") }
        print(
            "seed \(seed): \(report.requests) requests, \(report.complete) complete, \(report.turns) turns, hash \(report.hash)"
        )
        return report.violations.isEmpty ? 0 : 1
    }

    private static func live(_ count: UInt64, from first: UInt64) -> Int32 {
        let began = time(nil)
        var (requests, complete, turns, failed) = (0, 0, 0, 0)
        for seed in first..<(first + count) {
            let report = World.run(seed)
            requests += report.requests
            complete += report.complete
            turns += report.turns
            guard !report.violations.isEmpty else { continue }
            failed += 1
            say("seed \(seed): \(report.violations[0])\n  replay: Tests/Simulation/run --seed \(seed)\n")
            if failed == 200 { break }
        }
        let spent = max(1, time(nil) - began)
        print(
            "\(count) seeds from \(first): \(failed) failed; \(requests) requests, \(complete) told complete, \(turns) turns, \(Int(count) / spent) seeds/s"
        )
        return failed == 0 ? 0 : 1
    }
}
