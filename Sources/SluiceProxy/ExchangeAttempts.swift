import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// The attempts of an exchange: one upstream at a time works for it, and another one only if all that the client has seen by then are
/// keepalives.
extension Exchange {
    struct Attempts {
        /// Those that the route refers to; a reload makes others.
        var groups: [UpstreamGroup] = []
        var plan = AttemptPlan()
        /// Counts those that got as far as asking for a connection.
        var number = 0
        /// Where this request has failed.
        var tried: [UpstreamPool] = []
        /// Where an attempt runs, which must be told how it ended.
        var running: UpstreamPool?
        var isFirstHere = true
        /// Not on a connection that lies idle.
        var wantsFresh = false
        /// An upstream was sent the request, and may have worked on it.
        var isSent = false
        /// On the same connection, for others.
        var receivedBefore = 0
        /// Of a relayed body, which nobody keeps.
        var hasSentBody = false
        /// The client's body is still here, so that another request can be made from it.
        var isRequestKept = true
        /// Of the attempts before: the failure that a client can do most with.
        var best: (failed: FailedAnswer, usefulness: Int)?
    }

    /// The upstream that is asked now, by the route's list.
    var group: UpstreamGroup? {
        guard let choices = route?.spec.upstreams, attempts.plan.position < choices.count else { return nil }
        let index = choices[attempts.plan.position].upstream
        return index < attempts.groups.count ? attempts.groups[index] : nil
    }

    private var hasNext: Bool { attempts.plan.position + 1 < (route?.spec.upstreams.count ?? 0) }

    // MARK: - Beginning

    /// The route is known: what its upstreams are, and how long the first of them may take.
    func chooseUpstream(_ route: RouteEntry) {
        attempts.groups = worker.groups
        guard let group else { return }
        record.upstream = group.spec.name
        deadlines.choose(group.spec.timeouts, keepalive: route.spec.keepalive, earlyHeaders: route.spec.earlyHeaders)
    }

    /// A signature covers the whole body, which must be held therefore.
    func needsWholeBody(_ route: RouteEntry) -> Bool {
        route.spec.upstreams.contains { choice in
            choice.upstream < attempts.groups.count && attempts.groups[choice.upstream].spec.aws != nil
        }
    }

    /// Asks the upstream at the plan's position: the request is made from the client's in its words, and a connection looked for.
    func beginAttempt() {
        guard phase != .over, let route, let group else { return }
        if chain == nil, let plan = route.chain { return beginChain(plan) }
        record.attemptBegan(at: group.spec.name)
        deadlines.choose(group.spec.timeouts, keepalive: route.spec.keepalive, earlyHeaders: route.spec.earlyHeaders)
        // Where no place is well, another upstream is the better choice; the last one is tried all the same.
        guard group.hasAvailablePlace || !hasNext, let pool = group.pick(avoiding: attempts.tried) else {
            return attemptFailed(FailedAnswer(error: ProxyError(.unavailable, .proxy, "no upstream is available")))
        }
        self.pool = pool
        record.place = pool.placeName
        do throws(ProxyError) {
            try makeRequest(route, pool)
        } catch {
            return attemptFailed(FailedAnswer(error: error), as: AttemptFailure(.unfit))
        }
        guard keepsAnswer(route) else { return }
        if attempts.isFirstHere { group.budget.requestBegan(at: now) }
        attempts.isFirstHere = false
        attempts.number += 1
        attempts.running = pool
        pool.attemptBegan()
        traceAttempt(at: pool)
        enterConnecting()
        // A body that flows through as it comes could not be sent again if the connection turned out to be closed.
        let waiting = pool.acquire(for: self, fresh: isBodyRelayed || attempts.wantsFresh)
        if phase == .connecting || phase == .starting { dial = waiting }
    }

    /// From here on the answer can be read on, where the route says so; once. False: there is no room for a task, and the client has
    /// been told.
    func keepsAnswer(_ route: RouteEntry) -> Bool {
        if run?.isTask == true { return beginTask(route) }
        if let resume = route.spec.resume, run == nil { beginGeneration(route, resume) }
        return true
    }

    private func makeRequest(_ route: RouteEntry, _ pool: UpstreamPool) throws(ProxyError) {
        let context = UpstreamRequest.Context(
            head: head, route: route, upstream: pool.endpoint, requestID: record.requestID, path: record.path,
            position: attempts.plan.position, traceparent: record.trace == nil ? nil : makeTraceparent(),
            step: step?.request ?? chain?.answer, tracestate: record.trace == nil ? "" : traceState, run: run)
        // A relayed body is no part of the request: what waits of it follows.
        var body = ByteQueue()
        if !isBodyRelayed { swap(&body, &requestBody) }
        defer { if !isBodyRelayed { swap(&body, &requestBody) } }
        let request = try UpstreamRequest.make(
            context, body: body.span, relayedLength: isBodyRelayed ? bodyLength : nil)
        outgoing = request
        expectation = request.expectation
        canCommitEarly = route.spec.request != .passthrough && expectation.wantsStream
        record.format = request.format
        record.dropped = request.dropped
        record.model = request.expectation.model
        noteRequest(body.span)
    }

    /// The head of an answer has come: what nobody will need any more is let go.
    func answerHeadCame() {
        let mayFollow = hasNext || group.map { $0.spec.retries.repeatsAnswers } ?? false
        if !mayFollow { releaseRequest() }
    }

