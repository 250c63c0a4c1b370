import Foundation
import Testing

@testable import SluiceIO

@Suite struct SystemTrustTests {
    private func copy(_ source: String, to path: String) throws {
        try FileManager.default.copyItem(atPath: TLSCertificates.path(source), toPath: path)
    }

    /// Contexts share what was read, until the file is another one.
    @Test func aBundleIsReadOnce() throws {
        let path = "/tmp/sluice-trust-\(getpid()).pem"
        defer { unlink(path) }
        try copy("default.pem", to: path)
        let first = try SystemTrust.load(path)
        #expect(try SystemTrust.load(path) === first)
        unlink(path)
        try copy("second.pem", to: path)
        let second = try SystemTrust.load(path)
        #expect(second !== first)
        #expect(try SystemTrust.load(path) === second)
    }

    @Test(arguments: ["absent.pem", "garbage.pem"]) func aBadBundleIsNamed(file: String) {
        let path = TLSCertificates.path(file)
        #expect {
            try SystemTrust.load(path)
        } throws: {
            "\($0)".hasPrefix("TLS configuration: \(path): ")
        }
    }
}
