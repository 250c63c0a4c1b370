import COpenSSL
import Glibc

/// The oldest version that is spoken; older ones than these are broken.
public enum TLSVersion: Sendable {
    case tls1_2, tls1_3
    var number: Int32 { self == .tls1_3 ? TLS1_3_VERSION : TLS1_2_VERSION }
}

/// What a listener offers. All files are PEM; a certificate file holds the certificate first, then its chain.
public struct TLSServerOptions: Sendable {
    /// The first one answers clients that name no host, or an unknown one.
    public var certificates: [(certificatePath: String, keyPath: String)]
    /// Whom client certificates must come from; nil: none is asked for.
    public var clientCAPath: String?
    /// Refuses clients without a certificate. With a CA but without this, a certificate is asked for and checked if sent.
    public var requireClientCertificate: Bool
    public var minimumVersion: TLSVersion
    /// Application protocols in the order of preference, such as `h2`, `http/1.1`; empty: ALPN is not spoken.
    public var alpn: [String]

    public init(
        certificates: [(certificatePath: String, keyPath: String)], clientCAPath: String? = nil,
        requireClientCertificate: Bool = false, minimumVersion: TLSVersion = .tls1_2, alpn: [String] = []
    ) {
        (self.certificates, self.clientCAPath) = (certificates, clientCAPath)
        self.requireClientCertificate = requireClientCertificate
        (self.minimumVersion, self.alpn) = (minimumVersion, alpn)
    }
}

/// How an upstream is spoken to.
public struct TLSClientOptions: Sendable {
    /// A PEM file of trusted CAs; nil: the system's store (`SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded).
    public var caPath: String?
    /// False accepts any certificate for any name.
    public var verify: Bool
    public var certificatePath: String?
    public var keyPath: String?
    /// Offered application protocols in the order of preference; empty: none.
    public var alpn: [String]

    public init(
        caPath: String? = nil, verify: Bool = true, certificatePath: String? = nil, keyPath: String? = nil,
        alpn: [String] = []
    ) {
        (self.caPath, self.verify) = (caPath, verify)
        (self.certificatePath, self.keyPath, self.alpn) = (certificatePath, keyPath, alpn)
    }
}

/// Certificates, trust and protocols of one listener or one upstream, read from files once; a reload builds a new one.
/// Engines keep theirs alive.
///
/// Shared by all workers. Sound because `SSL_CTX` is reference-counted and nothing here changes its settings after the
/// factory returned: what `SSL_new` and handshakes read is constant, what OpenSSL still writes (counters, references)
/// stands under its own locks, and our mutable parts, `sessions` and `ticketKeys`, are guarded by a `Mutex` each.
public final class TLSContext: @unchecked Sendable {
    let pointer: OpaquePointer
    /// Peers without a certificate we trust are refused, so `peerSubject` can be believed.
    let verifiesPeer: Bool
    private let isServer: Bool
    private let identities: [TLSIdentity]
    /// ALPN names with their length bytes; OpenSSL may point into it until the context goes.
    private let protocols: UnsafeMutableBufferPointer<UInt8>
    let sessions = TLSSessionCache()
    /// Set on servers.
    let ticketKeys: TicketKeys?

    private init(
        isServer: Bool, verifiesPeer: Bool, identities: [TLSIdentity], minimumVersion: TLSVersion, alpn: [String]
    ) throws(TLSError) {
        let wire = try Self.encode(alpn)
        guard let pointer = SSL_CTX_new(isServer ? TLS_server_method() : TLS_client_method()) else {
            throw .configuration(TLSError.takeReason().text)
        }
        self.pointer = pointer
        ticketKeys = isServer ? TicketKeys(now: EventLoop.clock()) : nil
        (self.isServer, self.verifiesPeer, self.identities) = (isServer, verifiesPeer, identities)
        protocols = .allocate(capacity: wire.count)
        _ = protocols.initialize(from: wire)
        try applyCommonSettings(minimumVersion)
    }

    deinit {
        SSL_CTX_free(pointer)
        protocols.deallocate()
    }

