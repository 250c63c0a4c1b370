import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import SluiceStreams
import Testing

@testable import SluiceProxy

@Suite struct AuthenticatorTests {
    private static func key(_ name: String, _ text: String, expires: Int? = nil) throws -> APIKeySpec {
        let bytes = Array(text.utf8)
        return APIKeySpec(name: name, hash: try Digest.sha256(bytes.span), expires: expires)
    }

    private func authenticator(
        names: [String] = [], subjects: [String] = [], keys: Bool = true
    ) throws -> Authenticator {
        var spec = AuthSpec()
        if keys {
            let many = try (0..<1000).map { try Self.key("n\($0)", "filler-\($0)") }
            spec.apiKeys = APIKeysSpec(
                keys: many + [try Self.key("alice", "slc_alice"), try Self.key("old", "slc_old", expires: 100)])
            spec.apiKeys?.names = names
        }
        spec.certificateSubjects = subjects
        return Authenticator(spec, tokens: [])
    }

    private func judge(
        _ authenticator: Authenticator, _ fields: [(String, String)] = [], target: String = "/", query: [String] = [],
        certificate: PeerCertificate? = nil, at time: Int = 100
    ) -> String {
        var head = RequestHead(method: "POST", target: target, authority: "h")
        for (name, value) in fields { head.fields.append(name, value) }
        switch authenticator.judge(head, query: query, certificate: certificate, at: time) {
        case .admitted(let identity): return identity.name
        case .unknown(let detail): return "unknown: \(detail)"
        case .forbidden(let identity, _): return "forbidden: \(identity.name)"
        case .foreignPage(let identity): return "foreign page: \(identity.name)"
        }
    }

    @Test func keysWhereEachSDKPutsThem() throws {
        let authenticator = try authenticator()
        for name in ["x-api-key", "X-Goog-Api-Key", "api-key"] {
            #expect(judge(authenticator, [(name, "slc_alice")]) == "alice")
            #expect(judge(authenticator, [(name, "slc_alice ")]) == "unknown: unknown key")
        }
        for value in ["Bearer slc_alice", "bearer slc_alice", "BEARER   slc_alice"] {
            #expect(judge(authenticator, [("Authorization", value)]) == "alice", "\(value)")
        }
        for value in ["slc_alice", "Basic slc_alice", "Bearerslc_alice", "Bearer ", "Bearer", ""] {
            #expect(judge(authenticator, [("Authorization", value)]).hasPrefix("unknown"), "\(value)")
        }
        #expect(judge(authenticator, [("Authorization", "Bearer wrong"), ("x-api-key", "filler-7")]) == "n7")
        #expect(judge(authenticator) == "unknown: no credentials")
        #expect(judge(authenticator, [("x-api-key", String(repeating: "x", count: 5000))]) == "unknown: unknown key")
    }

    @Test func keysInTheQueryOnlyWhereTheRouteTakesThem() throws {
        let authenticator = try authenticator()
        let target = "/x?a=1&key=slc_alice"
        #expect(judge(authenticator, target: target) == "unknown: no credentials")
        #expect(judge(authenticator, target: target, query: ["key"]) == "alice")
        #expect(judge(authenticator, target: "/x?%6Bey=slc%5Falice", query: ["key"]) == "alice")
    }

    @Test func expiryAndNames() throws {
        let old = [("x-api-key", "slc_old")]
        #expect(judge(try authenticator(), old, at: 99) == "old")
        #expect(judge(try authenticator(), old, at: 100) == "unknown: the key old has expired")
        let some = try authenticator(names: ["n*", "old"])
        #expect(judge(some, [("x-api-key", "slc_alice")]) == "forbidden: alice")
        #expect(judge(some, [("x-api-key", "filler-999")]) == "n999")
    }

    @Test func certificates() throws {
        let authenticator = try authenticator(subjects: ["CN=a,*", "URI:spiffe://x/*", "CN=b\\,c"], keys: false)
        func certificate(_ subject: String, _ names: [String] = []) -> PeerCertificate {
            PeerCertificate(subject: subject, names: names)
        }
        #expect(!authenticator.takesCredentials)
        #expect(judge(authenticator, certificate: certificate("CN=a,O=x")) == "CN=a,O=x")
        #expect(judge(authenticator, certificate: certificate("CN=z", ["URI:spiffe://x/y"])) == "CN=z")
        #expect(judge(authenticator, certificate: certificate("CN=z", ["DNS:a"])) == "forbidden: CN=z")
        #expect(judge(authenticator).hasPrefix("unknown"))
        // A comma inside a name must not pass for the end of it; written out in full it may.
        #expect(judge(authenticator, certificate: certificate("CN=a,O=x\\,y")) == "forbidden: CN=a,O=x\\,y")
        #expect(judge(authenticator, certificate: certificate("CN=b\\,c")) == "CN=b\\,c")
    }

    // MARK: - Where clients come from

    @Test(arguments: [
        ("1.2.3.4", [], "1.2.3.4"),
        ("1.2.3.4", ["9.9.9.9"], "1.2.3.4"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["9.9.9.9"], "9.9.9.9"),
        ("10.0.0.1", ["6.6.6.6, 9.9.9.9, 10.1.1.1"], "9.9.9.9"),
        ("10.0.0.1", ["6.6.6.6", "9.9.9.9:443,10.1.1.1"], "9.9.9.9"),
        ("10.0.0.1", ["6.6.6.6, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, unknown, 10.1.1.1"], "10.1.1.1"),
        ("10.0.0.1", ["[2001:db8::1]:80"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["::ffff:9.9.9.9"], "9.9.9.9"),
        ("fd00::1", ["2001:db8::2"], "2001:db8::2"),
        ("10.0.0.1", ["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
    ])
    func clientsBehindProxies(peer: String, forwarded: [String], wanted: String) throws {
        let proxies = try TrustedProxies(["10.0.0.0/8", "fd00::/8"])
        var fields = HeaderFields()
        for value in forwarded { fields.append("X-Forwarded-For", value) }
        let address = try #require(IPAddress(peer))
        #expect(proxies.client(of: .ip(address, port: 1), fields)?.description == wanted)
    }

    @Test func unixSocketsAndLongChains() throws {
        var fields = HeaderFields()
        fields.append("X-Forwarded-For", "9.9.9.9")
        #expect(try TrustedProxies(["unix"]).client(of: .unix(""), fields)?.description == "9.9.9.9")
        #expect(try TrustedProxies([]).client(of: .unix(""), fields) == nil)
        var long = HeaderFields()
        long.append("X-Forwarded-For", "9.9.9.9" + String(repeating: ",10.0.0.1", count: 100))
        let peer = SocketAddress.ip(.v4(0x0A00_0001), port: 1)
        #expect(try TrustedProxies(["10.0.0.0/8"]).client(of: peer, long)?.description == "10.0.0.1")
        for text in ["10.0.0.0/33", "x", "", "::/129", "10.0.0.0/-1", "/8"] { #expect(AddressRange(text) == nil) }
        let all = try #require(AddressRange("0.0.0.0/0"))
        #expect(all.contains(.v4(7)) && !all.contains(.v6(0, 7)))
        let half = try #require(AddressRange("2001:db8::/96"))
        #expect(half.contains(.v6(0x2001_0DB8 << 32, 7)) && !half.contains(.v6(0x2001_0DB8 << 32, 7 << 32)))
    }
}
