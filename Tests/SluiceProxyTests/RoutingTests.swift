import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceStreams
import Testing

@testable import SluiceProxy

@Suite struct RoutingTests {
    private let table: RouteTable = {
        func route(_ path: Route.Path, _ change: (inout Route) -> Void = { _ in }) -> Route {
            var route = Route(path: path, request: .prompt, response: .auto, upstream: 0)
            change(&route)
            return route
        }
        return RouteTable([
            route(.exact("/host")) { $0.host = "One.example" },
            route(.exact("/post")) { $0.methods = ["POST"] },
            route(.exact("/model")) { $0.conditions = [(.body(["model"]), "claude-*")] },
            route(.exact("/model")) { $0.conditions = [(.header("X-Tier"), "gold")] },
            route(.exact("/model")),
            route(.prefix("/v1/")),
            route(.exact("/deep")) {
                $0.conditions = [(.body(["messages", "0", "role"]), "us?r"), (.query("q"), "*")]
            },
            route(.prefix("/models/")) { $0.conditions = [(.path, "*:generate")] },
            route(.prefix("/models/")) { $0.conditions = [(.path, "/models/claude*:*")] },
        ])
    }()

    private func match(
        _ path: String, method: String = "GET", host: String = "h", query: String = "", fields: [(String, String)] = [],
        body: String? = nil
    ) -> String {
        var head = RequestHead(method: method, target: path + query, authority: host)
        for (name, value) in fields { head.fields.append(name, value) }
        switch table.match(head, path: path, body: body.flatMap { JSONValue.parse($0) }) {
        case .route(let index): return "\(index)"
        case .generation(let index, let wish): return "\(index) \(wish.kind) \(wish.name ?? "?")"
        case .workflow(let index, let wish): return "\(index) \(wish)"
        case .unknownWorkflow(let index): return "\(index) unknown"
        case .needsBody: return "body"
        case .notFound: return "404"
        case .methodNotAllowed(let allowed): return "405 \(allowed)"
        }
    }

    @Test func pathsHostsAndMethods() {
        #expect(match("/host", host: "one.EXAMPLE:8080") == "0")
        #expect(match("/host", host: "two.example") == "404")
        #expect(match("/post", method: "POST") == "1")
        #expect(match("/post") == "405 POST")
        #expect(match("/v1/models") == "5")
        #expect(match("/v1") == "5")
        #expect(match("/v10") == "404")
        #expect(match("/v1/x", method: "TRACE") == "405 GET, HEAD, POST")
    }

    @Test func conditions() {
        #expect(match("/model") == "body")
        #expect(match("/model", body: #"{"model":"claude-3"}"#) == "2")
        #expect(match("/model", fields: [("x-tier", "gold")], body: #"{"model":"gpt"}"#) == "3")
        #expect(match("/model", body: "{}") == "4")
        #expect(match("/deep", body: #"{"messages":[{"role":"user"}]}"#) == "404")
        #expect(match("/deep", query: "?q=1", body: #"{"messages":[{"role":"user"}]}"#) == "6")
        #expect(match("/deep", query: "?q=1", body: #"{"messages":[{"role":"tool"}]}"#) == "404")
    }

    /// As routing sees the path: normalised, without the query.
    @Test func conditionsOnThePath() {
        #expect(match("/models/a:generate") == "7")
        #expect(match("/models/a:generate", query: "?x=:count") == "7")
        #expect(match("/models/claude-3:count") == "8")
        #expect(match("/models/a:count", query: "?x=:generate") == "404")
    }

    /// What is too long to be copied for each route is none of the values that somebody listed.
    @Test func conditionsOnLongValues() {
        func match(_ glob: String, _ count: Int) -> String {
            var route = Route(path: .exact("/"), request: .prompt, response: .auto, upstream: 0)
            route.conditions = [(.body(["a"]), glob)]
            let head = RequestHead(method: "POST", target: "/", authority: "h")
            let body = JSONValue.object([(key: "a", value: JSONValue(String(repeating: "x", count: count)))])
            if case .route = RouteTable([route]).match(head, path: "/", body: body) { return "yes" }
            return "no"
        }
        #expect(match("x*", 16384) == "yes" && match("x*", 16385) == "no" && match("*x*", 1 << 20) == "no")
        #expect(match("*", 16385) == "yes")
    }

