import SluiceBytes

/// Where traces go and which requests make one: OpenTelemetry's settings, from its environment variables and the file's `tracing`.
public struct TracingSpec: Sendable, Equatable {
    public enum Encoding: String, Sendable, CaseIterable {
        case protobuf = "http/protobuf"
        case json = "http/json"
    }
    public struct Header: Sendable, Equatable {
        public var name: String
        public var value: Secret
    }
    public struct Attribute: Sendable, Equatable {
        public var name: String
        public var value: String
    }
    public struct Sampler: Sendable, Equatable {
        /// Who comes with a trace has decided already.
        public var isParentBased = true
        /// Of traces that begin here, or of all: 0 is none, 1 is all.
        public var ratio = 1.0
    }
    /// How spans are gathered (`OTEL_BSP_*`).
    public struct Batch: Sendable, Equatable {
        /// Between two exports.
        public var delay = Interval.milliseconds(5000)
        /// For one batch with all its repetitions.
        public var exportTimeout = Interval.milliseconds(30_000)
        public var queueSize = 2048
        public var size = 512
    }
    /// Of one span.
    public struct Limits: Sendable, Equatable {
        /// In characters; nil is no limit.
        public var valueLength: Int?
        public var attributes = 128
        public var events = 128
        public var eventAttributes = 128
    }

    public var endpoint: UpstreamURL
    /// The target of requests there.
    public var path: String
    public var encoding = Encoding.protobuf
    public var headers: [Header] = []
    /// For one request.
    public var timeout = Interval.milliseconds(10_000)
    public var isCompressed = false
    public var tls = ClientTLSSpec()
    public var serviceName = "sluice"
    public var resource: [Attribute] = []
    public var sampler = Sampler()
    public var batch = Batch()
    public var limits = Limits()
    /// `traceparent` and `tracestate` are heeded and sent.
    public var propagates = true
    /// Of the program, for the resource.
    public var version = ""

    init(endpoint: UpstreamURL, path: String) { (self.endpoint, self.path) = (endpoint, path) }

    static let signalPath = "/v1/traces"

    /// `http(s)://host[:port][/path]`; nil for anything else. `isBase`: of all signals, so that the traces' own path is put behind it.
    public init?(endpoint text: String, isBase: Bool) {
        guard let url = UpstreamURL(text) else { return nil }
        var path = url.basePath + Self.signalPath
        if !isBase {
            let afterScheme = text.dropFirst(url.isTLS ? 8 : 7)
            path = url.unixPath == nil ? String(afterScheme.drop { $0 != "/" }) : ""
            if path.isEmpty { path = "/" }
        }
        self.init(endpoint: url, path: path)
    }
}
