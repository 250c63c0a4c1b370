import SluiceBytes

/// A whole, checked configuration: every name in it resolves, every value is in range. Immutable, shared by all workers.
public struct Configuration: Sendable {
    public var listeners: [ListenerSpec]
    /// Event loops; nil is one for each core.
    public var workers: Int?
    public var limits: Limits
    public var log: LogSpec
    public var upstreams: [UpstreamSpec]
    /// In the order of the file; the first that matches a request takes it.
    public var routes: [Route]
    /// How long live streams may go on after SIGTERM.
    public var drainTimeout: Interval
    /// nil: operators have no listener.
    public var admin: AdminSpec?
    /// Errors that clients get may name the upstream's address, and say why it cannot be reached.
    public var revealsUpstream = false
    /// Name servers as `address` or `address:port`; none: those of /etc/resolv.conf.
    public var nameServers: [String] = []
    /// How long clients are still accepted after SIGTERM, while readiness is denied already.
    public var drainDelay = Interval.zero
    /// Every file that it was read from: its own, certificates, keys, secrets.
    public var files: [String] = []
    /// For routes that say nothing else.
    public var auth: AuthSpec?
    public var cors: CORSSpec?
    /// Over all routes together.
    public var rateLimits: [RateLimitSpec] = []
    /// Addresses and ranges (`10.0.0.0/8`) whose `X-Forwarded-For` is believed; `unix` is the peers of a unix socket.
    public var trustedProxies: [String] = []
    /// Where routes with `resume: {store: redis}` keep their answers.
    public var redis: RedisSpec?
    /// nil: no traces are made.
    public var tracing: TracingSpec?
    /// What of the environment could not be heeded.
    public var warnings: [String] = []
    /// Listeners of clients serve the page too, for the demo alone.
    public var servesPage = false
    /// Pages of other sites, in a browser of this machine, get 403: where the environment's keys are served without a file.
    public var keepsForeignPagesOut = false
    /// nil: no probe streams.
    public var probe: ProbeSpec?

    public init(
        listeners: [ListenerSpec], workers: Int? = nil, limits: Limits = Limits(), log: LogSpec = LogSpec(),
        upstreams: [UpstreamSpec], routes: [Route], drainTimeout: Interval = .seconds(600)
    ) {
        (self.listeners, self.workers, self.limits, self.log) = (listeners, workers, limits, log)
        (self.upstreams, self.routes, self.drainTimeout) = (upstreams, routes, drainTimeout)
    }
}

/// A key or password. Its description is `***`, so that no log, error or dump can show it.
public struct Secret: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The one way to the value; search for it to see every place a secret goes to.
    public let revealed: String

    public init(_ value: String) { revealed = value }

    public var description: String { "***" }
    public var debugDescription: String { "***" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// Where clients connect: `host:port`, `[v6]:port`, `unix:/path`, or `systemd:NAME` for a socket that the service manager
/// passes under that name.
public struct ListenerSpec: Sendable, Equatable {
    public var address: String
    public var tls: ServerTLSSpec?

    /// The name of a socket that is passed; nil for one of our own.
    public var inheritedName: String? { address.hasPrefix("systemd:") ? String(address.dropFirst(8)) : nil }

    public init(address: String, tls: ServerTLSSpec? = nil) { (self.address, self.tls) = (address, tls) }
}

/// Paths of PEM files. The first certificate answers a client that names no host (SNI) or an unknown one.
public struct ServerTLSSpec: Sendable, Equatable {
    public struct Certificate: Sendable, Equatable {
        public var certificate: String
        public var privateKey: String

        public init(certificate: String, privateKey: String) {
            (self.certificate, self.privateKey) = (certificate, privateKey)
        }
    }
    public var certificates: [Certificate]
    public var clientCA: String?
    public var requireClientCertificate: Bool
    /// 1.2 or 1.3.
    public var minimumVersion: String

    public init(
        certificates: [Certificate], clientCA: String? = nil, requireClientCertificate: Bool = false,
        minimumVersion: String = "1.2"
    ) {
        (self.certificates, self.clientCA) = (certificates, clientCA)
        (self.requireClientCertificate, self.minimumVersion) = (requireClientCertificate, minimumVersion)
    }
}

public struct LogSpec: Sendable, Equatable {
    public enum Level: String, CaseIterable, Sendable { case debug, info, warning, error }
    public enum Format: String, CaseIterable, Sendable { case json, text }
    public var level: Level = .info
    public var format: Format = .json
    /// One line for each exchange, at its end.
    public var access = true
    /// How much of what clients and providers say to each other may stand in it: each includes those before it.
    public enum Content: String, CaseIterable, Sendable, Comparable {
        /// Nothing of it.
        case off
        /// The words of provider's errors, which may quote a prompt.
        case errors
        /// The bodies of requests.
        case prompts
        /// The text of answers too.
        case all

        public static func < (left: Content, right: Content) -> Bool { left.rank < right.rank }
        private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }
    }
    public var content = Content.off

    public init() {}
}
