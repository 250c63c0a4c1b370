import Foundation
import SluiceBytes
import SluiceConfig
import SluiceStreams
import Testing

private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

private func parse(_ text: String, _ environment: [String: String] = [:]) throws -> Configuration {
    try ConfigurationLoader.parse(text: Array(text.utf8), file: "test.yaml", environment: environment)
}

/// Every fault of the text, as it is printed.
private func faults(_ text: String, _ environment: [String: String] = [:]) -> [String] {
    do throws(ConfigurationFaults) {
        _ = try ConfigurationLoader.parse(text: Array(text.utf8), file: "test.yaml", environment: environment)
        return []
    } catch {
        return error.issues.map(\.description)
    }
}

private let upstreams = "upstreams:\n  a: {url: 'http://127.0.0.1:1/v1', dialect: openai-chat}\n"
private let routes = "routes:\n  - {path: /x, request: prompt, response: text, upstream: a}\n"
private let listeners = "listeners: [{address: ':0'}]\n"

@Suite struct ConfigurationLoaderTests {
    @Test func theReferenceFileLoadsAndNamesEveryKey() throws {
        let path = root.appending(path: "Config/sluice.yaml").path()
        let configuration = try ConfigurationLoader.load(path: path, environment: [:])
        #expect(configuration.routes.count == 5)
        #expect(configuration.upstreams.map(\.name) == ["openai", "bedrock", "local", "fleet"])
        var limits = Limits()
        limits.bufferedBytes = 512 << 20
        #expect(configuration.limits == limits)
        #expect(configuration.routes.first?.conditions.count == 4)
        #expect(configuration.routes.first?.overrides == #"{"max_tokens":1024}"#)

        let text = try String(contentsOfFile: path, encoding: .utf8)
        let keys = ConfigurationLoader.knownKeys(text: Array(text.utf8))
        #expect(keys.count > 70)
        for key in keys {
            let last = key.split(separator: ".").last.map(String.init) ?? key
            #expect(last == "file" || text.contains("\(last):"), "\(key) is not in Config/sluice.yaml")
        }
    }

    @Test func theMinimalFileNeedsItsKey() throws {
        let path = root.appending(path: "Config/minimal.yaml").path()
        let configuration = try ConfigurationLoader.load(path: path, environment: ["OPENAI_API_KEY": "sk-canary"])
        #expect(configuration.upstreams.first?.apiKey?.revealed == "sk-canary")
        #expect(throws: ConfigurationFaults.self) { try ConfigurationLoader.load(path: path, environment: [:]) }
    }

    @Test func secretsAreNeverShown() throws {
        let configuration = try parse(
            listeners + routes
                + "upstreams:\n  a: {url: 'http://h/v1', dialect: openai-chat, api_key: CANARY, headers: {X-K: CANARY}}\n"
        )
        var shown = "\(configuration) \(String(reflecting: configuration))"
        dump(configuration, to: &shown)
        #expect(!shown.contains("CANARY"))
        #expect(configuration.upstreams.first?.headers.first?.value.revealed == "CANARY")
    }

