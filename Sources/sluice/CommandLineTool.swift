import Glibc
import SluiceConfig

/// Arguments to commands. Exit codes: 0 done, 1 failed, 2 wrong usage.
enum CommandLineTool {
    static let version = "0.1.0"

    static let usage = """
        sluice: a streaming bridge between user interfaces and LLM providers

          sluice run [-c FILE] [--listen ADDRESS]   serve; without -c, what the environment's API keys make, or the demo
          sluice validate FILE                      check a configuration and print every fault in it
          sluice version

        """

    /// Returns the process's exit code.
    static func run(_ arguments: [String]) -> Int32 {
        let rest = Array(arguments.dropFirst())
        switch arguments.first {
        case "run": return run(options: rest)
        case "validate": return validate(rest)
        case "version", "--version": return say("sluice \(version)\n")
        case "help", "--help", "-h": return say(usage)
        default: return refuse(arguments.first.map { "there is no command '\($0)'" } ?? "no command given")
        }
    }

    private static func run(options: [String]) -> Int32 {
        var file: String?
        var listen: String?
        var rest = options[...]
        while let option = rest.popFirst() {
            switch option {
            case "-c", "--config":
                guard let value = rest.popFirst() else { return refuse("\(option) needs a file") }
                file = value
            case "--listen":
                guard let value = rest.popFirst() else { return refuse("--listen needs an address") }
                listen = value
            default: return refuse("run does not know '\(option)'")
            }
        }
        return RunCommand(file: file, listen: listen).run()
    }

    private static func validate(_ arguments: [String]) -> Int32 {
        guard arguments.count == 1, let file = arguments.first else { return refuse("validate takes one file") }
        do throws(ConfigurationFaults) {
            _ = try ConfigurationLoader.load(path: file, environment: environment())
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

    private static func say(_ text: String) -> Int32 {
        write(text, to: 1)
        return 0
    }

    private static func refuse(_ why: String) -> Int32 {
        write("sluice: \(why)\n\n\(usage)", to: 2)
        return 2
    }

    static func write(_ text: String, to descriptor: Int32) {
        var text = text
        text.withUTF8 { bytes in _ = Glibc.write(descriptor, bytes.baseAddress, bytes.count) }
    }
}
