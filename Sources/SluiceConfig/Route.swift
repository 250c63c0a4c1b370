import SluiceBytes
import SluiceStreams

/// Which requests, from what format, to which upstream, into what format.
public struct Route: Sendable {
    public enum Path: Sendable, Equatable {
        case exact(String)
        /// `/v1/*` is kept as `/v1/`.
        case prefix(String)
    }
    /// Where a `when:` condition looks.
    public enum Subject: Sendable, Hashable {
        /// Keys and indexes from the root of the JSON body: `body.messages[0].role`.
        case body([String])
        case header(String)
        case query(String)
        /// The request's path, normalised.
        case path
    }
    public enum Response: Sendable, Equatable {
        case format(StreamFormat)
        /// By `?format=`, `Accept`, then the dialect of the request.
        case auto
    }
    /// An upstream that a route may ask.
    public struct Choice: Sendable, Equatable {
        /// An index into `Configuration.upstreams`.
        public var upstream: Int
        /// In place of the route's model and the client's.
        public var model: String?

        public init(upstream: Int, model: String? = nil) { (self.upstream, self.model) = (upstream, model) }
    }
    public static let choiceLimit = 16
    public enum OnDisconnect: String, Sendable, CaseIterable { case cancel, drain }

    public var path: Path
    public var host: String?
    /// Upper case; empty is any but TRACE and CONNECT.
    public var methods: [String] = []
    /// All must hold. Globs: `*` any run, `?` any one character.
    public var conditions: [(subject: Subject, glob: String)] = []
    public var request: RequestFormat
    public var response: Response
    /// In the order in which they are asked: the next one if the one before has failed before its first token. At least one.
    public var upstreams: [Choice]
    /// Empty: the upstream is asked what the client asks. Else what this route says of its upstream is what the last one says.
    public var steps: [StepSpec] = []
    /// The path put behind the upstream's base, in place of the one that the upstream's dialect defines. On passthrough prefixes a
    /// `*` at its end stands for what the prefix's did.
    public var upstreamPath: String?
    public var model: String?
    /// Taken off the front of the client's model.
    public var modelPrefix: String?
    public var system: String?
    /// JSON object texts, merged into the request: where the client is silent, and over what it says.
    public var defaults: String?
    public var overrides: String?
    /// What the upstream's dialect has no words for is left out of a request; else the request is refused.
    public var dropsUnsupported = false
    /// `vercel-ui`: write `finishReason` into `finish`, and mark tools as dynamic.
    public var vercelFinishReason = false
    public var vercelDynamicTools = false
    public var keepalive = Interval.seconds(15)
    /// nil is never.
    public var earlyHeaders: Interval?
    public var onDisconnect = OnDisconnect.cancel
    /// nil: an answer ends with the connection that asked for it.
    public var resume: ResumeSpec?
    /// What clients that run workflows call it; only with `request: run`.
    public var workflow: WorkflowSpec?
    /// Text is paced for a typing effect; nil: it leaves as it comes.
    public var smooth: Smoother.Pace?
    /// Lets the client's own `Authorization`, `x-api-key` and `Cookie` reach the upstream.
    public var forwardCredentials = false
    public var responseHeaders: [(name: String, value: String)] = []
    /// nil: what the top level says. `.some(nil)`: none.
    public var auth: AuthSpec??
    public var cors: CORSSpec??
    /// Besides those of the top level.
    public var rateLimits: [RateLimitSpec] = []
    /// How answers may be compressed towards clients that take it, the best first; empty: not at all.
    public var compress: [Coding] = []

    public init(path: Path, request: RequestFormat, response: Response, upstream: Int) {
        (self.path, self.request, self.response) = (path, request, response)
        upstreams = [Choice(upstream: upstream)]
    }

    /// As in the configuration: for logs and metrics.
    public var label: String {
        switch path {
        case .exact(let path): path
        case .prefix(let path): path + "*"
        }
    }
}
