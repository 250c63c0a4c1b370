import Glibc
import SluiceBytes
import SluiceConfig
import SluiceDemo
import SluiceIO
import SluiceStreams

/// `sluice replay`: recorded streams as the providers that they came from would send them, until SIGTERM or SIGINT.
///
/// A file `NAME.times` beside a recording `NAME` holds one decimal number of milliseconds for each of its events: the time since the
/// event before it, for the first since the request. `--speed` divides these; files without times have `--interval` between events.
struct ReplayCommand {
    private let files: [String]
    private let address: SocketAddress
    private let dialect: Dialect?
    private var pace = Recording.Pace()

    init(_ arguments: [String]) throws(CommandOptions.Fault) {
        let options = try CommandOptions(arguments, values: ["listen", "speed", "interval", "dialect"])
        files = options.operands
        if files.isEmpty { throw CommandOptions.Fault("replay needs at least one file") }
        let listen = try options.required("listen")
        guard let address = SocketAddress(listen) else {
            throw CommandOptions.Fault("--listen: '\(listen)' is not host:port, [v6]:port, :port or unix:/path")
        }
        self.address = address
        dialect = try options.choice("dialect", Dialect.self, excluding: [.raw, .auto])
        pace.interval = try options.interval("interval") ?? pace.interval
        pace.speed = try options.factor("speed") ?? pace.speed
    }

    /// Returns the exit code.
    func run() -> Int32 {
        Signals.block([SIGTERM, SIGINT])
        do {
            let recordings = try files.map(load)
            let loop = try EventLoop()
            let server = try ReplayServer(recordings, on: address, loop: loop)
            let signals = try Signals([SIGTERM, SIGINT], on: loop) { [weak loop] _ in loop?.stop() }
            CommandLineTool.write("replaying on \(server.address)\n", to: 2)
            try withExtendedLifetime((signals, server)) { try loop.run() }
            server.close()
            loop.stopNow()
            return 0
        } catch let fault as Recording.Fault {
            CommandLineTool.write("sluice: \(fault.message)\n", to: 2)
        } catch {
            CommandLineTool.write("sluice: \(error)\n", to: 2)
        }
        return 1
    }

    private func load(_ path: String) throws -> Recording {
        let bytes = try StandardStreams.readFile(path)
        let times = access(path + ".times", F_OK) == 0 ? try StandardStreams.readFile(path + ".times") : nil
        return try Recording(path: path, bytes: bytes, times: times, dialect: dialect, pace: pace)
    }
}
