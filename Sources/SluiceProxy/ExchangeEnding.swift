import SluiceBytes
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// How an exchange fails, ends, and knows the time.
extension Exchange {
    // MARK: - Failing

    /// Ends the exchange with `error`: as a status while there is none yet, else in the stream's own way.
    func fail(
        _ error: ProxyError, fields: [(String, String)] = [], passedOn: HeaderFields = HeaderFields()
    ) {
        guard phase != .over else { return }
        if following != nil, isCommitted { return failFollowing(tellable(error)) }
        letGoOfUpstream()
        endAttempt(AttemptOutcome(error))
        record.detail = loggable(error)
        let error = tellable(error)
        guard isCommitted else {
            worker.scratch.removeAll()
            var extra = passedOn
            for (name, value) in fields { extra.append(name, value) }
            if error.status == 503, !extra.contains("retry-after") {
                extra.append("Retry-After", "\(error.retryAfterSeconds)")
            }
            return respond(error, extra)
        }
        if !isAnswerBegun, let endpoint = bridgeEndpoint {
            // Only keepalives have gone out: the failure is all that stands in the stream.
            makeBridge(endpoint)
            mode = .stream
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

    func respond(_ error: ProxyError, _ fields: HeaderFields) {
        // The body may have to be read before the route is known.
        let entry = route ?? worker.snapshot.routes.workflowEntry(head, record.path)
        if entry?.spec.workflow != nil { return respondRun(error, fields) }
        var body = ByteQueue()
        if expectation.wantsArray { body.append(ASCII.leftBracket) }
        ErrorDocument.append(
            expectation.format, status: error.status, type: error.type, code: error.reason, message: error.message,
            into: &body)
        if expectation.wantsArray { body.append(ASCII.rightBracket) }
        respond(error, body: body.span, fields)
    }

    func respond(_ error: ProxyError, body: Span<UInt8>, _ fields: HeaderFields) {
        if let step {
            step.failure = (error, fields)
            return end(error.reason)
        }
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
        // It was the first of its readers; what becomes of the answer is the generation's matter.
        if let generation { return generation.clientLeft() }
        guard phase != .over else { return }
        let isUnderWay = phase == .body || phase == .firstToken || phase == .chaining
        if route?.spec.onDisconnect == .drain, reason == "client_gone", isUnderWay {
            (mode, canCommitEarly) = (.drain, false)
            endCompression()
            guard dropInflation() else { return end(reason) }
            worker.leftBehind(self)
            if isUpstreamPaused { upstream?.resumeReading() }
            return
        }
        cancelChain(reason)
        letGoOfUpstream()
        if following == nil { noteCancel() }
        end(reason)
    }

    func letGoOfUpstream() {
        dial?.cancel()
        upstream?.cancel()
        (dial, upstream) = (nil, nil)
        cancelChain("cancelled")
    }

    func end(_ reason: String) {
        deadlines.enter(.over, at: now)
        worker.loop.cancel(timer)
        letGoOfUpstream()
        endAttempt(.abandoned)
        account()
        generation?.exchangeEnded()
        following?.cancel()
        probe?.exchangeEnded()
        record.sentBytes = client.sentBytes
        endCompression()
        record.eventCount = bridge?.progress.eventCount ?? 0
        record.usage = bridge?.usage
        settleCharges(reason)
        record.finish(reason, at: now, started: started)
        if trace != nil {
            endTracedAttempt(reason, errorType: record.errorType)
            endTrace()
        }
        if let step { endStep(step, reason) } else { worker.exchangeEnded(record) }
        bridge = nil
        chain = nil
        inflation = nil
        outgoing = nil
        attempts = Attempts()
    }

    // MARK: - Time

    func enter(_ phase: ExchangeDeadlines.Phase) {
        deadlines.enter(phase, at: now)
        arm()
    }

    /// Makes sure that the one timer fires no later than the earliest deadline. It is never put off: tokens and phases would
    /// each move it, so it looks again when it fires.
    func arm() {
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
        if following != nil { isStream = true }
        return ExchangeDeadlines.Situation(
            isCommitted: isCommitted, isStream: isStream, canCommitEarly: canCommitEarly,
            isUpstreamPaused: isUpstreamPaused, clientWaitsSince: client.waitingSince,
            smoothingDue: isStream && isAnswerBegun ? smoothingDue : nil)
    }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer, phase != .over else { return }
        (self.timer, armedFor) = (.none, .distantFuture)
        let next = deadlines.next(situation)
        if next.at <= now { act(on: next.due) }
        if phase != .over, self.timer == .none { arm() }
    }

    func act(on due: ExchangeDeadlines.Due) {
        switch due {
        case .endGrace:
            upstream?.cancel()
            upstream = nil
            finishStream()
        case .slowClient:
            if let generation { return generation.dropClient() }
            client.abort()
            clientGone("slow_client")
        case .requestBody:
            fail(ProxyError(.requestTimeout, .client, "the request body did not arrive in time"))
        case .upstream(let phase): upstreamIsLate(phase)
        case .retry: beginAttempt()
        case .processStart: processWaitEnded()
        case .earlyHeaders: commitEarly()
        case .keepalive: sendKeepalive()
        case .smoothing: releaseSmoothed()
        }
    }

    private func upstreamIsLate(_ late: ProxyError.Phase) {
        if phase == .errorBody, late == .body, case .error(let status, let fields) = mode {
            return errorEnded(status, fields)
        }
        let error = ProxyError(.timeout(late), .upstream, "upstream did not answer in time")
        if late == .total { fail(error) } else { attemptFailed(error) }
    }

    /// The client learns that something is coming, though the upstream has said nothing yet.
    func commitEarly() {
        guard let endpoint = bridgeEndpoint else { return }
        if bridge == nil { makeBridge(endpoint) }
        mode = .stream
        commitStreamHead()
        flushBody(isLast: false)
        client.flush()
    }

    private func sendKeepalive() {
        deadlines.clientWritten(at: now)
        if generation != nil || following != nil { return sendReadersKeepalive() }
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
