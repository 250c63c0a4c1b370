import Glibc
import SluiceBytes
import SluiceConfig
import SluiceIO

/// Arguments to commands. Exit codes: 0 done, 1 failed, 2 wrong usage.
enum CommandLineTool {
    static let version = "0.1.0"

    static let usage = """
        sluice: a streaming bridge between user interfaces and LLM providers

          sluice run [-c FILE] [--watch] [--listen ADDRESS]
                                                    serve; without -c, what the environment's API keys make, or the demo;
                                                    --watch reloads when the file, or one that it names, has changed
          sluice healthcheck [-c FILE] [--listen ADDRESS] [--ready] [--timeout TIME]
                                                    exit code 0 if the server that runs with these is well, for containers
          sluice validate FILE                      check a configuration and print every fault in it
          sluice schema                             print the JSON Schema of configurations
          sluice formats [--json]                   what can be spoken to clients and to upstreams
          sluice convert --from DIALECT --to FORMAT [--document] [--model NAME] [--chunk BYTES]
                                                    a stream from standard input to standard output; exit code 3 if it was
                                                    cut or carried an error
          sluice convert --request --from FORMAT --to DIALECT [--drop-unsupported] [--model NAME]
                                                    the same for the body of a request
          sluice replay FILE… --listen ADDRESS [--interval TIME] [--speed FACTOR] [--dialect DIALECT]
                                                    serve recorded streams as a provider would
          sluice doctor URL [--idle TIME] [--duration TIME] [--timeout TIME] [--json] [--http1.1 | --http2]
                [--ca FILE | --insecure] [--method METHOD] [--header 'NAME: VALUE']… [--data BODY | @FILE]
                [--probe-key KEY] [--no-probe]            what the way from here to URL does to streams, and what to change;
                                                    exit code 1 if it harms them, 3 if there is nothing to examine
          sluice key new [--name NAME]              make an API key: prints it, and its line for the file of `auth`
          sluice key hash [--name NAME]             the line for a key on standard input
          sluice version

        """

    /// Returns the process's exit code.
    static func run(_ arguments: [String]) -> Int32 {
        CrashGuard.install()
        let rest = Array(arguments.dropFirst())
        if rest.contains("--help") || rest == ["-h"] { return say(usage) }
        do throws(CommandOptions.Fault) {
            switch arguments.first {
            case "run": return try run(options: rest)
            case "validate": return validate(rest)
            case "schema": return try schema(rest)
            case "formats": return try FormatsCommand.run(rest)
            case "convert": return try ConvertCommand.run(rest)
            case "replay": return try ReplayCommand(rest).run()
            case "healthcheck": return try HealthcheckCommand.run(rest)
            case "supervise": return try SuperviseCommand.run(rest)
            case "doctor": return try DoctorCommand(rest).run()
            case "key": return try KeyCommand.run(rest)
            case "version", "--version": return say("sluice \(version)\n")
            case "help", "--help", "-h": return say(usage)
            default: return refuse(arguments.first.map(unknown) ?? "no command given")
            }
        } catch {
            return refuse(error.message)
        }
    }

    private static func unknown(_ command: String) -> String {
        let known = [
            "run", "healthcheck", "validate", "schema", "formats", "convert", "replay", "doctor", "key", "version",
            "help",
        ]
        let near = Names.nearest(to: command, in: known).map { " (did you mean '\($0)'?)" } ?? ""
        return "there is no command '\(command)'\(near)"
    }

    private static func run(options arguments: [String]) throws(CommandOptions.Fault) -> Int32 {
        let options = try CommandOptions(
            arguments, values: ["config", "listen"], flags: ["watch"], short: ["c": "config"])
        if let extra = options.operands.first { throw CommandOptions.Fault("run does not know '\(extra)'") }
        let served = Served(options)
        if options.has("watch"), served.file == nil {
            throw CommandOptions.Fault("--watch needs a file (-c)")
        }
        return RunCommand(file: served.file, listen: served.listen, watches: options.has("watch")).run()
    }

    private static func schema(_ arguments: [String]) throws(CommandOptions.Fault) -> Int32 {
        let options = try CommandOptions(arguments)
        if let extra = options.operands.first { throw CommandOptions.Fault("schema takes no '\(extra)'") }
        return say(ConfigurationSchema.text())
    }

    private static func validate(_ arguments: [String]) -> Int32 {
        guard arguments.count == 1, let file = arguments.first else { return refuse("validate takes one file") }
        do throws(ConfigurationFaults) {
            let configuration = try ConfigurationLoader.load(path: file, environment: environment())
            for warning in configuration.warnings { write("warning: \(warning)\n", to: 2) }
            return say("\(file): valid\n")
        } catch {
            return complain(error)
        }
    }

    /// Prints every fault on a line of its own.
    static func complain(_ faults: ConfigurationFaults) -> Int32 {
        for issue in faults.issues { write("\(issue)\n", to: 2) }
        return 1
    }

    /// Standard input or output failed; quietly if its reader has left.
    static func complain(_ fault: StandardStreams.Fault) -> Int32 {
        if !fault.isClosed { write("sluice: \(fault.message)\n", to: 2) }
        return 1
    }

    static func environment() -> [String: String] {
        var result: [String: String] = [:]
        var entry = environ
        while let text = entry.pointee {
            let line = String(cString: text)
            if let equals = line.firstIndex(of: "=") {
                result[String(line[..<equals])] = String(line[line.index(after: equals)...])
            }
            entry += 1
        }
        return result
    }

    static func say(_ text: String) -> Int32 {
        var out = ByteQueue()
        out.append(text)
        do throws(StandardStreams.Fault) {
            try StandardStreams.write(&out)
            return 0
        } catch {
            return complain(error)
        }
    }

    private static func refuse(_ why: String) -> Int32 {
        write("sluice: \(why)\n\n\(usage)", to: 2)
        return 2
    }

    /// For words to the user, whose loss ends nothing.
    static func write(_ text: String, to descriptor: Int32) {
        var out = ByteQueue()
        out.append(text)
        try? StandardStreams.write(&out, to: descriptor)
    }
}
