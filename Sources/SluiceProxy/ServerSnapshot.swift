import SluiceConfig
import SluiceIO
import SluiceStreams
import Synchronization

/// A configuration with everything that is built from it: routes, certificates, trust. Immutable, shared by all
/// workers; a reload makes a new one, and exchanges that began on the old one keep it until they end.
public final class ServerSnapshot: Sendable {
    public let configuration: Configuration
    let routes: RouteTable
    let trustedProxies: TrustedProxies
    /// For answers to requests that no route takes.
    let cors: CORSPolicy?
    /// By listener; nil where it is plain.
    let serverTLS: [TLSContext?]
    /// By upstream; nil where its URL is plain.
    let clientTLS: [TLSContext?]
    /// By upstream; nil where requests are not signed.
    let signing: [AWSSigning?]
    /// nil where there is no Redis, or it is spoken to in clear text.
    let redisTLS: TLSContext?

    /// nil: no traces are made.
    let tracing: Tracing?

    /// Those that exist: the one in force, and older ones that live streams still hold.
    public static var liveCount: Int { live.load(ordering: .relaxed) }
    private static let live = Atomic<Int>(0)

    deinit { Self.live.subtract(1, ordering: .relaxed) }

    /// `environment`: where credentials may stand that the configuration does not give.
    /// - Throws: for a certificate or key that cannot be read or used; names the file.
    public init(_ configuration: Configuration, environment: [String: String]) throws {
        self.configuration = configuration
        routes = RouteTable(configuration.routes, access: try RouteAccess.make(configuration))
        trustedProxies = try TrustedProxies(configuration.trustedProxies)
        cors = configuration.cors.map { CORSPolicy($0, routeMethods: []) }
        var servers: [TLSContext?] = []
        for listener in configuration.listeners {
            guard let tls = listener.tls else {
                servers.append(nil)
                continue
            }
            servers.append(try TLSContext.server(Self.options(tls)))
        }
        var clients: [TLSContext?] = []
        for upstream in configuration.upstreams {
            guard upstream.url.isTLS else {
                clients.append(nil)
                continue
            }
            clients.append(try TLSContext.client(Self.options(upstream)))
        }
        (serverTLS, clientTLS) = (servers, clients)
        redisTLS = try configuration.redis.flatMap {
            $0.isTLS ? try TLSContext.client(Self.options($0.tls, alpn: [])) : nil
        }
        signing = try configuration.upstreams.map { upstream in
            try upstream.aws.map { try AWSSigning($0, url: upstream.url, environment: environment) }
        }
        tracing = configuration.tracing.map { Tracing($0, nameServers: configuration.nameServers) }
        Self.live.add(1, ordering: .relaxed)
    }

    func makeResolver(on loop: EventLoop) -> Resolver {
        let servers = configuration.nameServers
        return Resolver(loop: loop, servers: servers.isEmpty ? nil : servers.joined(separator: ","))
    }

    private static func options(_ spec: ServerTLSSpec) -> TLSServerOptions {
        TLSServerOptions(
            certificates: spec.certificates.map { ($0.certificate, $0.privateKey) }, clientCAPath: spec.clientCA,
            requireClientCertificate: spec.requireClientCertificate,
            minimumVersion: spec.minimumVersion == "1.3" ? .tls1_3 : .tls1_2, alpn: ["h2", "http/1.1"])
    }

    private static func options(_ spec: UpstreamSpec) -> TLSClientOptions {
        let alpn: [String] =
            switch spec.http {
            case .auto: ["h2", "http/1.1"]
            case .http11: ["http/1.1"]
            case .http2: ["h2"]
            }
        return options(spec.tls, alpn: alpn)
    }

    private static func options(_ spec: ClientTLSSpec, alpn: [String]) -> TLSClientOptions {
        TLSClientOptions(
            caPath: spec.ca, verify: spec.verify, certificatePath: spec.certificate, keyPath: spec.privateKey,
            alpn: alpn)
    }
}
