import SluiceBytes
import SluiceConfig
import Testing

@Suite struct RetryConfigurationTests {
    private let listeners = "listeners: [{address: ':0'}]\n"

    private func parse(retries: String?, upstream: String = "a", route: String = "") throws -> Configuration {
        let policy = retries.map { ", retries: \($0)" } ?? ""
        let text = """
            listeners: [{address: ':0'}]
            upstreams:
              a: {url: 'http://127.0.0.1:1/v1', dialect: openai-chat\(policy)}
              b: {url: 'http://127.0.0.1:2', dialect: anthropic-messages}
              r: {url: 'http://127.0.0.1:3', dialect: raw}
            routes:
              - {path: /x, request: prompt, response: text\(route), upstream: \(upstream)}
            """
        return try ConfigurationLoader.parse(text: Array(text.utf8), file: "test.yaml", environment: ["MODEL": "m-1"])
    }

    private func faults(retries: String? = nil, upstream: String = "a") -> [String] {
        do {
            _ = try parse(retries: retries, upstream: upstream)
            return []
        } catch {
            return (error as? ConfigurationFaults)?.issues.map { "\($0.path): \($0.message)" } ?? ["\(error)"]
        }
    }

    @Test func withoutAPolicyOnlyTheUnsentIsRepeated() throws {
        let spec = try #require(try parse(retries: nil).upstreams.first?.retries)
        #expect(spec.attempts == 2 && spec.backoff == .milliseconds(250))
        #expect(spec.words.isEmpty && spec.statuses.isEmpty)
    }

    @Test func aPolicyHasItsUsualCauses() throws {
        let spec = try #require(try parse(retries: "{attempts: 4}").upstreams.first?.retries)
        #expect(spec.attempts == 4 && spec.words == [.connect, .refused, .reset])
        #expect(spec.statuses == [429, 500, 502, 503, 504, 529])
    }

    @Test func everyKeyIsRead() throws {
        let text = """
            {attempts: 1, backoff: 1s, max_backoff: 3s, max_retry_after: 7s, on: [timeout, first_token, 408, 599],
            budget_percent: 5, min_per_second: 0}
            """
        let spec = try #require(try parse(retries: text).upstreams.first?.retries)
        var wanted = RetrySpec()
        (wanted.attempts, wanted.backoff, wanted.maxBackoff) = (1, .seconds(1), .seconds(3))
        (wanted.maxRetryAfter, wanted.words, wanted.statuses) = (.seconds(7), [.timeout, .firstToken], [408, 599])
        (wanted.budgetPercent, wanted.minPerSecond) = (5, 0)
        #expect(spec == wanted)
        #expect(try parse(retries: "{backoff: 30s}").upstreams.first?.retries.maxBackoff == .seconds(30))
    }

    @Test(arguments: [
        ("{on: [404]}", "upstreams.a.retries.on[0]: a request that got 404 is not repeated"),
        ("{on: [200]}", "upstreams.a.retries.on[0]: a request that got 200 is not repeated"),
        ("{on: [connect, rest]}", "upstreams.a.retries.on[1]: 'rest' is not one of connect, refused, reset"),
        ("{attempts: 11}", "upstreams.a.retries.attempts: '11' is not a whole number from 0 to 10"),
        ("{backoff: 2s, max_backoff: 1s}", "upstreams.a.retries.max_backoff: must not be shorter than backoff"),
        ("{atempts: 1}", "upstreams.a.retries.atempts: unknown key (did you mean 'attempts'?)"),
    ])
    func faultsOfAPolicy(text: String, fault: String) {
        let all = faults(retries: text)
        #expect(all.count == 1 && all.contains { $0.hasPrefix(fault) }, "\(all)")
    }

    @Test func aRouteHasOneUpstreamOrSeveral() throws {
        #expect(try parse(retries: nil, upstream: "b").routes.first?.upstreams == [.init(upstream: 1)])
        #expect(try parse(retries: nil, upstream: "{name: b}").routes.first?.upstreams == [.init(upstream: 1)])
        let several = try parse(retries: nil, upstream: "[b, {name: a, model: '${MODEL}'}, {name: a, model: m-2}]")
        #expect(
            several.routes.first?.upstreams == [
                .init(upstream: 1), .init(upstream: 0, model: "m-1"), .init(upstream: 0, model: "m-2"),
            ])
    }

    @Test(arguments: [
        ("[]", "routes[0].upstream: must name at least one upstream"),
        ("[a, c]", "routes[0].upstream[1]: no upstream is named 'c' (known: a, b, r, did you mean 'a'?)"),
        ("[a, b, a]", "routes[0].upstream[2]: stands here twice"),
        ("[{model: m}]", "routes[0].upstream[0].name: is required"),
        ("[{name: a, mode: m}]", "routes[0].upstream[0].mode: unknown key (did you mean 'model'?)"),
        ("[a, r]", "routes[0].upstream: 'r' has the dialect raw, which only passthrough can use"),
    ])
    func faultsOfAList(text: String, fault: String) {
        let all = faults(upstream: text)
        #expect(all == [fault], "\(all)")
    }

    @Test func moreThanTheLimitIsAFault() {
        let names = (0..<17).map { "{name: a, model: m\($0)}" }.joined(separator: ", ")
        #expect(faults(upstream: "[\(names)]") == ["routes[0].upstream: must not name more than 16 upstreams"])
    }

    @Test func aPassthroughIsGivenNoModel() {
        let text = """
            listeners: [{address: ':0'}]
            upstreams: {a: {url: 'http://127.0.0.1:1', dialect: raw}}
            routes: [{path: /x, request: passthrough, response: passthrough, upstream: [{name: a, model: m}]}]
            """
        #expect(throws: ConfigurationFaults.self) {
            try ConfigurationLoader.parse(text: Array(text.utf8), file: "test.yaml", environment: [:])
        }
    }
}
