import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluicePage
import SluiceStreams
import Testing

@testable import SluiceProxy

@Suite struct PageRouterTests {
    private func status(
        _ method: String, _ target: String, host: String = "127.0.0.1:9910", token: String? = nil,
        demo: Bool = false, _ fields: [(String, String)] = []
    ) -> Int {
        var head = RequestHead(method: method, target: target, authority: host)
        for (name, value) in fields { head.fields.append(name, value) }
        let spec = AdminSpec(address: "127.0.0.1:9910", token: token.map { Secret($0) })
        let router = demo ? AdminRouter() : AdminRouter(spec)
        do throws(AdminRefusal) {
            _ = try router.action(for: head)
            return 200
        } catch { return error.status }
    }

    @Test func filesNeedNoTokenAndNoOrigin() {
        for target in ["/_sluice", "/_sluice/", "/_sluice/page.js"] {
            #expect(status("GET", target, token: "t") == 200)
            #expect(status("HEAD", target, token: "t", [("Sec-Fetch-Site", "cross-site")]) == 200)
            #expect(status("POST", target, token: "t") == 405)
            #expect(status("GET", target, host: "evil.example") == 403, "a name that leads here")
        }
        #expect(status("GET", "/_sluicex", token: "t") == 401)
    }

    @Test func onlyTheOwnPageMayAsk() {
        let own = [("Origin", "http://127.0.0.1:9910"), ("Sec-Fetch-Site", "same-origin")]
        for (method, target) in [
            ("GET", PagePath.routes), ("GET", PagePath.live), ("POST", PagePath.call),
            ("POST", "/_sluice/api/streams/0-1/cancel"),
        ] {
            #expect(status(method, target, own) == 200, "\(target)")
            #expect(status(method, target, token: "t", own) == 401)
            #expect(status(method, target, token: "t", own + [("Authorization", "Bearer t")]) == 200)
            #expect(status(method, target, [("Origin", "HTTP://127.0.0.1:9910")]) == 200)
            #expect(status(method, target, [("Origin", "https://127.0.0.1:9910")]) == 200, "TLS may end before us")
            for foreign in [
                "http://evil.example", "null", "http://127.0.0.1:8080", "http://127.0.0.1", "http://127.0.0.1:99100",
                "",
            ] { #expect(status(method, target, [("Origin", foreign)]) == 403, "\(foreign)") }
            for site in ["cross-site", "same-site", ""] {
                #expect(status(method, target, [("Sec-Fetch-Site", site)]) == 403, "\(site)")
                #expect(status(method, target, own[..<1] + [("Sec-Fetch-Site", site)]) == 403, "\(site)")
            }
            // A page whose own name leads here is of the same origin, and asks by that name.
            #expect(
                status(method, target, host: "evil.example:9910", [("Origin", "http://evil.example:9910")]) == 403)
        }
        // The page has no business with the rest, which tools of operators ask.
        for (method, target) in [("GET", "/config"), ("GET", "/streams"), ("POST", "/drain"), ("POST", "/reload")] {
            #expect(status(method, target, own) == 403, "\(target)")
            #expect(status(method, target) == 200, "\(target)")
        }
    }

    @Test func pathsThatOnlyLookLikeIt() {
        let own = [("Origin", "http://127.0.0.1:9910")]
        for target in ["/_sluice/api/../../config", "/_sluice/api/%2e%2e/%2e%2e/drain", "/_sluice/../config"] {
            #expect(status("GET", target, own) == 403, "\(target)")
        }
        #expect(status("POST", PagePath.routes) == 405)
        #expect(status("GET", PagePath.call) == 405)
        #expect(status("GET", "/_sluice/api/nothing") == 404)
        #expect(status("POST", "/_sluice/api/streams/x/cancel") == 404)
    }

