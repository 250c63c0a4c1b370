import SluiceHTTP
import Testing

@Suite struct RequestTargetTests {
    @Test(arguments: [
        ("/", "/"), ("/a/b", "/a/b"), ("/a/b/", "/a/b/"), ("//a///b", "/a/b"), ("/a/./b", "/a/b"), ("/a/.", "/a/"),
        ("/a/..", "/"), ("/a/../b", "/b"), ("/a/b/../../c/", "/c/"), ("/%61%2D%2e%5F%7e", "/a-._~"),
        ("/a/%2e%2E/b", "/b"), ("/a%3ab%c3%bc", "/a%3Ab%C3%BC"), ("/%2561", "/%2561"),
        ("/%252e%252e/a", "/%252e%252e/a"),
        ("/...", "/..."), ("/.hidden", "/.hidden"), ("/a;b=c", "/a;b=c"), ("/v1/models:stream", "/v1/models:stream"),
        ("/a%20b", "/a%20b"), ("/..a/b..", "/..a/b.."), ("/a//../b", "/b"),
    ]) func normalizes(path: String, expected: String) {
        #expect(RequestTarget.normalizedPath(path) == expected)
        #expect(RequestTarget.normalizedPath(expected) == expected, "normal is normal")
    }

    @Test(arguments: [
        "", "*", "a", "a/b", "/..", "/a/../..", "/%2e%2e/", "/a/..%2fb", "/a%2Fb", "/a%5cb", "/a\\b", "/a%00b",
        "/a%0d%0ab",
        "/a%7f", "/a%", "/a%4", "/a%zz", "/a b", "/\u{E9}", "/a?b", "/a#b", "/..;/a", "/..%3b/a", "/a/.;x/b",
        "/%2e%2e;/a",
        "/a\u{0}",
    ]) func refuses(path: String) { #expect(RequestTarget.normalizedPath(path) == nil) }

    @Test func splitsAtTheFirstQuestionMark() {
        let target = RequestTarget("/a/b?x=1?y=2")
        #expect(target.path == "/a/b" && target.query == "x=1?y=2")
        #expect(RequestTarget("/a").query == nil)
        #expect(RequestTarget("/a?").query == "")
        #expect(RequestTarget("?").path == "" && RequestTarget("").path == "")
        #expect(RequestTarget("/%61?b").normalizedPath == "/a")
    }

    @Test func decodesTheQuery() {
        let target = RequestTarget("/?prompt=hi+there%21&format=ndjson&&flag&e=%C3%BC%zz%4&=v&a=b=c&%66oo=%26&prompt=2")
        let items = target.queryItems().map { "\($0.name)=\($0.value)" }
        #expect(
            items == [
                "prompt=hi there!", "format=ndjson", "flag=", "e=\u{FC}%zz%4", "=v", "a=b=c", "foo=&", "prompt=2",
            ])
        #expect(target.value(named: "prompt") == "hi there!")
        #expect(target.value(named: "flag") == "")
        #expect(target.value(named: "none") == nil)
        #expect(RequestTarget("/?a=%ff").value(named: "a") == "\u{FFFD}")
        #expect(RequestTarget("/").queryItems().isEmpty)
        // A form can be as large as a body may be.
        let many = RequestTarget("/?" + String(repeating: "a&", count: 20_000)).queryItems()
        #expect(many.count == 8193 && many.last?.name.hasPrefix("a&a&") == true)
        #expect(RequestTarget("/?a=%41").value(named: "a") == "A")
    }
}
