import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceStreams

/// The request as it goes to an upstream: made from the client's by the route, sent in one write, kept until answered.
struct UpstreamRequest {
    /// What it is made from besides the body.
    struct Context {
        let head: RequestHead
        let route: RouteEntry
        let upstream: UpstreamSpec
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

    /// Throws 400 for a body that is not of the route's request format. `relayedLength` is not nil where the body follows
    /// later, as it arrives; `body` is empty then.
    static func make(
        _ context: Context, body: Span<UInt8>, relayedLength: BodyLength?
    ) throws(ProxyError) -> UpstreamRequest {
        if context.route.spec.request == .passthrough {
            return relayed(context, body: body.array, length: relayedLength)
        }
        let format = try responseFormat(context)
        var request: JSONValue
        switch context.route.spec.request {
        case .prompt: request = try promptRequest(context, body)
        default: request = try chatRequest(body)
        }
        // Bytes that need no change are sent as they came: number text, key order and spacing are the client's own.
        let isChanged = apply(context.route.spec, to: &request)
        var isOriginal = context.route.spec.request == .openAIChat && !isChanged
        var addition: StaticString = ""
        if context.route.spec.request == .prompt, request["model"] == nil { request["model"] = .string("gpt-4o-mini") }
        // A prompt says nothing of streaming, and every format but OpenAI's own is a stream.
        let isChat = context.route.spec.request == .openAIChat && format == .openAIChat
        let wantsStream = !isChat || request["stream"] == .bool(true)
        if wantsStream, !isChat {
            let addsUsage =
                request["stream_options"] == nil && (format == .sseText || format == .sseJSON || format == .ndjson)
            if isOriginal, request["stream"] == nil {
                addition =
                    addsUsage ? #","stream":true,"stream_options":{"include_usage":true}}"# : #","stream":true}"#
            } else {
                isOriginal = isOriginal && !addsUsage && request["stream"] == .bool(true)
                request["stream"] = .bool(true)
                if addsUsage { request["stream_options"] = .object([(key: "include_usage", value: .bool(true))]) }
            }
        }
        let bytes = isOriginal ? adding(addition, to: body) : request.serialized()
        var model = ""
        if case .string(let name)? = request["model"] { model = name }
        var fields = HeaderFields()
        fields.append("Content-Type", "application/json")
        fields.append("Accept", wantsStream ? "text/event-stream" : "application/json")
        fields.append("User-Agent", "sluice")
        appendOwn(context, to: &fields)
        let path = context.upstream.url.basePath + (context.route.spec.upstreamPath ?? "/chat/completions")
        return UpstreamRequest(
            head: makeHead("POST", path, fields, context.upstream), length: .fixed(bytes.count), body: bytes,
            isBodyRelayed: false, format: format, wantsStream: wantsStream, model: model)
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
        appendOwn(context, to: &fields)
        let hasNoBody = length == nil && body.isEmpty && (head.method == "GET" || head.method == "HEAD")
        let target = relayedPath(context) + query(of: head.target)
        return UpstreamRequest(
            head: makeHead(head.method, target, fields, context.upstream),
            length: hasNoBody ? .none : length ?? .fixed(body.count), body: body, isBodyRelayed: length != nil,
            format: .passthrough, wantsStream: true, model: "")
    }