    @Test func aSecretMayStandInAFile() throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "sluice-secret-\(UUID())")
        try "sk-file\n".write(to: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: file) }
        let configuration = try parse(
            listeners + routes
                + "upstreams:\n  a: {url: 'http://h/v1', dialect: openai-chat, api_key: {file: '\(file.path())'}}\n")
        #expect(configuration.upstreams.first?.apiKey?.revealed == "sk-file")
    }

    @Test(arguments: [
        ("${A}", "one"), ("x${A}y", "xoney"), ("${B:-two}", "two"), ("${A:-two}", "one"), ("${A:?no}", "one"),
        ("$$A", "$A"), ("$A", "$A"), ("${E:-}", ""),
    ])
    func substitution(text: String, expected: String) throws {
        let routes = "routes:\n  - {path: /x, request: prompt, response: text, upstream: a, system: '\(text)'}\n"
        let configuration = try parse(listeners + upstreams + routes, ["A": "one", "E": ""])
        #expect(configuration.routes.first?.system ?? "" == expected)
    }

    @Test(arguments: [
        ("http://h", UpstreamURL(isTLS: false, host: "h", port: 80)),
        ("https://h/v1/", UpstreamURL(isTLS: true, host: "h", port: 443, basePath: "/v1")),
        ("http://[::1]:81/a/b", UpstreamURL(isTLS: false, host: "::1", port: 81, basePath: "/a/b")),
        ("unix:/run/x.sock", UpstreamURL(isTLS: false, host: "", port: 0, unixPath: "/run/x.sock")),
    ])
    func urls(text: String, url: UpstreamURL) { #expect(UpstreamURL(text) == url) }

    @Test(arguments: [
        "h", "ftp://h", "http://", "http://u@h", "http://h?x", "http://h#x", "http://h:0", "http://h:99999",
        "http://h:",
        "http://[::1", "http://[h]", "http://h h", "unix:x", "http://h:1:2",
    ])
    func notURLs(text: String) { #expect(UpstreamURL(text) == nil) }

    @Test func zeroConfiguration() throws {
        let demo = try ConfigurationLoader.zeroConfiguration(
            environment: [:], listen: "127.0.0.1:0", demoURL: "http://127.0.0.1:9/v1")
        #expect(demo.upstreams.map(\.name) == ["demo"])
        #expect(demo.listeners.map(\.address) == ["127.0.0.1:0"])
        let real = try ConfigurationLoader.zeroConfiguration(
            environment: ["OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://h/v1"], listen: nil, demoURL: "")
        #expect(real.upstreams.first?.url == UpstreamURL("http://h/v1"))
        #expect(real.upstreams.first?.apiKey?.revealed == "k")
        #expect(demo.servesPage && !real.servesPage)
    }

    @Test func randomTextNeverTraps() {
        let alphabet = Array("{}[]:,-\n  'a\"#&*!|>%@`$lisroute0:\\\u{00E9}".utf8)
        var seed: UInt64 = 20_261
        for _ in 0..<3000 {
            var text: [UInt8] = []
            for _ in 0..<60 {
                seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                text.append(alphabet[Int(seed >> 33) % alphabet.count])
            }
            _ = try? ConfigurationLoader.parse(text: text, file: "random", environment: [:])
        }
    }
}

/// Each fault with its exact place and words.
@Suite struct ConfigurationFaultTests {
    private static let tail = upstreams + routes

    @Test(arguments: [
        ("", "test.yaml: is empty"),
        ("a: [", "test.yaml:2:1: did not find expected node content"),
        ("- 1\n", "test.yaml:1:1: must be a mapping, not a list"),
        ("x: &a 1\n", "test.yaml:1:4: anchors are not supported"),
        ("x: *a\n", "test.yaml:1:4: aliases are not supported"),
        ("x: 1\n---\ny: 2\n", "test.yaml:2:1: a configuration is one document, here a second one begins"),
    ])
    func wholeFile(text: String, fault: String) { #expect(faults(text).contains(fault), "\(faults(text))") }

    @Test(arguments: [
        ("listners: []\n", "test.yaml:1:1: listners: unknown key (did you mean 'listeners'?)"),
        ("listeners: 5\n", "test.yaml:1:12: listeners: must be a list, not a single value"),
        (
            "listeners: [{address: nope}]\n",
            "test.yaml:1:23: listeners[0].address: 'nope' is not host:port, [v6]:port, :port, unix:/path or systemd:NAME"
        ),
        (
            "listeners: [{address: '1.2.3:4'}]\n",
            "test.yaml:1:23: listeners[0].address: '1.2.3:4' is not host:port, [v6]:port, :port, unix:/path or systemd:NAME"
        ),
        ("listeners: [{}]\n", "test.yaml:1:13: listeners[0].address: is required"),
        (
            "listeners: [{address: ':1', address: ':2'}]\n",
            "test.yaml:1:29: listeners[0].address: this key stands here twice"
        ),
        (
            "listeners: [{address: ':1', tls: {certificate: a}}]\n",
            "test.yaml:1:34: listeners[0].tls.private_key: is required"
        ),
        (
            "listeners: [{address: ':1', tls: {certificate: a, private_key: b, minimum_version: '1.1'}}]\n",
            "test.yaml:1:84: listeners[0].tls.minimum_version: '1.1' is not one of 1.2, 1.3 (did you mean '1.2'?)"
        ),
        (
            "listeners: [{address: ':1', tls: {certificate: a, private_key: b, require_client_certificate: true}}]\n",
            "test.yaml:1:34: listeners[0].tls.client_ca: is required"
        ),
        ("workers: 0\n", "test.yaml:1:10: workers: '0' is not a whole number from 1 to 1024"),
        ("log: {level: loud}\n", "test.yaml:1:14: log.level: 'loud' is not one of debug, info, warning, error"),
        ("log: {access: maybe}\n", "test.yaml:1:15: log.access: 'maybe' is neither true nor false"),
        (
            "limits: {slow_client: 5x}\n",
            "test.yaml:1:23: limits.slow_client: '5x' is not a duration such as 250ms, 15s, 10m or 0"
        ),
        (
            "limits: {slow_client: 99999999999999999h}\n",
            "test.yaml:1:23: limits.slow_client: '99999999999999999h' is not a duration such as 250ms, 15s, 10m or 0"
        ),
        (
            "limits: {event_bytes: 8XB}\n",
            "test.yaml:1:23: limits.event_bytes: '8XB' is not a size such as 512, 64KiB or 8MiB"
        ),
        (
            "limits: {event_bytes: 9999999999999GiB}\n",
            "test.yaml:1:23: limits.event_bytes: '9999999999999GiB' is not a size such as 512, 64KiB or 8MiB"
        ),
        ("limits: {event_bytes: 1}\n", "test.yaml:1:23: limits.event_bytes: must be at least 1024"),
        (
            "limits: {stream_buffer_low_bytes: 1MiB}\n",
            "test.yaml:1:9: limits: stream_buffer_low_bytes must be below stream_buffer_high_bytes"
        ),
        ("limits: {slowclient: 1s}\n", "test.yaml:1:10: limits.slowclient: unknown key (did you mean 'slow_client'?)"),
        ("drain_timeout: [1]\n", "test.yaml:1:16: drain_timeout: must be a single value, not a list"),
        (
            "drain_timeout: ${NOPE}\n",
            "test.yaml:1:16: drain_timeout: the environment has no NOPE (give a default with ${NOPE:-…})"
        ),
        ("drain_timeout: ${NOPE:?say how long}\n", "test.yaml:1:16: drain_timeout: NOPE: say how long"),
        ("drain_timeout: '${NOPE'\n", "test.yaml:1:16: drain_timeout: '${' without '}'"),
        (
            "dialects: {openai-chat: {text: a, done: b}}\n",
            "test.yaml:1:12: dialects.openai-chat: this is the name of a built-in dialect"
        ),
        (
            "dialects: {x: {text: a}}\n",
            "test.yaml:1:15: dialects.x: needs 'finish' or 'done': without either, no end could be told from a cut"
        ),
        ("dialects: {x: {done: a}}\n", "test.yaml:1:15: dialects.x.text: is required"),
    ])
    func topLevel(text: String, fault: String) {
        let all = faults(text + Self.tail + (text.hasPrefix("listeners") ? "" : listeners))
        #expect(all.contains(fault), "\(all)")
    }

    @Test(arguments: [
        ("{dialect: openai-chat}", "test.yaml:4:6: upstreams.a.url: is required"),
        ("{url: 'http://h'}", "test.yaml:4:6: upstreams.a.dialect: is required"),
        (
            "{url: 'ftp://h', dialect: raw}",
            "test.yaml:4:12: upstreams.a.url: 'ftp://h' is not http(s)://host[:port][/path] without user, query and fragment, or unix:/path"
        ),
        (
            "{url: 'http://h', dialect: openai}",
            "test.yaml:4:33: upstreams.a.dialect: 'openai' is not one of openai-chat, openai-completions, openai-responses, anthropic-messages, anthropic-completion, cohere-v1, cohere-v2, gemini, ollama-chat, ollama-generate, bedrock-converse, bedrock-invoke, tgi, llama.cpp, replicate, watsonx, mlflow, text, raw, auto"
        ),
        (
            "{url: 'http://h', dialect: openai-chat, apikey: x}",
            "test.yaml:4:46: upstreams.a.apikey: unknown key (did you mean 'api_key'?)"
        ),
        (
            "{url: 'http://h', dialect: openai-chat, api_key: {file: /nonexistent}}",
            "test.yaml:4:55: upstreams.a.api_key: the file /nonexistent cannot be read"
        ),
        (
            "{url: 'http://h', dialect: openai-chat, headers: {Host: x}}",
            "test.yaml:4:56: upstreams.a.headers.Host: this field is written by Sluice itself"
        ),
        (
            "{url: 'http://h', dialect: openai-chat, headers: {'a b': x}}",
            "test.yaml:4:56: upstreams.a.headers.a b: 'a b' is no field name"
        ),
        (
            "{url: 'http://h', dialect: openai-chat, tls: {certificate: x}}",
            "test.yaml:4:51: upstreams.a.tls.private_key: is required"
        ),
        (
            "{url: 'http://h', dialect: openai-chat, timeouts: {idle: soon}}",
            "test.yaml:4:63: upstreams.a.timeouts.idle: 'soon' is not a duration such as 250ms, 15s, 10m or 0"
        ),
    ])
    func upstream(text: String, fault: String) {
        let all = faults(listeners + "# the upstream is on line 4\nupstreams:\n  a: \(text)\n" + routes)
        #expect(all.contains(fault), "\(all)")
    }

    @Test(arguments: [
        (
            "{path: x, request: prompt, response: text, upstream: a}",
            "test.yaml:5:12: routes[0].path: 'x' is not a path such as /api/chat, or a prefix such as /v1/*"
        ),
        (
            "{path: /a*b, request: prompt, response: text, upstream: a}",
            "test.yaml:5:12: routes[0].path: '/a*b' is not a path such as /api/chat, or a prefix such as /v1/*"
        ),
        ("{path: /x, response: text, upstream: a}", "test.yaml:5:5: routes[0].request: is required"),
        (
            "{path: /x, request: promt, response: text, upstream: a}",
            "test.yaml:5:25: routes[0].request: 'promt' is not one of openai-chat, openai-responses, openai-completions, anthropic, gemini, ollama-chat, ollama-generate, cohere, vercel-ui, ag-ui, prompt, run, passthrough (did you mean 'prompt'?)"
        ),
        (
            "{path: /x, request: prompt, response: sse_text, upstream: a}",
            "test.yaml:5:43: routes[0].response: 'sse_text' is not one of text, sse-text, sse-json, ndjson, openai-chat, openai-responses, openai-completions, anthropic, gemini, ollama-chat, ollama-generate, cohere, vercel-ui, vercel-data, ag-ui, mlflow, passthrough, auto (did you mean 'sse-text'?)"
        ),
        (
            "{path: /x, request: prompt, response: text, upstream: ab}",
            "test.yaml:5:59: routes[0].upstream: no upstream is named 'ab' (known: a, did you mean 'a'?)"
        ),
        (
            "{path: /x, request: prompt, response: passthrough, upstream: a}",
            "test.yaml:5:43: routes[0].response: only a passthrough request can have a passthrough response"
        ),
        (
            "{path: /x, request: passthrough, response: text, upstream: a}",
            "test.yaml:5:48: routes[0].response: a passthrough request can only have a passthrough response"
        ),
        (
            "{path: /x, request: passthrough, response: passthrough, upstream: a, model: m}",
            "test.yaml:5:81: routes[0].model: a passthrough request is not changed; take this out"
        ),
        (
            "{path: /x, request: prompt, response: text, upstream: a, methods: [FETCH]}",
            "test.yaml:5:72: routes[0].methods[0]: 'FETCH' is not one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
        ),
        (
            "{path: /x, request: prompt, response: text, upstream: a, when: {model: x}}",
            "test.yaml:5:69: routes[0].when.model: must be path, or begin with body., header. or query. and name something"
        ),
        (
            "{path: /x, request: prompt, response: text, upstream: a, defaults: 5}",
            "test.yaml:5:72: routes[0].defaults: must be a mapping, not a single value"
        ),
        (
            "{path: /x, request: prompt, response: text, upstream: a, upstream_path: y}",
            "test.yaml:5:77: routes[0].upstream_path: must begin with /"
        ),
        (
            "{path: /x, request: passthrough, response: passthrough, upstream: a, upstream_path: /y/*}",
            "test.yaml:5:89: routes[0].upstream_path: only a passthrough of a prefix can end in *"
        ),
        (
            "{path: /x/*, request: prompt, response: text, upstream: a, upstream_path: /y/*}",
            "test.yaml:5:79: routes[0].upstream_path: only a passthrough of a prefix can end in *"
        ),
        (
            "{path: /x, request: passthrough, response: passthrough, upstream: a, strip_model_prefix: m/}",
            "test.yaml:5:94: routes[0].strip_model_prefix: a passthrough request is not changed; take this out"
        ),
        (
            "{path: /x, request: prompt, response: text, upstream: a, keepaliv: 1s}",
            "test.yaml:5:62: routes[0].keepaliv: unknown key (did you mean 'keepalive'?)"
        ),
        (
            "{path: /x, request: prompt, response: text, upstream: a, on_disconnect: ignore}",
            "test.yaml:5:77: routes[0].on_disconnect: 'ignore' is not one of cancel, drain"
        ),
    ])
    func route(text: String, fault: String) {
        let all = faults(listeners + upstreams + "routes:\n  - \(text)\n")
        #expect(all.contains(fault), "\(all)")
    }

    @Test func aRouteThatCannotBeReachedIsAFault() {
        let same = "  - {path: /x, request: prompt, response: ndjson, upstream: a}\n"
        let all = faults(listeners + upstreams + routes + same)
        #expect(all == ["test.yaml:6:5: routes[1]: is never reached: routes[0] matches the same requests"])
    }

    @Test func allFaultsAreReportedInTheOrderOfTheFile() {
        let all = faults("workers: x\nlog: {level: y}\nnothing: 1\n")
        #expect(all.count == 6, "\(all)")
        #expect(all.first?.hasPrefix("test.yaml:1:1:") == true)
    }
}
