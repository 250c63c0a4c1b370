import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// Who may come in, from which page, and how often. All of it is decided from the request's head, before its body is asked for.
extension Exchange {
    // MARK: - Before the route

    /// Behind a trusted proxy the client is whom that names.
    func noteClient() {
        guard !worker.snapshot.trustedProxies.isEmpty, let address = clientAddress else { return }
        record.client = address.description
    }

    private var clientAddress: IPAddress? {
        guard let peer = client.peerConnection?.peer else { return nil }
        return worker.snapshot.trustedProxies.client(of: peer, head.fields)
    }

    /// Answers a browser that asks whether a page may send a request. It shows no credentials yet, so nobody is asked for any.
    /// False: it does not, and the request goes its usual way.
    func answersPreflight() -> Bool {
        guard CORSPolicy.isPreflight(head), let path = RequestTarget(head.target).normalizedPath,
            let policy = worker.snapshot.routes.policy(forPreflight: head, path: path)
        else { return false }
        record.path = path
        worker.metrics.preflights += 1
        var fields = policy.preflight(head)
        fields.append("X-Request-Id", record.requestID)
        // 403 where the page is none of the policy's, so that whoever looks for the reason sees one.
        let answer = ResponseHead(status: policy.allows(head) ? 204 : 403, fields: fields)
        isCommitted = true
        record.status = answer.status
        client.sendHead(answer, length: answer.status == 204 ? .none : .fixed(0))
        openBody()
        flushBody(isLast: true)
        end("preflight")
        return true
    }

    // MARK: - Admission

    /// The route depends on the body. Nobody is asked for one whom none of the routes that it may choose would let in.
    func admitCandidates(_ path: String) {
        var refused: (RouteEntry, Verdict)?
        for entry in worker.snapshot.routes.candidates(head, path: path) {
            guard let access = entry.access, let authenticator = access.authenticator else { return }
            let verdict = judge(access, authenticator)
            if case .admitted = verdict { return }
            refused = refused ?? (entry, verdict)
        }
        guard let (entry, verdict) = refused, let authenticator = entry.access?.authenticator else { return }
        route = entry
        record.route = entry.spec.label
        refuse(verdict, entry, authenticator)
    }

    /// False: the client has got its 401, 403 or 429, and the exchange is over.
    func admit(_ route: RouteEntry) -> Bool {
        guard let access = route.access else { return true }
        var identity: Identity?
        if let authenticator = access.authenticator {
            let verdict = judge(access, authenticator)
            guard case .admitted(let known) = verdict else {
                refuse(verdict, route, authenticator)
                return false
            }
            identity = known
            record.identity = known.name
            if route.spec.resume != nil || route.spec.workflow != nil { owner = "\(known.kind.rawValue):\(known.name)" }
        }
        return take(access.rules, identity, route)
    }

    func judge(_ access: RouteAccess, _ authenticator: Authenticator) -> Verdict {
        var certificate: PeerCertificate?
        if let connection = client.peerConnection, let subject = connection.peerSubject {
            certificate = PeerCertificate(subject: subject, names: connection.peerNames)
        }
        return authenticator.judge(
            head, query: access.queryKeys, certificate: certificate,
            usesCookie: authenticator.usesCookie(head, isTLS: client.isTLS, cors: access.cors),
            at: worker.loop.unixTime())
    }

    /// Tells the same whatever was wrong with the credentials; the log has the reason.
    func refuse(_ verdict: Verdict, _ route: RouteEntry, _ authenticator: Authenticator) {
        tellErrors(of: route)
        switch verdict {
        case .unknown(let detail) where authenticator.takesCredentials:
            worker.metrics.unauthenticated += 1
            let isMissing = detail == Authenticator.noCredentials
            fail(
                ProxyError(.unauthenticated, .client, "missing or invalid credentials", detail: detail),
                fields: [
                    ("WWW-Authenticate", "Bearer realm=\"sluice\"" + (isMissing ? "" : ", error=\"invalid_token\""))
                ])
        case .unknown(let detail):
            // There is no challenge for a certificate.
            worker.metrics.forbidden += 1
            fail(ProxyError(.forbidden, .client, "a client certificate is needed here", detail: detail))
        case .forbidden(let identity, let detail):
            worker.metrics.forbidden += 1
            record.identity = identity.name
            fail(ProxyError(.forbidden, .client, "these credentials are not allowed here", detail: detail))
        case .foreignPage(let identity):
            worker.metrics.forbidden += 1
            record.identity = identity.name
            fail(
                ProxyError(
                    .forbidden, .client,
                    "the cookie counts only for pages of this origin, and of those that cors allows with credentials",
                    detail: "a cookie from a page that must not use it"))
        case .admitted: break
        }
    }

    /// Errors are told in the words of the route that they come from.
    func tellErrors(of route: RouteEntry) {
        expectation.format = route.spec.request.response
        if case .format(let format) = route.spec.response { expectation.format = format }
    }

    // MARK: - Limits

