import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// An exchange whose answer takes several steps. Each but the last is an exchange of its own, with the upstreams, repetitions and
/// deadlines of that step, whose answer is collected; the last one is asked by the client's exchange itself.
extension Exchange {
    /// The request is whole: it is read once for all steps, and the first one asked.
    func beginChain(_ plan: ChainPlan) {
        guard let route else { return }
        do throws(ProxyError) {
            chain = try readChain(plan, route)
        } catch {
            return fail(error)
        }
        guard let chain else { return }
        if let lack = chain.lack { return fail(lack) }
        expectation = chain.expectation
        record.format = expectation.format
        canCommitEarly = expectation.wantsStream
        deadlines.choose(Timeouts(), keepalive: route.spec.keepalive, earlyHeaders: route.spec.earlyHeaders)
        guard keepsAnswer(route) else { return }
        enter(.chaining)
        goOnWithChain()
    }

    private func readChain(_ plan: ChainPlan, _ route: RouteEntry) throws(ProxyError) -> ChainRun {
        var body = ByteQueue()
        swap(&body, &requestBody)
        defer { swap(&body, &requestBody) }
        var (client, expectation) = try UpstreamRequest.read(body.span, head, record.path, route, plan)
        if let run { expectation.take(run) }
        return ChainRun(
            plan, client, expectation, bodyBytes: body.count, requestLimit: limits.requestBodyBytes)
    }

    private func goOnWithChain() {
        guard phase == .chaining, let chain else { return }
        do throws(ProxyError) {
            switch try chain.next() {
            case .collect(let step, let request): collect(step, request, chain)
            case .answer(_, let entry, let request): answer(entry, request, chain)
            case nil: fail(ProxyError(.unavailable, .proxy, "no step is left to answer"))
            }
        } catch {
            fail(error)
        }
    }

    /// The last step: from here on this is an exchange like any other, whose request is the step's.
    private func answer(_ entry: RouteEntry, _ request: ChainRun.StepRequest, _ chain: ChainRun) {
        chain.answer = request
        route = entry
        record.lead = now - started
        deadlines.beginLastStep(at: now)
        beginAttempt()
    }

    // MARK: - A step before the last

    private func collect(_ step: ChainPlan.Step, _ request: ChainRun.StepRequest, _ chain: ChainRun) {
        let client = StepClient(step.spec.name, request, of: self)
        let exchange = Exchange(
            stepHead, bodyLength: .none, client: client, worker: worker, step: client,
            parent: spanParent(named: step.spec.name))
        chain.running = exchange
        exchange.beginStep(step.inner, attempts.groups)
        if let asked = exchange.group?.spec.name { record.upstream = asked }
    }

    /// The step has the id of this exchange.
    private var stepHead: RequestHead {
        var fields = HeaderFields()
        fields.append("X-Request-Id", record.requestID)
        return RequestHead(method: "POST", target: "/", authority: head.authority, fields: fields)
    }

    private func beginStep(_ route: RouteEntry, _ groups: [UpstreamGroup]) {
        self.route = route
        (record.route, record.path) = (route.spec.label, "/")
        (expectation.format, expectation.wantsStream) = (.sseJSON, false)
        attempts.groups = groups
        isRequestComplete = true
        deadlines.requestComplete(at: now)
        // Told of every read that brought tokens.
        nextCharge = 0
        beginAttempt()
    }

    /// Its answer has grown: its rate limits are the client's, and it has a limit of its own.
    func stepGrew(_ step: StepClient, _ tokens: Int) {
        if let parent = step.parent, parent.nextCharge != .max, tokens - step.chargedTokens >= Self.chargeStep {
            worker.limiter.advance(&parent.charges, by: tokens - step.chargedTokens, at: now)
            step.chargedTokens = tokens
        }
        guard step.output?.isOverLimit == true else { return }
        let limit = Limit("step_output_bytes", limits.stepOutputBytes)
        fail(
            ProxyError(
                .limit(limit, status: 502), .proxy, "the answer is larger than \(limit.name) (\(limit.value) bytes)"))
    }

    /// This exchange was a step, and is over. Called once.
    func endStep(_ step: StepClient, _ reason: String) {
        worker.stepEnded(record, step.name)
        guard let parent = step.parent else { return }
        step.parent = nil
        let finish = bridge?.finishReason
        parent.chain?.spend(spentTokens(reason))
        parent.record.note(record, step.name, finish)
        parent.stepEnded(self, step, finish)
    }

    private func stepEnded(_ exchange: Exchange, _ step: StepClient, _ finish: FinishReason?) {
        guard let chain, chain.running === exchange else { return }
        chain.running = nil
        guard phase == .chaining else { return }
        // Nobody is there to read what further steps would answer.
        if case .drain = mode { return end("client_gone") }
        let said = exchange.record
        var failure = step.failure
        if failure == nil, said.reason != "done" {
            failure = (ProxyError(.closed(.body), .upstream, "the answer ended early"), HeaderFields())
        }
        if failure == nil { chain.take(step.output?.bytes ?? [], finish: finish) }
        // Outside of whoever told of the step's end, and behind what this turn sends.
        worker.loop.afterTurn { [self] in
            guard phase == .chaining else { return }
            if let failure { failChain(step.name, failure.error, failure.fields, said) } else { goOnWithChain() }
        }
    }

    private func failChain(_ name: String, _ error: ProxyError, _ fields: HeaderFields, _ said: ExchangeRecord) {
        (record.upstreamStatus, record.upstreamError) = (said.upstreamStatus, said.upstreamError)
        chain?.failure = "step \(name): \(said.detail)"
        var told = ProxyError(error.kind, error.side, "step '\(name)': \(error.message)")
        told.retryAfterSeconds = error.retryAfterSeconds
        fail(told, passedOn: fields)
    }

    /// The client has left, or the whole is over: whatever is asked just now is not wanted any more.
    func cancelChain(_ reason: String) {
        guard let step = chain?.running, step.phase != .over else { return }
        step.letGoOfUpstream()
        step.end(reason)
    }
}

extension ExchangeRecord {
    /// A step before the last is over.
    mutating func note(_ step: ExchangeRecord, _ name: String, _ finish: FinishReason?) {
        let isDone = step.reason == "done"
        let word = isDone && finish != nil && finish != .stop ? finish?.text ?? "" : step.reason
        steps += (steps.isEmpty ? "" : ",") + "\(name):\(word):\(step.duration.milliseconds)ms"
        // Counts come from outside.
        func sum(_ own: Int?, _ other: Int?) -> Int? {
            other.map { max(0, min($0, 1_000_000_000)) + (own ?? 0) } ?? own
        }
        stepTokens.input = sum(stepTokens.input, step.usage?.input)
        stepTokens.output = sum(stepTokens.output, step.usage?.output)
        retries += step.retries
        takeFailures(of: step)
    }
}
