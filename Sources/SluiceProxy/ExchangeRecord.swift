import SluiceBytes
import SluiceHTTP
import SluiceStreams

/// What an exchange leaves behind: the fields of its access line. No prompt, no token, no secret.
struct ExchangeRecord {
    let requestID: String
    /// The trace that the client's `traceparent` names, or one that begins here; and our span in it.
    let trace: TraceContext?
    let spanID: String
    /// Its address, without the port.
    var client: String
    /// Whom the route's `auth` knows the client as: the name of a key, the subject of a token or certificate.
    var identity = ""
    let method: String
    var path: String
    var route = ""
    var upstream = ""
    /// Which of the upstream's places; empty where it has only one.
    var place = ""
    var format = StreamFormat.passthrough
    var status = 0
    var upstreamStatus = 0
    var firstToken: Instant?
    /// Attempts behind the first one.
    var retries = 0
    /// What failed before the last attempt, or with it: `openai:connect,openai:503`.
    private(set) var failures = ""
    private var hasFailed = false
    var pauses = 0
    var pings = 0
    /// Fields of the request that the upstream's dialect has no words for, left out.
    var dropped: [String] = []
    /// What failed, for the operator: may name hosts, never a secret.
    var detail = ""
    /// Fields of the upstream's response that clients act on: rate limits, retry-after.
    var responseFields = HeaderFields()

    /// The answer that it made, where that can be read on; or the one that it read on, and from where.
    var generation = ""
    var task = ""
    var resumed = ""

    var sentBytes = 0
    /// How the answer was compressed, and the bytes of its body before; "" where it was not.
    var coding = ""
    var plainBytes = 0
    var eventCount = 0
    var usage: Usage?

    /// `h1` or `h2`, and `+tls`.
    let protocolText: String
    /// As it was asked for; "" if nobody knows.
    var model = ""
    /// nil: no upstream was chosen.
    var labels: UpstreamLabels?
    /// A stream was decoded, or relayed with a tap, and went out as one.
    var isStream = false
    /// A request to a model, and not for something else that passes through.
    var isGenerative = false
    /// Runs of text, reasoning and tool arguments.
    var tokenCount = 0
    var lastToken = Instant(nanoseconds: 0)
    /// The longest time between two reads that brought tokens, while the upstream was not paused.
    var largestGap = Interval.zero
    /// From the client's going to the upstream's end; nil if it did not go.
    var cancelLatency: Interval?
    /// One word: what the provider calls its error.
    var upstreamError = ""
    /// Of the steps before the one that answers: `outline:done:812ms`; what they have cost; and the time from the request to the
    /// last one.
    var steps = ""
    var stepTokens = Usage()
    var lead = Interval.zero
    /// Only if the configuration asks for them; cut to a few KiB.
    var prompt = ""
    var answer = ""

    private(set) var reason = ""
    private(set) var duration = Interval.zero
    private(set) var timeToFirstToken: Interval?

    init(_ head: RequestHead, client: String, isTLS: Bool = false, worker: Worker, parent: SpanParent? = nil) {
        self.client = client
        method = head.method
        path = "-"
        requestID = Self.acceptable(head.fields.first("x-request-id")) ?? worker.makeID()
        var incoming = parent?.context ?? head.fields.first("traceparent").flatMap { TraceContext($0) }
        if let tracing = worker.snapshot.tracing {
            if parent == nil, !tracing.spec.propagates { incoming = nil }
            trace = parent?.context ?? tracing.join(incoming, worker.makeID)
        } else {
            trace = incoming
        }
        spanID = trace == nil ? "" : worker.makeID()
        let version = head.version == .http2 ? "h2" : "h1"
        protocolText = isTLS ? version + "+tls" : version
    }

    private static let failureLimit = 512

    mutating func attemptFailed(_ word: String) {
        hasFailed = true
        guard failures.utf8.count < Self.failureLimit else { return }
        if !failures.isEmpty { failures += "," }
        failures += "\(upstream):\(word)"
    }

    /// The same for what a step that works for this exchange has met.
    mutating func takeFailures(of step: ExchangeRecord) {
        guard !step.failures.isEmpty, failures.utf8.count < Self.failureLimit else { return }
        failures += (failures.isEmpty ? "" : ",") + step.failures
    }

    mutating func attemptBegan(at upstream: String) { (self.upstream, hasFailed) = (upstream, false) }

    /// All attempts, if there were several: `openai:503,local`.
    var attempts: String? {
        guard retries > 0 else { return nil }
        return hasFailed ? failures : failures + "," + upstream
    }

    /// `reason`: done, client_gone, slow_client, or a `ProxyError.reason`.
    mutating func finish(_ reason: String, at now: Instant, started: Instant) {
        self.reason = reason
        // Of an attempt that another one has made good.
        if reason == "done" { upstreamError = "" }
        duration = now - started
        timeToFirstToken = firstToken.map { $0 - started }
    }

    /// As the provider counted them, else as they were seen.
    var outputTokens: Int { usage?.output ?? tokenCount }

    /// Without the steps before the one that answers.
    var ownDuration: Interval {
        duration > lead ? Interval(nanoseconds: duration.nanoseconds - lead.nanoseconds) : .zero
    }

    /// As providers counted them, in all steps.
    var allTokens: (input: Int?, output: Int?) {
        func sum(_ own: Int?, _ steps: Int?) -> Int? {
            steps.map { (own ?? 0).addingReportingOverflow($0).partialValue } ?? own
        }
        return (sum(usage?.input, stepTokens.input), sum(usage?.output, stepTokens.output))
    }

    /// For `error.type`: a status of the provider's own where there is one; "" if the exchange was whole.
    var errorType: String {
        if reason == "done" { return "" }
        return reason == "upstream_status" ? "\(upstreamStatus)" : reason
    }

    /// Of those behind the first; nil for less than two, or if they all came at once.
    var tokensPerSecond: Double? {
        guard let firstToken, outputTokens > 1, lastToken > firstToken else { return nil }
        return Double(outputTokens - 1) / (lastToken - firstToken).seconds
    }

    /// An id from outside is kept only if it cannot break a log or a header.
    private static func acceptable(_ id: String?) -> String? {
        guard let id, (1...128).contains(id.utf8.count), id.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x22 })
        else { return nil }
        return id
    }
}
