import SluiceBytes
import SluiceConfig
import SluiceIO
import SluiceProxy

/// `sluice healthcheck`: whether the server that runs beside it is well, for containers whose image holds nothing else that could ask.
/// Silent if so; else exit code 1 and a line that says why not.
///
/// It asks the admin listener, `/livez` or with `--ready` `/readyz`. Without one it asks the first listener of clients whether it
/// answers at all, which one that drains does not.
final class HealthcheckCommand: ConnectionDelegate, TimerHandler {
    private let loop: EventLoop
    private let target: HealthTarget
    private var probe: any HealthProbe
    private var connector: Connector?
    private var connection: Connection?
    private var verdict: HealthVerdict?

    private static let patience = Interval.seconds(3)

    static func run(_ arguments: [String]) throws(CommandOptions.Fault) -> Int32 {
        let options = try CommandOptions(
            arguments, values: ["config", "listen", "timeout"], flags: ["ready"], short: ["c": "config"])
        if let extra = options.operands.first { throw CommandOptions.Fault("healthcheck does not know '\(extra)'") }
        let timeout = try options.interval("timeout") ?? patience
        let served = Served(options)
        let target: HealthTarget
        do throws(ConfigurationFaults) {
            target = try ConfigurationLoader.healthTarget(
                path: served.file, listen: served.listen, environment: CommandLineTool.environment())
        } catch {
            return CommandLineTool.complain(error)
        }
        let verdict: HealthVerdict
        do {
            verdict = try HealthcheckCommand(target, isReady: options.has("ready")).ask(within: timeout)
        } catch {
            verdict = .ill("\(error)")
        }
        guard case .ill(let reason) = verdict else { return 0 }
        CommandLineTool.write("sluice: \(target.address): \(reason)\n", to: 2)
        return 1
    }

    private init(_ target: HealthTarget, isReady: Bool) throws(SystemError) {
        loop = try EventLoop()
        self.target = target
        probe = target.service == .admin ? AdminProbe(path: isReady ? "/readyz" : "/livez") : PingProbe()
    }

    private func ask(within patience: Interval) throws -> HealthVerdict {
        guard let address = SocketAddress(target.address) else { return .ill("this is no address") }
        let timer = loop.schedule(after: patience, handler: self)
        connector = Connector(to: [address], on: loop) { [unowned self] result in connected(result) }
        try withExtendedLifetime(self) { try loop.run() }
        loop.cancel(timer)
        connector?.cancel()
        connection?.close()
        return verdict ?? .ill("no answer within \(patience.milliseconds) ms")
    }

    private func connected(_ result: Result<Connector.Connected, SystemError>) {
        do {
            let connected = try result.get()
            let connection = try Connection(
                connected.take(), peer: connected.address, engine: try makeEngine(), loop: loop)
            self.connection = connection
            connection.start(self)
        } catch {
            end(.ill("\(error)"))
        }
    }

    /// Whose certificate it is does not matter: nothing is said or asked that is a secret.
    private func makeEngine() throws(TLSError) -> TLSEngine? {
        guard case .clients(isTLS: true, _) = target.service else { return nil }
        let context = try TLSContext.client(TLSClientOptions(verify: false, alpn: ["h2"]))
        return try context.makeClientEngine(serverName: "localhost")
    }

    private func end(_ verdict: HealthVerdict) {
        if self.verdict == nil { self.verdict = verdict }
        loop.stop()
    }

    /// Without a certificate there is no more to learn of such a listener than that it speaks TLS.
    private var wantsCertificate: Bool {
        if case .clients(_, requiresCertificate: true) = target.service { true } else { false }
    }

    // MARK: - ConnectionDelegate

    func connectionEstablished(_ connection: Connection) {
        if wantsCertificate { return end(.well) }
        var bytes = ByteQueue()
        bytes.append(probe.question)
        connection.send(&bytes)
    }

    func connection(_ connection: Connection, received bytes: Span<UInt8>) -> Int {
        if let verdict = probe.receive(bytes) { end(verdict) }
        return bytes.count
    }

    func connectionEnded(_ connection: Connection) { end(probe.end()) }

    func connectionDrained(_ connection: Connection) {}

    func connection(_ connection: Connection, failed error: ConnectionError) {
        if wantsCertificate, case .tls(.handshake) = error, connection.receivedBytes > 0 { return end(.well) }
        end(.ill("\(error)"))
    }

    func timerFired(_ timer: TimerID, on loop: EventLoop) { loop.stop() }
}
