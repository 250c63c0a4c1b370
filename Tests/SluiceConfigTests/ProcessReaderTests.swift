import SluiceBytes
import SluiceConfig
import Testing

@Suite struct ProcessReaderTests {
    private func load(_ upstreams: String) throws(ConfigurationFaults) -> Configuration {
        let text = """
            listeners: [{address: ':0'}]
            routes: [{path: /x, request: prompt, response: text, upstream: a}]
            upstreams:
            \(upstreams)
            """
        return try ConfigurationLoader.parse(text: Array(text.utf8), file: "/etc/s/t.yaml", environment: ["T": "tok"])
    }

    private func upstream(_ process: String, named name: String = "a", url: String = "http://127.0.0.1:8000/v1")
        -> String
    {
        "  \(name): {url: '\(url)', dialect: openai-chat, process: \(process)}\n"
    }

    private func faults(_ upstreams: String) -> [String] {
        do throws(ConfigurationFaults) {
            _ = try load(upstreams)
            return []
        } catch {
            return error.issues.map { "\($0.path): \($0.message)" }
        }
    }

    @Test func aCommandIsEnough() throws {
        let process = try #require(try load(upstream("{command: [ollama, serve]}")).upstreams.first?.process)
        #expect(process == ProcessSpec(command: ["ollama", "serve"]))
        #expect(process.restart == .onFailure && process.wait == .seconds(60) && process.ready.path == nil)
    }

    @Test func everythingMaySaid() throws {
        let text = """
            {command: [./run, --port, 8000], directory: models, environment: {HF_TOKEN: '${T}', A: b}, stop_signal: SIGINT,
             ready: {path: /health, timeout: 0, interval: 1s}, restart: always, backoff: 2s, max_backoff: 1m,
             stop_timeout: 0, wait: 5s, output: discard}
            """
        let process = try #require(try load(upstream(text)).upstreams.first?.process)
        var expected = ProcessSpec(command: ["./run", "--port", "8000"])
        expected.directory = "/etc/s/models"
        expected.environment = [
            .init(name: "HF_TOKEN", value: Secret("tok"), isSecret: true),
            .init(name: "A", value: Secret("b"), isSecret: false),
        ]
        (expected.ready.path, expected.ready.timeout, expected.ready.interval) = ("/health", .zero, .seconds(1))
        (expected.restart, expected.backoff, expected.maxBackoff) = (.always, .seconds(2), .seconds(60))
        (expected.stopSignal, expected.stopTimeout, expected.wait) = (.SIGINT, .zero, .seconds(5))
        expected.output = .discard
        #expect(process == expected)
        #expect(!"\(process)".contains("tok"))
    }

    @Test func aLongerBackoffRaisesTheLongest() throws {
        let process = try load(upstream("{command: [x], backoff: 2m}")).upstreams.first?.process
        #expect(process?.maxBackoff == .seconds(120))
    }

    @Test(arguments: [
        ("{}", "upstreams.a.process.command: is required"),
        ("{command: []}", "upstreams.a.process.command: must begin with a program"),
        ("{command: ['']}", "upstreams.a.process.command: must begin with a program"),
        ("{command: vllm serve}", "upstreams.a.process.command: must be a list, not a single value"),
        (#"{command: ["a\0b"]}"#, "upstreams.a.process.command[0]: must not hold a zero byte"),
        (
            "{command: [x], environment: {A=B: c}}",
            "upstreams.a.process.environment.A=B: 'A=B' is no name of a variable"
        ),
        (
            "{command: [x], ready: {path: health}}",
            "upstreams.a.process.ready.path: 'health' is not a path such as /health"
        ),
        ("{command: [x], ready: {interval: 0}}", "upstreams.a.process.ready.interval: must be at least 10ms"),
        ("{command: [x], backoff: 2s, max_backoff: 1s}", "upstreams.a.process.max_backoff: must not be below backoff"),
    ])
    func faultsAreNamed(process: String, fault: String) {
        #expect(faults(upstream(process)).contains(fault), "\(faults(upstream(process)))")
    }

    @Test func onlyThisMachineRunsIt() {
        for url in ["http://localhost:1/v1", "http://127.0.0.9:1", "http://[::1]:1/v1", "unix:/run/model.sock"] {
            #expect(faults(upstream("{command: [x]}", url: url)) == [], "\(url)")
        }
        for url in ["http://10.0.0.1:1", "http://model:1", "http://127.0.0.1.example.com:1", "https://127.0.0.1:1"] {
            #expect(faults(upstream("{command: [x]}", url: url)).count == 1, "\(url)")
        }
    }

    @Test func onePlaceHasOneProcess() {
        let one = upstream("{command: [x]}")
        #expect(faults(one + upstream("{command: [x]}", named: "b", url: "http://localhost:8000")) == [])
        let fault = "upstreams.b.process: is not the same as that of a, which has the same url"
        #expect(faults(one + upstream("{command: [y]}", named: "b", url: "http://localhost:8000")) == [fault])
        #expect(faults(one + upstream("{command: [y]}", named: "b", url: "http://localhost:8001")) == [])
    }
}
