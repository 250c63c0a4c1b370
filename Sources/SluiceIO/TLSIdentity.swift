import COpenSSL
import Glibc

/// A certificate with its chain and private key, read once and never changed; OpenSSL counts references to the parts
/// atomically, so sessions on any thread may use them.
final class TLSIdentity: @unchecked Sendable {
    let certificatePath: String
    let certificate: OpaquePointer
    let key: OpaquePointer
    let chain: OpaquePointer

    /// - Throws: `.configuration` naming the file at fault.
    init(certificatePath: String, keyPath: String) throws(TLSError) {
        self.certificatePath = certificatePath
        let (certificate, chain) = try Self.readCertificates(certificatePath)
        let key: OpaquePointer
        do throws(TLSError) {
            key = try Self.readKey(keyPath)
        } catch {
            X509_free(certificate)
            sl_sk_X509_free(chain)
            throw error
        }
        (self.certificate, self.chain, self.key) = (certificate, chain, key)
        ERR_clear_error()
        guard X509_check_private_key(certificate, key) == 1 else {
            ERR_clear_error()
            throw .configuration("\(keyPath): this key does not belong to the certificate in \(certificatePath)")
        }
    }

    deinit {
        X509_free(certificate)
        EVP_PKEY_free(key)
        sl_sk_X509_free(chain)
    }

    /// When it expires, in seconds since 1970; nil for a date that cannot be.
    var notAfter: Int? {
        var date = tm()
        guard let text = X509_get0_notAfter(certificate), ASN1_TIME_to_tm(text, &date) == 1 else { return nil }
        return timegm(&date)
    }

    /// Compares with the names of the certificate (RFC 6125).
    func matches(_ name: UnsafePointer<CChar>, flags: Int32) -> Bool {
        X509_check_host(certificate, name, 0, UInt32(bitPattern: flags), nil) == 1
    }

    private static func readCertificates(_ path: String) throws(TLSError) -> (OpaquePointer, OpaquePointer) {
        let file = try open(path)
        defer { BIO_free(file) }
        guard let leaf = sl_PEM_read_X509(file) else {
            throw .configuration("\(path): no PEM certificate (\(TLSError.takeReason().text))")
        }
        guard let chain = sl_sk_X509_new() else {
            X509_free(leaf)
            throw .configuration("\(path): \(TLSError.takeReason().text)")
        }
        while let next = sl_PEM_read_X509(file) {
            if sl_sk_X509_push(chain, next) == 0 { X509_free(next) }
        }
        // The end of the file shows as "no start line"; anything else is a damaged certificate of the chain.
        let reason = ERR_GET_REASON(ERR_peek_last_error())
        let text = TLSError.takeReason().text
        guard reason == PEM_R_NO_START_LINE else {
            X509_free(leaf)
            sl_sk_X509_free(chain)
            throw .configuration("\(path): a certificate of the chain is damaged (\(text))")
        }
        return (leaf, chain)
    }

    private static func readKey(_ path: String) throws(TLSError) -> OpaquePointer {
        let file = try open(path)
        defer { BIO_free(file) }
        guard let key = sl_PEM_read_PrivateKey(file) else {
            throw .configuration("\(path): no unencrypted PEM private key (\(TLSError.takeReason().text))")
        }
        return key
    }

    private static func open(_ path: String) throws(TLSError) -> OpaquePointer {
        ERR_clear_error()
        guard let file = BIO_new_file(path, "r") else {
            throw .configuration("\(path): \(TLSError.takeReason("cannot be opened").text)")
        }
        return file
    }
}
