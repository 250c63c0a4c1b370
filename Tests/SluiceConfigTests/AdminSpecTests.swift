import SluiceConfig
import Testing

@Suite struct AdminSpecTests {
    private let rest = """
        listeners: [{address: ':0'}]
        upstreams:
          a: {url: 'http://127.0.0.1:1/v1', dialect: openai-chat}
        routes:
          - {path: /x, request: prompt, response: text, upstream: a}

        """

    private func faults(_ text: String, _ environment: [String: String] = [:]) -> [String] {
        do throws(ConfigurationFaults) {
            _ = try ConfigurationLoader.parse(text: Array(text.utf8), file: "f", environment: environment)
            return []
        } catch {
            return error.issues.map(\.description)
        }
    }

    @Test func isOffUnlessItIsAskedFor() throws {
        let configuration = try ConfigurationLoader.parse(text: Array(rest.utf8), file: "f", environment: [:])
        #expect(configuration.admin == nil)
        #expect(configuration.log.content == .off && !configuration.revealsUpstream)
    }

    @Test(arguments: ["127.0.0.1:9910", "127.1.2.3:1", "localhost:9910", "'[::1]:9910'", "unix:/run/admin.sock"])
    func thisMachineNeedsNoToken(address: String) {
        #expect(faults(rest + "admin: {address: \(address)}\n") == [])
    }

    @Test(arguments: ["0.0.0.0:9910", "':9910'", "10.1.2.3:9910", "'[::]:9910'"])
    func othersNeedOne(address: String) {
        let all = faults(rest + "admin: {address: \(address)}\n")
        #expect(all.count == 1 && all.first?.contains("admin.address: others than this machine") == true, "\(all)")
        #expect(faults(rest + "admin: {address: \(address), token: t}\n") == [])
        #expect(
            faults(rest + "admin: {address: \(address), token: ''}\n").contains { $0.contains("must not be empty") })
        let unset = faults(rest + "admin: {address: \(address), token: '${T:-}'}\n")
        #expect(unset.contains { $0.contains("must not be empty") })
    }

    @Test(arguments: ["0.0.0.0:9910", "':9910'", "10.1.2.3:9910", "'[::]:9910'"])
    func orTheySeeOnlyWhatIsExposed(address: String) throws {
        let text = rest + "admin: {address: \(address), expose: [metrics, metrics]}\n"
        let admin = try ConfigurationLoader.parse(text: Array(text.utf8), file: "f", environment: [:]).admin
        #expect(admin?.expose == [.metrics] && admin?.token == nil && admin?.isLocal == false)
        #expect(faults(rest + "admin: {address: \(address), expose: []}\n") == [])
        #expect(faults(rest + "admin: {address: \(address), expose: [metrics], token: t}\n") == [])
    }

    @Test(arguments: [
        ("[metric]", "admin.expose[0]: 'metric' is not one of metrics (did you mean 'metrics'?)"),
        ("[metrics, config]", "admin.expose[1]: 'config' is not one of metrics"),
        ("metrics", "admin.expose: must be a list"), ("[[metrics]]", "admin.expose[0]: must be a single value"),
    ])
    func onlyMetricsCanBeExposed(value: String, fault: String) {
        let all = faults(rest + "admin: {address: 0.0.0.0:9910, expose: \(value)}\n")
        #expect(all.count == 1 && all.first?.contains(fault) == true, "\(all)")
    }

    /// A secret in a place where it does not belong is not quoted when that place is found fault with.
    @Test(arguments: [
        "workers: ${S}\n", "log: {level: '${S}'}\n", "drain_timeout: x${S}y\n", "limits: {event_bytes: '${S}'}\n",
        "log: {access: '${S}'}\n", "admin: {address: '${S}'}\n", "workers: '${S:-x}'\n",
    ])
    func faultsDoNotQuoteTheEnvironment(text: String) {
        let all = faults(rest + text, ["S": "CANARY-secret"])
        #expect(!all.isEmpty && all.allSatisfy { !$0.contains("CANARY") }, "\(all)")
        #expect(all.contains { $0.contains("${S") }, "\(all)")
    }

    @Test(arguments: [
        ("https://user:CANARY@h.example/v1", "'https://***@h.example/v1'"),
        ("https://h.example/v1?key=CANARY", "'https://h.example/v1?***'"),
        ("https://CANARY@h.example/?a=CANARY@b", "'https://***@h.example/?***'"),
        ("h.example/#CANARY", "'h.example/#***'"), ("CANARY@h", "'***@h'"),
    ])
    func faultsDoNotQuoteSecretsInURLs(url: String, shown: String) {
        let text = rest.replacing("http://127.0.0.1:1/v1", with: url)
        let all = faults(text)
        #expect(all.contains { $0.contains(shown) } && all.allSatisfy { !$0.contains("CANARY") }, "\(all)")
    }
}
