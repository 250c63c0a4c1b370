import Glibc

/// Sends a stream of so many tokens along the token path. Exit codes: 0 done, 1 the client got something else, 2 wrong
/// usage. `Tests/Benchmarks/run` runs it and counts what it costs.
@main enum TokenPathBenchmark {
    static let usage = """
        usage: TokenPathBenchmark --list
               TokenPathBenchmark --case NAME --tokens N [--unchecked] [--time]

          --tokens      a multiple of \(UpstreamAnswer.roundTokens); for decode.DIALECT: KiB of recorded streams
          --unchecked   compare nothing with what was expected, so that only the path costs anything
          --time        also print nanoseconds per token

        """

    static func main() {
        var arguments = CommandLine.arguments.dropFirst()
        var chosen: BenchmarkCase?
        var decoding: DecodeCase?
        var (tokens, isChecked, isTimed) = (0, true, false)
        while let argument = arguments.popFirst() {
            switch argument {
            case "--list": return (BenchmarkCase.all.map(\.name) + DecodeCase.all.map(\.name)).forEach { print($0) }
            case "--case":
                let name = arguments.popFirst()
                chosen = BenchmarkCase.all.first { $0.name == name }
                decoding = DecodeCase.all.first { $0.name == name }
            case "--tokens": tokens = arguments.popFirst().flatMap { Int($0) } ?? 0
            case "--unchecked": isChecked = false
            case "--time": isTimed = true
            default: tokens = 0
            }
        }
        if let decoding, tokens > 0 { return decode(decoding, kibibytes: tokens, isTimed: isTimed) }
        guard let chosen, tokens > 0, tokens % UpstreamAnswer.roundTokens == 0 else {
            complain(usage, code: 2)
        }
        let rounds = tokens / UpstreamAnswer.roundTokens
        let run = StreamRun(chosen, rounds: rounds)
        do {
            let (wireBytes, nanoseconds) = try run.stream(isChecked: isChecked)
            // The time changes from run to run, and printing it would change the count of instructions.
            print(isTimed ? "\(wireBytes) bytes, \(nanoseconds / tokens) ns/token" : "\(wireBytes) bytes")
        } catch {
            complain("\(chosen.name): \(error)\n", code: 1)
        }
    }

    private static func decode(_ chosen: DecodeCase, kibibytes: Int, isTimed: Bool) {
        do {
            let (bytes, nanoseconds) = try chosen.run(kibibytes: kibibytes)
            print(isTimed ? "\(bytes) bytes, \(nanoseconds / (bytes >> 10)) ns/KiB" : "\(bytes) bytes")
        } catch {
            complain("\(chosen.name): \(error)\n", code: 1)
        }
    }

    private static func complain(_ text: String, code: Int32) -> Never {
        _ = Array(text.utf8).withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        exit(code)
    }
}
