import SluiceBytes
import SluiceHTTP
import SluiceStreams

/// What an exchange leaves behind: the fields of its access line. No prompt, no token, no secret.
struct ExchangeRecord {
    let requestID: String
    let traceparent: String?
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

    var sentBytes = 0
    var eventCount = 0
    var usage: Usage?

    private(set) var reason = ""
    private(set) var duration = Interval.zero
    private(set) var timeToFirstToken: Interval?

    init(_ head: RequestHead, client: String, worker: Worker) {
        self.client = client
        method = head.method
        path = "-"
        requestID = Self.acceptable(head.fields.first("x-request-id")) ?? worker.makeID()
        traceparent = Self.acceptable(head.fields.first("traceparent"))
    }

    private static let failureLimit = 512

    mutating func attemptFailed(_ word: String) {
        hasFailed = true
        guard failures.utf8.count < Self.failureLimit else { return }
        if !failures.isEmpty { failures += "," }
        failures += "\(upstream):\(word)"
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
        duration = now - started
        timeToFirstToken = firstToken.map { $0 - started }
    }

    /// An id from outside is kept only if it cannot break a log or a header.
    private static func acceptable(_ id: String?) -> String? {
        guard let id, (1...128).contains(id.utf8.count), id.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x22 })
        else { return nil }
        return id
    }
}
