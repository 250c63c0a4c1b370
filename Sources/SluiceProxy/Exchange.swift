import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// One request and its answer, from the head of the one to the last byte of the other.
///
/// It knows no socket: a `ClientStream` and an `UpstreamStream` carry out what it decides, and the loop tells it the
/// time. It ends exactly once, in `end`, where everything it holds is let go and its log line is written.
final class Exchange: UpstreamStreamDelegate, TimerHandler {
    /// What is done with the upstream's body.
    enum Mode {
        case undecided
        /// A stream that is decoded and encoded, or relayed with a tap.
        case stream
        /// Something else, relayed as it is.
        case document
        /// A document in the client's own dialect that may yet turn out to be an error.
        case heldDocument(ResponseHead)
        /// The body of an error status, collected to be told in the client's dialect.
        case error(status: Int, HeaderFields)
        /// The client has gone and the route wants the upstream to finish.
        case drain
    }

    let head: RequestHead
    let worker: Worker
    /// A cycle while the exchange lives: the client's connection lets go of it when told that it is over. What stands between the
    /// exchange and its client is put here.
    var client: any ClientStream
    /// The answer outlives the client: `client` is it then.
    var generation: Generation?
    /// The answer is one that another exchange makes.
    var following: Following?
    /// The answer takes several steps.
    var chain: ChainRun?
    /// This is one of them: `client` is the same.
    let step: StepClient?
    /// A run of a workflow: as it was asked for, and as it is made.
    var runRequest: RunRequest?
    var run: Run?
    /// Whom the route's `auth` knows the client as, where an answer is to be found by nobody else.
    var owner = ""
    let bodyLength: BodyLength
    var deadlines: ExchangeDeadlines
    var phase: ExchangeDeadlines.Phase { deadlines.phase }
    var mode = Mode.undecided
    var record: ExchangeRecord

    var route: RouteEntry?
    var pool: UpstreamPool?
    var dial: UpstreamWait?
    var upstream: (any UpstreamStream)?

    /// The client's body: whole where it is translated, and kept until another upstream cannot be asked any more; where it is
    /// relayed, what the upstream has not taken yet.
    var requestBody = ByteQueue()
    var isBodyRelayed = false
    var isRequestComplete = false
    /// The request as it goes out, until there is a connection for it.
    var outgoing: UpstreamRequest?
    var attempts = Attempts()
    /// The body of an upstream's error.
    var errorBody = ByteQueue()

    var bridge: StreamBridge?
    /// Set where the upstream compresses its answer.
    var inflation: Inflation?
    var expectation = UpstreamRequest.Expectation(format: .openAIChat)
    var needsSniffing = false
    var isPlainText = false
    /// Only a stream that Sluice writes itself can begin before the upstream has said what it will be.
    var canCommitEarly = false
    var isCommitted = false
    /// The client has something that depends on what the upstream said, and not only a head and keepalives.
    var isAnswerBegun = false
    /// Encoded bytes from before the first token; with them the status could still change.
    var held = ByteQueue()
    var isBodyOpen = false
    var bodyMark: ByteQueue.Mark?
    /// Stands before the client where its answer is compressed, until that is over.
    var compressed: CompressedClientStream?
    var isUpstreamPaused = false

    /// What it has taken of rate limits, until it is settled.
    var charges: [RateLimiter.Charge] = []
    /// At so many tokens of the answer more is taken of them.
    var nextCharge = Int.max
    /// What is left of them, for the answer's head.
    var limitFields: [(name: StaticString, value: String)] = []

    var timer = TimerID.none
    var armedFor = Instant.distantFuture
    let started: Instant

    /// Where it stands among those that live, and its number in the life of its worker.
    private(set) var liveSlot = -1
    private(set) var serial = 0
    /// What it asks for is the page's, and no route's.
    var isPage = false
    /// It asks for a probe stream.
    var probe: ProbeServing?
    /// The spans of it; nil where none are made.
    var trace: ExchangeTrace?
    /// Whose step it is; nil for a client's request.
    let spanParent: SpanParent?
    /// Looks for secrets in an error that is relayed as it came.
    var documentRedactor: Redactor?

    static let errorBodyLimit = 64 << 10

    /// `parent`: where an exchange that no client has asked for stands in the trace of the one that has.
    init(
        _ head: RequestHead, bodyLength: BodyLength, client: any ClientStream, worker: Worker, step: StepClient? = nil,
        parent: SpanParent? = nil
    ) {
        spanParent = parent
        (self.head, self.bodyLength, self.client, self.worker) = (head, bodyLength, client, worker)
        self.step = step
        started = worker.loop.now
        deadlines = ExchangeDeadlines(started: started, limits: worker.limits)
        record = ExchangeRecord(head, client: client.peerText, isTLS: client.isTLS, worker: worker, parent: parent)
        // A step is no request of a client's: it lives and is counted with the one that it works for.
        guard step == nil else {
            if worker.snapshot.tracing != nil { beginTrace() }
            return
        }
        worker.exchangeBegan()
        (liveSlot, serial) = (worker.live.add(self), worker.metrics.exchanges)
        if worker.snapshot.tracing != nil { beginTrace() }
    }

    var now: Instant { worker.loop.now }
    var limits: Limits { worker.limits }

    // MARK: - The request

    /// Finds the route. Call once, before any body byte.
    func begin() {
        arm()
        noteClient()
        if answersPreflight() || refusesForeignPage() || answersProbe() { return }
        findRoute(body: nil)
        if phase == .request, route == nil || !isBodyRelayed { client.sendContinue() }
    }

