import Testing

@testable import SluiceConfig

@Suite struct ProbeReaderTests {
    private func load(_ probe: String) throws(ConfigurationFaults) -> Configuration {
        let text = """
            listeners: [{address: "127.0.0.1:0"}]
            upstreams: {u: {url: "http://127.0.0.1:1/v1", dialect: openai-chat}}
            routes: [{path: /a, request: openai-chat, response: openai-chat, upstream: u}]
            \(probe)
            """
        return try ConfigurationLoader.parse(text: Array(text.utf8), file: "test.yaml", environment: ["KEY": "k"])
    }

    private func faults(_ probe: String) -> [String] {
        do throws(ConfigurationFaults) {
            _ = try load(probe)
            return []
        } catch {
            return error.issues.map { "\($0.path): \($0.message)" }
        }
    }

    @Test func isOffUnlessAskedFor() throws {
        #expect(try load("").probe == nil)
        #expect(try load("probe: off").probe == nil)
        #expect(try load("probe: on").probe == ProbeSpec())
        #expect(try load("probe: {}").probe == ProbeSpec())
    }

    @Test func readsItsKeyAndItsBound() throws {
        #expect(try load("probe: {key: \"${KEY}\", concurrent: 3}").probe == ProbeSpec(key: Secret("k"), concurrent: 3))
    }

    @Test func reportsFaults() {
        #expect(faults("probe: perhaps") == ["probe: 'perhaps' is neither true nor false"])
        #expect(faults("probe: {key: \"\"}") == ["probe.key: must not be empty"])
        #expect(faults("probe: {concurrent: 0}") == ["probe.concurrent: '0' is not a whole number from 1 to 1024"])
        #expect(faults("probe: {keys: a}") == ["probe.keys: unknown key (did you mean 'key'?)"])
    }

    @Test func theDemoLetsEverybodyAsk() throws {
        let zero = try ConfigurationLoader.zeroConfiguration(
            environment: [:], listen: nil, demoURL: "http://127.0.0.1:1/v1")
        #expect(zero.probe == ProbeSpec())
    }
}
