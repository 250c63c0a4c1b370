import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import Testing

@testable import SluiceProxy

@Suite struct CookieCredentialsTests {
    private let cookie = CookieCredentials("__Host-key")

    private func head(_ lines: [(String, String)], authority: String = "chat.example.com") -> RequestHead {
        var head = RequestHead(method: "GET", target: "/", authority: authority)
        for (name, value) in lines { head.fields.append(name, value) }
        return head
    }

    private func values(_ lines: [String]) -> [String] {
        cookie.values(in: head(lines.map { ("Cookie", $0) }).fields).map { String(decoding: $0, as: UTF8.self) }
    }

    @Test func values() {
        #expect(values([]) == [])
        #expect(values(["__Host-key=slc_a"]) == ["slc_a"])
        #expect(values(["a=1; __Host-key=slc_a; b=2"]) == ["slc_a"])
        #expect(values(["a=1;__Host-key=slc_a;b=2", " __Host-key = slc_b "]) == ["slc_a", "slc_b"])
        #expect(values(["__Host-key=\"slc_a\""]) == ["slc_a"])
        #expect(values(["__Host-key=e30=.x=="]) == ["e30=.x=="])
        #expect(
            values(["__Host-key=", "__Host-key", "__host-key=x", "x__Host-key=x", "=x", ";;", "__Host-key=\""]) == [
                "\""
            ])
    }

    @Test(arguments: [
        ("__Host-key=own", nil), ("a=1; __Host-key=own; b=2", "a=1; b=2"),
        ("a=1;__Host-key=other", "a=1; __Host-key=other"),
        ("__Host-key=own; __Host-key=other", "__Host-key=other"), ("a=own", "a=own"),
    ])
    func ownKeysAreTakenOut(field: String, rest: String?) {
        let stripped = cookie.stripped(Array(field.utf8)) { $0.elementsEqual("own".utf8) }
        #expect(stripped.map { String(decoding: $0, as: UTF8.self) } == rest)
    }

    private func policy(_ origins: [String], credentials: Bool = true) -> CORSPolicy {
        var spec = CORSSpec()
        spec.origins = origins.compactMap { OriginPattern($0) }
        spec.allowsCredentials = credentials
        return CORSPolicy(spec, routeMethods: [])
    }

    private func mayUse(
        site: String? = nil, origin: String? = nil, authority: String = "chat.example.com", isTLS: Bool = false,
        cors: CORSPolicy? = nil
    ) -> Bool {
        var lines: [(String, String)] = []
        if let site { lines.append(("Sec-Fetch-Site", site)) }
        if let origin { lines.append(("Origin", origin)) }
        return CookieCredentials.mayBeUsed(head(lines, authority: authority), isTLS: isTLS, cors: cors)
    }

    @Test func pagesOfTheSameOrigin() {
        #expect(mayUse(site: "same-origin") && mayUse(site: "same-origin", origin: "https://chat.example.com"))
        // Another host of the site, another site, and links in mails, which have no page.
        for site in ["same-site", "cross-site", "none", "", "same-origin, same-origin"] {
            #expect(!mayUse(site: site), "\(site)")
            #expect(!mayUse(site: site, origin: "https://chat.example.com"), "\(site)")
        }
        #expect(!mayUse())
        let twice = head([("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")])
        #expect(!CookieCredentials.mayBeUsed(twice, isTLS: false, cors: nil))
        let origins = head([("Origin", "https://chat.example.com"), ("Origin", "https://evil.com")])
        #expect(!CookieCredentials.mayBeUsed(origins, isTLS: false, cors: policy(["https://chat.example.com"])))
    }

    @Test(arguments: [
        ("https://chat.example.com", "chat.example.com", true), ("http://chat.example.com", "chat.example.com", true),
        ("https://chat.example.com", "Chat.Example.com:443", true), ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
        ("http://chat.example.com", "chat.example.com:80", true), ("https://[::1]:8443", "[::1]:8443", true),
        ("https://chat.example.com", "chat.example.com:80", false), ("https://evil.com", "chat.example.com", false),
        ("https://chat.example.com.evil.com", "chat.example.com", false), ("null", "chat.example.com", false),
        ("https://chat.example.com:8443", "chat.example.com", false), ("", "", false), ("https://", "", false),
        ("ftp://chat.example.com", "chat.example.com", false), ("chat.example.com", "chat.example.com", false),
    ])
    func originsAgainstTheHost(origin: String, authority: String, isSame: Bool) {
        #expect(mayUse(origin: origin, authority: authority) == isSame)
        // A page that came in the clear is another origin than one that did not.
        #expect(mayUse(origin: origin, authority: authority, isTLS: true) == (isSame && origin.hasPrefix("https")))
    }

    @Test func pagesThatThePolicyAllows() {
        let app = "https://app.example.com"
        for site in [nil, "same-site", "cross-site"] {
            #expect(mayUse(site: site, origin: app, cors: policy([app])), "\(site ?? "-")")
            #expect(!mayUse(site: site, origin: app, cors: policy([app], credentials: false)))
            #expect(!mayUse(site: site, origin: "https://evil.com", cors: policy([app])))
            #expect(!mayUse(site: site, origin: "null", cors: policy(["null", app])))
        }
        #expect(!mayUse(site: "cross-site", cors: policy([app])))
        #expect(mayUse(site: "same-origin", origin: "https://chat.example.com", cors: policy([app])))
    }

    private func judge(_ lines: [(String, String)], usesCookie: Bool) throws -> String {
        var spec = AuthSpec()
        spec.cookie = "__Host-key"
        spec.apiKeys = APIKeysSpec(
            keys: try [("alice", "slc_a"), ("bob", "slc_b")].map { name, key in
                APIKeySpec(name: name, hash: try Digest.sha256(Array(key.utf8).span))
            })
        spec.apiKeys?.names = ["alice"]
        switch Authenticator(spec, tokens: []).judge(
            head(lines), query: [], certificate: nil, usesCookie: usesCookie, at: 1)
        {
        case .admitted(let identity): return identity.name
        case .foreignPage(let identity): return "foreign page: \(identity.name)"
        case .forbidden(let identity, _): return "forbidden: \(identity.name)"
        case .unknown(let detail): return "unknown: \(detail)"
        }
    }

    @Test func aKeyInACookie() throws {
        let cookie = ("Cookie", "a=1; __Host-key=slc_a")
        #expect(try judge([cookie], usesCookie: true) == "alice")
        #expect(try judge([cookie], usesCookie: false) == "foreign page: alice")
        #expect(try judge([("Cookie", "key=slc_a")], usesCookie: true) == "unknown: no credentials")
        #expect(try judge([("Cookie", "__Host-key=slc_c")], usesCookie: true) == "unknown: unknown key")
        #expect(try judge([("Cookie", "__Host-key=slc_b")], usesCookie: true) == "forbidden: bob")
        // Whoever can set a field is no page of a stranger's.
        #expect(try judge([("Cookie", "__Host-key=slc_c"), ("x-api-key", "slc_a")], usesCookie: false) == "alice")
        let many = (0..<8).map { "__Host-key=slc_\($0)" }.joined(separator: "; ")
        #expect(try judge([("Cookie", many + "; __Host-key=slc_a")], usesCookie: true) == "unknown: unknown key")
    }
}