    @Test(arguments: [
        ("*", "", true), ("*", "abc", true), ("a*c", "abc", true), ("a*c", "ab", false), ("?", "", false),
        ("?", "x", true),
        ("a*b*c", "aXbYbZc", true), ("abc", "abcd", false), ("*a", "ba", true), ("*a", "ab", false), ("**", "x", true),
    ])
    func globs(pattern: String, text: String, matches: Bool) { #expect(Glob.matches(pattern, text) == matches) }
}

@Suite struct ContentTypeTests {
    @Test(arguments: [
        ("data: {}", true), (": hi", true), ("event: x", true), ("\u{FEFF}data:", true), ("\n\ndata: x", true),
        ("id: 1", true),
        ("da", true), ("<html>", false), (#"{"error":"x"}"#, false), ("dataset", false),
    ])
    func sniffing(body: String, isStream: Bool) {
        let bytes = Array(body.utf8)
        let opening = ContentType.opening(bytes.span)
        #expect((opening == .eventStream) == isStream)
    }

    @Test(arguments: [
        ("  {\"error\":", ContentType.Opening.json), ("[{", .json), ("<html>", .other), ("text", .other),
        ("", .eventStream),
        ("   ", .other),
    ])
    func openings(body: String, opening: ContentType.Opening) {
        let found = ContentType.opening(Array(body.utf8).span)
        #expect(found == opening)
    }

    @Test(arguments: [
        ("text/event-stream", true), ("Text/Event-Stream;charset=utf-8", true), ("application/x-ndjson", true),
        ("application/json", false), ("", false),
    ])
    func essence(value: String, isStream: Bool) {
        var fields = HeaderFields()
        fields.append("Content-Type", value)
        #expect(ContentType(fields).isStream == isStream)
    }
}

@Suite struct UpstreamRequestTests {
    private func make(
        _ body: String, method: String = "POST", target: String = "/x", fields: [(String, String)] = [],
        change: (inout Route) -> Void = { _ in }
    ) throws -> (head: String, body: String, request: UpstreamRequest) {
        var head = RequestHead(method: method, target: target, authority: "client")
        for (name, value) in fields { head.fields.append(name, value) }
        var route = Route(path: .exact("/x"), request: .openAIChat, response: .format(.text), upstream: 0)
        change(&route)
        var upstream = UpstreamSpec(
            name: "u", url: UpstreamURL(isTLS: true, host: "api.example", port: 443, basePath: "/v1"),
            apiKey: Secret("sk-own"))
        upstream.headers = [(name: "X-Org", value: Secret("org"))]
        let bytes = Array(body.utf8)
        let context = UpstreamRequest.Context(
            head: head, route: RouteEntry(route), upstream: UpstreamEndpoint(upstream), requestID: "id-1", path: "/x")
        let request = try UpstreamRequest.make(context, body: bytes.span, relayedLength: nil)
        var head1 = ByteQueue()
        HTTP1Serializer.request(request.head, length: request.length, into: &head1)
        let text = head1.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
        return (text, String(decoding: request.body, as: UTF8.self), request)
    }