    private func findRoute(body: JSONValue?) {
        // CONNECT has no path, so the table, which refuses it, must not be kept from seeing it.
        guard let path = head.method == "CONNECT" ? "-" : RequestTarget(head.target).normalizedPath else {
            return fail(ProxyError(.badRequest, .client, "the request's path is not valid"))
        }
        record.path = path
        if worker.snapshot.configuration.servesPage, PagePath.contains(path) { return answerPage() }
        switch worker.snapshot.routes.match(head, path: path, body: body) {
        case .route(let index): choose(worker.snapshot.routes[index])
        case .generation(let index, let wish): choose(worker.snapshot.routes[index], wish)
        case .workflow(let index, let wish): choose(wish, worker.snapshot.routes[index])
        case .unknownWorkflow(let index):
            noteRoute(worker.snapshot.routes[index])
            failUnknownWorkflow(body?["workflow_id"]?.string?.text)
        case .needsBody: admitCandidates(path)
        case .notFound: fail(ProxyError(.notFound, .client, "no route for this path"))
        case .methodNotAllowed(let allowed):
            if let entry = worker.snapshot.routes.workflowEntry(head, path) { noteRoute(entry) }
            let message = route == nil ? "method not allowed here" : "Method Not Allowed"
            fail(ProxyError(.methodNotAllowed, .client, message), fields: [("Allow", allowed)])
        }
    }

    private func choose(_ route: RouteEntry) {
        self.route = route
        record.route = route.spec.label
        guard admit(route), acceptsRun(route) else { return }
        chooseUpstream(route)
        expectation.format = route.spec.request.response
        if case .format(let format) = route.spec.response { expectation.format = format }
        if route.spec.request != .passthrough, head.method != "GET", head.method != "POST" {
            let error = ProxyError(.methodNotAllowed, .client, "method not allowed here")
            return fail(error, fields: [("Allow", "GET, POST")])
        }
        if route.spec.workflow == nil, route.spec.resume != nil || head.method == "GET" { findWish(route) }
        if worker.isOverfull { return failOverfull() }
        if case .fixed(let length) = bodyLength, length > limits.requestBodyBytes { return failBodyLimit() }
        guard route.spec.request == .passthrough, requestBody.isEmpty, !isRequestComplete else { return }
        switch bodyLength {
        case .fixed(let length) where length <= limits.streamBufferHighBytes: break
        case .none: break
        case _ where needsWholeBody(route): break
        default:
            // Too large to hold: it flows through as the upstream takes it, and so can be sent only once.
            isBodyRelayed = true
            beginAttempt()
            if phase != .over { client.sendContinue() }
        }
    }

    func requestBody(_ bytes: Span<UInt8>) {
        guard phase != .over else { return }
        deadlines.requestRead(bytes.count, at: now)
        if isBodyRelayed { return relay(bytes) }
        if probe != nil { return }
        guard !worker.isOverfull else { return failOverfull() }
        guard requestBody.count + bytes.count <= limits.requestBodyBytes else { return failBodyLimit() }
        requestBody.append(bytes)
    }

    func requestEnd() {
        guard phase != .over else { return }
        isRequestComplete = true
        deadlines.requestComplete(at: now)
        if isBodyRelayed {
            relay(Span<UInt8>())
            return
        }
        if isPage || probe != nil { return }
        if route == nil {
            let body = readBody()
            guard phase != .over, acceptsModel(body) else { return }
            findRoute(body: body ?? .object([]))
            guard phase != .over, route != nil else { return }
        }
        if following == nil { beginAttempt() } else { beginFollowing() }
    }

    /// All buffers together hold what they may: what runs goes on, what begins is refused.
    private func failOverfull() {
        let limit = Limit("buffered_bytes", worker.bufferedBytesLimit)
        fail(ProxyError(.limit(limit, status: 503), .proxy, "the server is overloaded; try again later"))
    }

    private func failBodyLimit() {
        let limit = Limit("request_body_bytes", limits.requestBodyBytes)
        fail(ProxyError(.limit(limit, status: 413), .client, "the request body is larger than \(limit.value) bytes"))
    }

    /// Sends on body bytes as they come; an empty span after the end closes the body.
    private func relay(_ bytes: Span<UInt8>) {
        requestBody.append(bytes)
        guard let upstream else {
            if requestBody.count >= limits.streamBufferHighBytes { pauseBody() }
            return
        }
        if !requestBody.isEmpty { attempts.hasSentBody = true }
        upstream.sendBody(&requestBody, isLast: isRequestComplete)
        if upstream.isCongested { pauseBody() }
    }

    // MARK: - The upstream's answer

    func upstreamReady(_ stream: any UpstreamStream) {
        guard phase == .connecting || phase == .starting, let outgoing else { return stream.cancel() }
        dial = nil
        upstream = stream
        self.outgoing = nil
        attempts.receivedBefore = stream.receivedBytes
        attempts.isSent = true
        enter(.head)
        stream.sendRequest(outgoing)
        guard phase == .head, upstream === stream else { return }
        if isUpstreamPaused { stream.pauseReading() }
        guard isBodyRelayed else { return }
        if !requestBody.isEmpty { attempts.hasSentBody = true }
        stream.sendBody(&requestBody, isLast: isRequestComplete)
        requestBody.releaseIfEmpty()
        if !stream.isCongested { resumeBody() }
    }

    func upstreamDrained() {
        if isBodyRelayed, !isRequestComplete { resumeBody() }
    }

    private func pauseBody() {
        client.pauseBody()
        deadlines.requestPaused(true, at: now)
        arm()
    }

    private func resumeBody() {
        client.resumeBody()
        deadlines.requestPaused(false, at: now)
        arm()
    }
}
