import SluiceBytes
import SluiceHTTP
import SluiceStreams

/// The spans of one exchange that is sampled: its own, and one for each attempt. Made with the exchange, handed over with its end.
final class ExchangeTrace {
    private(set) var server: ServerFacts
    private var attempts: [AttemptFacts] = []
    private var running: AttemptFacts?
    /// Of the next attempt, which its request names before it begins.
    private var nextSpan = ""
    private let flags: String
    let propagates: Bool

    init(
        _ context: TraceContext, span: String, state: String, _ record: ExchangeRecord, propagates: Bool,
        at now: Instant
    ) {
        server = ServerFacts(
            traceID: context.traceID, spanID: span, parentID: context.parentID, state: state, flags: context.bits,
            start: now, method: String(record.method.prefix(32)))
        (flags, self.propagates) = (context.flags, propagates)
    }

    /// Of a step, and not of a client's request.
    func name(step: String) { server.step = step }

    /// The next attempt's `traceparent`. `span`: the id that it will have.
    func prepare(span: String) -> String? {
        nextSpan = span
        return propagates ? "00-\(server.traceID)-\(span)-\(flags)" : nil
    }

    func begin(_ labels: UpstreamLabels, place: String, at now: Instant) {
        running = AttemptFacts(
            traceID: server.traceID, spanID: nextSpan, parentID: server.spanID, state: server.state,
            flags: server.flags, start: now, labels: labels, place: place, resends: attempts.count)
    }

    var isAttemptRunning: Bool { running != nil }

    func change(_ body: (inout AttemptFacts) -> Void) {
        if var facts = running {
            body(&facts)
            running = facts
        }
    }

    func endAttempt(at now: Instant) {
        guard var facts = running else { return }
        facts.end = now
        attempts.append(facts)
        running = nil
    }

    /// The spans in the order of their beginning, the exchange's own first.
    func finish(_ body: (inout ServerFacts) -> Void) -> [SpanFacts] {
        body(&server)
        return [.server(server)] + attempts.map { .attempt($0) }
    }
}

extension Exchange {
    /// What a name from outside may be long in a span, in bytes.
    private static let nameLimit = 256
    private static let pathLimit = 1024

    /// For an exchange that is a step of this one: its spans stand below this one's. nil: there is no trace.
    func spanParent(named name: String) -> SpanParent? {
        guard let context = record.trace else { return nil }
        let parent = TraceContext(
            traceID: context.traceID, parentID: record.spanID, isSampled: context.isSampled,
            isRandom: context.bits & 2 == 2)
        return SpanParent(context: parent, state: traceState, name: name)
    }

    /// What others noted of the trace that the client came with.
    var traceState: String {
        if let parent = spanParent { return parent.state }
        guard let context = record.trace, !context.parentID.isEmpty else { return "" }
        return TraceContext.state(head.fields)
    }

    /// Once, when the record has been made.
    func beginTrace() {
        guard let tracing = worker.snapshot.tracing, let context = record.trace, context.isSampled else { return }
        let trace = ExchangeTrace(
            context, span: record.spanID, state: traceState, record, propagates: tracing.spec.propagates, at: started)
        if let spanParent { trace.name(step: spanParent.name) }
        self.trace = trace
    }

    /// What the upstream's request names as its parent. Each attempt has a span of its own where there are spans.
    func makeTraceparent() -> String? {
        if let trace { return trace.prepare(span: worker.makeID()) }
        if worker.snapshot.tracing?.spec.propagates == false { return nil }
        return record.trace?.child(span: record.spanID)
    }

    /// An attempt has its place and its request.
    func traceAttempt(at pool: UpstreamPool) {
        guard let trace else { return }
        trace.begin(pool.endpoint.labels, place: pool.placeName, at: now)
        let isGenerative = route?.spec.request != .passthrough
        trace.change { facts in
            facts.isGenerative = isGenerative
            (facts.method, facts.isStream) = (outgoing?.head.method ?? "", outgoing?.expectation.asksForStream ?? false)
            guard isGenerative, let outgoing else { return }
            facts.model = Self.cut(record.model)
            let body = outgoing.body
            facts.settings = RequestSettings(body.span)
        }
    }

    /// While the bridge is still there, which knows what the upstream said.
    func endTracedAttempt(_ reason: String, errorType: String) {
        guard let trace, trace.isAttemptRunning else { return }
        trace.change { facts in
            (facts.reason, facts.errorType, facts.status) = (reason, errorType, record.upstreamStatus)
            facts.firstToken = record.firstToken
            facts.usage = bridge?.usage
            facts.finish = bridge?.finishReason
            (facts.responseID, facts.responseModel) = (
                Self.cut(bridge?.responseID ?? ""), Self.cut(bridge?.responseModel ?? "")
            )
            if case .stream = mode, !facts.isGenerative, bridge != nil {
                (facts.isGenerative, facts.isStream) = (true, true)
            }
            // One document was asked for; else tokens came, whatever is made of them.
            if bridge?.isDocument == true, !facts.isStream { facts.firstToken = nil }
        }
        trace.endAttempt(at: now)
    }

    func endTracedAttempt(_ error: ProxyError) {
        var type = error.reason
        if case .status(let status) = error.kind { type = "\(status)" }
        endTracedAttempt(error.reason, errorType: type)
    }

    /// The record is finished.
    func endTrace() {
        guard let trace, !isPage else { return }
        let spans = trace.finish { facts in
            facts.end = now
            (facts.route, facts.path) = (record.route, Self.cut(record.path, to: Self.pathLimit))
            facts.isTLS = client.isTLS
            facts.version = head.version == .http2 ? "2" : head.version == .http10 ? "1.0" : "1.1"
            (facts.authority, facts.client) = (Self.cut(head.authority), record.client)
            (facts.status, facts.reason, facts.errorType) = (record.status, record.reason, record.errorType)
            (facts.requestID, facts.upstream) = (record.requestID, record.upstream)
            (facts.format, facts.retries) = (record.format.rawValue, record.retries)
            (facts.tokens, facts.isStream, facts.firstToken) = (record.tokenCount, record.isStream, record.firstToken)
        }
        self.trace = nil
        worker.shared.traces.take(spans)
    }

    private static func cut(_ text: String, to limit: Int = nameLimit) -> String {
        text.utf8.count <= limit ? text : String(decoding: text.utf8.prefix(limit), as: UTF8.self)
    }
}
