import SluiceBytes
import Testing

@testable import SluiceConfig

@Suite struct RedisReaderTests {
    private static let rest = """
        listeners: [{address: "127.0.0.1:0"}]
        upstreams: {a: {url: "http://h", dialect: openai-chat}}
        routes: [{path: /a, request: openai-chat, response: openai-chat, upstream: a}]

        """

    private func load(_ redis: String, _ environment: [String: String] = [:]) throws -> RedisSpec? {
        try ConfigurationLoader.parse(
            text: Array((Self.rest + redis).utf8), file: "/etc/s/t.yaml", environment: environment
        ).redis
    }

    private func fault(_ redis: String, _ environment: [String: String] = [:]) -> [String] {
        do {
            _ = try load(redis, environment)
            return []
        } catch let error as ConfigurationFaults {
            return error.issues.map { "\($0.path): \($0.message)" }
        } catch {
            return ["\(error)"]
        }
    }

    @Test func aURLSaysWhereAndWho() throws {
        let cases: [(String, String, Int, Bool, String?, String?, Int)] = [
            ("redis://h", "h", 6379, false, nil, nil, 0), ("redis://h:80", "h", 80, false, nil, nil, 0),
            ("rediss://h:6380/2", "h", 6380, true, nil, nil, 2), ("redis://[::1]/", "::1", 6379, false, nil, nil, 0),
            ("redis://[::1]:7000/15", "::1", 7000, false, nil, nil, 15),
            ("redis://:p@h", "h", 6379, false, nil, "p", 0), ("redis://u:p@h:1", "h", 1, false, "u", "p", 0),
            ("redis://u:p:/@%x%40@10.0.0.1:1/1", "10.0.0.1", 1, false, "u", "p:/@%x@", 1),
            ("redis://p@h", "h", 6379, false, nil, "p", 0),
        ]
        for (url, host, port, isTLS, user, password, database) in cases {
            let spec = try #require(RedisSpec(url: url), "\(url)")
            #expect((spec.host, spec.port, spec.isTLS) == (host, port, isTLS), "\(url)")
            #expect((spec.user, spec.password?.revealed, spec.database) == (user, password, database), "\(url)")
        }
        for url in [
            "", "h:6379", "http://h", "redis://", "redis://h:0", "redis://h:x", "redis://h/x", "redis://h/-1",
            "redis://a b",
        ] {
            #expect(RedisSpec(url: url) == nil, "\(url)")
        }
    }

    @Test func readsAllOfIt() throws {
        #expect(try load("") == nil)
        let plain = try #require(try load("redis: {url: 'redis://h'}\n"))
        #expect(plain == RedisSpec(host: "h") && plain.prefix == "sluice:")
        let full = try #require(
            try load(
                """
                redis:
                  url: rediss://u:${PASSWORD}@h:1/2
                  prefix: "chat:"
                  timeouts: {connect: 2s, reply: 300ms}
                  tls: {server_name: other, verify: false}

                """, ["PASSWORD": "s3cret"]))
        #expect((full.user, full.password?.revealed, full.database) == ("u", "s3cret", 2))
        #expect((full.prefix, full.tls.serverName, full.tls.verify) == ("chat:", "other", false))
        #expect((full.connectTimeout, full.replyTimeout) == (.seconds(2), .milliseconds(300)))
        #expect(!"\(full)".contains("s3cret"))
    }

    @Test func faultsTellNoPassword() {
        let faults: [(String, String)] = [
            ("redis: {}", "url"), ("redis: {url: 'http://u:hidden@h'}", "***@h"),
            ("redis: {url: 'redis://u:hidden@h:x'}", "***@h:x"), ("redis: {url: '${URL}'}", "***@h"),
            ("redis: {url: 'redis://h', prefix: 'a b'}", "prefix"),
            ("redis: {url: 'redis://h', prefix: '{a}'}", "prefix"),
            ("redis: {url: 'redis://h', timeouts: {reply: 0}}", "timeouts.reply"),
            ("redis: {url: 'redis://h', tls: {verify: false}}", "rediss://"),
            ("redis: {url: 'redis://h', db: 1}", "db"),
        ]
        for (text, part) in faults {
            let found = fault(text + "\n", ["URL": "http://u:hidden@h"])
            #expect(found.count == 1 && found[0].contains(part), "\(text): \(found)")
            #expect(!found.contains { $0.contains("hidden") }, "\(found)")
        }
    }
}
