import SluiceBytes
import Testing

@testable import SluiceConfig

@Suite struct ConfigurationLifeTests {
    private func parse(_ text: String) throws -> Configuration {
        try ConfigurationLoader.parse(text: Array(text.utf8), file: "/etc/sluice/a.yaml", environment: [:])
    }

    @Test func theFilesThatItWasMadeOf() throws {
        let configuration = try parse(
            """
            listeners:
              - address: systemd:http
                tls: {certificate: tls.crt, private_key: /run/tls.key}
            drain_delay: 7s
            drain_timeout: 2m
            upstreams:
              u: {url: "https://x", dialect: openai-chat, tls: {ca: ../ca.pem}}
            routes: []
            """)
        #expect(configuration.listeners.first?.inheritedName == "http")
        #expect(configuration.drainDelay == .seconds(7) && configuration.drainTimeout == .seconds(120))
        let expected = ["/etc/sluice/../ca.pem", "/etc/sluice/a.yaml", "/etc/sluice/tls.crt", "/run/tls.key"]
        #expect(configuration.files == expected)
    }

    @Test func aSocketNeedsItsName() {
        #expect(throws: ConfigurationFaults.self) {
            try parse("listeners: [{address: 'systemd:'}]\nupstreams: {}\nroutes: []")
        }
    }
}
