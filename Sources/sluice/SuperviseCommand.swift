import Glibc
import SluiceConfig
import SluiceIO

/// `sluice supervise`, which the proxy starts for each managed process and people never do: see `Supervisor`.
enum SuperviseCommand {
    static func run(_ arguments: [String]) throws(CommandOptions.Fault) -> Int32 {
        let options = try CommandOptions(arguments, values: ["stop-signal", "stop-timeout", "directory"])
        guard let timeout = try options.interval("stop-timeout"), let signal = try options.count("stop-signal"),
            !options.operands.isEmpty
        else { throw CommandOptions.Fault("supervise is the proxy's own") }
        var supervisor = Supervisor(
            Supervisor.Job(
                command: options.operands, directory: options.text("directory"), stopSignal: Int32(clamping: signal),
                stopTimeout: timeout))
        supervisor.run()
        return 0
    }
}
