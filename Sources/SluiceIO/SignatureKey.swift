import COpenSSL
import Glibc
import SluiceBytes

/// Why something is no key to check signatures with.
public struct SignatureKeyError: Error, Sendable, CustomStringConvertible {
    public let description: String

    public init(_ description: String) { self.description = description }
}

/// A key that signatures of JSON Web Signatures are checked with (RFC 7518, RFC 8037): a secret or a public key, for the one
/// algorithm that its type is for.
///
/// `@unchecked`: the pointer is never changed after `init`, and OpenSSL checks signatures with one key from several threads.
public final class SignatureKey: @unchecked Sendable {
    public enum Kind: Sendable { case hmacSHA256, rsaSHA256, ecdsaP256SHA256, ed25519 }
    public let kind: Kind
    private let secret: [UInt8]
    private let key: OpaquePointer?

    /// RFC 7518 §3.3.
    private static let leastRSABits: Int32 = 2048
    /// What a check with a longer one costs is out of proportion.
    private static let mostRSABits: Int32 = 8192

    /// - Throws: for one shorter than the hash (RFC 7518 §3.2).
    public init(secret: [UInt8]) throws(SignatureKeyError) {
        guard secret.count >= Digest.sha256Count else {
            throw SignatureKeyError("a secret for HS256 must have at least 32 bytes")
        }
        (kind, self.secret, key) = (.hmacSHA256, secret, nil)
    }

    private init(owning key: OpaquePointer) throws(SignatureKeyError) {
        defer { ERR_clear_error() }
        let kind: Kind
        switch EVP_PKEY_get_base_id(key) {
        case EVP_PKEY_RSA:
            guard Self.leastRSABits...Self.mostRSABits ~= EVP_PKEY_get_bits(key) else {
                EVP_PKEY_free(key)
                throw SignatureKeyError("an RSA key must have 2048 to 8192 bits")
            }
            kind = .rsaSHA256
        case EVP_PKEY_EC where sl_EVP_PKEY_is_p256(key) == 1: kind = .ecdsaP256SHA256
        case EVP_PKEY_ED25519: kind = .ed25519
        default:
            EVP_PKEY_free(key)
            throw SignatureKeyError("the key is none of RSA, P-256 and Ed25519")
        }
        guard kind == .ed25519 || sl_EVP_PKEY_is_valid(key) == 1 else {
            EVP_PKEY_free(key)
            throw SignatureKeyError("the key's numbers make no valid key")
        }
        (self.kind, self.key, secret) = (kind, key, [])
    }

    deinit { if let key { EVP_PKEY_free(key) } }

    /// A public key as PEM (`BEGIN PUBLIC KEY`).
    public convenience init(pem: [UInt8]) throws(SignatureKeyError) {
        ERR_clear_error()
        let key = pem.withUnsafeBytes { bytes -> OpaquePointer? in
            guard let memory = BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)) else { return nil }
            defer { BIO_free(memory) }
            return sl_PEM_read_PublicKey(memory)
        }
        ERR_clear_error()
        guard let key else { throw SignatureKeyError("no PEM public key (BEGIN PUBLIC KEY)") }
        try self.init(owning: key)
    }

    /// Modulus and exponent, most significant byte first.
    public convenience init(rsaModulus n: [UInt8], exponent e: [UInt8]) throws(SignatureKeyError) {
        var (n, e) = (Self.machineOrder(n), Self.machineOrder(e))
        guard !n.isEmpty, !e.isEmpty, n.count <= 2048, let key = sl_EVP_PKEY_rsa(&n, n.count, &e, e.count) else {
            ERR_clear_error()
            throw SignatureKeyError("n and e make no RSA key")
        }
        try self.init(owning: key)
    }

    /// A point on P-256.
    public convenience init(p256X x: [UInt8], y: [UInt8]) throws(SignatureKeyError) {
        var point = [0x04] + x + y
        guard x.count == 32, y.count == 32, let key = sl_EVP_PKEY_p256(&point, point.count) else {
            ERR_clear_error()
            throw SignatureKeyError("x and y are no point of P-256")
        }
        try self.init(owning: key)
    }

    public convenience init(ed25519 x: [UInt8]) throws(SignatureKeyError) {
        guard x.count == 32, let key = sl_EVP_PKEY_ed25519(x, x.count) else {
            ERR_clear_error()
            throw SignatureKeyError("x is no Ed25519 key")
        }
        try self.init(owning: key)
    }

    /// Whether `signature` is this key's for `message`. Anything odd is no.
    public func verifies(_ signature: [UInt8], of message: [UInt8]) -> Bool {
        defer { ERR_clear_error() }
        switch kind {
        case .hmacSHA256:
            let secret = secret
            guard let own = try? Digest.hmacSHA256(key: secret.span, message.span) else { return false }
            return Digest.isEqual(own, signature)
        case .rsaSHA256: return check(signature, message, EVP_sha256())
        case .ecdsaP256SHA256:
            guard let der = Self.derSignature(signature) else { return false }
            return check(der, message, EVP_sha256())
        case .ed25519: return signature.count == 64 && check(signature, message, nil)
        }
    }

    private func check(_ signature: [UInt8], _ message: [UInt8], _ digest: OpaquePointer?) -> Bool {
        guard let context = EVP_MD_CTX_new() else { return false }
        defer { EVP_MD_CTX_free(context) }
        guard EVP_DigestVerifyInit(context, nil, digest, nil, key) == 1 else { return false }
        return EVP_DigestVerify(context, signature, signature.count, message, message.count) == 1
    }

    /// r and s, 32 bytes each (RFC 7518 §3.4), as the DER sequence that OpenSSL wants; nil for another length.
    static func derSignature(_ raw: [UInt8]) -> [UInt8]? {
        guard raw.count == 64 else { return nil }
        func integer(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
            var digits = Array(bytes.drop { $0 == 0 })
            if digits.isEmpty || digits[0] >= 0x80 { digits.insert(0, at: 0) }
            return [0x02, UInt8(truncatingIfNeeded: digits.count)] + digits
        }
        let body = integer(raw[..<32]) + integer(raw[32...])
        return [0x30, UInt8(truncatingIfNeeded: body.count)] + body
    }

    private static func machineOrder(_ number: [UInt8]) -> [UInt8] {
        1.littleEndian == 1 ? number.reversed() : number
    }
}
