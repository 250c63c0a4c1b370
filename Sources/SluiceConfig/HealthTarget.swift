/// Where a server that runs can be asked whether it is well, as far as its configuration tells.
public struct HealthTarget: Equatable, Sendable {
    public enum Service: Equatable, Sendable {
        /// Has endpoints for that question.
        case admin
        /// A listener of clients, which is well if it answers.
        case clients(isTLS: Bool, requiresCertificate: Bool)
    }

    /// One that can be connected to: where the server listens on all addresses, it is this machine's own.
    public let address: String
    public let service: Service

    public init(address: String, service: Service) { (self.address, self.service) = (address, service) }

    /// nil where the configuration does not tell the address: the kernel or the service manager chooses it.
    static func reachable(_ address: String) -> String? {
        if address.hasPrefix("systemd:") { return nil }
        guard !address.hasPrefix("unix:"), let colon = address.lastIndex(of: ":") else { return address }
        let (host, port) = (address[..<colon], address[address.index(after: colon)...])
        if UInt16(port) == 0 { return nil }
        switch host {
        case "", "0.0.0.0": return "127.0.0.1:\(port)"
        case "[::]": return "[::1]:\(port)"
        default: return address
        }
    }

    static func first(of listeners: [ListenerSpec]) -> HealthTarget? {
        for listener in listeners {
            guard let address = reachable(listener.address) else { continue }
            let requires = listener.tls?.requireClientCertificate == true
            return HealthTarget(
                address: address, service: .clients(isTLS: listener.tls != nil, requiresCertificate: requires))
        }
        return nil
    }
}

extension ConfigurationLoader {
    /// Asks the admin listener, where there is one. Faults elsewhere in the file are not looked for: the server that is asked after
    /// may run with what the file said before. `listen` stands in place of the file's listeners, as in `sluice run`.
    public static func healthTarget(
        path: String?, listen: String?, environment: [String: String]
    ) throws(ConfigurationFaults) -> HealthTarget {
        var listeners = [ListenerSpec(address: listen ?? zeroListen)]
        if let path {
            guard let text = readFile(path) else { throw fault(path, "cannot be read") }
            let context = ReadingContext(file: path, environment: environment, readFile: readFile)
            guard var section = try root(text, context) else { throw ConfigurationFaults(issues: context.issues) }
            let reader = ConfigurationReader(context: context)
            if let admin = reader.readAdmin(&section), let address = HealthTarget.reachable(admin.address) {
                return HealthTarget(address: address, service: .admin)
            }
            if listen == nil { listeners = reader.readListeners(&section) ?? [] }
        }
        guard let target = HealthTarget.first(of: listeners) else {
            let reason = "names no address that can be asked: a port of 0 and a socket of systemd have none"
            throw fault(path ?? "--listen", reason)
        }
        return target
    }
}
