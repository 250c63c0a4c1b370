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
    }
    let head: RequestHead
    let length: BodyLength
    /// The whole body; empty if it is relayed as it comes.
    let body: [UInt8]
    let isBodyRelayed: Bool
    /// What the client gets back.
    let format: StreamFormat
    let wantsStream: Bool
    let model: String

    private init(
        head: RequestHead, length: BodyLength, body: [UInt8], isBodyRelayed: Bool, format: StreamFormat,
        wantsStream: Bool, model: String
    ) {
        (self.head, self.length, self.body, self.isBodyRelayed) = (head, length, body, isBodyRelayed)
        (self.format, self.wantsStream, self.model) = (format, wantsStream, model)
    }

    /// Throws 400 for a body that is not of the route's request format. `relayedLength` is not nil where the body follows
    /// later, as it arrives; `body` is empty then.
    static func make(
        _ context: Context, body: Span<UInt8>, relayedLength: BodyLength?
    ) throws(ProxyError) -> UpstreamRequest {
        if context.route.spec.request == .passthrough {
            return relayed(context, body: body.array, length: relayedLength)
        }
        let format = try responseFormat(context)
        let plan =
            context.route.spec.request == .prompt
            ? plan(try promptRequest(context, body), context, format) : try chatPlan(context, body, format)
        var fields = context.upstream.jsonFields
        fields.append("Accept", plan.wantsStream ? "text/event-stream" : "application/json")
        fields.append("X-Request-Id", context.requestID)
        if let trace = context.head.fields.first("traceparent") { fields.append("traceparent", trace) }
        var target = context.upstream.chatTarget
        if let path = context.route.spec.upstreamPath { target = context.upstream.spec.url.basePath + path }
        return UpstreamRequest(
            head: makeHead("POST", target, fields, context.upstream), length: .fixed(plan.body.count), body: plan.body,
            isBodyRelayed: false, format: format, wantsStream: plan.wantsStream, model: plan.model)
    }

    // MARK: - Bodies

    /// What becomes of a body.
    private struct Plan {
        let body: [UInt8]
        let wantsStream: Bool
        let model: String
    }

    /// Only these formats have a place for the usage that OpenAI sends when it is asked to.
    private static func tellsUsage(_ format: StreamFormat) -> Bool {
        format == .sseText || format == .sseJSON || format == .ndjson
    }

    /// A body that needs no change, or only something added, keeps the client's bytes: number text, key order and spacing.
    private static func chatPlan(
        _ context: Context, _ body: Span<UInt8>, _ format: StreamFormat
    ) throws(ProxyError) -> Plan {
        guard let chat = ChatBody(body) else {
            throw ProxyError(.badRequest, .client, "the request body is not a JSON object")
        }
        guard chat.hasMessages else {
            throw ProxyError(.badRequest, .client, "the request body has no array 'messages'")
        }
        let isOpenAI = format == .openAIChat
        let route = context.route.spec
        let isChanged = route.defaults != nil || route.overrides != nil || route.model != nil || route.system != nil
        guard !isChanged, isOpenAI || chat.stream != .other else {
            guard let value = JSONValue.parse(body) else {
                throw ProxyError(.badRequest, .client, "the request body is not a JSON object")
            }
            return plan(value, context, format)
        }
        let model = isOpenAI ? chat.modelName(in: body) : ""
        if isOpenAI { return Plan(body: body.array, wantsStream: chat.stream == .yes, model: model) }
        let addsUsage = !chat.hasStreamOptions && tellsUsage(format)
        let bytes =
            switch (chat.stream, addsUsage) {
            case (.absent, true):
                chat.adding(#","stream":true,"stream_options":{"include_usage":true}"#, to: body)
            case (.absent, false): chat.adding(#","stream":true"#, to: body)
            case (_, true): chat.adding(#","stream_options":{"include_usage":true}"#, to: body)
            case (_, false): body.array
            }
        return Plan(body: bytes, wantsStream: true, model: model)
    }

    /// The body is written anew: the route changes it, or it was no chat request.
    private static func plan(_ request: JSONValue, _ context: Context, _ format: StreamFormat) -> Plan {
        var request = request
        apply(context.route.spec, to: &request)
        let isPrompt = context.route.spec.request == .prompt
        if isPrompt, request["model"] == nil { request["model"] = .string("gpt-4o-mini") }
        // A prompt says nothing of streaming, and every format but OpenAI's own is a stream.
        let isChat = !isPrompt && format == .openAIChat
        let wantsStream = !isChat || request["stream"] == .bool(true)
        if wantsStream, !isChat {
            request["stream"] = .bool(true)
            if request["stream_options"] == nil, tellsUsage(format) {
                request["stream_options"] = .object([(key: "include_usage", value: .bool(true))])
            }
        }
        var model = ""
        if case .string(let name)? = request["model"] { model = name.text }
        return Plan(body: request.serialized(), wantsStream: wantsStream, model: model)
    }

    // MARK: - Passthrough

    private static func relayed(_ context: Context, body: [UInt8], length: BodyLength?) -> UpstreamRequest {
        let head = context.head
        let kept = head.fields.endToEnd()
        var fields = kept.filtered { index in
            let name = kept.name(at: index)
            if isReplaced(name) { return false }
            return context.route.spec.forwardCredentials || !isCredential(name)
        }
        // Secrets go in last, after everything of the client's has been sorted out.
        fields.append("X-Request-Id", context.requestID)
        fields.append(context.upstream.ownFields)
        let hasNoBody = length == nil && body.isEmpty && (head.method == "GET" || head.method == "HEAD")
        let target = relayedPath(context) + query(of: head.target)
        return UpstreamRequest(
            head: makeHead(head.method, target, fields, context.upstream),
            length: hasNoBody ? .none : length ?? .fixed(body.count), body: body, isBodyRelayed: length != nil,
            format: .passthrough, wantsStream: true, model: "")
    }

    /// A prefix route keeps what stands behind the prefix; an exact one goes to the dialect's own path, if it has one.
    private static func relayedPath(_ context: Context) -> String {
        let base = context.upstream.spec.url.basePath
        if let path = context.route.spec.upstreamPath { return base + path }
        switch context.route.spec.path {
        case .prefix(let prefix): return base + "/" + context.path.dropFirst(prefix.count)
        case .exact:
            return context.upstream.spec.wire == .dialect(.raw) ? base + context.path : base + "/chat/completions"
        }
    }

    private static func query(of target: String) -> String {
        guard let mark = target.firstIndex(of: "?") else { return "" }
        return String(target[mark...])
    }

    private static func isReplaced(_ name: Span<UInt8>) -> Bool {
        for own: StaticString in ["accept-encoding", "x-request-id", "host"] where ASCII.equalFolded(name, own) {
            return true
        }
        return false
    }

    private static func isCredential(_ name: Span<UInt8>) -> Bool {
        for field: StaticString in ["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"]
        where ASCII.equalFolded(name, field) { return true }
        return false
    }

    // MARK: - Prompts and changes

    /// `?prompt=`, a JSON object with `prompt` or `message`, or a text body.
    private static func promptRequest(_ context: Context, _ body: Span<UInt8>) throws(ProxyError) -> JSONValue {
        guard let prompt = prompt(context, body), !prompt.isEmpty else {
            throw ProxyError(
                .badRequest, .client, "no prompt: give ?prompt=, a JSON body with 'prompt' or 'message', or a text body"
            )
        }
        let message = JSONValue.object([
            (key: "role", value: .string("user")), (key: "content", value: JSONValue(prompt)),
        ])
        return .object([(key: "messages", value: .array([message]))])
    }

    private static func prompt(_ context: Context, _ body: Span<UInt8>) -> String? {
        if let prompt = RequestTarget(context.head.target).value(named: "prompt") { return prompt }
        if body.isEmpty { return nil }
        let type = ContentType(context.head.fields)
        if type.isPlainText { return String(decoding: body.array, as: UTF8.self) }
        guard let value = JSONValue.parse(body) else {
            return type.isJSON ? nil : String(decoding: body.array, as: UTF8.self)
        }
        if case .string(let prompt)? = value["prompt"] { return prompt.text }
        if case .string(let message)? = value["message"] { return message.text }
        return nil
    }

    /// Puts in what the route says.
    private static func apply(_ route: Route, to request: inout JSONValue) {
        if let defaults = route.defaults, case .object(let members)? = JSONValue.parse(defaults) {
            for (key, value) in members where request[key] == nil { request[key] = value }
        }
        if let overrides = route.overrides, case .object(let members)? = JSONValue.parse(overrides) {
            for (key, value) in members { request[key] = value }
        }
        if let model = route.model { request["model"] = JSONValue(model) }
        if let system = route.system, case .array(let messages)? = request["messages"] {
            let own = JSONValue.object([
                (key: "role", value: .string("system")), (key: "content", value: JSONValue(system)),
            ])
            request["messages"] = .array([own] + messages)
        }
    }

    /// What `response: auto` stands for: `?format=` if given, else what `Accept` asks for, else the request's own dialect.
    private static func responseFormat(_ context: Context) throws(ProxyError) -> StreamFormat {
        if case .format(let format) = context.route.spec.response { return format }
        if let name = RequestTarget(context.head.target).value(named: "format") {
            if let format = StreamFormat(rawValue: name), format != .passthrough { return format }
            let choices = StreamFormat.allCases.filter { $0 != .passthrough }.map(\.rawValue).joined(separator: ", ")
            throw ProxyError(.badRequest, .client, "format '\(name.prefix(40))' is not one of \(choices)")
        }
        let accept = context.head.fields.first("accept")?.lowercased() ?? ""
        if context.route.spec.request == .openAIChat { return .openAIChat }
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
