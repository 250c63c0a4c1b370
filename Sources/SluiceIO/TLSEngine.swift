import COpenSSL
import Glibc
import SluiceBytes

/// One TLS session as bytes in, bytes out: no descriptor, no clock of its own. Owned by one connection, on one thread.
///
/// Whatever it throws ends the session; calls after that throw the same again. Alerts that explain the failure to the
/// peer stand in `output` by then, so send them.
public final class TLSEngine {
    private let context: TLSContext  // also keeps alive what OpenSSL's callbacks point to
    let ssl: OpaquePointer
    private let bio: OpaquePointer  // owned by `ssl`
    /// Set on clients: the key of resumable sessions.
    private let peerName: String?
    /// Plain bytes sent before the handshake was complete.
    private var held = ByteQueue()
    private var failure: TLSError?
    private var isClosed = false

    public private(set) var isHandshakeComplete = false
    /// The peer ended its side properly: nothing is missing and nothing more will come.
    public private(set) var receivedCloseNotify = false

    /// Bytes that may wait for the end of the handshake.
    private static let heldLimit = Limit("tls_held_bytes", 256 << 10)
    /// The most plaintext that one record holds (RFC 8446 §5.1).
    private static let recordBytes = 16 << 10

    init(context: TLSContext, serverName: String?) throws(TLSError) {
        ERR_clear_error()
        guard let ssl = SSL_new(context.pointer) else { throw .configuration(TLSError.takeReason().text) }
        guard let bio = BIO_new(TLSTransfer.method) else {
            SSL_free(ssl)
            throw .configuration(TLSError.takeReason().text)
        }
        SSL_set_bio(ssl, bio, bio)
        (self.context, self.ssl, self.bio) = (context, ssl, bio)
        peerName = serverName
        if let serverName {
            try setUpClient(serverName)
        } else {
            SSL_set_accept_state(ssl)
        }
        // Unretained: OpenSSL calls back only from inside our own calls, and `deinit` frees the session.
        SSL_set_ex_data(ssl, 0, Unmanaged.passUnretained(self).toOpaque())
    }

