import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceStreams
import Testing

@testable import SluiceProxy

/// Which routes' words count while it is not known which route a request means.
@Suite struct RouteAccessTests {
    private func table() throws -> RouteTable {
        func route(_ path: String, _ methods: [String], _ change: (inout Route) -> Void = { _ in }) -> Route {
            var route = Route(path: .exact(path), request: .prompt, response: .auto, upstream: 0)
            route.methods = methods
            change(&route)
            return route
        }
        func cors(_ origin: String) -> CORSSpec {
            var spec = CORSSpec()
            spec.origins = [OriginPattern(origin) ?? .opaque]
            return spec
        }
        var configuration = Configuration(
            listeners: [], upstreams: [UpstreamSpec(name: "u", url: UpstreamURL(isTLS: false, host: "h", port: 1))],
            routes: [
                route("/a", ["POST"]) {
                    $0.conditions = [(.body(["model"]), "x")]
                    $0.cors = cors("https://one.example")
                },
                route("/a", ["POST"]) { $0.conditions = [(.header("x-tier"), "gold")] },
                route("/a", ["GET"]) { $0.cors = cors("https://two.example") },
                route("/a", ["POST"]),
                route("/a", []),
                route("/open", []) { $0.auth = .some(nil) },
            ])
        configuration.auth = AuthSpec()
        return RouteTable(configuration.routes, access: try RouteAccess.make(configuration))
    }

    private func head(_ method: String, _ fields: [(String, String)] = []) -> RequestHead {
        var head = RequestHead(method: method, target: "/a", authority: "h")
        for (name, value) in fields { head.fields.append(name, value) }
        return head
    }

    @Test func candidates() throws {
        let table = try table()
        func count(_ method: String, _ fields: [(String, String)] = []) -> Int {
            table.candidates(head(method, fields), path: "/a").count
        }
        #expect(count("POST") == 2, "the one that needs the body, and the first behind it that takes any")
        #expect(count("POST", [("x-tier", "gold")]) == 2)
        #expect(count("GET") == 1)
        #expect(count("PUT") == 1)
        #expect(table.candidates(head("GET"), path: "/b").isEmpty)
        #expect(table[0].access?.authenticator != nil && table[5].access == nil)
    }

    @Test func policies() throws {
        let table = try table()
        func allows(_ origin: String, _ method: String) -> Bool? {
            let asked = head("OPTIONS", [("Origin", origin), ("Access-Control-Request-Method", method)])
            return table.policy(forPreflight: asked, path: "/a")?.allows(asked)
        }
        #expect(allows("https://one.example", "POST") == true)
        #expect(allows("https://two.example", "GET") == true)
        // What another method of the same path allows is no help.
        #expect(allows("https://one.example", "GET") == false)
        #expect(allows("https://three.example", "POST") == false)
        #expect(allows("https://one.example", "PUT") == nil)
        let elsewhere = head("OPTIONS", [("Origin", "https://one.example")])
        #expect(table.policy(forPreflight: elsewhere, path: "/open") == nil)
        #expect(table.policy(at: "/a", elsewhere)?.allows(elsewhere) == true)
    }
}
