import SluiceBytes
import SluiceConfig
import SluiceIO
import SluiceStreams

/// Checks the tokens of one issuer: signature, times, issuer, audience (RFC 7515, RFC 7519, and the advice of RFC 8725).
/// No clock of its own.
struct JWTVerifier: Sendable {
    /// Why a token is none of this issuer's: for the log.
    enum Refusal: Error, Equatable {
        case malformed(String)
        case algorithm
        case key
        case signature
        case expired
        case notYetValid
        case issuer
        case audience
        case subject
    }
    /// What a good token says.
    struct Claims: Equatable {
        let subject: String
        /// The name of a claim that does not match what the route wants: the client is known and not allowed.
        let missing: String?
    }
    private let spec: JWTSpec
    private let keys: [JSONWebKey]

    /// A whole token.
    static let tokenBytes = 16 << 10
    private static let subjectBytes = 256
    /// Keys that a token without a `kid` is checked with: each costs time that anybody could make us spend.
    private static let tries = 8

    /// - Throws: if there is no key for one of the algorithms.
    init(_ spec: JWTSpec, keys: [JSONWebKey]) throws(SignatureKeyError) {
        for algorithm in spec.algorithms where !keys.contains(where: { $0.fits(algorithm) }) {
            throw SignatureKeyError("there is no key for \(algorithm.rawValue)")
        }
        (self.spec, self.keys) = (spec, keys)
    }

    /// Whether text might be a token at all, so that API keys are not taken for broken ones.
    static func looksLikeToken(_ text: some Collection<UInt8>) -> Bool {
        text.count(where: { $0 == UInt8(ascii: ".") }) == 2
    }

    /// `time`: seconds since 1970.
    func verify(_ token: [UInt8], at time: Int) throws(Refusal) -> Claims {
        guard token.count <= Self.tokenBytes else { throw .malformed("it is longer than \(Self.tokenBytes) bytes") }
        let parts = token.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, let header = Base64URL.decode(parts[0]), let payload = Base64URL.decode(parts[1]),
            let signature = Base64URL.decode(parts[2])
        else { throw .malformed("it is not three parts of base64url") }
        try checkSignature(signature, of: Array(token[..<parts[1].endIndex]), header: header)
        let claims = try Self.object(payload, "its claims")
        try checkTimes(claims, time)
        try checkAddressees(claims)
        guard let subject = claims[spec.subjectClaim]?.string?.text, 1...Self.subjectBytes ~= subject.utf8.count,
            subject.unicodeScalars.allSatisfy({ $0.value >= 0x20 && !(0x7F...0x9F ~= $0.value) })
        else { throw .subject }
        let missing = spec.claims.first { !Self.matches(claims[$0.name], $0.glob) }
        return Claims(subject: subject, missing: missing?.name)
    }

    // MARK: - Signature

    private func checkSignature(_ signature: [UInt8], of message: [UInt8], header bytes: [UInt8]) throws(Refusal) {
        let header = try Self.object(bytes, "its header")
        // No extension that would have to be understood is (RFC 7515 §4.1.11).
        if header["crit"] != nil { throw .malformed("it has critical extensions") }
        guard let name = header["alg"]?.string?.text, let algorithm = JWTSpec.Algorithm(rawValue: name),
            spec.algorithms.contains(algorithm)
        else { throw .algorithm }
        var id: String?
        if let kid = header["kid"] {
            guard let text = kid.string?.text else { throw .malformed("its kid is no text") }
            id = text
        }
        let fitting = keys.filter { $0.fits(algorithm) && ($0.isOnly || id == nil || $0.id == id) }
        if fitting.isEmpty { throw .key }
        guard fitting.prefix(Self.tries).contains(where: { $0.key.verifies(signature, of: message) }) else {
            throw .signature
        }
    }

    // MARK: - Claims

    /// A JSON object in which no name stands twice, since two readers could take different ones.
    private static func object(_ bytes: [UInt8], _ what: String) throws(Refusal) -> JSONValue {
        guard String(validating: bytes, as: UTF8.self) != nil, let value = JSONValue.parse(strictly: bytes),
            let members = value.members
        else { throw .malformed("\(what) are no JSON object") }
        guard Set(members.map(\.key)).count == members.count else { throw .malformed("\(what) hold a name twice") }
        return value
    }

    private func checkTimes(_ claims: JSONValue, _ time: Int) throws(Refusal) {
        let leeway = Double(spec.leeway.seconds)
        let now = Double(time)
        guard let end = try Self.time(claims["exp"], "exp") else { throw .malformed("it never expires") }
        guard now < end + leeway else { throw .expired }
        if let start = try Self.time(claims["nbf"], "nbf"), now < start - leeway { throw .notYetValid }
    }

    /// Seconds since 1970, perhaps with a fraction (RFC 7519 §2).
    private static func time(_ value: JSONValue?, _ name: String) throws(Refusal) -> Double? {
        guard let value else { return nil }
        guard let number = value.number.flatMap(Double.init), number.isFinite else {
            throw .malformed("its \(name) is no number")
        }
        return number
    }

    private func checkAddressees(_ claims: JSONValue) throws(Refusal) {
        if let issuer = spec.issuer, claims["iss"]?.string?.text != issuer { throw .issuer }
        guard let audience = claims["aud"] else {
            if spec.audiences.isEmpty { return }
            throw .audience
        }
        let named = (audience.elements ?? [audience]).compactMap { $0.string?.text }
        // A token for somebody, and that is not us as far as we know (RFC 7519 §4.1.3).
        guard named.contains(where: spec.audiences.contains) else { throw .audience }
    }

    /// A list matches if one element does; the words of `scope` are a list too (RFC 8693 §4.2).
    private static func matches(_ value: JSONValue?, _ glob: String) -> Bool {
        guard let value else { return false }
        return (value.elements ?? [value]).contains { element in
            guard let text = element.text(at: []) else { return false }
            return Glob.matches(glob, text) || text.split(separator: " ").contains { Glob.matches(glob, String($0)) }
        }
    }
}

extension JWTVerifier.Refusal: CustomStringConvertible {
    var description: String {
        switch self {
        case .malformed(let what): "the token is malformed: \(what)"
        case .algorithm: "the token's algorithm is none of the route's"
        case .key: "no key fits the token's kid and algorithm"
        case .signature: "the token's signature is wrong"
        case .expired: "the token has expired"
        case .notYetValid: "the token is not valid yet"
        case .issuer: "the token is of another issuer"
        case .audience: "the token is for another audience"
        case .subject: "the token does not name a subject"
        }
    }
}
