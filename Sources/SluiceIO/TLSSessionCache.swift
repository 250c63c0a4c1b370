import COpenSSL
import Synchronization

/// Sessions that a client context may resume, newest last. All loops share it, so it stands under a lock; it is touched
/// only when a connection begins or a ticket arrives.
final class TLSSessionCache: Sendable {
    /// Owns one reference to an `SSL_SESSION`. It is never changed once it is here, and its count is atomic.
    private final class Session: @unchecked Sendable {
        let pointer: OpaquePointer
        init(_ pointer: OpaquePointer) { self.pointer = pointer }
        deinit { SSL_SESSION_free(pointer) }
    }
    private static let limit = 32  // sessions; a ticket weighs 1-4 KiB
    private let entries = Mutex<[(name: String, session: Session)]>([])

    /// Takes over the caller's reference.
    func store(_ pointer: OpaquePointer, name: String) {
        let session = Session(pointer)
        entries.withLock { entries in
            if entries.count >= Self.limit { entries.removeFirst() }
            entries.append((name, session))
        }
    }

    /// Makes `ssl` offer the newest session with `name`. A TLS 1.3 ticket is used once, so that no observer can link two
    /// connections by it (RFC 8446 appendix C.4).
    func resume(_ ssl: OpaquePointer, name: String) {
        let session: Session? = entries.withLock { entries in
            guard let index = entries.lastIndex(where: { $0.name == name }) else { return nil }
            let session = entries[index].session
            if SSL_SESSION_get_protocol_version(session.pointer) == TLS1_3_VERSION { entries.remove(at: index) }
            return session
        }
        if let session, SSL_SESSION_is_resumable(session.pointer) == 1 { SSL_set_session(ssl, session.pointer) }
    }
}
