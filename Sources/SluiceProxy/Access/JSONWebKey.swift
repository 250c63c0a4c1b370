import SluiceBytes
import SluiceConfig
import SluiceIO
import SluiceStreams

/// A key with what its set says of it (RFC 7517).
struct JSONWebKey: Sendable {
    let key: SignatureKey
    /// `kid`.
    var id: String?
    /// It is no member of a set, so that a token's `kid` selects nothing.
    var isOnly = false

    private static let setLimit = Limit("jwks_keys", 64)

    /// Each type of key is for one algorithm, whatever the token's header says.
    func fits(_ algorithm: JWTSpec.Algorithm) -> Bool {
        switch (algorithm, key.kind) {
        case (.hs256, .hmacSHA256), (.rs256, .rsaSHA256), (.es256, .ecdsaP256SHA256), (.edDSA, .ed25519): true
        default: false
        }
    }

    /// The keys of a set that can check signatures of one of `algorithms`; others are passed over (RFC 7517 §5).
    /// - Throws: for text that is no set, and for a key of a known type whose numbers make none.
    static func set(_ text: [UInt8], for algorithms: [JWTSpec.Algorithm]) throws(SignatureKeyError) -> [JSONWebKey] {
        guard let elements = JSONValue.parse(strictly: text)?["keys"]?.elements else {
            throw SignatureKeyError("no JSON Web Key Set (an object with an array 'keys')")
        }
        guard elements.count <= setLimit.value else { throw SignatureKeyError(setLimit.description) }
        var keys: [JSONWebKey] = []
        for (index, element) in elements.enumerated() {
            do throws(SignatureKeyError) {
                guard isForSignatures(element, algorithms), let key = try read(element) else { continue }
                keys.append(JSONWebKey(key: key, id: element["kid"]?.string?.text))
            } catch {
                throw SignatureKeyError("keys[\(index)]: \(error)")
            }
        }
        return keys.filter { key in algorithms.contains { key.fits($0) } }
    }

    private static func isForSignatures(_ value: JSONValue, _ algorithms: [JWTSpec.Algorithm]) -> Bool {
        if let use = value["use"]?.string?.text, use != "sig" { return false }
        if let uses = value["key_ops"]?.elements, !uses.contains("verify") { return false }
        guard let name = value["alg"]?.string?.text else { return true }
        return algorithms.contains { $0.rawValue == name }
    }

    /// nil for a type that is not known.
    private static func read(_ value: JSONValue) throws(SignatureKeyError) -> SignatureKey? {
        func bytes(_ name: String) -> [UInt8] { value[name]?.string.flatMap { Base64URL.decode($0.utf8) } ?? [] }
        // A set with a private key in it has been given to the wrong people.
        if value["d"] != nil { throw SignatureKeyError("this is a private key, which does not belong here") }
        switch (value["kty"]?.string?.text, value["crv"]?.string?.text) {
        case ("oct", _): return try SignatureKey(secret: bytes("k"))
        case ("RSA", _): return try SignatureKey(rsaModulus: bytes("n"), exponent: bytes("e"))
        case ("EC", "P-256"): return try SignatureKey(p256X: bytes("x"), y: bytes("y"))
        case ("OKP", "Ed25519"): return try SignatureKey(ed25519: bytes("x"))
        default: return nil
        }
    }
}