    deinit {
        // Freed without a shutdown, a session would count as broken and its ticket could not be used again.
        if isHandshakeComplete && failure == nil { SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN) }
        SSL_free(ssl)
        ERR_clear_error()
    }

    // MARK: - Bytes

    /// Takes all of `ciphertext`, appends what it says to `plaintext` and what must be sent back to `output`. An empty
    /// span starts a client's handshake.
    ///
    /// Plaintext is never longer than the ciphertext it came from plus one record begun earlier, so the caller bounds it
    /// by how much it hands over: at most 64 KiB a call.
    public func receive(
        _ ciphertext: Span<UInt8>, plaintext: inout ByteQueue, output: inout ByteQueue
    ) throws(TLSError) {
        if let failure { throw failure }
        ciphertext.withUnsafeBufferPointer { input in
            transfer(input, &output) {
                if !isHandshakeComplete { advanceHandshake() }
                if isHandshakeComplete && failure == nil { decrypt(into: &plaintext) }
            }
        }
        if let failure { throw failure }
    }

    /// Encrypts all of `plaintext`. Before the handshake is complete the bytes are held, and leave with the `receive` that
    /// completes it.
    /// - Throws: `.limit` if more than 256 KiB would be held.
    public func send(_ plaintext: Span<UInt8>, output: inout ByteQueue) throws(TLSError) {
        if let failure { throw failure }
        precondition(!isClosed, "bytes sent after close_notify")
        guard isHandshakeComplete else {
            guard plaintext.count <= Self.heldLimit.value - held.count else { throw .limit(Self.heldLimit) }
            held.append(plaintext)
            return
        }
        plaintext.withUnsafeBufferPointer { bytes in
            transfer(UnsafeBufferPointer(start: nil, count: 0), &output) { encrypt(bytes) }
        }
        if let failure { throw failure }
    }

    /// Says close_notify: nothing more will be sent. The peer's bytes can still be received. Does nothing when the session
    /// has failed, or before its handshake is complete.
    public func close(output: inout ByteQueue) {
        guard !isClosed, failure == nil, isHandshakeComplete else { return }
        isClosed = true
        transfer(UnsafeBufferPointer(start: nil, count: 0), &output) { _ = SSL_shutdown(ssl) }
    }

    // MARK: - What was agreed

    /// The ALPN protocol, or nil if none was negotiated.
    public var applicationProtocol: String? {
        var name: UnsafePointer<UInt8>?
        var length: UInt32 = 0
        SSL_get0_alpn_selected(ssl, &name, &length)
        guard let name, length > 0 else { return nil }
        return String(decoding: UnsafeBufferPointer(start: name, count: Int(length)), as: UTF8.self)
    }

    /// The subject of the peer's certificate (RFC 4514 form), if it sent one and the context verified it.
    public var peerSubject: String? {
        guard isHandshakeComplete, context.verifiesPeer, let certificate = SSL_get0_peer_certificate(ssl),
            let memory = BIO_new(BIO_s_mem())
        else { return nil }
        defer { BIO_free(memory) }
        guard X509_NAME_print_ex(memory, X509_get_subject_name(certificate), 0, SL_NAME_RFC2253) >= 0 else {
            return nil
        }
        var text: UnsafeMutablePointer<CChar>?
        let count = sl_BIO_get_mem_data(memory, &text)
        guard let text, count > 0 else { return nil }
        let bytes = UnsafeRawBufferPointer(start: text, count: count)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The names in the peer's certificate, as `DNS:a.example`, `URI:spiffe://…` and `email:…`, if the context verified it.
    public var peerNames: [String] {
        guard isHandshakeComplete, context.verifiesPeer, let certificate = SSL_get0_peer_certificate(ssl) else {
            return []
        }
        var names: [String] = []
        withUnsafeMutablePointer(to: &names) { names in
            let each: @convention(c) (Int32, UnsafePointer<UInt8>?, Int32, UnsafeMutableRawPointer?) -> Void = {
                kind, text, count, names in
                guard let text, count > 0, let names else { return }
                let bytes = UnsafeBufferPointer(start: text, count: Int(count))
                // A NUL inside has made others read a shorter name than the CA had signed.
                guard bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { return }
                let prefix = kind == SL_GEN_DNS ? "DNS:" : kind == SL_GEN_URI ? "URI:" : "email:"
                let name = prefix + String(decoding: bytes, as: UTF8.self)
                names.assumingMemoryBound(to: [String].self).pointee.append(name)
            }
            sl_X509_names(certificate, each, names)
        }
        return names
    }

    /// The host name that the client asked for (SNI).
    public var serverName: String? {
        SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name).map { String(cString: $0) }
    }

    /// `TLSv1.2` or `TLSv1.3`.
    public var protocolVersion: String { String(cString: SSL_get_version(ssl)) }

    /// True if the handshake was a short one, from a ticket.
    public var isResumed: Bool { SSL_session_reused(ssl) == 1 }

    // MARK: - Set-up and sessions of clients

    private func setUpClient(_ name: String) throws(TLSError) {
        SSL_set_connect_state(ssl)
        // OpenSSL would stop reading at a NUL and check another name than the one that was meant.
        guard !name.isEmpty, !name.utf8.contains(0) else { throw .configuration("'\(name)' is no server name") }
        let accepted: Bool
        if IPAddress(name) != nil {
            accepted = !context.verifiesPeer || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1
        } else {
            let host = name.hasSuffix(".") ? String(name.dropLast()) : name
            SSL_set_hostflags(ssl, UInt32(bitPattern: X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
            accepted =
                sl_SSL_set_tlsext_host_name(ssl, host) == 1
                && (!context.verifiesPeer || SSL_set1_host(ssl, host) == 1)
        }
        guard accepted, context.offerProtocols(ssl) else {
            throw .configuration("'\(name)' is no server name: \(TLSError.takeReason("too long").text)")
        }
        context.sessions.resume(ssl, name: name)
    }

    /// Keeps a ticket that just arrived; true if the reference was taken over.
    func keep(_ session: OpaquePointer) -> Bool {
        guard let peerName else { return false }
        context.sessions.store(session, name: peerName)
        return true
    }

    /// What seals a server's tickets.
    var ticketKeys: TicketKeys? { context.ticketKeys }

    static func from(_ ssl: OpaquePointer?) -> TLSEngine? {
        guard let ssl, let pointer = SSL_get_ex_data(ssl, 0) else { return nil }
        return Unmanaged<TLSEngine>.fromOpaque(pointer).takeUnretainedValue()
    }

    // MARK: - Calls into OpenSSL

    /// Runs `body` with the session's BIO reading from `input` and writing to `output`.
    ///
    /// The BIO gets pointers to both for just this time. That is sound: `input` and `output` are held by this call, the
    /// latter exclusively, OpenSSL reaches them only from inside `body`, and the BIO forgets them before it returns.
    private func transfer(_ input: UnsafeBufferPointer<UInt8>, _ output: inout ByteQueue, _ body: () -> Void) {
        ERR_clear_error()
        withUnsafeMutablePointer(to: &output) { output in
            var transfer = TLSTransfer(input: input, output: output)
            withUnsafeMutablePointer(to: &transfer) { pointer in
                BIO_set_data(bio, pointer)
                body()
                BIO_set_data(bio, nil)
            }
        }
    }

    private func advanceHandshake() {
        let result = SSL_do_handshake(ssl)
        guard result == 1 else { return note(result) }
        isHandshakeComplete = true
        guard !held.isEmpty else { return }
        held.withUnsafeBytes { encrypt($0) }
        held.removeAll()
        held.releaseIfEmpty()
    }

    private func decrypt(into plaintext: inout ByteQueue) {
        var result: Int32 = 1
        while result == 1 {
            plaintext.appendUninitialized(Self.recordBytes) { room in
                var count = 0
                result = SSL_read_ex(ssl, room.baseAddress, room.count, &count)
                return result == 1 ? count : 0
            }
        }
        note(result)
    }

    /// All bytes are taken at once: the BIO never refuses any, and without renegotiation a write waits for no read.
    private func encrypt(_ bytes: UnsafeBufferPointer<UInt8>) {
        guard bytes.count > 0 else { return }
        var count = 0
        let result = SSL_write_ex(ssl, bytes.baseAddress, bytes.count, &count)
        guard result == 1, count == bytes.count else { return fail() }
    }

    /// What a call that did not succeed means: more input is needed, the end, or a failure.
    private func note(_ result: Int32) {
        switch SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ: break
        case SSL_ERROR_ZERO_RETURN: receivedCloseNotify = true
        default: fail()
        }
    }

    private func fail() {
        let (text, isAlert) = TLSError.takeReason()
        if isHandshakeComplete {
            failure = isAlert ? .alert(text) : .protocolViolation(text)
            return
        }
        let verdict = SSL_get_verify_result(ssl)
        guard verdict != X509_V_OK else {
            failure = .handshake(text)
            return
        }
        let reason = String(cString: X509_verify_cert_error_string(verdict))
        failure = .handshake("\(text): \(reason)" + (peerName.map { " (for \($0))" } ?? ""))
    }
}

