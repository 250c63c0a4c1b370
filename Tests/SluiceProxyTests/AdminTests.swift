import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceStreams
import Testing

@testable import SluiceProxy

@Suite struct AdminRouterTests {
    private func ask(
        _ method: String, _ target: String, host: String = "127.0.0.1:9910", token: String? = nil,
        address: String = "127.0.0.1:9910", expose: [AdminSpec.Endpoint]? = nil, _ fields: [(String, String)] = []
    ) -> Result<AdminAction, AdminRefusal> {
        var head = RequestHead(method: method, target: target, authority: host)
        for (name, value) in fields { head.fields.append(name, value) }
        let router = AdminRouter(AdminSpec(address: address, token: token.map { Secret($0) }, expose: expose))
        do throws(AdminRefusal) { return .success(try router.action(for: head)) } catch { return .failure(error) }
    }

    private func status(_ result: Result<AdminAction, AdminRefusal>) -> Int {
        if case .failure(let refusal) = result { refusal.status } else { 200 }
    }

    @Test func findsWhatIsAskedFor() {
        let cases: [(String, String, AdminAction)] = [
            ("GET", "/", .index), ("GET", "/livez", .live), ("HEAD", "/readyz", .ready), ("GET", "/metrics", .metrics),
            ("GET", "/config", .configuration), ("GET", "/streams", .streams(limit: 1000)),
            ("GET", "/streams?limit=5", .streams(limit: 5)),
            ("POST", "/streams/1-23/cancel", .cancel(worker: 1, serial: 23)), ("POST", "/drain", .drain),
            ("POST", "/reload", .reload), ("GET", "/logging", .level),
            ("POST", "/logging?level=debug", .setLevel(.debug)),
        ]
        for (method, target, action) in cases { #expect(ask(method, target) == .success(action)) }
    }

    @Test func refusesTheRest() {
        let cases: [(String, String, Int)] = [
            ("GET", "/nothing", 404), ("GET", "/metrics/", 404), ("POST", "/metrics", 405), ("GET", "/drain", 405),
            ("GET", "/reload", 405), ("GET", "/streams/0-1/cancel", 405), ("POST", "/streams/x-1/cancel", 404),
            ("POST", "/streams/0-1-2/cancel", 404), ("POST", "/streams/-1-2/cancel", 404),
            ("POST", "/streams/0-99999999999999999999/cancel", 404), ("POST", "/logging", 400),
            ("POST", "/logging?level=loud", 400), ("GET", "/streams?limit=0", 400), ("GET", "/../livez", 404),
        ]
        for (method, target, expected) in cases { #expect(status(ask(method, target)) == expected, "\(target)") }
        #expect(ask("GET", "/drain") == .failure(AdminRefusal(status: 405, message: "only by POST", allow: "POST")))
    }

    @Test func aTokenIsAskedOfAllButHealthChecks() {
        let right = [("Authorization", "Bearer s3cret")]
        #expect(status(ask("GET", "/metrics", token: "s3cret", right)) == 200)
        #expect(status(ask("GET", "/metrics", token: "s3cret", [("Authorization", "bearer s3cret")])) == 200)
        #expect(status(ask("GET", "/livez", token: "s3cret")) == 200)
        #expect(status(ask("GET", "/readyz", token: "s3cret")) == 200)
        #expect(status(ask("GET", "/metrics", token: "s3cret")) == 401)
        for wrong in [
            "Bearer s3cre", "Bearer s3crets", "Bearer s3creT", "Bearer ", "Basic s3cret", "s3cret",
            "Bearer s3crets3cret",
        ] {
            #expect(status(ask("GET", "/metrics", token: "s3cret", [("Authorization", wrong)])) == 401, "\(wrong)")
        }
        // What there is, is nobody's business either.
        #expect(status(ask("GET", "/nothing", token: "s3cret")) == 401)
    }

    private let closed = [
        "/", "/config", "/streams", "/logging", "/nothing", "/metrics/x", "/_sluice", "/_sluice/", "/_sluice/page.js",
        "/_sluice/api/routes", "/_sluice/api/live",
    ]

    @Test func whatIsExposedNeedsNoToken() {
        #expect(ask("GET", "/metrics", token: "t", address: "0.0.0.0:1", expose: [.metrics]) == .success(.metrics))
        #expect(ask("HEAD", "/metrics", token: "t", expose: [.metrics]) == .success(.metrics))
        #expect(status(ask("POST", "/metrics", token: "t", expose: [.metrics])) == 405)
        #expect(status(ask("GET", "/metrics", token: "t", address: "0.0.0.0:1", expose: [])) == 401)
        let right = [("Authorization", "Bearer t")]
        for path in ["/config", "/streams", "/", "/metrics/x"] {
            #expect(status(ask("GET", path, token: "t", address: "0.0.0.0:1", expose: [.metrics])) == 401, "\(path)")
        }
        #expect(status(ask("GET", "/config", token: "t", address: "0.0.0.0:1", expose: [.metrics], right)) == 200)
    }

    @Test(arguments: ["0.0.0.0:9910", ":9910", "10.1.2.3:9910", "[::]:9910"])
    func withoutATokenNothingElseIsServedToOthers(address: String) {
        for host in ["127.0.0.1:9910", "localhost", "10.1.2.3:9910", "sluice.default.svc:9910"] {
            for path in ["/livez", "/readyz", "/metrics"] {
                #expect(status(ask("GET", path, host: host, address: address, expose: [.metrics])) == 200, "\(path)")
            }
            for path in closed {
                #expect(status(ask("GET", path, host: host, address: address, expose: [.metrics])) == 403, "\(path)")
            }
            for path in ["/drain", "/reload", "/streams/0-1/cancel", "/logging?level=debug", "/_sluice/api/call"] {
                #expect(status(ask("POST", path, host: host, address: address, expose: [.metrics])) == 403, "\(path)")
            }
            #expect(status(ask("GET", "/metrics", host: host, address: address, expose: [])) == 403)
            #expect(status(ask("GET", "/livez", host: host, address: address, expose: [])) == 200)
        }
        // A made up token opens nothing, and a page in a browser reads nothing at all.
        let made = [("Authorization", "Bearer x")]
        #expect(status(ask("GET", "/config", address: address, expose: [.metrics], made)) == 403)
        let page = [("Origin", "http://evil.example")]
        #expect(status(ask("GET", "/metrics", address: address, expose: [.metrics], page)) == 403)
    }

    /// On an address of this machine all is served without a token anyway, past the same checks as ever.
    @Test func exposingChangesNothingOnThisMachine() {
        #expect(status(ask("GET", "/config", expose: [.metrics])) == 200)
        #expect(status(ask("GET", "/metrics", host: "evil.example", expose: [.metrics])) == 403)
        #expect(status(ask("GET", "/config", address: "unix:/run/s.sock", expose: [.metrics])) == 200)
    }

    @Test func pagesInBrowsersDoNotGetThrough() {
        #expect(status(ask("GET", "/config", host: "evil.example:9910")) == 403)
        #expect(status(ask("GET", "/config", host: "127.0.0.1.evil.example")) == 403)
        #expect(status(ask("GET", "/config", host: "")) == 403)
        for host in ["localhost", "LOCALHOST:9910", "127.0.0.1", "[::1]:9910", "10.1.2.3:9910"] {
            #expect(status(ask("GET", "/config", host: host)) == 200, "\(host)")
        }
        #expect(status(ask("POST", "/drain", [("Origin", "http://evil.example")])) == 403)
        #expect(status(ask("POST", "/drain", [("Origin", "null")])) == 403)
        #expect(status(ask("GET", "/livez", [("Sec-Fetch-Site", "cross-site")])) == 403)
        #expect(status(ask("GET", "/livez", [("Sec-Fetch-Site", "none")])) == 200)
        // Somebody who knows the token is no page; over a unix socket none could come.
        #expect(status(ask("GET", "/config", host: "ops.example", token: "t", [("Authorization", "Bearer t")])) == 200)
        #expect(status(ask("GET", "/config", host: "x", address: "unix:/run/s.sock")) == 200)
    }
}

@Suite struct ConfigurationDumpTests {
    @Test func secretsAreStars() throws {
        var upstream = UpstreamSpec(
            name: "u", url: try #require(UpstreamURL("https://h.example/v1")), apiKey: Secret("CANARY-key"),
            headers: [(name: "X-Auth", value: Secret("CANARY-header"))])
        upstream.aws = AWSSpec()
        upstream.aws?.accessKeyID = "CANARY-id"
        upstream.aws?.secretAccessKey = Secret("CANARY-secret")
        var route = Route(path: .exact("/a"), request: .openAIChat, response: .auto, upstream: 0)
        route.upstreamPath = "/x?api_key=CANARY-query&v=1&token"
        var configuration = Configuration(
            listeners: [ListenerSpec(address: "127.0.0.1:0")], upstreams: [upstream], routes: [route])
        configuration.admin = AdminSpec(address: "127.0.0.1:1", token: Secret("CANARY-admin"))
        var out = ByteQueue()
        ConfigurationDump.document(configuration).append(to: &out)
        let text = out.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
        #expect(!text.contains("CANARY"))
        let document = try #require(JSONValue.parse(text))
        #expect(document.text(at: ["upstreams", "0", "api_key"]) == "***")
        #expect(document.text(at: ["upstreams", "0", "headers", "0", "name"]) == "X-Auth")
        #expect(document.text(at: ["routes", "0", "upstreams", "0", "upstream"]) == "u")
        #expect(document.text(at: ["routes", "0", "upstream_path"]) == "/x?api_key=***&v=1&token")
        #expect(document.text(at: ["routes", "0", "request"]) == "openai-chat")
        #expect(document.text(at: ["limits", "slow_client"]) == "30s")
        #expect(document.text(at: ["upstreams", "0", "timeouts", "total"]) == "0")
        #expect(document["workers"]?.isNull == true)
    }

    @Test(arguments: [
        ("workers", "workers"), ("requestHeadBytes", "request_head_bytes"), ("http2Streams", "http2_streams"),
        ("clientCA", "client_ca"), ("accessKeyID", "access_key_id"), ("isTLS", "is_tls"), ("TLSSpec", "tls_spec"),
    ])
    func names(name: String, snake: String) { #expect(ConfigurationDump.snake(name) == snake) }
}

@Suite struct RedactorTests {
    @Test func writesOverSecretsAndKeepsLengths() {
        let redactor = Redactor(["sk-canary", "sk-canary-longer", "short", "a/b+c=d"])
        #expect(redactor.redact("key sk-canary!") == "key *********!")
        #expect(redactor.redact("sk-canary-longer sk-canary") == "**************** *********")
        #expect(redactor.redact("sk-canarsk-canary") == "sk-canar*********")
        #expect(redactor.redact(#"a/b+c=d a\/b+c=d"#) == "******* ********")
        #expect(redactor.redact("short words stay") == "short words stay")
        #expect(redactor.redact("") == "")
        #expect(Redactor([]).redact("anything") == "anything")
    }

    @Test(arguments: [
        ("no array 'messages'", "no array 'messages'"),
        ("role: 'tell me a secret' is not one of a, b", "role: '…' is not one of a, b"),
        ("'A'", "'…'"), ("it's", "it's"), ("", ""),
    ])
    func quotesOfRequests(text: String, shown: String) { #expect(Exchange.withoutQuotes(text) == shown) }

    @Test func cutsMakeNoDifference() {
        let text = Array("one sk-canary, sk-canar and sk-canary-longer sk-".utf8)
        let whole = Redactor(["sk-canary", "sk-canary-longer"]).redact(String(decoding: text, as: UTF8.self))
        #expect(!whole.contains("sk-canary"))
        for first in 0...text.count {
            for second in first...text.count {
                var redactor = Redactor(["sk-canary", "sk-canary-longer"])
                var out = ByteQueue()
                for part in [text[..<first], text[first..<second], text[second...]] {
                    redactor.feed(Array(part).span, into: &out)
                }
                redactor.finish(into: &out)
                let told = out.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
                #expect(told.utf8.count == text.count)
                #expect(!told.contains("sk-canary"), "\(first) \(second)")
            }
        }
    }

    @Test func findsWhatAnUpstreamKnows() throws {
        var spec = UpstreamSpec(
            name: "u", url: try #require(UpstreamURL("https://h.example:8443/v1")), apiKey: Secret("the-key"),
            headers: [
                (name: "Authorization", value: Secret("Bearer inner-token")),
                (name: "Anthropic-Version", value: Secret("2023-06-01")),
                (name: "X-Tenant", value: Secret("tenant-77")),
            ])
        spec.aws = AWSSpec()
        spec.aws?.secretAccessKey = Secret("aws-secret")
        var route = Route(path: .exact("/"), request: .prompt, response: .auto, upstream: 0)
        route.upstreamPath = "/x?key=query-key&api-version=2024-10-21"
        let secrets = Set(Redactor.secrets(of: spec, route: route))
        for secret in ["the-key", "inner-token", "Bearer inner-token", "tenant-77", "aws-secret", "query-key"] {
            #expect(secrets.contains(secret), "\(secret)")
        }
        #expect(!secrets.contains("2023-06-01") && !secrets.contains("2024-10-21"))
        #expect(Redactor.places(of: spec.url) == ["h.example:8443", "h.example:8443", "h.example"])
        #expect(Redactor.places(of: try #require(UpstreamURL("http://ollama:11434"))).contains("ollama") == false)
        var fields = HeaderFields()
        fields.append("Cookie", "a=first-cookie; b=second-cookie")
        let shown = Set(Redactor.secrets(of: fields))
        #expect(shown.contains("first-cookie") && shown.contains("second-cookie"))
    }
}
