import SluiceStreams

/// The listener of operators, apart from those of clients.
public struct AdminSpec: Sendable, Equatable {
    /// As in `ListenerSpec`.
    public var address: String
    /// Asked of everybody, if there is one. Never nil where others than this machine could connect.
    public var token: Secret?

    public init(address: String, token: Secret? = nil) { (self.address, self.token) = (address, token) }

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
        section.finish()
        guard let address, let node = section.value("address") else { return nil }
        guard Self.isAddress(address) else {
            context.report(
                node, section.path(of: "address"), "'\(address)' is not host:port, [v6]:port, :port or unix:/path")
            return nil
        }
        let spec = AdminSpec(address: address, token: token)
        if !spec.isLocal, section.value("token") == nil {
            context.report(
                node, section.path(of: "address"),
                "others than this machine could connect here: give a token, or 127.0.0.1, or a unix socket")
        }
        return spec
    }

    /// What errors may tell clients.
    func readErrors(_ root: inout Section) -> Bool {
        guard var section = root.section("errors") else { return false }
        let reveals = section.bool("reveal_upstream") ?? false
        section.finish()
        return reveals
    }
}
