import COpenSSL
import Glibc
import Synchronization

/// The CAs that the system trusts, for a binary that was not built for that system: OpenSSL knows one place for them, that of the
/// distribution it was compiled for, and other distributions and images have other ones.
///
/// Read once for all upstreams, since a bundle costs about 20 ms and 1 MB; again when the file is another one.
final class SystemTrust: Sendable {
    private struct Identity: Equatable, Sendable {
        let device: UInt
        let inode: UInt
        let size: Int
        let seconds: Int
        let nanoseconds: Int
    }
    private struct Kept: Sendable {
        let identity: Identity
        let trust: SystemTrust
    }

    /// A counted reference; what OpenSSL changes in a store stands under the store's own lock.
    private nonisolated(unsafe) let store: OpaquePointer
    private static let kept = Mutex<Kept?>(nil)

    /// Of Debian, Arch and this project's image; Fedora and its kin; openSUSE; Alpine.
    private static let bundles = [
        "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ]

    /// nil where OpenSSL finds CAs by itself: by its variables, or in its own place. Those are looked up as they are needed.
    static var bundle: String? {
        if getenv(X509_get_default_cert_file_env()) != nil || getenv(X509_get_default_cert_dir_env()) != nil {
            return nil
        }
        if access(X509_get_default_cert_file(), R_OK) == 0 || access(X509_get_default_cert_dir(), R_OK) == 0 {
            return nil
        }
        return bundles.first { access($0, R_OK) == 0 }
    }

    /// - Throws: `.configuration` naming the file.
    static func load(_ path: String) throws(TLSError) -> SystemTrust {
        var status = stat()
        guard stat(path, &status) == 0 else {
            throw .configuration("\(path): \(String(cString: strerror(errno)))")
        }
        let identity = Identity(
            device: UInt(status.st_dev), inode: UInt(status.st_ino), size: Int(status.st_size),
            seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
        if let kept = kept.withLock({ $0 }), kept.identity == identity { return kept.trust }
        let trust = try SystemTrust(path)
        kept.withLock { $0 = Kept(identity: identity, trust: trust) }
        return trust
    }

    private init(_ path: String) throws(TLSError) {
        ERR_clear_error()
        guard let store = X509_STORE_new() else { throw .configuration(TLSError.takeReason().text) }
        self.store = store
        guard X509_STORE_load_file(store, path) == 1 else {
            throw .configuration("\(path): \(TLSError.takeReason("no certificates").text)")
        }
    }

    deinit { X509_STORE_free(store) }

    /// The context counts its own reference.
    func install(on context: OpaquePointer) { SSL_CTX_set1_cert_store(context, store) }
}
