import SluiceBytes
import SluiceConfig
import Testing

@Suite struct BalanceReaderTests {
    private func parse(_ upstream: String) throws(ConfigurationFaults) -> UpstreamSpec? {
        let text = """
            listeners: [{address: ':0'}]
            routes: [{path: /x, request: prompt, response: text, upstream: a}]
            upstreams:
              a: {dialect: openai-chat, \(upstream)}
            """
        return try ConfigurationLoader.parse(text: Array(text.utf8), file: "f", environment: ["U": "http://env"])
            .upstreams.first
    }

    /// Every fault as `path: message`.
    private func faults(_ upstream: String) -> [String] {
        do throws(ConfigurationFaults) {
            _ = try parse(upstream)
            return []
        } catch {
            return error.issues.map { "\($0.path): \($0.message)" }
        }
    }

    @Test func oneURLIsOnePlace() throws {
        let spec = try #require(try parse("url: 'http://h/v1'"))
        #expect(spec.places == [PlaceSpec(spec.url)] && spec.url.basePath == "/v1")
        #expect(spec.balance == .leastRequests && spec.healthCheck == nil && spec.outlier == OutlierSpec())
        #expect(spec.slowStart == .seconds(30) && spec.maxConnectionAge == .seconds(600))
    }

    @Test func severalURLsWithWeights() throws {
        let spec = try #require(try parse("urls: ['http://h:1/v1', {url: 'http://h:2/x', weight: 3}, '${U}']"))
        #expect(spec.places.map(\.weight) == [1, 3, 1])
        #expect(spec.places.map(\.url.port) == [1, 2, 80] && spec.places.map(\.url.basePath) == ["/v1", "/x", ""])
        #expect(spec.url == spec.places.first?.url)
        #expect(spec.at(spec.places[1]).url.port == 2 && spec.at(spec.places[1]).places.count == 1)
    }

    @Test func allKeys() throws {
        let spec = try #require(
            try parse(
                """
                urls: ['http://h:1', 'http://h:2'], balance: weighted, slow_start: 0, max_connection_age: off,
                    health_check: {path: '/health?deep=1', interval: 250ms, timeout: 1s, unhealthy_after: 1, \
                healthy_after: 4, expect: 204},
                    outlier: {consecutive_failures: 2, ejection: 1s, max_ejection: 9s, max_ejected_percent: 34}
                """))
        #expect(spec.balance == .weighted && spec.slowStart == .zero && spec.maxConnectionAge == .zero)
        var check = HealthCheckSpec(path: "/health?deep=1")
        (check.interval, check.timeout) = (.milliseconds(250), .seconds(1))
        (check.unhealthyAfter, check.healthyAfter, check.expect) = (1, 4, 204...204)
        #expect(spec.healthCheck == check)
        var outlier = OutlierSpec()
        (outlier.consecutiveFailures, outlier.maxEjectedPercent) = (2, 34)
        (outlier.ejection, outlier.maxEjection) = (.seconds(1), .seconds(9))
        #expect(spec.outlier == outlier)
    }

    @Test(arguments: [
        ("api_key: k", ["upstreams.a.url: is required"]),
        (
            "url: 'http://h', urls: ['http://h:1']", ["upstreams.a.urls: give url or urls, not both"]
        ),
        ("urls: []", ["upstreams.a.urls: must name at least one URL"]),
        ("urls: 'http://h'", ["upstreams.a.urls: must be a list, not a single value"]),
        ("urls: ['http://h', 'http://h/']", ["upstreams.a.urls[1]: this URL stands here twice: give it a weight"]),
        (
            "urls: ['http://h', 'https://h']",
            ["upstreams.a.urls[1]: all URLs of an upstream must be https, or none"]
        ),
        ("urls: [{weight: 2}]", ["upstreams.a.urls[0].url: is required"]),
        (
            "urls: [{url: 'http://h', weight: 0, wait: 1}]",
            [
                "upstreams.a.urls[0].weight: '0' is not a whole number from 1 to 1000",
                "upstreams.a.urls[0].wait: unknown key",
            ]
        ),
        (
            "url: 'http://h', balance: round-robin",
            [
                "upstreams.a.balance: 'round-robin' is not one of least_requests, round_robin, weighted"
                    + " (did you mean 'round_robin'?)"
            ]
        ),
        (
            "url: 'http://h', health_check: {interval: 0, timeout: 0, expect: 2xx}",
            [
                "upstreams.a.health_check.path: is required",
                "upstreams.a.health_check.interval: must be longer than 0",
                "upstreams.a.health_check.timeout: must be longer than 0",
                "upstreams.a.health_check.expect: '2xx' is not a status or a range such as 200-299",
            ]
        ),
        (
            "url: 'http://h', health_check: {path: health, expect: 299-200}",
            [
                "upstreams.a.health_check.path: 'health' is not /path[?query]",
                "upstreams.a.health_check.expect: '299-200' is not a status or a range such as 200-299",
            ]
        ),
        (
            "url: 'http://h', outlier: {ejection: 10s, max_ejection: 5s, max_ejected_percent: 101}",
            [
                "upstreams.a.outlier.max_ejection: must not be shorter than ejection",
                "upstreams.a.outlier.max_ejected_percent: '101' is not a whole number from 0 to 100",
            ]
        ),
    ])
    func faultsNameTheirPlace(upstream: String, expected: [String]) { #expect(faults(upstream) == expected) }

    @Test func badURLsOfAListAreNamed() {
        let found = faults("urls: ['http://h', h, {url: 'ftp://h'}]")
        #expect(found.count == 2)
        #expect(found.first?.hasPrefix("upstreams.a.urls[1]: 'h' is not http(s)://") == true)
        #expect(found.last?.hasPrefix("upstreams.a.urls[2].url: 'ftp://h' is not http(s)://") == true)
    }

    @Test func atMostSixtyFour() {
        let urls = (1...65).map { "'http://h:\($0)'" }.joined(separator: ", ")
        #expect(faults("urls: [\(urls)]") == ["upstreams.a.urls: must not name more than 64 URLs"])
    }

    @Test func signedPlacesNeedOneRegion() {
        let urls = "urls: ['http://h:1', 'http://h:2'], dialect: bedrock-converse"
        let text = """
            listeners: [{address: ':0'}]
            routes: [{path: /x, request: prompt, response: text, upstream: a}]
            upstreams:
              a: {\(urls)}
            """
        do throws(ConfigurationFaults) {
            _ = try ConfigurationLoader.parse(text: Array(text.utf8), file: "f", environment: [:])
            Issue.record("no fault was found")
        } catch {
            #expect(error.issues.map(\.path) == ["upstreams.a.aws.region"])
        }
    }

    private func nameServers(_ list: String) throws(ConfigurationFaults) -> [String] {
        let text = """
            listeners: [{address: ':0'}]
            routes: [{path: /x, request: prompt, response: text, upstream: a}]
            upstreams: {a: {dialect: openai-chat, url: 'http://h'}}
            resolver: {servers: \(list)}
            """
        return try ConfigurationLoader.parse(text: Array(text.utf8), file: "f", environment: [:]).nameServers
    }

    @Test func nameServersAreNumeric() throws {
        let good = ["10.0.0.1", "127.0.0.1:5353", "[::1]", "[2001:db8::1]:53"]
        #expect(try nameServers("\(good)") == good)
        for bad in ["dns.example", "10.0.0", "10.0.0.1:0", "::1", "[::1", "[x]", "10.0.0.1:99999"] {
            #expect(throws: ConfigurationFaults.self, "\(bad)") { try nameServers("['\(bad)']") }
        }
    }
}
