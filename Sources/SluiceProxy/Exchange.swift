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
    private enum Mode {
        case undecided
        /// A stream that is decoded and encoded, or relayed with a tap.
        case stream
        /// Something else, relayed as it is.
        case document
        /// The body of an error status, collected to be told in the client's dialect.
        case error(status: Int, HeaderFields)
        /// The client has gone and the route wants the upstream to finish.
        case drain
    }

    let head: RequestHead
    let worker: Worker
    /// A cycle while the exchange lives: the client's connection lets go of it when told that it is over.
    private let client: any ClientStream
    private let bodyLength: BodyLength
    private var deadlines: ExchangeDeadlines
    private var phase: ExchangeDeadlines.Phase { deadlines.phase }
    private var mode = Mode.undecided
    private var record: ExchangeRecord

    private var route: RouteEntry?
    private var pool: UpstreamPool?
    private var dial: UpstreamWait?
    private var upstream: (any UpstreamStream)?

    /// The client's body: whole where it is translated, what the upstream has not taken yet where it is relayed.
    private var requestBody = ByteQueue()
    private var isBodyRelayed = false
    private var isRequestComplete = false
    /// The request as it goes out, kept until the upstream has answered, so that a stale connection costs nothing.
    private var outgoing: UpstreamRequest?
    private var hasRetried = false

    private var bridge: StreamBridge?
    private var expectation = UpstreamRequest.Expectation(format: .openAIChat)
    private var needsSniffing = false
    /// Only a stream that Sluice writes itself can begin before the upstream has said what it will be.
    private var canCommitEarly = false
    private var isCommitted = false
    /// Encoded bytes from before the first token; with them the status could still change.
    private var held = ByteQueue()
    private var isBodyOpen = false
    private var bodyMark: ByteQueue.Mark?
    private var isUpstreamPaused = false

    private var timer = TimerID.none
    private var armedFor = Instant.distantFuture
    private let started: Instant

    private static let errorBodyLimit = 64 << 10
    private static let repeatLimit = 3

    init(_ head: RequestHead, bodyLength: BodyLength, client: any ClientStream, worker: Worker) {
        (self.head, self.bodyLength, self.client, self.worker) = (head, bodyLength, client, worker)
        started = worker.loop.now
        deadlines = ExchangeDeadlines(started: started, limits: worker.limits)
        record = ExchangeRecord(head, client: client.peerText, worker: worker)
        worker.exchangeBegan()
    }

    private var now: Instant { worker.loop.now }
    private var limits: Limits { worker.limits }

    // MARK: - The request

    /// Finds the route. Call once, before any body byte.
    func begin() {
        arm()
        findRoute(body: nil)
        if phase == .request, route == nil || !isBodyRelayed { client.sendContinue() }
    }

    private func findRoute(body: JSONValue?) {
        // CONNECT has no path, so the table, which refuses it, must not be kept from seeing it.
        guard let path = head.method == "CONNECT" ? "-" : RequestTarget(head.target).normalizedPath else {
            return fail(ProxyError(.badRequest, .client, "the request's path is not valid"))
        }
        record.path = path
        switch worker.snapshot.routes.match(head, path: path, body: body) {
        case .route(let index): choose(worker.snapshot.routes[index])
        case .needsBody: break
        case .notFound: fail(ProxyError(.notFound, .client, "no route for this path"))
        case .methodNotAllowed(let allowed):
            fail(ProxyError(.methodNotAllowed, .client, "method not allowed here"), fields: [("Allow", allowed)])
        }
    }

    private func choose(_ route: RouteEntry) {
        self.route = route
        record.route = route.spec.label
        let pool = worker.pool(route.spec.upstream)
        self.pool = pool
        record.upstream = pool.endpoint.spec.name
        expectation.format = route.spec.request.response
        if case .format(let format) = route.spec.response { expectation.format = format }
        deadlines.choose(
            pool.endpoint.spec.timeouts, keepalive: route.spec.keepalive, earlyHeaders: route.spec.earlyHeaders)
        if route.spec.request != .passthrough, head.method != "GET", head.method != "POST" {
            let error = ProxyError(.methodNotAllowed, .client, "method not allowed here")
            return fail(error, fields: [("Allow", "GET, POST")])
        }
        if case .fixed(let length) = bodyLength, length > limits.requestBodyBytes { return failBodyLimit() }
        guard route.spec.request == .passthrough, requestBody.isEmpty, !isRequestComplete else { return }
        switch bodyLength {
        case .fixed(let length) where length <= limits.streamBufferHighBytes: break
        case .none: break
        case _ where pool.endpoint.signsRequests: break
        default:
            // Too large to hold: it flows through as the upstream takes it, and so can be sent only once.
            isBodyRelayed = true
            buildAndConnect()
        }
    }

    func requestBody(_ bytes: Span<UInt8>) {
        guard phase != .over else { return }
        deadlines.requestRead(at: now)
        if isBodyRelayed { return relay(bytes) }
        guard requestBody.count + bytes.count <= limits.requestBodyBytes else { return failBodyLimit() }
        requestBody.append(bytes)
    }

    func requestEnd() {
        guard phase != .over else { return }
        isRequestComplete = true
        if isBodyRelayed {
            relay(Span<UInt8>())
            return
        }
        if route == nil {
            let body = JSONValue.parse(requestBody.span)
            findRoute(body: body ?? .object([]))
            guard phase != .over, route != nil else { return }
        }
        buildAndConnect()
    }

    private func failBodyLimit() {
        let limit = Limit("request_body_bytes", limits.requestBodyBytes)
        fail(ProxyError(.limit(limit, status: 413), .client, "the request body is larger than \(limit.value) bytes"))
    }

    private func buildAndConnect() {
        guard let route, let pool else { return }
        do throws(ProxyError) {
            let context = UpstreamRequest.Context(
                head: head, route: route, upstream: pool.endpoint, requestID: record.requestID, path: record.path)
            let request = try UpstreamRequest.make(
                context, body: requestBody.span, relayedLength: isBodyRelayed ? bodyLength : nil)
            outgoing = request
            expectation = request.expectation
            canCommitEarly = route.spec.request != .passthrough && expectation.wantsStream
            record.format = request.format
            record.dropped = request.dropped
            requestBody.removeAll()
            requestBody.releaseIfEmpty()
            if isBodyRelayed { client.sendContinue() }
            connect(fresh: isBodyRelayed)
        } catch {
            fail(error)
        }
    }

    private func connect(fresh: Bool) {
        enter(.connecting)
        let waiting = pool?.acquire(for: self, fresh: fresh)
        if phase == .connecting { dial = waiting }
    }

    /// Sends on body bytes as they come; an empty span after the end closes the body.
    private func relay(_ bytes: Span<UInt8>) {
        requestBody.append(bytes)
        guard let upstream else {
            if requestBody.count >= limits.streamBufferHighBytes { client.pauseBody() }
            return
        }
        upstream.sendBody(&requestBody, isLast: isRequestComplete)
        if upstream.isCongested { client.pauseBody() }
    }

    // MARK: - The upstream's answer

    func upstreamReady(_ stream: any UpstreamStream) {
        guard phase == .connecting, let outgoing else { return stream.cancel() }
        dial = nil
        upstream = stream
        enter(.head)
        stream.sendRequest(outgoing)
        guard isBodyRelayed, phase == .head else { return }
        stream.sendBody(&requestBody, isLast: isRequestComplete)
        requestBody.releaseIfEmpty()
        if !stream.isCongested { client.resumeBody() }
    }

    func upstreamDrained() {
        if isBodyRelayed, !isRequestComplete { client.resumeBody() }
    }

    func upstreamHead(_ head: ResponseHead) {
        guard phase == .head, let route, let pool else { return }
        deadlines.upstreamRead(at: now)
        record.upstreamStatus = head.status
        if !isBodyRelayed || isRequestComplete { outgoing = nil }
        let type = ContentType(head.fields)
        if route.spec.request == .passthrough {
            beginPassthrough(head, type, pool)
        } else if !(200..<300).contains(head.status) {
            mode = .error(status: head.status, head.fields)
            enter(.errorBody)
        } else {
            beginAnswer(head, type, pool)
        }
    }

    private func beginPassthrough(_ head: ResponseHead, _ type: ContentType, _ pool: UpstreamPool) {
        guard head.status == 200, type.isStream, pool.endpoint.spec.wire != .dialect(.raw) else {
            return sendDocument(head)
        }
        bridge = StreamBridge(relaying: pool.endpoint.spec.wire.makeDecoder(eventBytes: limits.eventBytes))
        mode = .stream
        sendStreamHead(ResponseFields.relayed(head, record.requestID, route))
        enter(.firstToken)
    }

    private func beginAnswer(_ head: ResponseHead, _ type: ContentType, _ pool: UpstreamPool) {
        if type.isHTML {
            return fail(
                ProxyError(.malformed(.head), .upstream, "upstream answered with HTML where an answer was expected"))
        }
        let isDocument = !expectation.asksForStream && !type.isStream
        if isDocument, !expectation.wantsStream, AnswerBridge.isRelayed(expectation, pool.endpoint) {
            return sendDocument(head)
        }
        if !isCommitted { makeBridge(pool) }
        if isDocument, let decoder = pool.endpoint.spec.wire.makeDocumentDecoder(eventBytes: limits.eventBytes) {
            bridge?.convert(from: decoder)
        } else {
            needsSniffing = !type.isStream && pool.endpoint.spec.wire != .dialect(.text)
        }
        record.responseFields = ResponseFields.passedOn(head.fields)
        mode = .stream
        enter(.firstToken)
    }

    private func makeBridge(_ pool: UpstreamPool) {
        guard let route else { return }
        bridge = AnswerBridge.make(
            expectation, pool.endpoint, route: route, requestID: record.requestID, eventBytes: limits.eventBytes)
    }

    /// The upstream says that its answer is no stream. It may be one all the same, or one document, which some send where a stream
    /// was asked for; false if it is neither.
    private func sniff(_ bytes: Span<UInt8>) -> Bool {
        needsSniffing = false
        guard let wire = pool?.endpoint.spec.wire else { return false }
        switch ContentType.opening(bytes) {
        case .eventStream: return true
        case .other: return false
        case .json:
            // Dialects of JSON lines read a document as their only line; Gemini's decoder knows both.
            switch wire {
            case .dialect(.gemini), .dialect(.ollamaChat), .dialect(.ollamaGenerate), .dialect(.cohereV1): return true
            default: break
            }
            guard let decoder = wire.makeDocumentDecoder(eventBytes: limits.eventBytes) else { return false }
            bridge?.convert(from: decoder)
            return true
        }
    }

    private func sendDocument(_ head: ResponseHead) {
        mode = .document
        let length = ResponseFields.bodyLength(head, method: self.head.method)
        commit(ResponseFields.relayed(head, record.requestID, route), length: length)
        enter(.body)
    }

    func upstreamBody(_ bytes: Span<UInt8>) {
        deadlines.upstreamRead(at: now)
        switch mode {
        case .stream: streamBody(bytes)
        case .document:
            openBody()
            worker.scratch.append(bytes)
        case .error:
            if requestBody.count + bytes.count <= Self.errorBodyLimit { requestBody.append(bytes) }
        case .drain, .undecided: break
        }
    }

    private func streamBody(_ bytes: Span<UInt8>) {
        if needsSniffing, !sniff(bytes) {
            return fail(ProxyError(.malformed(.head), .upstream, "upstream answered with something that is no answer"))
        }
        if isCommitted { openBody() }
        bridge?.clock(now - started)
        do throws(StreamError) {
            try bridge?.consume(bytes, batch: &worker.batch, into: &worker.scratch)
        } catch {
            return failMalformed(error)
        }
        if phase == .firstToken { firstEvents() }
        if bridge?.progress.sawEnd == true, deadlines.streamEnded(at: now) { arm() }
    }

    /// Holds the answer back until there is a token: until then the status can still tell the truth.
    private func firstEvents() {
        guard let progress = bridge?.progress else { return }
        if progress.sawError && !progress.sawContent && !isCommitted { return failInStream() }
        if progress.sawContent || progress.sawFinish || progress.sawEnd {
            record.firstToken = now
            enter(.body)
            if !isCommitted, bridge?.isDocument == false { commitStream() }
        } else if !isCommitted, bridge?.isDocument == false {
            held.append(moving: &worker.scratch)
            if held.count > limits.streamBufferHighBytes { commitStream() }
        }
    }

    /// What was understood before the fault is still the client's, however the network cut the two apart.
    private func failMalformed(_ error: StreamError) {
        if phase == .firstToken { firstEvents() }
        fail(ProxyError(.malformed(.body), .upstream, "upstream sent what is not its dialect", detail: "\(error)"))
    }

    /// The provider's own error, before anything was sent on.
    private func failInStream() {
        let (kind, message) = (bridge?.errorKind ?? .provider, bridge?.errorMessage ?? "")
        fail(ProxyError(.inStream(kind), .upstream, message))
    }

    private func commitStream() {
        guard let type = bridge?.contentType else { return }
        var early = ByteQueue()
        swap(&early, &worker.early)
        early.append(moving: &held)
        early.append(moving: &worker.scratch)
        held.releaseIfEmpty()
        if bridge?.isDocument == true {
            let head = ResponseFields.document(record.requestID, record.responseFields, route)
            commit(head, length: .fixed(early.count))
        } else {
            let own = bridge?.fields ?? []
            sendStreamHead(ResponseFields.stream(type, own, record.requestID, record.responseFields, route))
        }
        openBody()
        worker.scratch.append(early.span)
        early.removeAll()
        swap(&early, &worker.early)
    }

    private func sendStreamHead(_ head: ResponseHead) { commit(head, length: .chunked) }

    private func commit(_ head: ResponseHead, length: BodyLength) {
        isCommitted = true
        record.status = head.status
        deadlines.clientWritten(at: now)
        client.sendHead(head, length: length)
        if phase != .request { arm() }
    }

    private func openBody() {
        guard !isBodyOpen else { return }
        isBodyOpen = true
        bodyMark = client.openBody(in: &worker.scratch)
    }

    func upstreamPaused() {
        guard phase != .over else { return }
        flushBody(isLast: false)
        if isCommitted { client.flush() }
    }

    private func flushBody(isLast: Bool) {
        if !isBodyOpen {
            guard isLast else { return }
            openBody()
        }
        isBodyOpen = false
        deadlines.clientWritten(at: now)
        client.flushBody(bodyMark, &worker.scratch, isLast: isLast)
        if isLast || isUpstreamPaused { return }
        if client.isCongested {
            isUpstreamPaused = true
            record.pauses += 1
            upstream?.pauseReading()
            arm()
        }
    }

    /// The client has taken what waited, down to the low mark.
    func clientDrained() {
        guard isUpstreamPaused, phase != .over else { return }
        isUpstreamPaused = false
        deadlines.upstreamRead(at: now)
        upstream?.resumeReading()
        arm()
    }

    func upstreamEnd() {
        guard phase != .over else { return }
        upstream = nil
        switch mode {
        case .stream: finishStream()
        case .document:
            flushBody(isLast: true)
            end("done")
        case .error(let status, let fields): relayError(status, fields)
        case .drain: end("client_gone")
        case .undecided: break
        }
    }

    private func finishStream() {
        if isCommitted { openBody() }
        bridge?.clock(now - started)
        let ending: BodyEnding
        do throws(StreamError) {
            ending = try bridge?.finish(batch: &worker.batch, into: &worker.scratch) ?? .abort
        } catch {
            return failMalformed(error)
        }
        let progress = bridge?.progress ?? StreamProgress()
        if !isCommitted {
            guard progress.isComplete else {
                worker.scratch.removeAll()
                if progress.sawError { return failInStream() }
                return fail(
                    ProxyError(.closed(.firstToken), .upstream, "upstream ended its stream before the first token"))
            }
            guard ending == .complete || bridge?.isDocument == false else {
                return fail(ProxyError(.malformed(.body), .upstream, "the answer does not fit one document"))
            }
            commitStream()
        }
        let isTrueEnd = bridge?.endedTruly ?? false
        let reason = isTrueEnd ? "done" : progress.sawError ? "upstream_error" : "eof"
        flushBody(isLast: ending == .complete)
        if ending == .abort { client.abort() }
        end(reason)
    }

    func upstreamFailed(_ error: ProxyError) {
        guard phase != .over else { return }
        let wasReused = upstream?.isReused ?? false
        (upstream, dial) = (nil, nil)
        if phase == .head, !isBodyRelayed, outgoing != nil, canRepeat(after: error, wasReused) {
            record.retries += 1
            return connect(fresh: error.kind != .refused)
        }
        if case .drain = mode { return end("client_gone") }
        fail(error)
    }

    /// True where the upstream cannot have worked on the request: it said so (RFC 9113 §8.7), or it had closed the idle
    /// connection before the request came, which is believed once.
    private func canRepeat(after error: ProxyError, _ wasReused: Bool) -> Bool {
        switch error.kind {
        case .refused: return record.retries < Self.repeatLimit
        case .closed where wasReused && !hasRetried:
            hasRetried = true
            return true
        default: return false
        }
    }

    /// Tells the upstream's own error in the client's dialect, with what a client can act on.
    private func relayError(_ status: Int, _ fields: HeaderFields) {
        var body = ByteQueue()
        swap(&body, &requestBody)
        let document = JSONValue.parse(body.span)
        let said = document?.errorMessage
        let error = ProxyError(.status(status), .upstream, said ?? "upstream answered with status \(status)")
        let passed = ResponseFields.passedOn(fields)
        if isCommitted {
            mode = .stream
            return fail(error)
        }
        let isOwnDialect = pool.map { AnswerBridge.isRelayed(expectation, $0.endpoint) } ?? false
        if isOwnDialect, (400..<500).contains(status), case .object? = document {
            respond(error, body: body.span, passed)
        } else {
            respond(error, passed)
        }
    }

    // MARK: - Failing

    /// Ends the exchange with `error`: as a status while there is none yet, else in the stream's own way.
    func fail(_ error: ProxyError, fields: [(String, String)] = []) {
        guard phase != .over else { return }
        letGoOfUpstream()
        record.detail = error.detail.isEmpty ? error.message : "\(error.message): \(error.detail)"
        guard isCommitted else {
            worker.scratch.removeAll()
            var extra = HeaderFields()
            for (name, value) in fields { extra.append(name, value) }
            if error.status == 503 { extra.append("Retry-After", "1") }
            return respond(error, extra)
        }
        guard case .stream = mode else {
            flushBody(isLast: false)
            client.abort()
            return end(error.reason)
        }
        openBody()
        bridge?.clock(now - started)
        let ending = bridge?.fail(error.streamFailure, into: &worker.scratch) ?? .abort
        flushBody(isLast: ending == .complete)
        if ending == .abort { client.abort() }
        end(error.reason)
    }

    private func respond(_ error: ProxyError, _ fields: HeaderFields) {
        var body = ByteQueue()
        if expectation.wantsArray { body.append(ASCII.leftBracket) }
        ErrorDocument.append(
            expectation.format, status: error.status, type: error.type, code: error.reason, message: error.message,
            into: &body)
        if expectation.wantsArray { body.append(ASCII.rightBracket) }
        respond(error, body: body.span, fields)
    }

    private func respond(_ error: ProxyError, body: Span<UInt8>, _ fields: HeaderFields) {
        var fields = fields
        fields.append("Content-Type", "application/json")
        fields.append("X-Request-Id", record.requestID)
        commit(ResponseHead(status: error.status, fields: fields), length: .fixed(body.count))
        openBody()
        if head.method != "HEAD" { worker.scratch.append(body) }
        flushBody(isLast: true)
        end(error.reason)
    }

    /// The client closed, reset, or takes nothing. Whatever the upstream is doing for it ends now.
    func clientGone(_ reason: String = "client_gone") {
        guard phase != .over else { return }
        if route?.spec.onDisconnect == .drain, reason == "client_gone", phase == .body || phase == .firstToken {
            mode = .drain
            if isUpstreamPaused { upstream?.resumeReading() }
            return
        }
        letGoOfUpstream()
        end(reason)
    }

    private func letGoOfUpstream() {
        dial?.cancel()
        upstream?.cancel()
        (dial, upstream) = (nil, nil)
    }

    private func end(_ reason: String) {
        deadlines.enter(.over, at: now)
        worker.loop.cancel(timer)
        letGoOfUpstream()
        record.sentBytes = client.sentBytes
        record.eventCount = bridge?.progress.eventCount ?? 0
        record.usage = bridge?.usage
        record.finish(reason, at: now, started: started)
        worker.exchangeEnded(record)
        bridge = nil
        outgoing = nil
    }

    // MARK: - Time

    private func enter(_ phase: ExchangeDeadlines.Phase) {
        deadlines.enter(phase, at: now)
        arm()
    }

    /// Makes sure that the one timer fires no later than the earliest deadline. It is never put off: tokens and phases would
    /// each move it, so it looks again when it fires.
    private func arm() {
        let deadline = deadlines.next(situation).at
        guard deadline < armedFor else { return }
        armedFor = deadline
        if timer == .none {
            timer = worker.loop.schedule(at: deadline, handler: self)
        } else {
            worker.loop.move(timer, to: deadline)
        }
    }

    private var situation: ExchangeDeadlines.Situation {
        var isStream = false
        if case .stream = mode { isStream = true }
        return ExchangeDeadlines.Situation(
            isCommitted: isCommitted, isStream: isStream, canCommitEarly: canCommitEarly,
            isUpstreamPaused: isUpstreamPaused, clientWaitsSince: client.waitingSince)
    }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer, phase != .over else { return }
        (self.timer, armedFor) = (.none, .distantFuture)
        let next = deadlines.next(situation)
        if next.at <= now { act(on: next.due) }
        if phase != .over, self.timer == .none { arm() }
    }

    private func act(on due: ExchangeDeadlines.Due) {
        switch due {
        case .endGrace:
            letGoOfUpstream()
            finishStream()
        case .slowClient:
            client.abort()
            clientGone("slow_client")
        case .requestBody:
            fail(ProxyError(.requestTimeout, .client, "the request body did not arrive in time"))
        case .upstream(let phase): fail(ProxyError(.timeout(phase), .upstream, "upstream did not answer in time"))
        case .earlyHeaders: commitEarly()
        case .keepalive: sendKeepalive()
        }
    }

    /// The client learns that something is coming, though the upstream has said nothing yet.
    private func commitEarly() {
        guard let pool else { return }
        if bridge == nil { makeBridge(pool) }
        mode = .stream
        commitStream()
        flushBody(isLast: false)
        client.flush()
    }

    private func sendKeepalive() {
        deadlines.clientWritten(at: now)
        guard client.waitingSince == nil, bridge != nil else { return }
        openBody()
        if bridge?.keepalive(into: &worker.scratch) == true {
            record.pings += 1
        } else {
            client.ping()
        }
        flushBody(isLast: false)
    }
}
