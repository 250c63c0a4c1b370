import SluiceBytes
import SluiceConfig
import SluiceHTTP
import Testing

@testable import SluiceProxy

@Suite struct CORSPolicyTests {
    private func head(_ fields: [(String, String)], method: String = "OPTIONS") -> RequestHead {
        var head = RequestHead(method: method, target: "/", authority: "h")
        for (name, value) in fields { head.fields.append(name, value) }
        return head
    }

    private func policy(_ origins: [String], _ change: (inout CORSSpec) -> Void = { _ in }) -> CORSPolicy {
        var spec = CORSSpec()
        spec.origins = origins.compactMap { OriginPattern($0) }
        change(&spec)
        return CORSPolicy(spec, routeMethods: ["POST"])
    }

    private func lines(_ fields: HeaderFields) -> [String] {
        (0..<fields.count).map { "\(fields.nameString(at: $0)): \(fields.valueString(at: $0))" }
    }

    @Test(arguments: [
        ("https://app.example.com", "https://app.example.com", true),
        ("https://app.example.com", "http://app.example.com", false),
        ("https://app.example.com", "https://app.example.com:8443", false),
        ("https://app.example.com", "https://app.example.com.evil.com", false),
        ("https://app.example.com", "https://evil.com/app.example.com", false),
        ("https://app.example.com", "null", false),
        ("https://app.example.com", "", false),
        ("https://APP.example.com:443", "https://app.example.com", true),
        ("http://localhost:3000", "http://localhost:3000", true),
        ("https://*.example.com", "https://a.example.com", true),
        ("https://*.example.com", "https://a.b.example.com", false),
        ("https://*.example.com", "https://.example.com", false),
        ("https://*.example.com", "https://example.com", false),
        ("https://*.example.com", "https://evil.com#.example.com", false),
        ("https://*.example.com", "https://evil.com/.example.com", false),
        ("https://*.example.com", "https://a.example.com:444", false),
        ("https://*.example.com:444", "https://a.example.com:444", true),
        ("https://[::1]:8080", "https://[::1]:8080", true),
        ("capacitor://localhost", "capacitor://localhost", true),
        ("*", "https://anything.example", true),
        ("*", "null", false),
        ("null", "null", true),
    ])
    func origins(pattern: String, origin: String, isAllowed: Bool) throws {
        #expect(try #require(OriginPattern(pattern)).matches(origin) == isAllowed)
    }

    @Test(arguments: [
        "app.example.com", "https://", "https://a.com/", "https://a.com/x", "https://*", "https://*.",
        "https://a.*.com",
        "https://a com", "//a.com", "https://a.com:0", "https://a.com:x", "https://u@a.com", "**", "",
    ])
    func noOrigins(text: String) { #expect(OriginPattern(text) == nil) }

    @Test func preflights() {
        let origin = ("Origin", "https://a.example")
        let asked = [
            origin, ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "authorization,x-stainless-os"),
        ]
        #expect(CORSPolicy.isPreflight(head(asked)))
        #expect(!CORSPolicy.isPreflight(head(asked, method: "POST")))
        #expect(!CORSPolicy.isPreflight(head([origin])))
        let policy = policy(["https://a.example"])
        #expect(
            lines(policy.preflight(head(asked))) == [
                "Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
                "Access-Control-Allow-Origin: https://a.example", "Access-Control-Allow-Methods: POST",
                "Access-Control-Allow-Headers: authorization,x-stainless-os", "Access-Control-Max-Age: 600",
            ])
        #expect(lines(policy.preflight(head([("Origin", "https://b.example")]))).count == 1)
        #expect(!policy.allows(head([origin, ("Origin", "https://a.example")])), "two origins are none")
        let strange = [origin, ("Access-Control-Request-Headers", "x\"y")]
        #expect(!lines(policy.preflight(head(strange))).contains { $0.hasPrefix("Access-Control-Allow-Headers") })
    }

    @Test func answers() {
        let shared = policy(["*"])
        let own = policy(["https://a.example"]) {
            $0.allowsCredentials = true
            $0.expose = ["x-own"]
            $0.allowsPrivateNetwork = true
        }
        func applied(_ policy: CORSPolicy, _ origin: String?) -> [String] {
            var fields = HeaderFields()
            fields.append("Access-Control-Allow-Origin", "https://upstream.example")
            fields.append("access-control-allow-credentials", "true")
            fields.append("Vary", "Accept")
            policy.apply(to: &fields, for: head(origin.map { [("Origin", $0)] } ?? [], method: "POST"))
            return lines(fields).filter { !$0.hasPrefix("Access-Control-Expose") }
        }
        #expect(applied(shared, nil) == ["Vary: Accept", "Vary: Origin"])
        #expect(
            applied(shared, "https://x.example") == [
                "Vary: Accept", "Vary: Origin", "Access-Control-Allow-Origin: *",
            ])
        #expect(
            applied(own, "https://a.example") == [
                "Vary: Accept", "Vary: Origin", "Access-Control-Allow-Origin: https://a.example",
                "Access-Control-Allow-Credentials: true",
            ])
        #expect(applied(own, "https://b.example") == ["Vary: Accept", "Vary: Origin"])
        var fields = HeaderFields()
        own.apply(to: &fields, for: head([("Origin", "https://a.example")]))
        let exposed = fields.first("access-control-expose-headers") ?? ""
        for name in [
            "X-Request-Id", "Retry-After", "x-ratelimit-remaining-tokens", "x-vercel-ai-ui-message-stream", "x-own",
        ] {
            #expect(exposed.components(name), "\(name)")
        }
        let network = [("Origin", "https://a.example"), ("Access-Control-Request-Private-Network", "true")]
        #expect(own.preflight(head(network)).first("access-control-allow-private-network") == "true")
        #expect(shared.preflight(head(network)).first("access-control-allow-private-network") == nil)
    }
}

extension String {
    fileprivate func components(_ name: String) -> Bool { split(separator: ", ").contains { $0 == name } }
}