    private func take(_ rules: [RateRule], _ identity: Identity?, _ route: RouteEntry) -> Bool {
        var rules = rules
        if let own = identity?.limit { rules.append(RateRule(own, scope: "key")) }
        if rules.isEmpty { return true }
        let address = clientAddress
        let isAnthropic = route.spec.request == .anthropic
        var bytes = requestBody.count
        if case .fixed(let length) = bodyLength { bytes = length }
        do throws(RateLimiter.Refusal) {
            let taken = try worker.limiter.admit(
                rules.map { (rule: $0, subject: RateSubject($0, identity, address)) }, bytes: bytes, at: now)
            charges = taken.map(\.charge)
            if charges.contains(where: { $0.rule.tokens != nil }) { nextCharge = Self.chargeStep }
            limitFields = RateFields.make(taken, isAnthropic: isAnthropic, at: worker.loop.unixTime())
            return true
        } catch {
            refuse(error, route, isAnthropic)
            return false
        }
    }

    private func refuse(_ refusal: RateLimiter.Refusal, _ route: RouteEntry, _ isAnthropic: Bool) {
        tellErrors(of: route)
        limitFields = RateFields.make(refusal, isAnthropic: isAnthropic, at: worker.loop.unixTime())
        worker.metrics.rateLimited += 1
        let limit: String =
            switch refusal.reason {
            case .requests: refusal.rule.spec.requests.map { "\($0) requests" } ?? ""
            case .tokens: refusal.rule.spec.tokens.map { "\($0) tokens" } ?? ""
            case .concurrent: "\(refusal.rule.concurrent ?? 0) requests at a time"
            case .full: "clients at a time"
            }
        let seconds = RateFields.seconds(refusal.reason.retryAfter)
        fail(
            ProxyError(
                .rateLimited(refusal.reason.name), .client,
                "over the rate limit (\(limit)); try again in \(seconds) s", detail: refusal.rule.scope))
    }

    /// Tokens of an answer that are taken from its limits together, while it streams.
    static let chargeStep = 64

    /// A long answer counts as it comes, so that a client cannot begin many of them behind one another's back.
    func chargeTokens(_ count: Int) {
        if let step { return stepGrew(step, count) }
        let last = nextCharge - Self.chargeStep
        nextCharge = count + Self.chargeStep
        worker.limiter.advance(&charges, by: count - last, at: now)
    }

    /// Ends what `admit` has taken, once, whatever the exchange's ending. Tokens are what the provider has counted; where it did
    /// not, an estimate; and none where it never began to answer.
    func settleCharges(_ reason: String) {
        guard !charges.isEmpty else { return }
        let settled = charges
        charges = []
        var spent = spentTokens(reason)
        if let chain { spent = chain.answer == nil ? chain.spent : ChainRun.sum(chain.spent, spent) }
        worker.limiter.settle(settled, tokens: spent, at: now)
    }

    func spentTokens(_ reason: String) -> RateLimiter.Spent {
        let output = record.usage?.output ?? bridge?.tokenCount ?? 0
        if let input = record.usage?.input { return .counted(Self.sum(input, output)) }
        let wasAnswered = (200..<300).contains(record.upstreamStatus)
        // Who leaves, or waits in vain, behind a request that was sent has cost its prompt.
        let wasAsked =
            record.upstreamStatus == 0 && attempts.isSent && (reason == "client_gone" || reason == "timeout_head")
        return wasAnswered || wasAsked ? .estimated(output: Self.sum(0, output)) : .counted(0)
    }

    /// Counts come from outside.
    private static func sum(_ input: Int, _ output: Int) -> Int {
        let most = 1_000_000_000
        return max(0, min(input, most)) + max(0, min(output, most))
    }

    // MARK: - The answer

    /// What Sluice itself says of limits and pages, in place of what an upstream says of its own.
    func withOwnFields(_ head: ResponseHead) -> ResponseHead {
        var head = head
        if !limitFields.isEmpty {
            let own = limitFields
            let fields = head.fields
            head.fields = fields.filtered { index in
                !own.contains { ASCII.equalFolded(fields.name(at: index), $0.name) }
            }
            for (name, value) in own { head.fields.append(name.description, value) }
        }
        policy?.apply(to: &head.fields, for: self.head)
        return head
    }

    private var policy: CORSPolicy? {
        if let route { return route.access?.cors }
        guard head.fields.contains("origin") else { return nil }
        return worker.snapshot.routes.policy(at: record.path, head) ?? worker.snapshot.cors
    }

    // MARK: - Documents

    /// Under a limit of tokens the usage in a document that is relayed counts, so somebody must read it.
    func watchDocument(_ head: ResponseHead) {
        // A document that was held has been read.
        guard bridge == nil, charges.contains(where: { $0.rule.tokens != nil }), (200..<300).contains(head.status),
            ContentType(head.fields).isJSON,
            let decoder = pool?.endpoint.spec.wire.makeDocumentDecoder(eventBytes: limits.eventBytes)
        else { return }
        bridge = StreamBridge(relaying: decoder)
    }

    func relayDocument(_ bytes: Span<UInt8>) {
        guard bridge != nil else { return worker.scratch.append(bytes) }
        do throws(StreamError) {
            try bridge?.consume(bytes, batch: &worker.batch, into: &worker.scratch)
        } catch {
            // It has relayed the bytes; that they are no answer of this dialect is no fault of a document.
            bridge = nil
        }
    }

    func endDocument() {
        guard bridge != nil else { return }
        _ = try? bridge?.finish(batch: &worker.batch, into: &worker.scratch)
    }
}
