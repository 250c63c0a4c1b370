import SluiceBytes
import SluiceStreams

/// Facts → spans, in the names of OpenTelemetry's conventions for HTTP and for generative AI, and `sluice.*` for the rest.
struct SpanBuilder {
    /// Nanoseconds since 1970 at the monotonic clock's zero.
    let epoch: UInt64

    func span(_ facts: SpanFacts) -> TraceSpan {
        switch facts {
        case .server(let facts): server(facts)
        case .attempt(let facts): attempt(facts)
        }
    }

    private func time(_ instant: Instant) -> UInt64 { epoch &+ instant.nanoseconds }

    // MARK: - The client's side

    private func server(_ facts: ServerFacts) -> TraceSpan {
        var span = TraceSpan(traceID: facts.traceID, spanID: facts.spanID, parentID: facts.parentID, state: facts.state)
        let isRemote: UInt32 = facts.step == nil && !facts.parentID.isEmpty ? 0x200 : 0
        span.flags = 0x100 | isRemote | UInt32(facts.flags)
        (span.start, span.end) = (time(facts.start), time(max(facts.start, facts.end)))
        let isKnown = Self.methods.contains(facts.method)
        let method = isKnown ? facts.method : "_OTHER"
        span.attributes.reserveCapacity(20)
        if let step = facts.step {
            (span.kind, span.name) = (.internal, step.isEmpty ? "step" : step)
        } else {
            span.kind = .server
            // A name has few values (HTTP conventions, "Name").
            span.name = (isKnown ? facts.method : "HTTP") + (facts.route.isEmpty ? "" : " " + facts.route)
            span.set("http.request.method", method)
            if !isKnown { span.set("http.request.method_original", facts.method) }
            span.set("http.route", facts.route)
            span.set("url.scheme", facts.isTLS ? "https" : "http")
            if facts.path != "-" { span.set("url.path", facts.path) }
            span.set("network.protocol.name", "http")
            span.set("network.protocol.version", facts.version)
            addHost(facts.authority, facts.isTLS, to: &span)
            span.set("client.address", facts.client)
        }
        if facts.status > 0 { span.set("http.response.status_code", facts.status) }
        span.set("sluice.end", facts.reason)
        span.set("sluice.request_id", facts.requestID)
        span.set("sluice.upstream", facts.upstream)
        span.set("sluice.format", facts.format)
        if facts.retries > 0 { span.set("sluice.retries", facts.retries) }
        if facts.isStream, facts.tokens > 0 { span.set("sluice.tokens", facts.tokens) }
        if facts.isStream, let first = facts.firstToken { addFirstToken(first, since: facts.start, to: &span) }
        if Self.isFailure(facts) {
            span.set("error.type", facts.errorType)
            span.failure = facts.reason
        }
        return span
    }

    /// What a client got wrong, or wanted no more, is no failure of the server's (HTTP conventions, "Status").
    private static func isFailure(_ facts: ServerFacts) -> Bool {
        if isWanted(facts.reason) { return false }
        return !(400..<500).contains(facts.status)
    }

    /// done; or the client has left, or has said that it wants no more.
    private static func isWanted(_ reason: String) -> Bool { ["done", "client_gone", "stopped"].contains(reason) }

    private static let methods: Set<String> = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY",
    ]

    private func addHost(_ authority: String, _ isTLS: Bool, to span: inout TraceSpan) {
        guard !authority.isEmpty else { return }
        var (host, port) = (authority, isTLS ? 443 : 80)
        let bracket = authority.lastIndex(of: "]") ?? authority.startIndex
        if let colon = authority[bracket...].lastIndex(of: ":"),
            let number = UInt16(authority[authority.index(after: colon)...])
        {
            (host, port) = (String(authority[..<colon]), Int(number))
        }
        span.set("server.address", host)
        span.set("server.port", port)
    }

    // MARK: - An upstream's

    private func attempt(_ facts: AttemptFacts) -> TraceSpan {
        var span = TraceSpan(traceID: facts.traceID, spanID: facts.spanID, parentID: facts.parentID, state: facts.state)
        (span.flags, span.kind) = (0x100 | UInt32(facts.flags), .client)
        (span.start, span.end) = (time(facts.start), time(max(facts.start, facts.end)))
        span.attributes.reserveCapacity(20)
        if facts.isGenerative {
            span.name = facts.labels.operation + (facts.model.isEmpty ? "" : " " + facts.model)
            addModel(facts, to: &span)
        } else {
            span.name = facts.method.isEmpty ? "HTTP" : facts.method
            span.set("http.request.method", facts.method)
        }
        span.set("server.address", facts.labels.address)
        if facts.labels.port > 0 { span.set("server.port", facts.labels.port) }
        if facts.status > 0 { span.set("http.response.status_code", facts.status) }
        if facts.resends > 0 { span.set("http.request.resend_count", facts.resends) }
        span.set("sluice.upstream", facts.labels.upstream)
        span.set("sluice.place", facts.place)
        span.set("sluice.end", facts.reason)
        if !Self.isWanted(facts.reason) {
            span.set("error.type", facts.errorType.isEmpty ? facts.reason : facts.errorType)
            span.failure = facts.reason
        }
        return span
    }

    private func addModel(_ facts: AttemptFacts, to span: inout TraceSpan) {
        span.set("gen_ai.operation.name", facts.labels.operation)
        span.set("gen_ai.provider.name", facts.labels.provider)
        span.set("gen_ai.request.model", facts.model)
        span.set("gen_ai.request.max_tokens", facts.settings.maxTokens)
        span.set("gen_ai.request.temperature", facts.settings.temperature)
        span.set("gen_ai.request.top_p", facts.settings.topP)
        if facts.isStream { span.add("gen_ai.request.stream", .flag(true)) }
        span.set("gen_ai.response.id", facts.responseID)
        span.set("gen_ai.response.model", facts.responseModel)
        if let finish = facts.finish { span.add("gen_ai.response.finish_reasons", .texts([finish.conventionalName])) }
        span.set("gen_ai.usage.input_tokens", facts.usage?.input)
        span.set("gen_ai.usage.output_tokens", facts.usage?.output)
        span.set("gen_ai.usage.cache_read.input_tokens", facts.usage?.cached)
        if facts.isStream, let first = facts.firstToken {
            addFirstToken(first, since: facts.start, to: &span, isModel: true)
        }
    }

    private func addFirstToken(_ first: Instant, since start: Instant, to span: inout TraceSpan, isModel: Bool = false)
    {
        guard first >= start else { return }
        if isModel { span.set("gen_ai.response.time_to_first_chunk", (first - start).seconds) }
        span.events.append(.init(time: time(first), name: "sluice.first_token"))
    }
}

extension FinishReason {
    /// In the words that most providers use.
    fileprivate var conventionalName: String {
        switch self {
        case .stop: "stop"
        case .length: "length"
        case .toolCalls: "tool_calls"
        case .contentFilter: "content_filter"
        case .error: "error"
        case .other: "other"
        }
    }
}
