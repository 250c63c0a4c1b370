import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceStreams

/// The request as it goes to an upstream: made from the client's by the route, sent in one write, kept until answered.
final class UpstreamRequest {
    /// What it is made from besides the body.
    struct Context {
        let head: RequestHead
        let route: RouteEntry
        let upstream: UpstreamEndpoint
        let requestID: String
        let path: String
        /// Of the upstream in the route's list.
        var position = 0
        /// The next of the trace; nil if there is none.
        var traceparent: String?
        /// What a chain has put together in place of the client's request, or some of it.
        var step: ChainRun.StepRequest?
        /// What others noted of it; may be "".
        var tracestate = ""
        /// nil where it is no run of a workflow.
        var run: Run?
    }
    /// What the client expects of the answer.
    struct Expectation {
        var format: StreamFormat
        var model = ""
        /// A stream; else one document.
        var wantsStream = true
        /// The upstream was asked for a stream.
        var asksForStream = true
        var includeUsage = false
        var wantsArray = false
        var messageID = ""
        var threadID = ""
        var runID = ""
        /// Set where the answer is that of a run, and written as such.
        var run: RunAnswer?
    }
    let head: RequestHead
    let length: BodyLength
    /// The whole body; empty if it is relayed as it comes.
    let body: [UInt8]
    let isBodyRelayed: Bool
    let expectation: Expectation
    /// What the upstream's dialect had no words for, left out by `drop_unsupported`.
    let dropped: [String]

    init(
        head: RequestHead, length: BodyLength, body: [UInt8], isBodyRelayed: Bool, expectation: Expectation,
        dropped: [String] = []
    ) {
        (self.head, self.length, self.body, self.isBodyRelayed) = (head, length, body, isBodyRelayed)
        (self.expectation, self.dropped) = (expectation, dropped)
    }

    var format: StreamFormat { expectation.format }

    /// Throws 400 for a body that is not of the route's request format. `relayedLength` is not nil where the body follows
    /// later, as it arrives; `body` is empty then.
    static func make(
        _ context: Context, body: Span<UInt8>, relayedLength: BodyLength?
    ) throws(ProxyError) -> UpstreamRequest {
        if context.route.spec.request == .passthrough {
            return try relayed(context, body: body.array, length: relayedLength)
        }
        let format = try responseFormat(context.route, context.head)
        let plan: Plan
        if let step = context.step, let chat = step.chat {
            plan = try composed(context, chat, step)
        } else if let same = try unchanged(context, body, format) {
            plan = same
        } else {
            plan = try translated(context, body, format)
        }
        var head = chatHead(context, plan.expectation)
        let bytes = plan.body
        try context.upstream.sign(&head, body: bytes.span)
        return UpstreamRequest(
            head: head, length: .fixed(plan.body.count), body: plan.body, isBodyRelayed: false,
            expectation: plan.expectation, dropped: plan.dropped)
    }

    private static func chatHead(_ context: Context, _ expectation: Expectation) -> RequestHead {
        let upstream = context.upstream
        var fields = upstream.jsonFields
        fields.append("Accept", expectation.asksForStream ? upstream.dialect.streamAccept : "application/json")
        fields.append("X-Request-Id", context.requestID)
        appendTrace(context, to: &fields)
        let target =
            context.route.spec.upstreamPath.map { upstream.spec.url.basePath + $0 }
            ?? upstream.target(model: expectation.model, stream: expectation.asksForStream)
        return makeHead("POST", target, fields, upstream)
    }

    /// What others noted of the trace goes with it (W3C Trace Context §3.3), and never without.
    private static func appendTrace(_ context: Context, to fields: inout HeaderFields) {
        guard let trace = context.traceparent else { return }
        fields.append("traceparent", trace)
        if !context.tracestate.isEmpty { fields.append("tracestate", context.tracestate) }
    }

    // MARK: - Bodies

    /// What becomes of a body.
    struct Plan {
        let body: [UInt8]
        let expectation: Expectation
        var dropped: [String] = []
    }

    /// Only these formats have a place for the usage that OpenAI sends when it is asked to.
    private static func tellsUsage(_ format: StreamFormat) -> Bool {
        format == .sseText || format == .sseJSON || format == .ndjson
    }

