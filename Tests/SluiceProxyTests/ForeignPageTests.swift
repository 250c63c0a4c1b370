import SluiceHTTP
import Testing

@testable import SluiceProxy

/// Whose pages may use keys of the environment, by what a browser says of them.
@Suite struct ForeignPageTests {
    @Test(arguments: [
        ("localhost:8080", [("Sec-Fetch-Site", "same-origin")], true, true),
        ("localhost:8080", [("Sec-Fetch-Site", "none")], true, true), ("127.0.0.1:8080", [], true, true),
        ("[::1]:8080", [], true, true), ("localhost:8080", [("Origin", "http://localhost:8080")], true, true),
        // Another port of this machine: the browser lets it send, and lets it read nothing.
        ("localhost:8080", [("Sec-Fetch-Site", "same-site"), ("Origin", "http://localhost:3000")], true, true),
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
}
