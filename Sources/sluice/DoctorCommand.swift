import SluiceBytes
import SluiceConfig
import SluiceDoctor
import SluiceIO
import SluiceStreams

/// `sluice doctor`: says what the way from here to a server does to streams. Exit codes: 0 nothing harmful, 1 something, 2 wrong usage,
/// 3 nothing to examine.
struct DoctorCommand {
    private var options: ExaminationOptions
    private let isJSON: Bool

    init(_ arguments: [String]) throws(CommandOptions.Fault) {
        let given = try CommandOptions(
            arguments,
            values: ["method", "header", "data", "idle", "duration", "timeout", "ca", "probe-key"],
            flags: ["json", "insecure", "http1.1", "http2", "no-probe"])
        guard given.operands.count == 1, let text = given.operands.first else {
            throw CommandOptions.Fault("doctor takes one URL")
        }
        guard let url = DoctorURL(text) else {
            throw CommandOptions.Fault("'\(text)' is no URL such as https://chat.example.com/v1/chat/completions")
        }
        if given.has("http1.1"), given.has("http2") {
            throw CommandOptions.Fault("--http1.1 and --http2 exclude each other")
        }
        isJSON = given.has("json")
        options = ExaminationOptions(url: url)
        options.version = given.has("http1.1") ? .http1 : given.has("http2") ? .http2 : .best
        (options.caPath, options.verifies) = (given.text("ca"), !given.has("insecure"))
        options.probeKey = given.text("probe-key")
        options.asksForProbes = !given.has("no-probe")
        options.idle = try Self.bounded(try given.interval("idle") ?? options.idle, "idle")
        options.duration = try Self.bounded(try given.interval("duration") ?? options.duration, "duration")
        options.timeout = try given.interval("timeout") ?? options.timeout
        try readRequest(given)
    }

    /// A probe lasts no longer.
    private static func bounded(_ interval: Interval, _ name: String) throws(CommandOptions.Fault) -> Interval {
        guard interval <= .seconds(590) else { throw CommandOptions.Fault("--\(name): at most 590s") }
        return interval
    }

    private mutating func readRequest(_ given: CommandOptions) throws(CommandOptions.Fault) {
        for line in given.all("header") {
            guard let colon = line.firstIndex(of: ":"), colon > line.startIndex else {
                throw CommandOptions.Fault("--header: '\(line)' is not 'Name: value'")
            }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            options.fields.append((name: String(line[..<colon]), value: String(value)))
        }
        if let data = given.text("data") {
            do throws(StandardStreams.Fault) {
                options.body =
                    data.hasPrefix("@") ? try StandardStreams.readFile(String(data.dropFirst())) : Array(data.utf8)
            } catch {
                throw CommandOptions.Fault("--data: \(error.message)")
            }
            options.method = "POST"
            if !options.fields.contains(where: { $0.name.lowercased() == "content-type" }) {
                options.fields.append((name: "Content-Type", value: "application/json"))
            }
        }
        options.method = given.text("method") ?? options.method
    }

    /// Returns the exit code.
    func run() -> Int32 {
        let evidence: Evidence
        do {
            evidence = try Examination(options).run()
        } catch {
            // A file of certificates that is none; else the machine has no descriptor left.
            CommandLineTool.write("sluice: \(error)\n", to: 2)
            return error is TLSError ? 2 : 3
        }
        let diagnosis = Diagnosis(evidence, of: options.url)
        var out = ByteQueue()
        if isJSON {
            out.append(diagnosis.jsonText(options.url))
        } else {
            out.append(diagnosis.text(options.url))
        }
        do throws(StandardStreams.Fault) {
            try StandardStreams.write(&out)
        } catch {
            return CommandLineTool.complain(error)
        }
        return diagnosis.outcome.rawValue
    }
}
