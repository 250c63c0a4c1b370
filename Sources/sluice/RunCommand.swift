import Glibc
import SluiceConfig
import SluiceDemo
import SluiceIO
import SluiceProxy
import Synchronization

/// `sluice run`: starts the server and waits for signals until it has drained.
///
/// SIGTERM and SIGINT drain; a second one exits at once. SIGHUP reads the configuration and its certificates again. SIGUSR2
/// hands over to a new process. `ProcessLife` carries them out.
struct RunCommand {
    let file: String?
    let listen: String?
    let watches: Bool

    /// Returns the exit code.
    func run() -> Int32 {
        Signals.block(ProcessLife.signals)
        let environment = CommandLineTool.environment()
        let inherited = InheritedSocket.take(environment)
        let demo = demoURL()
        let configuration: Configuration
        do throws(ConfigurationFaults) {
            configuration = try load(demo: demo)
        } catch {
            return CommandLineTool.complain(error)
        }
        let descriptors = DescriptorLimit.raise()
        do {
            let loop = try EventLoop()
            let log = try LogWriter(configuration.log)
            warn(descriptors, configuration.limits, log)
            let mailbox = loop.mailbox
            for fault in inherited.faults { log.write(.warning, "inherited_socket", ["error": fault]) }
            let server = try Server(
                try snapshot(configuration), log: log, inherited: inherited.sockets,
                load: { try snapshot(try load(demo: demo)) },
                reloaded: { mailbox.post { ($0.owner as? ProcessLife)?.watchAgain() } },
                ended: { mailbox.post { $0.stop() } })
            for address in server.addresses { log.write(.info, "listening", ["address": "\(address)"]) }
            try startAdmin(configuration, server, log, environment, mailbox)
            if configuration.log.content != .off {
                log.write(.warning, "log_content", ["content": configuration.log.content.rawValue])
            }
            tellServed(environment, server.addresses, log)
            greet(server.addresses, isDemo: demo != nil)
            let life = try ProcessLife(server, log: log, loop: loop, environment: environment)
            if watches { life.watchFiles() }
            life.begin()
            try withExtendedLifetime(life) { try loop.run() }
            log.write(.info, "stopped")
            log.flush()
            return 0
        } catch {
            CommandLineTool.write("sluice: \(error)\n", to: 2)
            return 1
        }
    }

    private func snapshot(_ configuration: Configuration) throws -> ServerSnapshot {
        try ServerSnapshot(configuration, environment: CommandLineTool.environment())
    }

    private func load(demo: String?) throws(ConfigurationFaults) -> Configuration {
        let environment = CommandLineTool.environment()
        var configuration: Configuration
        if let file {
            configuration = try ConfigurationLoader.load(path: file, environment: environment)
        } else {
            configuration = try ConfigurationLoader.zeroConfiguration(
                environment: environment, listen: listen, demoURL: demo ?? "")
        }
        configuration.tracing?.version = CommandLineTool.version
        if file != nil, let listen { configuration.listeners = [ListenerSpec(address: listen)] }
        return configuration
    }

    /// The embedded demo upstream answers where neither a file nor a key names a real one.
    private func demoURL() -> String? {
        guard file == nil, !ConfigurationLoader.namesProvider(CommandLineTool.environment()) else { return nil }
        do {
            return "http://127.0.0.1:\(try DemoServer.start())/v1"
        } catch {
            CommandLineTool.write("sluice: the demo upstream cannot start: \(error)\n", to: 2)
            return nil
        }
    }

    /// What operators ask for is done on the loop that also hears the signals, so that the two never meet.
    private func startAdmin(
        _ configuration: Configuration, _ server: Server, _ log: LogWriter, _ environment: [String: String],
        _ mailbox: Mailbox
    ) throws {
        guard configuration.admin != nil || configuration.servesPage else { return }
        let controls = AdminControls(
            version: CommandLineTool.version,
            drain: { mailbox.post { ($0.owner as? ProcessLife)?.end() } },
            reload: { done in
                mailbox.post { loop in done((loop.owner as? ProcessLife)?.reload() ?? server.reload()) }
            })
        if configuration.servesPage { try AdminServer.startDemo(of: server, log: log, controls: controls) }
        guard let spec = configuration.admin else { return }
        let address = try AdminServer.start(
            spec, of: server, log: log, controls: controls, isSuccessor: Successor.isOne(environment))
        log.write(.info, "admin_listening", ["address": "\(address)"])
    }

    /// Without a file: whom the environment's variables name, and that others can reach the keys, if so.
    private func tellServed(_ environment: [String: String], _ addresses: [SocketAddress], _ log: LogWriter) {
        guard file == nil, ConfigurationLoader.namesProvider(environment) else { return }
        for fields in ConfigurationLoader.zeroSummary(environment: environment) {
            log.write(
                .info, "serving",
                [
                    "upstream": fields["upstream"] ?? "", "from": fields["from"] ?? "", "url": fields["url"] ?? "",
                    "models": fields["models"] ?? "", "paths": fields["paths"] ?? "",
                ])
        }
        for address in addresses.map({ "\($0)" }) where !address.hasPrefix("127.") && !address.hasPrefix("[::1]") {
            log.write(.warning, "open_to_others", ["address": address, "for": "whoever reaches it uses the keys"])
        }
    }

    private func greet(_ addresses: [SocketAddress], isDemo: Bool) {
        guard file == nil, case .ip(_, let port)? = addresses.first, isatty(2) == 1 || isDemo else { return }
        let base = "localhost:\(port)"
        let page = isDemo ? "; to play with in a browser: http://\(base)/_sluice/" : ""
        CommandLineTool.write(
            """

            Sluice \(isDemo ? "with its demo upstream " : "")on http://\(base)\(page)
              curl -N '\(base)/stream?prompt=hi'                        plain text
              curl -N '\(base)/stream?prompt=hi&format=sse-text'        for EventSource
              curl -N '\(base)/stream?prompt=hi&format=ndjson'          a JSON object a line
              curl -N \(base)/v1/chat/completions -H 'content-type: application/json' \\
                   -d '{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"hi"}]}'

            """, to: 2)
    }

    /// Connections wait unaccepted where descriptors run out: that should be known before it happens.
    private func warn(_ descriptors: Int?, _ limits: Limits, _ log: LogWriter) {
        let wanted = 2 * limits.connections
        guard let descriptors, descriptors < wanted else { return }
        log.write(
            .warning, "few_descriptors",
            ["limit": "\(descriptors)", "wanted": "\(wanted)", "for": "limits.connections of \(limits.connections)"])
    }
}