    /// The commonest request of all, OpenAI's chat for somebody who speaks it, where the route changes nothing: one pass over the
    /// text, and the client's bytes go on with no more than a member added. nil: it is another one.
    private static func unchanged(
        _ context: Context, _ body: Span<UInt8>, _ format: StreamFormat
    ) throws(ProxyError) -> Plan? {
        let route = context.route
        guard context.step == nil, route.spec.request == .openAIChat, !route.changesBody(at: context.position),
            context.upstream.dialect == .openAIChat,
            format == .openAIChat || tellsUsage(format) || format == .text
        else { return nil }
        guard let chat = ChatBody(body) else {
            throw ProxyError(.badRequest, .client, "the request body is not a JSON object")
        }
        guard chat.hasMessages else {
            throw ProxyError(.badRequest, .client, "the request body has no array 'messages'")
        }
        // Who names no real model, says in other places what is wanted, or asks another format for one document, is read more closely.
        guard chat.modelBytes <= RouteModel.nameLimit else { return nil }
        let isOpenAI = format == .openAIChat
        var expectation = Expectation(format: format)
        if isOpenAI {
            guard chat.stream == .yes || chat.stream == .no || chat.stream == .absent && isPlain(context.head) else {
                return nil
            }
            expectation.model = chat.modelName(in: body)
            let wantsStream = chat.stream == .yes
            (expectation.wantsStream, expectation.asksForStream) = (wantsStream, wantsStream)
            return Plan(body: body.array, expectation: expectation)
        }
        guard chat.stream == .yes || chat.stream == .absent && isPlain(context.head) else { return nil }
        expectation.model = chat.modelName(in: body)
        let addsUsage = !chat.hasStreamOptions && tellsUsage(format)
        let bytes =
            switch (chat.stream, addsUsage) {
            case (.absent, true):
                chat.adding(#","stream":true,"stream_options":{"include_usage":true}"#, to: body)
            case (.absent, false): chat.adding(#","stream":true"#, to: body)
            case (_, true): chat.adding(#","stream_options":{"include_usage":true}"#, to: body)
            case (_, false): body.array
            }
        return Plan(body: bytes, expectation: expectation)
    }

    /// Neither the target nor `Accept` says whether a stream is wanted.
    private static func isPlain(_ head: RequestHead) -> Bool {
        guard !head.target.utf8.contains(UInt8(ascii: "?")) else { return false }
        guard let accept = head.fields.first("accept") else { return true }
        return !accept.contains("/json") && !accept.contains("/event-stream")
    }

    /// The body is written anew, in the upstream's words.
    private static func translated(
        _ context: Context, _ body: Span<UInt8>, _ format: StreamFormat
    ) throws(ProxyError) -> Plan {
        var rules = context.route.rules(at: context.position)
        rules.fallbackModel = context.upstream.dialect.fallbackModel
        if let step = context.step { rules.system = step.system }
        var hints = hints(context.head, context.path, context.route, format)
        let (bytes, items) = formItems(body, context.head, context.route)
        if !items.isEmpty { hints.parameters = hints.parameters.or(PromptParameters(items)) }
        let request: TranslatedRequest
        do throws(RequestError) {
            request = try RequestTranslator.translate(
                bytes, from: context.route.spec.request, to: context.upstream.dialect, rules, hints)
        } catch {
            throw ProxyError(.badRequest, .client, error.message)
        }
        var expectation = Expectation(format, request)
        if let run = context.run { expectation.take(run) }
        return Plan(body: request.body, expectation: expectation, dropped: request.dropped)
    }

    /// A form says in its body what a query says in the target.
    static func formItems(
        _ body: Span<UInt8>, _ head: RequestHead, _ route: RouteEntry
    ) -> (body: [UInt8], items: [(name: String, value: String)]) {
        guard route.spec.request == .prompt, ContentType(head.fields).isForm else { return (body.array, []) }
        return ([], RequestTarget("/?" + String(decoding: body.array, as: UTF8.self)).queryItems())
    }

    /// What stands outside the body.
    static func hints(
        _ head: RequestHead, _ path: String, _ route: RouteEntry, _ format: StreamFormat
    ) -> RequestHints {
        let target = RequestTarget(head.target)
        var hints = RequestHints()
        hints.path = path
        hints.accept = head.fields.first("accept")?.lowercased() ?? ""
        hints.streamQuery = target.value(named: "stream")
        hints.altQuery = target.value(named: "alt")
        if route.spec.request == .prompt { hints.parameters = PromptParameters(target.queryItems()) }
        hints.isPlainText = ContentType(head.fields).isPlainText
        // Formats of no provider are streams, whatever the provider whose requests they come with does.
        hints.streamDefault = format.dialect == nil ? true : nil
        return hints
    }

    // MARK: - Passthrough

    private static func relayed(
        _ context: Context, body: [UInt8], length: BodyLength?
    ) throws(ProxyError) -> UpstreamRequest {
        let head = context.head
        let kept = head.fields.endToEnd()
        var fields = kept.filtered { index in
            let name = kept.name(at: index)
            if isReplaced(name) || context.upstream.replaces(name) { return false }
            return !isCredential(name) || RelayedCredentials.forwards(kept, index, context)
        }
        fields = RelayedCredentials.withoutOwnCookies(fields, context)
        // Secrets go in last, after everything of the client's has been sorted out.
        fields.append("X-Request-Id", context.requestID)
        appendTrace(context, to: &fields)
        fields.append(context.upstream.fields(beside: fields))
        let hasNoBody = length == nil && body.isEmpty && (head.method == "GET" || head.method == "HEAD")
        let target = relayedPath(context) + RelayedCredentials.query(context)
        var sent = makeHead(head.method, target, fields, context.upstream)
        try context.upstream.sign(&sent, body: body.span)
        return UpstreamRequest(
            head: sent, length: hasNoBody ? .none : length ?? .fixed(body.count), body: body,
            isBodyRelayed: length != nil,
            expectation: Expectation(format: .passthrough))
    }

    /// A prefix route keeps what stands behind the prefix; an exact one goes to the dialect's own path, if it has one.
    private static func relayedPath(_ context: Context) -> String {
        let base = context.upstream.spec.url.basePath
        if let path = context.route.spec.upstreamPath {
            guard path.hasSuffix("*"), case .prefix(let prefix) = context.route.spec.path else { return base + path }
            return base + path.dropLast() + context.path.dropFirst(prefix.count)
        }
        switch context.route.spec.path {
        case .prefix(let prefix): return base + "/" + context.path.dropFirst(prefix.count)
        case .exact:
            let dialect = context.upstream.dialect
            if dialect == .raw || dialect.namesModelInTarget { return base + context.path }
            return context.upstream.target(model: "", stream: true)
        }
    }

    private static func isReplaced(_ name: Span<UInt8>) -> Bool {
        for own: StaticString in ["accept-encoding", "x-request-id", "host", "traceparent", "tracestate"]
        where ASCII.equalFolded(name, own) {
            return true
        }
        return false
    }

    private static func isCredential(_ name: Span<UInt8>) -> Bool {
        for field: StaticString in ["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"]
        where ASCII.equalFolded(name, field) { return true }
        return false
    }

    // MARK: - The answer's format

    /// What `response: auto` stands for: `?format=` if given, else the request's own dialect, else what `Accept` asks for.
    static func responseFormat(_ route: RouteEntry, _ head: RequestHead) throws(ProxyError) -> StreamFormat {
        if case .format(let format) = route.spec.response { return format }
        if let name = RequestTarget(head.target).value(named: "format") {
            if let format = StreamFormat(rawValue: name), format != .passthrough { return format }
            let choices = StreamFormat.allCases.filter { $0 != .passthrough }.map(\.rawValue).joined(separator: ", ")
            throw ProxyError(.badRequest, .client, "format '\(name.prefix(40))' is not one of \(choices)")
        }
        let own = route.spec.request.response
        guard own == .text else { return own }
        let accept = head.fields.first("accept")?.lowercased() ?? ""
        if accept.contains("text/event-stream") { return .sseText }
        if accept.contains("ndjson") || accept.contains("jsonl") || accept.contains("json-lines") { return .ndjson }
        return .text
    }

    // MARK: - Heads

    private static func makeHead(
        _ method: String, _ target: String, _ fields: HeaderFields, _ upstream: UpstreamEndpoint
    ) -> RequestHead {
        RequestHead(
            method: method, target: target.isEmpty ? "/" : target, authority: upstream.authority, fields: fields)
    }
}

extension Span<UInt8> {
    var array: [UInt8] { withUnsafeBufferPointer { Array($0) } }
}