    /// From here on the client has something of this upstream's answer, and no other one can take over.
    func answerBegins() {
        guard !isAnswerBegun else { return }
        isAnswerBegun = true
        releaseRequest()
    }

    private func releaseRequest() {
        guard !isBodyRelayed, attempts.isRequestKept else { return }
        attempts.isRequestKept = false
        requestBody.removeAll()
        requestBody.releaseIfEmpty()
    }

    // MARK: - Failing

    /// The attempt that runs has failed. Another one follows if it may; else the client is told.
    func attemptFailed(
        _ failed: FailedAnswer, on stream: (any UpstreamStream)? = nil, as failure: AttemptFailure? = nil
    ) {
        guard phase != .over else { return }
        if case .drain = mode { return end("client_gone") }
        let hasBytes = stream.map { $0.receivedBytes > attempts.receivedBefore } ?? false
        let circumstances = AttemptFailure.Circumstances(
            hasAnswered: hasBytes || ![.head, .connecting, .starting].contains(phase),
            wasStale: stream?.wasStale ?? false)
        let failure = failure ?? AttemptFailure(failed.error, circumstances)
        if goesOn(after: failed, failure) { return }
        endTracedAttempt(failed.error)
        endAttempt(AttemptOutcome(failed.error))
        guard !isAnswerBegun else { return fail(failed.error) }
        let isBest = attempts.best.map { $0.usefulness <= failure?.usefulness ?? .max } ?? true
        tell(isBest ? failed : attempts.best?.failed ?? failed)
    }

    func attemptFailed(_ error: ProxyError) { attemptFailed(FailedAnswer(error: error)) }

    /// Lets go of the attempt and prepares the next one, if the plan has one; false if not: then nothing has changed.
    func goesOn(after failed: FailedAnswer, _ failure: AttemptFailure?) -> Bool {
        guard var failure, let group else { return false }
        failure.retryAfter = failed.retryAfter
        record.attemptFailed(failure.word)
        if failure.cause != .stale, let pool, !attempts.tried.contains(where: { $0 === pool }) {
            attempts.tried.append(pool)
        }
        let decision = attempts.plan.decide(failure, situation(group), group.spec.retries, budget: &group.budget)
        if decision.isOverBudget { worker.metrics.retryBudgetRefusals += 1 }
        if decision.step == .giveUp { return false }
        // Of one upstream what it says at last counts, unless it had already said something that a client can act on.
        let isWorthTelling = decision.step == .next || failure.usefulness > 1
        if isWorthTelling, attempts.best.map({ $0.usefulness <= failure.usefulness }) ?? true {
            attempts.best = (failed, failure.usefulness)
        }
        record.retries += 1
        endTracedAttempt(failed.error)
        // The one that is given up ends before the next begins.
        letGoOfUpstream()
        endAttempt(failure.isNoIllness ? .abandoned : AttemptOutcome(failed.error))
        forgetAnswer()
        attempts.wantsFresh = failure.cause == .stale || failure.cause == .reset
        if case .again(let wait) = decision.step {
            worker.metrics.countRetry(after: failure.cause)
            resume(after: wait)
        } else {
            worker.metrics.failovers += 1
            (attempts.isFirstHere, attempts.wantsFresh) = (true, false)
            resume(after: .zero)
        }
        return true
    }

    private func situation(_ group: UpstreamGroup) -> AttemptPlan.Situation {
        AttemptPlan.Situation(
            now: now, deadline: deadlines.end,
            canGoOn: !isAnswerBegun && (isBodyRelayed ? !attempts.hasSentBody : attempts.isRequestKept),
            hasNext: hasNext, hasOtherPlace: group.hasOtherPlace(than: attempts.tried), random: worker.nextRandom())
    }

    private func forgetAnswer() {
        bridge = nil
        outgoing = nil
        inflation = nil
        held.removeAll()
        held.releaseIfEmpty()
        errorBody.removeAll()
        errorBody.releaseIfEmpty()
        (needsSniffing, isPlainText, isUpstreamPaused) = (false, false, false)
        (record.firstToken, record.upstreamStatus, record.responseFields) = (nil, 0, HeaderFields())
        mode = .undecided
        guard isCommitted, let pool else { return }
        // Keepalives go on.
        makeBridge(pool.endpoint)
        mode = .stream
    }

    private func resume(after wait: Interval) {
        deadlines.wait(until: wait > .zero ? now + wait : .distantFuture, at: now)
        arm()
        guard wait == .zero else { return }
        let number = attempts.number
        // Behind what this turn sends, so that a reset leaves before the next request, and outside of whoever told of the failure.
        worker.loop.afterTurn { [self] in
            if phase == .waiting, attempts.number == number { beginAttempt() }
        }
    }

    /// Tells the upstream's health what became of the attempt. Only the first word on it counts.
    func endAttempt(_ outcome: AttemptOutcome) {
        guard let pool = attempts.running else { return }
        attempts.running = nil
        pool.attemptEnded(outcome)
    }
}

extension RetrySpec {
    /// Something that comes with an answer, or instead of its first token, leads to a repetition.
    var repeatsAnswers: Bool { attempts > 0 && (!statuses.isEmpty || words.contains(.firstToken)) }
}
