import SluiceBytes
import SluiceStreams

/// One provider: where it is, what it speaks, how it is spoken to.
public struct UpstreamSpec: Sendable {
    /// How the bytes of its streams are read.
    public enum Wire: Sendable, Equatable {
        case dialect(Dialect)
        case custom(CustomDialect)
    }
    public var name: String
    /// The first of `places`, or the one that this is about.
    public var url: UpstreamURL
    /// Where it is found; at least one.
    public var places: [PlaceSpec]
    public var balance = Balance.leastRequests
    /// nil: places count as well until their requests fail.
    public var healthCheck: HealthCheckSpec?
    public var outlier = OutlierSpec()
    /// How long a place that comes back takes to its full share. Zero: it has it at once.
    public var slowStart = Interval.seconds(30)
    /// After this a connection takes no more requests, so that new addresses of a name get their share. Zero: never.
    public var maxConnectionAge = Interval.seconds(600)
    public var wire: Wire
    public var apiKey: Secret?
    /// Put on each request after hop-by-hop fields are gone; values may be secrets.
    public var headers: [(name: String, value: Secret)]
    public var tls: ClientTLSSpec
    public var timeouts: Timeouts
    public var retries = RetrySpec()
    public var http = HTTPVersion.auto
    public var keepalive = KeepaliveSpec()
    /// Requests are signed (SigV4); nil: they are not.
    public var aws: AWSSpec?
    /// The server itself, started and ended with the proxy; nil: somebody else runs it.
    public var process: ProcessSpec?

    /// What is spoken to it. `auto`: what ALPN agrees on over TLS, HTTP/1.1 without.
    public enum HTTPVersion: String, Sendable, CaseIterable {
        case auto
        case http11 = "1.1"
        case http2 = "2"
    }

    public init(
        name: String, url: UpstreamURL, wire: Wire = .dialect(.openAIChat), apiKey: Secret? = nil,
        headers: [(name: String, value: Secret)] = [], tls: ClientTLSSpec = ClientTLSSpec(),
        timeouts: Timeouts = Timeouts()
    ) {
        (self.name, self.url, self.wire, self.apiKey) = (name, url, wire, apiKey)
        (self.headers, self.tls, self.timeouts) = (headers, tls, timeouts)
        places = [PlaceSpec(url)]
    }

    /// The same upstream at one of its places only.
    public func at(_ place: PlaceSpec) -> UpstreamSpec {
        var spec = self
        (spec.url, spec.places) = (place.url, [place])
        return spec
    }
}

/// `http(s)://host[:port][/base]`, or `unix:/path/of.sock` for plain HTTP over a unix socket.
public struct UpstreamURL: Sendable, Hashable {
    public var isTLS: Bool
    /// A name, an IPv4 address, or an IPv6 address without brackets; empty for a unix socket.
    public var host: String
    public var port: Int
    public var unixPath: String?
    /// Without a trailing slash; empty, or begins with one: `/v1`.
    public var basePath: String

    public init(isTLS: Bool, host: String, port: Int, unixPath: String? = nil, basePath: String = "") {
        (self.isTLS, self.host, self.port, self.unixPath, self.basePath) = (isTLS, host, port, unixPath, basePath)
    }
}

/// How requests to Bedrock are signed. Keys that are not given come from the environment, the shared credentials file or the
/// container's credentials endpoint, in this order.
public struct AWSSpec: Sendable, Equatable {
    /// nil: the one in the URL's host (`bedrock-runtime.REGION.amazonaws.com`), else `AWS_REGION`.
    public var region: String?
    public var accessKeyID: String?
    public var secretAccessKey: Secret?
    public var sessionToken: Secret?
    /// Of the shared credentials file.
    public var profile: String?
    public var credentialsFile: String?

    public init() {}
}

/// How an HTTP/2 connection that has streams but says nothing is tried: a PING after `interval`, which must be answered
/// within `timeout`. Zero: never.
public struct KeepaliveSpec: Sendable, Equatable {
    public var interval = Interval.seconds(30)
    public var timeout = Interval.seconds(10)

    public init() {}
}

public struct ClientTLSSpec: Sendable, Hashable {
    /// A PEM file in place of the system's CA store.
    public var ca: String?
    /// In place of the URL's host, for SNI and for the host-name check.
    public var serverName: String?
    public var verify = true
    /// For upstreams that ask for a client certificate.
    public var certificate: String?
    public var privateKey: String?

    public init() {}
}

/// Zero is "no limit".
public struct Timeouts: Sendable, Equatable {
    public var connect = Interval.seconds(5)
    /// From the request's last byte to the response's head.
    public var headers = Interval.seconds(120)
    /// From the response's head to its first event with content.
    public var firstToken = Interval.seconds(120)
    /// Between two reads of the response body.
    public var idle = Interval.seconds(120)
    /// The whole exchange.
    public var total = Interval.zero

    public init() {}
}