/// Where the BIO of a session reads and writes while one call into OpenSSL lasts.
struct TLSTransfer {
    var input: UnsafeBufferPointer<UInt8>
    let output: UnsafeMutablePointer<ByteQueue>

    /// Written once, before anything can read it, and never changed or freed after that.
    nonisolated(unsafe) static let method: OpaquePointer? = {
        guard let method = BIO_meth_new(BIO_get_new_index() | SL_BIO_TYPE_SOURCE_SINK, "sluice") else { return nil }
        BIO_meth_set_create(method) { bio in
            BIO_set_init(bio, 1)
            return 1
        }
        BIO_meth_set_ctrl(method) { _, command, _, _ in command == SL_BIO_CTRL_FLUSH ? 1 : 0 }
        BIO_meth_set_write_ex(method) { bio, bytes, count, written in
            guard let bytes, let written, let transfer = TLSTransfer.of(bio) else { return 0 }
            bytes.withMemoryRebound(to: UInt8.self, capacity: count) { bytes in
                transfer.pointee.output.pointee.append(UnsafeBufferPointer(start: bytes, count: count))
            }
            written.pointee = count
            return 1
        }
        BIO_meth_set_read_ex(method) { bio, room, wanted, read in
            sl_BIO_clear_retry_flags(bio)
            guard let room, let read, let transfer = TLSTransfer.of(bio) else { return 0 }
            let input = transfer.pointee.input
            let count = min(wanted, input.count)
            guard count > 0, let start = input.baseAddress else {
                sl_BIO_set_retry_read(bio)
                return 0
            }
            memcpy(room, start, count)
            transfer.pointee.input = UnsafeBufferPointer(rebasing: input[count...])
            read.pointee = count
            return 1
        }
        return method
    }()

    private static func of(_ bio: OpaquePointer?) -> UnsafeMutablePointer<TLSTransfer>? {
        BIO_get_data(bio)?.assumingMemoryBound(to: TLSTransfer.self)
    }
}
