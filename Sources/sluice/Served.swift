import Glibc
import SluiceConfig

/// What `sluice run` serves and `sluice healthcheck` asks for: as the options say, else as the environment does, so that both commands
/// of a container agree.
struct Served {
    /// nil: what the environment's API keys make, or the demo.
    let file: String?
    /// Replaces the listeners of the file.
    let listen: String?

    /// `SLUICE_CONFIG` behind a dash names a file that need not be there, as systemd has it for `EnvironmentFile`.
    init(_ options: CommandOptions) {
        let environment = CommandLineTool.environment()
        func variable(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        listen = options.text("listen") ?? variable("SLUICE_LISTEN")
        let named = variable("SLUICE_CONFIG")
        if let file = options.text("config") {
            self.file = file
        } else if let named, named.hasPrefix("-") {
            let path = String(named.dropFirst())
            file = access(path, F_OK) == 0 ? path : nil
        } else {
            file = named
        }
    }
}