    @Test func theDemoHasThePageAndNothingElse() {
        for target in [PagePath.root, PagePath.routes, PagePath.live] {
            #expect(status("GET", target, host: "demo.example", demo: true) == 200, "\(target)")
        }
        #expect(status("POST", "/_sluice/api/streams/0-1/cancel", demo: true) == 200)
        for (method, target) in [
            ("GET", "/config"), ("GET", "/metrics"), ("POST", "/drain"), ("POST", PagePath.call), ("GET", "/streams"),
            ("POST", "/streams/0-1/cancel"), ("GET", "/livez"),
        ] { #expect(status(method, target, demo: true) == 404, "\(target)") }
        #expect(status("GET", PagePath.live, demo: true, [("Sec-Fetch-Site", "cross-site")]) == 403)
    }
}

@Suite struct PageFilesTests {
    private func reply(_ name: String?, _ fields: [(String, String)] = []) -> AdminReply {
        var head = RequestHead(method: "GET", target: "/_sluice/", authority: "h")
        for (name, value) in fields { head.fields.append(name, value) }
        return PageFiles.reply(name, to: head)
    }

    @Test func eachComesWithItsTypeAndPolicy() {
        for asset in PageAssets.all {
            let head = reply(asset.name).head
            #expect(head.status == 200)
            #expect(head.fields.first("content-type") == asset.contentType)
            #expect(head.fields.first("content-security-policy") == PageFiles.policy)
            #expect(head.fields.first("x-content-type-options") == "nosniff")
            #expect(head.fields.first("cache-control") == "no-cache")
            #expect(!asset.bytes.isEmpty)
        }
        #expect(!PageFiles.policy.contains("unsafe") && !PageFiles.policy.contains("http"))
        #expect(reply("nothing").status == 404)
        #expect(reply("../page.js").status == 404)
        #expect(reply(nil).head.fields.first("location") == "/_sluice/")
    }

    @Test func tagsSpareWhatIsKnown() throws {
        let tag = try #require(reply("page.js").head.fields.first("etag"))
        #expect(reply("page.css").head.fields.first("etag") != tag)
        for known in [tag, "W/\(tag)", "\"x\", \(tag)"] {
            let again = reply("page.js", [("If-None-Match", known)])
            #expect(again.status == 304 && again.body.isEmpty, "\(known)")
        }
        #expect(reply("page.js", [("If-None-Match", "\"x\"")]).status == 200)
    }

    /// What the policy forbids would only fail in front of a user.
    @Test func thePageNeedsNothingButItself() throws {
        let names = Set(PageAssets.all.map(\.name))
        for asset in PageAssets.all {
            let text = String(decoding: asset.bytes, as: UTF8.self)
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacent", "eval(", "document.write", "style=", " on"] {
                if forbidden == " on", asset.name != "" { continue }
                #expect(text.range(of: forbidden) == nil || forbidden == " on" && !text.hasHandler, "\(asset.name)")
            }
            for reference in text.references { #expect(names.contains(reference), "\(asset.name): \(reference)") }
        }
    }
}

extension String {
    fileprivate func range(of part: String) -> Int? {
        let (text, wanted) = (Array(utf8), Array(part.utf8))
        guard text.count >= wanted.count else { return nil }
        return (0...(text.count - wanted.count)).first { text[$0..<($0 + wanted.count)].elementsEqual(wanted) }
    }

    /// `onclick="…"`.
    fileprivate var hasHandler: Bool {
        split(separator: " ").contains {
            $0.hasPrefix("on") && $0.dropFirst(2).prefix { $0.isLetter }.count > 2 && $0.contains("=")
        }
    }

