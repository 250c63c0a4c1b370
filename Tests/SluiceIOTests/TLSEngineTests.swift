import COpenSSL
import SluiceBytes
import Testing

@testable import SluiceIO

@Suite struct TLSEngineTests {
    static func server(_ change: (inout TLSServerOptions) -> Void = { _ in }) throws -> TLSContext {
        var options = TLSServerOptions(certificates: [
            (TLSCertificates.path("default.pem"), TLSCertificates.path("default.key"))
        ])
        change(&options)
        return try TLSContext.server(options)
    }

    static func client(_ change: (inout TLSClientOptions) -> Void = { _ in }) throws -> TLSContext {
        var options = TLSClientOptions(caPath: TLSCertificates.path("ca.pem"))
        change(&options)
        return try TLSContext.client(options)
    }

    /// A client that speaks nothing newer than TLS 1.2.
    static func olderClient(_ change: (inout TLSClientOptions) -> Void = { _ in }) throws -> TLSContext {
        let context = try client(change)
        SSL_CTX_ctrl(context.pointer, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(TLS1_2_VERSION), nil)
        return context
    }

    private func anyClient(_ version: String) throws -> TLSContext {
        try version == "TLSv1.2" ? Self.olderClient() : Self.client()
    }

    private func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) } }

    // MARK: - Handshake

    @Test(arguments: ["TLSv1.2", "TLSv1.3"]) func bytesArriveInBothDirections(version: String) throws {
        let pair = try TLSPair(Self.server(), anyClient(version))
        pair.connect()
        #expect(pair.bothAreUp)
        #expect(pair.client.protocolVersion == version && pair.server.protocolVersion == version)
        try pair.sendFromClient(Array("question".utf8))
        try pair.sendFromServer(Array("answer".utf8))
        pair.pump()
        #expect(pair.serverReceived == Array("question".utf8))
        #expect(pair.clientReceived == Array("answer".utf8))
        #expect(pair.server.serverName == "default.test")
        #expect(pair.server.peerSubject == nil && pair.client.peerSubject == "CN=default.test")
    }

    @Test func olderVersionsThanTheMinimumAreRefused() throws {
        let pair = try TLSPair(Self.server { $0.minimumVersion = .tls1_3 }, Self.olderClient())
        pair.connect()
        #expect(pair.serverError == .handshake("unsupported protocol"))
        #expect(pair.clientError == .handshake("tlsv1 alert protocol version"))
    }

    /// Neither side may notice where the network cuts a flight, nor lose what was sent before the handshake was complete.
    @Test(arguments: ["TLSv1.2", "TLSv1.3"]) func everyCutOfTheHandshakeWorks(version: String) throws {
        let (server, client) = (try Self.server(), try anyClient(version))
        var longest = 1
        var cut = 1
        while cut < longest || cut == 1 {
            let pair = try TLSPair(server, client)
            pair.cut = cut
            try pair.sendFromClient(Array("early".utf8))
            // Odd cuts are full handshakes, even ones resume.
            pair.connect()
            try #require(pair.bothAreUp, "cut at byte \(cut)")
            #expect(pair.serverReceived == Array("early".utf8), "cut at byte \(cut)")
            longest = max(longest, pair.flights.max() ?? 0)
            cut += 1
        }
        #expect(longest > 500)
    }

    @Test func singleBytesAreEnough() throws {
        let pair = try TLSPair(Self.server(), Self.client())
        try pair.sendFromServer(Array("greeting".utf8))
        pair.feedClient([])
        while !pair.toServer.isEmpty || !pair.toClient.isEmpty {
            for byte in TLSPair.take(&pair.toServer) { pair.feedServer([byte]) }
            for byte in TLSPair.take(&pair.toClient) { pair.feedClient([byte]) }
        }
        #expect(pair.bothAreUp)
        #expect(pair.clientReceived == Array("greeting".utf8))
    }

    @Test func whatIsHeldBeforeTheHandshakeIsBounded() throws {
        let pair = try TLSPair(Self.server(), Self.client())
        try pair.sendFromClient(bytes(256 << 10))
        #expect(throws: TLSError.limit(Limit("tls_held_bytes", 256 << 10))) { try pair.sendFromClient([0]) }
        pair.connect()
        #expect(pair.serverReceived == bytes(256 << 10))
    }

    @Test func bytesThatAreNoTLSAreRefused() throws {
        let pair = try TLSPair(Self.server(), Self.client())
        pair.feedServer(Array("GET / HTTP/1.1\r\nHost: default.test\r\n\r\n".utf8)[...])
        #expect(pair.serverError == .handshake("http request"))
        #expect(throws: TLSError.handshake("http request")) { try pair.sendFromServer([1]) }
    }

    /// Whatever a peer says first, it ends in an error or in a handshake, and never in plaintext.
    @Test func everyChangedByteOfTheHelloIsSurvived() throws {
        let server = try Self.server(Self.manyCertificates)
        let client = try Self.client { $0.alpn = ["h2"] }
        let pair = try TLSPair(server, client)
        pair.feedClient([])
        let hello = TLSPair.take(&pair.toServer)
        #expect(hello.count > 200)
        for index in hello.indices {
            for mask: UInt8 in [0x01, 0x80, 0xFF] {
                var changed = hello
                changed[index] ^= mask
                let victim = try TLSPair(server, client)
                victim.feedServer(changed[...])
                #expect(!victim.server.isHandshakeComplete && victim.serverReceived.isEmpty)
            }
        }
    }

    // MARK: - ALPN

    @Test(
        arguments: [
            (["h2", "http/1.1"], ["http/1.1", "h2"], "h2"), (["h2", "http/1.1"], ["http/1.1"], "http/1.1"),
            (["http/1.1"], ["h2", "http/1.1"], "http/1.1"), ([], ["h2"], nil), (["h2"], [], nil),
        ] as [([String], [String], String?)])
    func protocolsAreAgreedByTheServersPreference(server: [String], client: [String], agreed: String?) throws {
        let pair = try TLSPair(Self.server { $0.alpn = server }, Self.client { $0.alpn = client })
        pair.connect()
        #expect(pair.bothAreUp)
        #expect(pair.client.applicationProtocol == agreed)
        #expect(pair.server.applicationProtocol == agreed)
    }

    @Test func aClientWithoutASharedProtocolIsRefused() throws {
        let pair = try TLSPair(Self.server { $0.alpn = ["h2"] }, Self.client { $0.alpn = ["ftp"] })
        pair.connect()
        #expect(pair.clientError == .handshake("tlsv1 alert no application protocol"))
        #expect(pair.serverError != nil)
    }

    // MARK: - Names

    static let manyCertificates: @Sendable (inout TLSServerOptions) -> Void = { options in
        options.certificates = ["default", "wildcard", "second", "exact", "common-name"].map {
            (TLSCertificates.path($0 + ".pem"), TLSCertificates.path($0 + ".key"))
        }
    }

    @Test(
        arguments: ["TLSv1.2", "TLSv1.3"],
        [
            ("default.test", "CN=default.test"), ("second.test", "CN=second.test"), ("SECOND.test", "CN=second.test"),
            ("a.wild.test", "CN=any wild"), ("exact.wild.test", "CN=exact"), ("named.test", "CN=named.test"),
            ("second.test.", "CN=second.test"), ("127.0.0.1", "CN=default.test"), ("::1", "CN=default.test"),
        ])
    func theNameChoosesTheCertificate(version: String, choice: (name: String, subject: String)) throws {
        let pair = try TLSPair(Self.server(Self.manyCertificates), anyClient(version), name: choice.name)
        pair.connect()
        #expect(pair.bothAreUp, "\(String(describing: pair.clientError))")
        #expect(pair.client.peerSubject == choice.subject)
        #expect((pair.server.serverName == nil) == (IPAddress(choice.name) != nil))
    }

    @Test(arguments: ["other.test", "b.a.wild.test", "wild.test", "10.0.0.1"])
    func aCertificateForAnotherNameIsRefused(name: String) throws {
        let pair = try TLSPair(Self.server(Self.manyCertificates), Self.client(), name: name)
        pair.connect()
        let reason = IPAddress(name) == nil ? "hostname mismatch" : "IP address mismatch"
        #expect(pair.clientError == .handshake("certificate verify failed: \(reason) (for \(name))"))
        #expect(pair.serverError != nil && !pair.client.isHandshakeComplete)
    }

    @Test func impossibleNamesAreRefused() throws {
        let client = try Self.client()
        for name in ["", "default.test\0.example", String(repeating: "a", count: 300)] {
            #expect(throws: TLSError.self) { try client.makeClientEngine(serverName: name) }
        }
    }

    // MARK: - Trust

    @Test(arguments: [
        ("expired", "certificate has expired"), ("self-signed", "self-signed certificate"),
    ])
    func untrustedCertificatesAreRefused(certificate: String, reason: String) throws {
        let server = try Self.server {
            $0.certificates = [
                (TLSCertificates.path(certificate + ".pem"), TLSCertificates.path(certificate + ".key"))
            ]
        }
        let pair = try TLSPair(server, Self.client())
        pair.connect()
        #expect(pair.clientError == .handshake("certificate verify failed: \(reason) (for default.test)"))
        #expect(pair.serverError != nil)
        let careless = try TLSPair(server, Self.client { $0.verify = false })
        careless.connect()
        #expect(careless.bothAreUp && careless.client.peerSubject == nil)
    }

    @Test func anUnknownIssuerIsRefused() throws {
        let other = try Self.client { $0.caPath = TLSCertificates.path("other-ca.pem") }
        let pair = try TLSPair(Self.server(), other)
        pair.connect()
        #expect("\(String(describing: pair.clientError))".contains("unable to get local issuer certificate"))
        let system = try TLSPair(Self.server(), Self.client { $0.caPath = nil })
        system.connect()
        #expect("\(String(describing: system.clientError))".contains("unable to get local issuer certificate"))
    }

    @Test func theChainIsSent() throws {
        let server = try Self.server {
            $0.certificates = [(TLSCertificates.path("chain.pem"), TLSCertificates.path("chained.key"))]
        }
        let pair = try TLSPair(server, Self.client(), name: "chained.test")
        pair.connect()
        #expect(pair.bothAreUp)
    }

    // MARK: - Client certificates

    private func mutual(_ certificate: String?, required: Bool, older: Bool) throws -> TLSPair {
        let server = try Self.server {
            $0.clientCAPath = TLSCertificates.path("ca.pem")
            $0.requireClientCertificate = required
        }
        let change: (inout TLSClientOptions) -> Void = {
            $0.certificatePath = certificate.map { TLSCertificates.path($0 + ".pem") }
            $0.keyPath = certificate.map { TLSCertificates.path($0 + ".key") }
        }
        let pair = try TLSPair(server, older ? Self.olderClient(change) : Self.client(change))
        pair.connect()
        return pair
    }

    @Test(arguments: [true, false], [true, false])
    func clientCertificatesNameTheClient(required: Bool, older: Bool) throws {
        let pair = try mutual("client", required: required, older: older)
        #expect(pair.bothAreUp)
        #expect(pair.server.peerSubject == #"CN=client\, one,O=Sluice"#)
        #expect(
            pair.server.peerNames == ["DNS:one.test", "URI:spiffe://example.test/one", "email:one@example.test"])
    }

    @Test(arguments: [true, false]) func aMissingClientCertificateMattersIfRequired(older: Bool) throws {
        let lenient = try mutual(nil, required: false, older: older)
        #expect(lenient.bothAreUp && lenient.server.peerSubject == nil && lenient.server.peerNames.isEmpty)
        let strict = try mutual(nil, required: true, older: older)
        #expect(strict.serverError == .handshake("peer did not return a certificate"))
        // In TLS 1.3 the client is done before the server has seen its certificate.
        let expected: TLSError =
            older ? .handshake("sslv3 alert handshake failure") : .alert("tlsv13 alert certificate required")
        #expect(strict.clientError == expected)
    }

    @Test(arguments: [true, false], [true, false])
    func aStrangersCertificateIsRefused(required: Bool, older: Bool) throws {
        let pair = try mutual("stranger", required: required, older: older)
        #expect("\(String(describing: pair.serverError))".contains("certificate verify failed: unable to get"))
        #expect(pair.clientError != nil && pair.server.peerSubject == nil)
    }

    // MARK: - Payload and end

    @Test(arguments: ["TLSv1.2", "TLSv1.3"]) func largePayloadsArriveWhole(version: String) throws {
        let pair = try TLSPair(Self.server(), anyClient(version))
        pair.connect()
        let payload = bytes(5 << 20)
        try pair.sendFromServer(payload)
        try pair.sendFromClient(payload)
        pair.cut = 70_001
        pair.pump()
        #expect(pair.clientReceived == payload)
        #expect(pair.serverReceived == payload)
    }

    @Test(arguments: ["TLSv1.2", "TLSv1.3"]) func closeNotifyTellsTheEndFromACut(version: String) throws {
        let pair = try TLSPair(Self.server(), anyClient(version))
        pair.connect()
        try pair.sendFromServer(Array("all of it".utf8))
        pair.pump()
        #expect(!pair.client.receivedCloseNotify)
        pair.server.close(output: &pair.toClient)
        pair.server.close(output: &pair.toClient)
        pair.pump()
        #expect(pair.clientReceived == Array("all of it".utf8))
        #expect(pair.client.receivedCloseNotify && pair.clientError == nil)
        // The other direction stays open until its own end.
        #expect(!pair.server.receivedCloseNotify)
        try pair.sendFromClient(Array("still here".utf8))
        pair.client.close(output: &pair.toServer)
        pair.pump()
        #expect(pair.serverReceived == Array("still here".utf8))
        #expect(pair.server.receivedCloseNotify && pair.serverError == nil)
    }

    @Test(arguments: ["TLSv1.2", "TLSv1.3"]) func aChangedByteEndsTheSession(version: String) throws {
        let pair = try TLSPair(Self.server(), anyClient(version))
        pair.connect()
        try pair.sendFromClient(Array("authentic".utf8))
        var wire = TLSPair.take(&pair.toServer)
        wire[wire.count - 1] ^= 1
        pair.feedServer(wire[...])
        let broken = TLSError.protocolViolation("decryption failed or bad record mac")
        #expect(pair.serverError == broken && pair.serverReceived.isEmpty)
        #expect(throws: broken) { try pair.sendFromServer([1]) }
        pair.pump()
        #expect(pair.clientError == .alert("sslv3 alert bad record mac"))
    }

    // MARK: - Resumption

    @Test(arguments: ["TLSv1.2", "TLSv1.3"]) func theSecondSessionIsResumed(version: String) throws {
        let (server, client) = (try Self.server(Self.manyCertificates), try anyClient(version))
        for round in 0..<4 {
            let pair = try TLSPair(server, client)
            pair.connect()
            try pair.sendFromServer([1, 2, 3])
            pair.pump()
            #expect(pair.bothAreUp && pair.clientReceived == [1, 2, 3])
            #expect(pair.client.isResumed == (round > 0) && pair.server.isResumed == (round > 0))
            #expect(pair.server.serverName == "default.test")
        }
        // A name must be proven by a session of its own.
        let other = try TLSPair(server, client, name: "second.test")
        other.connect()
        #expect(other.bothAreUp && !other.client.isResumed)
    }

    @Test(arguments: [true, false]) func aResumedSessionRemembersTheClientsCertificate(older: Bool) throws {
        let server = try Self.server { $0.clientCAPath = TLSCertificates.path("ca.pem") }
        let change: (inout TLSClientOptions) -> Void = {
            $0.certificatePath = TLSCertificates.path("client.pem")
            $0.keyPath = TLSCertificates.path("client.key")
        }
        let client = try older ? Self.olderClient(change) : Self.client(change)
        for round in 0..<2 {
            let pair = try TLSPair(server, client)
            pair.connect()
            #expect(pair.bothAreUp && pair.server.isResumed == (round == 1))
            #expect(pair.server.peerSubject == #"CN=client\, one,O=Sluice"#)
        }
    }

    @Test func aTicketOfAnotherContextMeansAFullHandshake() throws {
        let client = try Self.client()
        for _ in 0..<2 {
            let pair = try TLSPair(Self.server(), client)
            pair.connect()
            #expect(pair.bothAreUp && !pair.server.isResumed)
        }
    }

    // MARK: - Threads

    /// Workers share contexts: what they seal, choose and resume must not depend on who else is at it.
    @Test func threadsShareContexts() async throws {
        let (server, client) = (try Self.server(Self.manyCertificates), try Self.client())
        let resumed = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    var resumed = 0
                    for round in 0..<40 {
                        let name = round % 2 == 0 ? "default.test" : "second.test"
                        let pair = try TLSPair(server, client, name: name)
                        pair.connect()
                        try #require(pair.bothAreUp && pair.client.peerSubject == "CN=" + name)
                        if pair.server.isResumed { resumed += 1 }
                    }
                    return resumed
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(resumed > 0)
    }
}
