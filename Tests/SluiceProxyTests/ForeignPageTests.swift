import SluiceHTTP
import SluiceIO
import Testing

@testable import SluiceProxy

/// Whose pages may use keys of the environment, by what a browser says of them.
@Suite struct ForeignPageTests {
    @Test(arguments: [
        ("localhost:8080", [("Sec-Fetch-Site", "same-origin")], true, true),
        ("localhost:8080", [("Sec-Fetch-Site", "none")], true, true), ("127.0.0.1:8080", [], true, true),
        ("[::1]:8080", [], true, true), ("localhost:8080", [("Origin", "http://localhost:8080")], true, true),
        // Another port of this machine is another origin, and an image of its page says no more than the site.
        ("localhost:8080", [("Sec-Fetch-Site", "same-site"), ("Origin", "http://localhost:3000")], true, false),
        ("localhost:8080", [("Sec-Fetch-Site", "same-site")], true, false),
        ("localhost:8080", [("Sec-Fetch-Site", "same-site"), ("Origin", "http://localhost:8080")], true, true),
        ("localhost:8080", [("Sec-Fetch-Site", "Cross-Site")], true, false),
        ("localhost:8080", [("Sec-Fetch-Site", "cross-site"), ("Origin", "http://localhost:8080")], true, false),
        // Of these a browser says nothing.
        ("0.0.0.0:8080", [], true, false), ("[::ffff:127.0.0.1]:8080", [], true, false), ("[::]:8080", [], true, false),
        ("192.0.2.2:8080", [], true, false), ("192.0.2.2:8080", [], false, true),
        ("localhost:8080", [("Sec-Fetch-Site", "cross-site")], true, false),
        ("localhost:8080", [("Origin", "http://localhost:3000")], true, false),
        ("localhost:8080", [("Origin", "null")], true, false), ("localhost:8080", [("Origin", "")], true, false),
        ("evil.example:8080", [("Origin", "http://evil.example:8080")], true, false),
        ("evil.example:8080", [], true, false), ("", [], true, false),
        // Who asks from elsewhere was let in by `--listen`, and by whatever name that has there.
        ("sluice:8080", [], false, true), ("sluice:8080", [("Sec-Fetch-Site", "cross-site")], false, false),
    ])
    func requests(authority: String, fields: [(String, String)], isLocal: Bool, mayPass: Bool) {
        var head = RequestHead(method: "POST", target: "/v1/chat/completions", authority: authority)
        for (name, value) in fields { head.fields.append(name, value) }
        #expect((ForeignPage.refusal(head, isLocal: isLocal) == nil) == mayPass)
    }

    @Test(arguments: [
        ("localhost", true), ("LocalHost:80", true), ("127.0.0.1", true), ("127.1.2.3:8080", true), ("[::1]", true),
        ("[::1]:8080", true), ("localhost.evil.example", false), ("127.0.0.1.evil.example", false),
        ("127.evil.example:8080", false), ("127.1:8080", false), ("128.0.0.1", false), ("2130706433", false),
        ("[::1].evil.example", false), ("[::1", false), ("localhost:evil", false), ("127.0.0.1:8080:1", false),
        ("", false),
        (":8080", false), ("[]", false), ("0.0.0.0", false), ("10.0.0.1:8080", false),
    ])
    func authorities(authority: String, isTrustworthy: Bool) {
        #expect(ForeignPage.isTrustworthy(authority) == isTrustworthy)
    }

    @Test(
        arguments: [
            ("127.0.0.1", nil, true), ("127.9.9.9", "127.0.0.1", true), ("::1", "::1", true),
            ("::ffff:127.0.0.1", nil, true), ("::ffff:192.0.2.2", "::ffff:192.0.2.2", true),
            ("192.0.2.2", "192.0.2.2", true),
            ("::ffff:192.0.2.2", "192.0.2.2", true), ("fd00::2", "fd00::2", true), ("192.0.2.3", "192.0.2.2", false),
            ("::ffff:192.0.2.3", "::ffff:192.0.2.2", false), ("fd00::3", "fd00::2", false), ("::2", nil, false),
            ("::127.0.0.1", nil, false),
        ] as [(String, String?, Bool)])
    func peers(peer: String, local: String?, isThisMachine: Bool) throws {
        let address = try #require(IPAddress(peer))
        #expect(ForeignPage.isThisMachine(peer: address, local: local.flatMap { IPAddress($0) }) == isThisMachine)
    }
}