    /// Of `src="…"`, `href="…"` and `from './…'`, those that name a file.
    fileprivate var references: [String] {
        var found: [String] = []
        for line in split(whereSeparator: \.isNewline) {
            for (mark, end) in [("src=\"", "\""), ("href=\"", "\""), ("from './", "'")] {
                guard let start = String(line).range(of: mark) else { continue }
                let rest = Array(line.utf8).dropFirst(start + mark.utf8.count)
                let name = String(decoding: rest.prefix { $0 != Character(end).asciiValue }, as: UTF8.self)
                if !name.hasPrefix("#") { found.append(name) }
            }
        }
        return found
    }
}

@Suite struct PageCallTests {
    private func wire(_ json: String) -> String? {
        guard let call = PageCall(Array(json.utf8)) else { return nil }
        var bytes = ByteQueue()
        call.append(to: &bytes)
        return bytes.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    @Test func saysWhatAClientWouldSay() {
        let json = """
            {"method":"POST","target":"/a?b=c","host":"chat.example","body":"{}",\
            "headers":{"Content-Type":"application/json","Authorization":"Bearer k"}}
            """
        #expect(
            wire(json)
                == "POST /a?b=c HTTP/1.1\r\nhost: chat.example\r\nContent-Type: application/json\r\n"
                + "Authorization: Bearer k\r\ncontent-length: 2\r\n\r\n{}")
        #expect(wire(#"{"method":"GET","target":"/"}"#) == "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    }

    @Test func cannotSayMore() {
        for json in [
            "", "[]", "{}", #"{"method":"GET"}"#, #"{"method":"TRACE","target":"/"}"#,
            #"{"method":"CONNECT","target":"/"}"#,
            #"{"method":"GET","target":"http://elsewhere/"}"#, #"{"method":"GET","target":"*"}"#,
            #"{"method":"GET / HTTP/1.1\r\n","target":"/"}"#, #"{"method":"GET","target":7}"#,
        ] { #expect(wire(json) == nil, "\(json)") }
        let fields = """
            {"method":"GET","target":"/","headers":{"X-Forwarded-For":"192.0.2.1","Forwarded":"for=x","Cookie":"a=b",\
            "Host":"evil","Transfer-Encoding":"chunked","Content-Length":"9","Connection":"close","X-Request-Id":"r"}}
            """
        #expect(wire(fields) == "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        let injected = wire(
            #"{"method":"GET","target":"/ HTTP/1.1\r\nX: y\r\n","host":"h\r\nX: y","headers":{"Accept":"a\r\nX: y"}}"#)
        #expect(injected?.split(separator: "\r\n").count == 3, "\(injected ?? "")")
    }
}

@Suite struct PageSumsTests {
    @Test func liveOnesCountAsFarAsTheyAre() throws {
        var report = WorkerReport()
        report.live["/a"] = WorkerReport.Live(exchanges: 2, paused: 1, bufferedBytes: 5, tokens: 30, sentBytes: 400)
        report.liveByUpstream["u"] = report.live["/a"]
        report.upstreams = [
            UpstreamGauges(upstream: "u", address: "10.0.0.1:80", inFlight: 2),
            UpstreamGauges(upstream: "v", address: "10.0.0.2:80", isHealthy: false),
        ]
        var sums = PageSums([report, report])
        func document() -> JSONValue { .object(sums.documents) }
        #expect(document().text(at: ["routes", "0", "route"]) == "/a")
        #expect(document().text(at: ["routes", "0", "begun"]) == "4")
        #expect(document().text(at: ["routes", "0", "tokens"]) == "60")
        #expect(document().text(at: ["routes", "0", "paused"]) == "2")
        #expect(document().text(at: ["upstreams", "0", "bytes"]) == "800")
        #expect(document().text(at: ["upstreams", "0", "places", "0", "in_flight"]) == "4")
        #expect(document().text(at: ["upstreams", "1", "places", "0", "healthy"]) == "false")
        #expect(document().text(at: ["upstreams", "1", "places", "0", "address"]) == "10.0.0.2:80")
        sums.showsPlaces = false
        #expect(document().text(at: ["upstreams", "1", "places", "0", "address"]) == "")
        #expect(document()["first_token"]?["counts"]?.elements?.count == Buckets.firstToken.count + 1)
    }

    @Test(arguments: [(0.0, "0.0"), (33.649, "33.6"), (33.65, "33.7"), (1234.96, "1235.0")])
    func tenths(value: Double, text: String) { #expect(JSONValue(tenths: value).number == text) }

    @Test func noNumber() {
        #expect(JSONValue(tenths: .nan).isNull && JSONValue(tenths: .infinity).isNull)
        #expect(JSONValue(tenths: 1e300).isNull)
    }
}
