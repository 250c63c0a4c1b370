import Glibc
import SluiceConfig

/// What `sluice run` serves and `sluice healthcheck` asks for: as the options say, else as the environment does, so that both commands
/// of a container agree.
struct Served {
    /// nil: what the environment's API keys make, or the demo.
    let file: String?
    /// Replaces the listeners of the file. The environment says only where to listen if there is no file: an image has that variable,
    /// and a file that is mounted into it is not to lose its own listeners.
    let listen: String?

    /// `SLUICE_CONFIG` behind a dash names a file that need not be there, as systemd has it for `EnvironmentFile`.
    init(_ options: CommandOptions) {
        let environment = CommandLineTool.environment()
        func variable(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        let named = variable("SLUICE_CONFIG")
        if let file = options.text("config") {
            self.file = file
        } else if let named, named.hasPrefix("-") {
            let path = String(named.dropFirst())
            file = access(path, F_OK) == 0 ? path : nil
        } else {
            file = named
        }
        listen = options.text("listen") ?? (file == nil ? variable("SLUICE_LISTEN") : nil)
    }
}
