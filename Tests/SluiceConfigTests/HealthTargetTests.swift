import Glibc
import SluiceConfig
import Testing

@Suite struct HealthTargetTests {
    /// Of a file with that text.
    private func target(
        _ text: String, listen: String? = nil, environment: [String: String] = [:]
    ) throws -> HealthTarget {
        var path = Array("/tmp/sluice-health-XXXXXX".utf8CString)
        let descriptor = mkstemp(&path)
        defer { unlink(path) }
        #expect(write(descriptor, text, text.utf8.count) == text.utf8.count)
        close(descriptor)
        let name = String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return try ConfigurationLoader.healthTarget(path: name, listen: listen, environment: environment)
    }

    private func clients(_ address: String, isTLS: Bool = false, requires: Bool = false) -> HealthTarget {
        HealthTarget(address: address, service: .clients(isTLS: isTLS, requiresCertificate: requires))
    }

    @Test func theAdminIsAskedFirst() throws {
        let listeners = "listeners: [{address: ':8080'}]\n"
        #expect(
            try target(listeners + "admin: {address: '127.0.0.1:9910'}")
                == HealthTarget(address: "127.0.0.1:9910", service: .admin))
        #expect(
            try target(listeners + "admin: {address: 'unix:/run/sluice/admin.sock'}")
                == HealthTarget(address: "unix:/run/sluice/admin.sock", service: .admin))
        #expect(
            try target(listeners + "admin: {address: '0.0.0.0:9910', token: '${ABSENT:?it is not here}'}")
                == HealthTarget(address: "127.0.0.1:9910", service: .admin), "its address is all that counts")
        #expect(try target(listeners + "admin: {address: '127.0.0.1:0'}") == clients("127.0.0.1:8080"))
    }

    @Test(arguments: [
        (":8080", "127.0.0.1:8080"), ("0.0.0.0:1", "127.0.0.1:1"), ("[::]:8443", "[::1]:8443"),
        ("10.1.2.3:80", "10.1.2.3:80"), ("[fe80::1]:80", "[fe80::1]:80"), ("unix:/run/s.sock", "unix:/run/s.sock"),
    ])
    func aListenerOnAllAddressesIsAskedOnThisMachines(address: String, reachable: String) throws {
        #expect(try target("listeners: [{address: '\(address)'}]") == clients(reachable))
        #expect(
            try ConfigurationLoader.healthTarget(path: nil, listen: address, environment: [:]) == clients(reachable))
    }

    @Test func theFirstThatHasAnAddressIsAsked() throws {
        let tls = "tls: {certificate: a.crt, private_key: a.key"
        #expect(
            try target("listeners: [{address: 'systemd:web'}, {address: ':0'}, {address: ':1', \(tls)}}]")
                == clients("127.0.0.1:1", isTLS: true))
        #expect(
            try target("listeners: [{address: ':1', \(tls), client_ca: c.crt, require_client_certificate: true}}]")
                == clients("127.0.0.1:1", isTLS: true, requires: true))
        #expect(try target("listeners: [{address: ':1', \(tls)}}]", listen: ":2") == clients("127.0.0.1:2"))
        #expect(
            try ConfigurationLoader.healthTarget(path: nil, listen: nil, environment: [:]) == clients("127.0.0.1:8080"))
    }

    /// The server that is asked after may run with what the file said before.
    @Test func faultsElsewhereDoNotMatter() throws {
        let text = "listeners: [{address: '${ADDRESS}'}]\nroutes: nonsense\nupstreams: {a: {url: 7}}\nunknown: 1\n"
        #expect(try target(text, environment: ["ADDRESS": ":80"]) == clients("127.0.0.1:80"))
    }

    @Test(arguments: [
        "listeners: [{address: ':0'}]", "listeners: [{address: 'systemd:web'}]", "routes: []", "{", "", "7",
    ])
    func noAddressIsAFault(text: String) {
        #expect(throws: ConfigurationFaults.self) { try target(text) }
    }

    @Test func aFileThatIsNotThereIsNamed() {
        #expect {
            try ConfigurationLoader.healthTarget(path: "/nonexistent/sluice.yaml", listen: nil, environment: [:])
        } throws: {
            ($0 as? ConfigurationFaults)?.issues.first?.description.contains("/nonexistent/sluice.yaml") == true
        }
    }
}
