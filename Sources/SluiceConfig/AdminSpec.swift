import SluiceStreams

/// The listener of operators, apart from those of clients.
public struct AdminSpec: Sendable, Equatable {
    /// As in `ListenerSpec`.
    public var address: String
    /// Asked of everybody, if there is one.
    public var token: Secret?
    /// What needs no token, besides health checks. Nil, if nobody said. Where others than this machine could connect, there
    /// is a token or this is not nil; without a token nothing else is served there.
    public var expose: [Endpoint]?

    /// What can be exposed: no more than is meant to be collected by others.
    public enum Endpoint: String, Sendable, CaseIterable {
        case metrics
    }

    public init(address: String, token: Secret? = nil, expose: [Endpoint]? = nil) {
        (self.address, self.token, self.expose) = (address, token, expose)
    }

    /// Only this machine can connect.
    public var isLocal: Bool {
        address.hasPrefix("unix:") || address.hasPrefix("127.") || address.hasPrefix("localhost:")
            || address.hasPrefix("[::1]:")
    }
}

extension ConfigurationReader {
    func readAdmin(_ root: inout Section) -> AdminSpec? {
        guard var section = root.section("admin") else { return nil }
        let address = section.requiredString("address")
        var token: Secret?
        if let node = section.value("token") {
            token = Scalars.secret(node, section.path(of: "token"), context)
            if token?.revealed.isEmpty == true { context.report(node, section.path(of: "token"), "must not be empty") }
        }
        let expose = readExposed(&section)
        section.finish()
        guard let address, let node = section.value("address") else { return nil }
        guard Self.isAddress(address) else {
            context.report(
                node, section.path(of: "address"), "'\(address)' is not host:port, [v6]:port, :port or unix:/path")
            return nil
        }
        let spec = AdminSpec(address: address, token: token, expose: expose)
        if !spec.isLocal, section.value("token") == nil, section.value("expose") == nil {
            context.report(
                node, section.path(of: "address"),
                "others than this machine could connect here: give a token, or expose: [metrics] to serve that and health "
                    + "checks alone, or 127.0.0.1, or a unix socket")
        }
        return spec
    }

    private func readExposed(_ section: inout Section) -> [AdminSpec.Endpoint]? {
        guard let items = section.list("expose") else { return nil }
        var endpoints: [AdminSpec.Endpoint] = []
        for (node, path) in items {
            guard let name = Scalars.text(node, path, context) else { continue }
            guard let endpoint = AdminSpec.Endpoint(rawValue: name) else {
                context.report(node, path, Names.notOneOf(name, AdminSpec.Endpoint.allCases.map(\.rawValue)))
                continue
            }
            if !endpoints.contains(endpoint) { endpoints.append(endpoint) }
        }
        return endpoints
    }

    /// What errors may tell clients.
    func readErrors(_ root: inout Section) -> Bool {
        guard var section = root.section("errors") else { return false }
        let reveals = section.bool("reveal_upstream") ?? false
        section.finish()
        return reveals
    }
}