    /// A prefix route keeps what stands behind the prefix; an exact one goes to the dialect's own path, if it has one.
    private static func relayedPath(_ context: Context) -> String {
        let base = context.upstream.url.basePath
        if let path = context.route.spec.upstreamPath { return base + path }
        switch context.route.spec.path {
        case .prefix(let prefix): return base + "/" + context.path.dropFirst(prefix.count)
        case .exact: return context.upstream.wire == .dialect(.raw) ? base + context.path : base + "/chat/completions"
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

    // MARK: - Bodies

    private static func chatRequest(_ body: Span<UInt8>) throws(ProxyError) -> JSONValue {
        guard let value = JSONValue.parse(body), case .object = value else {
            throw ProxyError(.badRequest, .client, "the request body is not a JSON object")
        }
        guard case .array? = value["messages"] else {
            throw ProxyError(.badRequest, .client, "the request body has no array 'messages'")
        }
        return value
    }

    /// `?prompt=`, a JSON object with `prompt` or `message`, or a text body.
    private static func promptRequest(_ context: Context, _ body: Span<UInt8>) throws(ProxyError) -> JSONValue {
        guard let prompt = prompt(context, body), !prompt.isEmpty else {
            throw ProxyError(
                .badRequest, .client, "no prompt: give ?prompt=, a JSON body with 'prompt' or 'message', or a text body"
            )
        }
        let message = JSONValue.object([
            (key: "role", value: .string("user")), (key: "content", value: .string(prompt)),
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
        if case .string(let prompt)? = value["prompt"] { return prompt }
        if case .string(let message)? = value["message"] { return message }
        return nil
    }

    /// `members` in place of the brace that ends `object`, which is one and is not empty.
    private static func adding(_ members: StaticString, to object: Span<UInt8>) -> [UInt8] {
        guard members.utf8CodeUnitCount > 0 else { return object.array }
        var end = object.count
        while end > 0, object[end - 1] != ASCII.rightBrace { end -= 1 }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(end + members.utf8CodeUnitCount)
        object.extracting(0..<max(0, end - 1)).withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: UnsafeBufferPointer(start: members.utf8Start, count: members.utf8CodeUnitCount))
        return bytes
    }

    /// Puts in what the route says. False if that is nothing.
    private static func apply(_ route: Route, to request: inout JSONValue) -> Bool {
        if let defaults = route.defaults, case .object(let members)? = JSONValue.parse(defaults) {
            for (key, value) in members where request[key] == nil { request[key] = value }
        }
        if let overrides = route.overrides, case .object(let members)? = JSONValue.parse(overrides) {
            for (key, value) in members { request[key] = value }
        }
        if let model = route.model { request["model"] = .string(model) }
        if let system = route.system, case .array(let messages)? = request["messages"] {
            let own = JSONValue.object([
                (key: "role", value: .string("system")), (key: "content", value: .string(system)),
            ])
            request["messages"] = .array([own] + messages)
        }
        return route.defaults != nil || route.overrides != nil || route.model != nil || route.system != nil
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

    /// Fields that Sluice itself adds; secrets go in last, after everything of the client's has been sorted out.
    private static func appendOwn(_ context: Context, to fields: inout HeaderFields) {
        fields.append("Accept-Encoding", "identity")
        fields.append("X-Request-Id", context.requestID)
        if context.route.spec.request != .passthrough, let trace = context.head.fields.first("traceparent") {
            fields.append("traceparent", trace)
        }
        if let key = context.upstream.apiKey { fields.append("Authorization", "Bearer " + key.revealed) }
        for (name, value) in context.upstream.headers { fields.append(name, value.revealed) }
    }

    private static func makeHead(
        _ method: String, _ target: String, _ fields: HeaderFields, _ upstream: UpstreamSpec
    ) -> RequestHead {
        RequestHead(
            method: method, target: target.isEmpty ? "/" : target, authority: upstream.url.authority, fields: fields)
    }
}

extension UpstreamURL {
    /// For `Host`: the port only where it is not the scheme's own.
    var authority: String {
        if unixPath != nil { return "localhost" }
        let name = host.contains(":") ? "[\(host)]" : host
        return port == (isTLS ? 443 : 80) ? name : "\(name):\(port)"
    }
}

extension UpstreamSpec.Wire {
    func makeDecoder(eventBytes: Int) -> any StreamDecoder {
        switch self {
        case .dialect(let dialect): StreamDecoders.make(dialect, eventBytes: eventBytes)
        case .custom(let custom): StreamDecoders.make(custom, eventBytes: eventBytes)
        }
    }
}

extension Span<UInt8> {
    var array: [UInt8] { withUnsafeBufferPointer { Array($0) } }
}
