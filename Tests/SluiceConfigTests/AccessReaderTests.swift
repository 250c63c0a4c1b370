import Foundation
import SluiceBytes
import SluiceConfig
import Testing

@Suite struct AccessReaderTests {
    private let rest = """
        listeners: [{address: ':0'}]
        upstreams: {a: {url: 'http://127.0.0.1:1/v1', dialect: openai-chat}}

        """
    private func parse(_ text: String, keys: String? = nil) throws -> Configuration {
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        if let keys { try keys.write(to: folder.appending(path: "keys.txt"), atomically: true, encoding: .utf8) }
        return try ConfigurationLoader.parse(
            text: Array(text.utf8), file: folder.appending(path: "c.yaml").path(), environment: [:])
    }

    private func faults(_ text: String, keys: String? = nil) -> [String] {
        do {
            _ = try parse(text, keys: keys)
            return []
        } catch {
            return (error as? ConfigurationFaults)?.issues.map { "\($0.path): \($0.message)" } ?? ["\(error)"]
        }
    }

    private func route(_ settings: String) -> String {
        rest + "routes: [{path: /x, request: prompt, response: text, upstream: a, \(settings)}]\n"
    }

    private let hash = String(repeating: "0a", count: 32)

    @Test func aRoutesWordsWinAndLimitsAddUp() throws {
        let text =
            rest + """
                auth: {api_keys: {file: keys.txt, names: team-*, query: token}, cookie: __Host-key}
                cors: {origins: "https://*.example.com", credentials: true}
                rate_limit: {requests: 60/m}
                routes:
                  - {path: /a, request: prompt, response: text, upstream: a}
                  - {path: /b, request: prompt, response: text, upstream: a, auth: none, cors: none,
                     rate_limit: [{tokens: 1000/h, by: address}, {requests: 5/s, burst: 2, concurrent: 3}]}
                """
        let keys =
            "# comment\n\nalice \(hash.uppercased()) # hers\r\nbob\t\(hash.dropLast(2))0b expires=2027-01-31 tokens=5/s\n"
        let configuration = try parse(text, keys: keys)
        let named = try #require(configuration.auth?.apiKeys)
        #expect(named.keys.map(\.name) == ["alice", "bob"])
        #expect(named.keys[0].hash == [UInt8](repeating: 10, count: 32))
        #expect(named.keys[1].expires == 1_801_353_600)
        #expect(named.keys[1].limit == RateLimitSpec(tokens: Rate(5, per: .seconds(1))))
        #expect(named.names == ["team-*"] && named.query == "token" && configuration.auth?.cookie == "__Host-key")
        #expect(configuration.cors?.origins == [.label(before: "https://", after: ".example.com")])
        #expect(configuration.rateLimits.map(\.requests?.description) == ["60/m"])
        #expect(configuration.routes[0].auth == nil && configuration.routes[0].cors == nil)
        #expect(configuration.routes[1].auth == .some(nil) && configuration.routes[1].cors == .some(nil))
        #expect(configuration.routes[1].rateLimits.map(\.by) == [.address, .key])
        #expect(configuration.routes[1].rateLimits[1].burst == 2)
    }

    @Test(arguments: [
        ("auth: {}", "must name api_keys"), ("auth: nobody", "must be a mapping"),
        ("auth: {api_keys: {file: missing.txt}}", "cannot be read"), ("auth: {api_keys: {}}", "is required"),
        ("auth: {api_keys: {file: keys.txt, query: 'a b'}}", "letters, digits"),
        ("auth: {cookie: a, mtls: {subjects: 'CN=a'}}", "needs api_keys or jwt"),
        ("auth: {api_keys: {file: keys.txt}, cookie: 'a b'}", "is no name"),
        ("auth: {api_keys: {file: keys.txt}, cookie: ''}", "is no name"),
        ("auth: {mtls: {}}", "is required"), ("auth: {mtls: {subjects: 'CN=a'}}", "client_ca"),
        ("auth: {apikeys: 1}", "did you mean 'api_keys'"),
        ("auth: {jwt: {algorithms: [none], key: k}}", "not one of HS256"),
        ("auth: {jwt: {algorithms: RS256}}", "one of secret, key and jwks"),
        ("auth: {jwt: {algorithms: RS256, key: k, jwks: j}}", "one of secret, key and jwks"),
        ("auth: {jwt: {algorithms: [RS256, HS256], key: k}}", "HS256 must never"),
        ("auth: {jwt: {algorithms: HS256, secret: short}}", "32 bytes"),
        ("auth: {jwt: {algorithms: RS256, secret: 01234567890123456789012345678901}}", "for HS256 only"),
        ("auth: {jwt: [{jwks: j}]}", "is required"),
        ("cors: {}", "is required"), ("cors: {origins: 'example.com'}", "scheme://host"),
        ("cors: {origins: '*', credentials: true}", "any page"), ("cors: {origins: '*', headers: ['a b']}", "no name"),
        ("rate_limit: {}", "needs requests"), ("rate_limit: {requests: 60}", "60/m"),
        ("rate_limit: {tokens: 0/m}", "60/m"), ("rate_limit: {concurrent: 0}", "1 to 1000000"),
        ("rate_limit: {concurrent: 1, burst: 2}", "is required"),
        ("rate_limit: [{requests: 1/m, by: ip}]", "not one of key"),
    ])
    func faultsSayWhatIsWrong(settings: String, message: String) {
        let found = faults(route(settings), keys: "a \(hash)\n")
        #expect(found.contains { $0.contains(message) }, "\(settings): \(found)")
    }

    @Test func faultsOfKeyFilesHaveALineAndNoKey() {
        let canary = "slc_canary"
        let keys =
            "a \(canary)\n\(canary)\nb \(hash)\nc \(hash)\nd \(hash.dropLast())f x=\(canary)\n\(canary)\"x \(hash)\n"
        let found = faults(route("auth: {api_keys: {file: keys.txt}}"), keys: keys)
        #expect(found.count == 5)
        for (line, message) in [
            (1, "must be a name"), (2, "must be a name"), (4, "twice"), (5, "setting"), (6, "ASCII"),
        ] {
            #expect(found.contains { $0.contains("keys.txt:\(line): ") && $0.contains(message) }, "\(line): \(found)")
        }
        #expect(!found.contains { $0.contains(canary) })
    }

    @Test func proxies() {
        #expect(faults(rest + "trusted_proxies: [10.0.0.0/8, '::1', 'fd00::/8', unix]\nroutes: []\n").isEmpty)
        for text in ["10.0.0.0/33", "10.0.0", "localhost", "fd00::/129"] {
            #expect(faults(rest + "trusted_proxies: ['\(text)']\nroutes: []\n").count == 1, "\(text)")
        }
    }
}