    /// - Throws: `.configuration` naming the file that cannot be read or used.
    public static func server(_ options: TLSServerOptions) throws(TLSError) -> TLSContext {
        startLibrary
        guard !options.certificates.isEmpty else { throw .configuration("a listener needs a certificate") }
        var identities: [TLSIdentity] = []
        for (certificate, key) in options.certificates {
            identities.append(try TLSIdentity(certificatePath: certificate, keyPath: key))
        }
        let context = try TLSContext(
            isServer: true, verifiesPeer: options.clientCAPath != nil, identities: identities,
            minimumVersion: options.minimumVersion, alpn: options.alpn)
        try context.use(identities.first)
        context.setUpServerSessions()
        if identities.count > 1 { context.selectCertificateByName() }
        if !options.alpn.isEmpty { context.selectProtocol() }
        if let path = options.clientCAPath {
            try context.askForCertificates(from: path, required: options.requireClientCertificate)
        } else if options.requireClientCertificate {
            throw .configuration("requiring client certificates needs a client CA")
        }
        return context
    }

    /// - Throws: `.configuration` naming the file that cannot be read or used.
    public static func client(_ options: TLSClientOptions) throws(TLSError) -> TLSContext {
        startLibrary
        var identities: [TLSIdentity] = []
        switch (options.certificatePath, options.keyPath) {
        case (let certificate?, let key?):
            identities.append(try TLSIdentity(certificatePath: certificate, keyPath: key))
        case (nil, nil): break
        case (let path?, nil), (nil, let path?): throw .configuration("\(path): a certificate and a key go together")
        }
        let context = try TLSContext(
            isServer: false, verifiesPeer: options.verify, identities: identities, minimumVersion: .tls1_2,
            alpn: options.alpn)
        if !identities.isEmpty { try context.use(identities.first) }
        if options.verify { try context.trust(options.caPath) }
        context.setUpClientSessions()
        return context
    }

    /// Its own certificates: the file that each was read from, and when it expires, in seconds since 1970.
    public var certificates: [(path: String, notAfter: Int)] {
        identities.compactMap { identity in identity.notAfter.map { (identity.certificatePath, $0) } }
    }

    // MARK: - Sessions

    public func makeServerEngine() throws(TLSError) -> TLSEngine {
        precondition(isServer, "a client context makes no server engines")
        return try TLSEngine(context: self, serverName: nil)
    }

    /// A session with `serverName`: a host name, which is sent (SNI) and must be in the certificate, or an IP address,
    /// which must be in the certificate. Resumes the last session with the same name, if there is one.
    /// - Throws: `.configuration` for a name that cannot be one.
    public func makeClientEngine(serverName: String) throws(TLSError) -> TLSEngine {
        precondition(!isServer, "a server context makes no client engines")
        return try TLSEngine(context: self, serverName: serverName)
    }

    /// Offers `protocols` in a client's hello.
    func offerProtocols(_ ssl: OpaquePointer) -> Bool {
        protocols.isEmpty || SSL_set_alpn_protos(ssl, protocols.baseAddress, UInt32(protocols.count)) == 0
    }

    // MARK: - Settings

    /// OpenSSL must not clean up when the process exits: workers may still be inside of it then.
    private static let startLibrary: Void = {
        _ = OPENSSL_init_crypto(UInt64(OPENSSL_INIT_NO_ATEXIT), nil)
    }()