    @Test func aChatRequestIsMadeToStream() throws {
        let made = try make(#"{"model":"m","messages":[],"seed":12345678901234567890}"#)
        #expect(made.body == #"{"model":"m","messages":[],"seed":12345678901234567890,"stream":true}"#)
        #expect(made.head.hasPrefix("POST /v1/chat/completions HTTP/1.1\r\n"))
        let head = made.head.lowercased()
        #expect(head.contains("\r\nhost: api.example\r\n"))
        #expect(head.contains("\r\nauthorization: bearer sk-own\r\n"))
        #expect(head.contains("\r\nx-org: org\r\n"))
        #expect(head.contains("\r\naccept-encoding: identity\r\n"))
        #expect(head.contains("\r\ncontent-length: \(made.body.utf8.count)\r\n"))
    }

    @Test func bytesThatNeedNoChangeStayAsTheyAre() throws {
        let body = #"{ "messages" : [ ],  "stream" : false, "x":1e400 }"#
        let made = try make(body) { $0.response = .format(.openAIChat) }
        #expect(made.body == body)
        #expect(!made.request.expectation.wantsStream && !made.request.expectation.asksForStream)
    }

    @Test(arguments: [
        (
            #"{"messages":[]}"#, StreamFormat.sseText,
            #"{"messages":[],"stream":true,"stream_options":{"include_usage":true}}"#
        ),
        (#"{"messages":[],"stream":true}"#, .text, #"{"messages":[],"stream":true}"#),
        (
            #"{"messages":[],"stream":true} "#, .ndjson,
            #"{"messages":[],"stream":true,"stream_options":{"include_usage":true}}"#
        ),
        (#"{"stream_options":null,"messages":[]}"#, .ndjson, #"{"stream_options":null,"messages":[],"stream":true}"#),
    ])
    func whatIsAdded(body: String, format: StreamFormat, sent: String) throws {
        #expect(try make(body) { $0.response = .format(format) }.body == sent)
    }

    @Test func modelSystemDefaultsAndOverrides() throws {
        let made = try make(#"{"model":"a","messages":[{"role":"user","content":"hi"}],"temperature":1}"#) {
            $0.model = "b"
            $0.system = "be brief"
            $0.defaults = #"{"temperature":0,"top_p":0.5}"#
            $0.overrides = #"{"max_tokens":5}"#
        }
        let value = JSONValue.parse(made.body)
        #expect(value?["model"] == .string("b"))
        #expect(value?["temperature"] == .number("1"))
        #expect(value?["top_p"] == .number("0.5"))
        #expect(value?["max_tokens"] == .number("5"))
        #expect(value?.text(at: ["messages", "0", "content"]) == "be brief")
        #expect(value?.text(at: ["messages", "1", "content"]) == "hi")
    }

    @Test(arguments: [
        ("", "/x?prompt=a+b%21", "", "a b!"), (#"{"prompt":"p"}"#, "/x", "application/json", "p"),
        (#"{"message":"m"}"#, "/x", "application/json", "m"), ("plain text", "/x", "text/plain", "plain text"),
        ("just text", "/x", "", "just text"), ("a=1&prompt=f+%C3%BC", "/x", "application/x-www-form-urlencoded", "f ü"),
    ])
    func prompts(body: String, target: String, type: String, prompt: String) throws {
        let fields = type.isEmpty ? [] : [("Content-Type", type)]
        let made = try make(body, target: target, fields: fields) { $0.request = .prompt }
        #expect(JSONValue.parse(made.body)?.text(at: ["messages", "0", "content"]) == prompt)
    }

    @Test(arguments: [
        "", "[]", "{}", "nonsense", #"{"messages":5}"#, #"{"messages":[]"#, #"{"messages":[]} x"#,
    ]) func notAChatRequest(body: String) {
        #expect(throws: ProxyError.self) { try make(body) }
    }

    @Test(arguments: [
        ("/x?format=ndjson", "*/*", StreamFormat.ndjson), ("/x", "text/event-stream", .sseText),
        ("/x", "application/x-ndjson", .ndjson), ("/x", "*/*", .text),
        ("/x?format=sse-json", "text/event-stream", .sseJSON),
    ])
    func negotiation(target: String, accept: String, format: StreamFormat) throws {
        let made = try make("hi", target: target, fields: [("Accept", accept)]) {
            $0.request = .prompt
            $0.response = .auto
        }
        #expect(made.request.format == format)
    }

    @Test func passthroughTakesCredentialsAndHopByHopFieldsOut() throws {
        let fields = [
            ("Authorization", "Bearer client"), ("Cookie", "c=1"), ("X-Keep", "yes"), ("Connection", "X-Drop"),
            ("X-Drop", "1"),
            ("Transfer-Encoding", "chunked"), ("Accept-Encoding", "gzip"),
        ]
        let made = try make("body", target: "/x?a=1", fields: fields) {
            $0.request = .passthrough
            $0.response = .format(.passthrough)
        }
        let head = made.head.lowercased()
        #expect(head.hasPrefix("post /v1/chat/completions?a=1 http/1.1\r\n"))
        #expect(head.contains("x-keep: yes") && head.contains("bearer sk-own"))
        for gone in ["client\r", "cookie", "x-drop", "transfer-encoding", "gzip"] { #expect(!head.contains(gone)) }
        #expect(made.body == "body")
    }
}
