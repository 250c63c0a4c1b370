import SluiceIO
import Testing

/// Whoever edits the configuration learns which file is at fault.
@Suite struct TLSContextTests {
    private func serverError(_ certificate: String, _ key: String, clientCA: String? = nil) -> String {
        do throws(TLSError) {
            _ = try TLSContext.server(
                TLSServerOptions(
                    certificates: [(TLSCertificates.path(certificate), TLSCertificates.path(key))],
                    clientCAPath: clientCA.map { TLSCertificates.path($0) }))
            return "no error"
        } catch {
            return error.description.replacing(TLSCertificates.path(""), with: "")
        }
    }

    @Test(arguments: [
        ("absent.pem", "default.key", "TLS configuration: absent.pem: No such file or directory"),
        ("default.pem", "absent.key", "TLS configuration: absent.key: No such file or directory"),
        ("garbage.pem", "default.key", "TLS configuration: garbage.pem: no PEM certificate (no start line)"),
        ("default.pem", "garbage.pem", "TLS configuration: garbage.pem: no unencrypted PEM private key (unsupported)"),
        (
            "default.pem", "second.key",
            "TLS configuration: second.key: this key does not belong to the certificate in default.pem"
        ),
    ])
    func badFilesAreNamed(certificate: String, key: String, message: String) {
        #expect(serverError(certificate, key) == message)
    }

    @Test func anEncryptedKeyIsRefusedWithoutAsking() {
        let message = serverError("default.pem", "encrypted.key")
        #expect(message.hasPrefix("TLS configuration: encrypted.key: no unencrypted PEM private key"))
    }

    @Test func aDamagedChainIsRefused() {
        let message = serverError("damaged-chain.pem", "chained.key")
        #expect(message.hasPrefix("TLS configuration: damaged-chain.pem: a certificate of the chain is damaged"))
    }

    @Test(arguments: ["absent.pem", "garbage.pem"]) func aBadClientCAIsNamed(file: String) {
        #expect(serverError("default.pem", "default.key", clientCA: file).hasPrefix("TLS configuration: \(file): "))
    }

    @Test(arguments: ["absent.pem", "garbage.pem"]) func aBadUpstreamCAIsNamed(file: String) {
        let path = TLSCertificates.path(file)
        #expect {
            try TLSContext.client(TLSClientOptions(caPath: path))
        } throws: {
            "\($0)".hasPrefix("TLS configuration: \(path): ")
        }
    }

    @Test func optionsThatContradictEachOtherAreRefused() {
        let certificates = [(TLSCertificates.path("default.pem"), TLSCertificates.path("default.key"))]
            .map { (certificatePath: $0.0, keyPath: $0.1) }
        #expect(throws: TLSError.configuration("a listener needs a certificate")) {
            try TLSContext.server(TLSServerOptions(certificates: []))
        }
        #expect(throws: TLSError.configuration("requiring client certificates needs a client CA")) {
            try TLSContext.server(TLSServerOptions(certificates: certificates, requireClientCertificate: true))
        }
        #expect(throws: TLSError.configuration("x.pem: a certificate and a key go together")) {
            try TLSContext.client(TLSClientOptions(certificatePath: "x.pem"))
        }
        #expect(throws: TLSError.configuration("'' is no ALPN name: it must have 1 to 255 bytes")) {
            try TLSContext.server(TLSServerOptions(certificates: certificates, alpn: ["h2", ""]))
        }
    }
}