    private func applyCommonSettings(_ minimumVersion: TLSVersion) throws(TLSError) {
        SSL_CTX_set_options(pointer, SL_OP_NO_RENEGOTIATION | SL_OP_NO_COMPRESSION | SL_OP_SERVER_PREFERENCE)
        // An idle session then holds no record buffers, which are two thirds of what it weighs.
        _ = sl_SSL_CTX_set_mode(pointer, SL_MODE_RELEASE_BUFFERS)
        SSL_CTX_set_security_level(pointer, 2)
        // For TLS 1.2: only ephemeral keys and AEAD, which is also all that HTTP/2 allows (RFC 9113 §9.2.2).
        guard sl_SSL_CTX_set_min_proto_version(pointer, minimumVersion.number) == 1,
            SSL_CTX_set_cipher_list(pointer, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1
        else { throw .configuration(TLSError.takeReason().text) }
    }

    private func use(_ identity: TLSIdentity?) throws(TLSError) {
        guard let identity else { return }
        ERR_clear_error()
        guard SSL_CTX_use_cert_and_key(pointer, identity.certificate, identity.key, identity.chain, 1) == 1 else {
            throw .configuration("\(identity.certificatePath): \(TLSError.takeReason().text)")
        }
    }

    /// Tickets carry the session, so workers share nothing but the keys and no session is kept here.
    private func setUpServerSessions() {
        _ = sl_SSL_CTX_set_session_cache_mode(pointer, SL_SESS_CACHE_OFF)
        if ticketKeys != nil { TicketKeys.install(on: pointer) }
        SSL_CTX_set_num_tickets(pointer, 2)
        let name: StaticString = "sluice"
        SSL_CTX_set_session_id_context(pointer, name.utf8Start, UInt32(name.utf8CodeUnitCount))
    }

    private func setUpClientSessions() {
        _ = sl_SSL_CTX_set_session_cache_mode(pointer, SL_SESS_CACHE_CLIENT_EXTERNAL)
        SSL_CTX_sess_set_new_cb(pointer) { ssl, session in
            guard let session, let engine = TLSEngine.from(ssl) else { return 0 }
            return engine.keep(session) ? 1 : 0  // 1: the reference is ours now
        }
    }

    private func trust(_ path: String?) throws(TLSError) {
        ERR_clear_error()
        if path == nil, let bundle = SystemTrust.bundle {
            try SystemTrust.load(bundle).install(on: pointer)
        } else {
            let loaded =
                path.map { SSL_CTX_load_verify_file(pointer, $0) } ?? SSL_CTX_set_default_verify_paths(pointer)
            guard loaded == 1 else {
                throw .configuration("\(path ?? "system CA store"): \(TLSError.takeReason("no certificates").text)")
            }
        }
        SSL_CTX_set_verify(pointer, SSL_VERIFY_PEER, nil)
    }

    private func askForCertificates(from path: String, required: Bool) throws(TLSError) {
        try trust(path)
        guard let names = SSL_load_client_CA_file(path) else {
            throw .configuration("\(path): \(TLSError.takeReason("no certificates").text)")
        }
        SSL_CTX_set_client_CA_list(pointer, names)
        let mode = SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0)
        SSL_CTX_set_verify(pointer, mode, nil)
    }

    // MARK: - Choices made in a client's hello

    /// The callbacks get the context unretained: engines hold it for as long as their `SSL` can call back.
    private var unretained: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

    private static func from(_ context: UnsafeMutableRawPointer?) -> TLSContext {
        guard let context else { preconditionFailure("OpenSSL lost a callback's argument") }
        return Unmanaged<TLSContext>.fromOpaque(context).takeUnretainedValue()
    }

    private func selectCertificateByName() {
        sl_SSL_CTX_set_servername_callback(
            pointer,
            { ssl, _, context in
                guard let ssl, let name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) else {
                    return SSL_TLSEXT_ERR_NOACK
                }
                return TLSContext.from(context).present(to: ssl, for: name)
            }, unretained)
    }

    private func present(to ssl: OpaquePointer, for name: UnsafePointer<CChar>) -> Int32 {
        guard let identity = identity(for: name) else { return SSL_TLSEXT_ERR_NOACK }
        // Else the default certificate would stay eligible if its key is of another type.
        SSL_certs_clear(ssl)
        let used = SSL_use_cert_and_key(ssl, identity.certificate, identity.key, identity.chain, 1)
        return used == 1 ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL
    }

    /// An exact name wins over a wildcard, then the order of the configuration decides.
    private func identity(for name: UnsafePointer<CChar>) -> TLSIdentity? {
        identities.first { $0.matches(name, flags: X509_CHECK_FLAG_NO_WILDCARDS) }
            ?? identities.first { $0.matches(name, flags: X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS) }
    }

    /// Not called for clients that send no ALPN. One with which we share no protocol is refused (RFC 7301 §3.2).
    private func selectProtocol() {
        SSL_CTX_set_alpn_select_cb(
            pointer,
            { _, chosen, chosenLength, offer, offerLength, context in
                let protocols = TLSContext.from(context).protocols
                var found: UnsafeMutablePointer<UInt8>?
                let result = SSL_select_next_proto(
                    &found, chosenLength, protocols.baseAddress, UInt32(protocols.count), offer, offerLength)
                guard result == OPENSSL_NPN_NEGOTIATED else { return SSL_TLSEXT_ERR_ALERT_FATAL }
                chosen?.pointee = UnsafePointer(found)
                return SSL_TLSEXT_ERR_OK
            }, unretained)
    }

    private static func encode(_ names: [String]) throws(TLSError) -> [UInt8] {
        var wire: [UInt8] = []
        for name in names {
            guard let length = UInt8(exactly: name.utf8.count), length > 0 else {
                throw .configuration("'\(name)' is no ALPN name: it must have 1 to 255 bytes")
            }
            wire.append(length)
            wire.append(contentsOf: name.utf8)
        }
        return wire
    }
}
