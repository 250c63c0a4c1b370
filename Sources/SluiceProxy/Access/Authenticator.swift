import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO

/// A route's `auth`: finds out who sends a request, from its head alone. Immutable, shared by all workers.
final class Authenticator: Sendable {
    private let keys: APIKeyTable?
    private let keyNames: [String]
    private let tokens: [JWTVerifier]
    private let subjects: [String]
    /// nil: none counts.
    let cookie: CookieCredentials?

    /// Credentials of one request that are looked at.
    private static let credentialLimit = 8
    /// The detail of a verdict over a client that has shown nothing.
    static let noCredentials = "no credentials"

    init(_ spec: AuthSpec, tokens: [JWTVerifier]) {
        keys = spec.apiKeys.map { APIKeyTable($0.keys) }
        keyNames = spec.apiKeys?.names ?? []
        (self.tokens, subjects) = (tokens, spec.certificateSubjects)
        cookie = spec.cookie.map { CookieCredentials($0) }
    }

    /// A client could be let in by something that it sends; else by its certificate alone, for which there is no challenge.
    var takesCredentials: Bool { keys != nil || !tokens.isEmpty }

    /// `query`: the parameters that may carry a key. `certificate`: the one that the connection has verified.
    /// `usesCookie`: the page that sends the request may use its visitor's cookie. `time`: seconds since 1970.
    func judge(
        _ head: RequestHead, query: [String], certificate: PeerCertificate?, usesCookie: Bool = false, at time: Int
    ) -> Verdict {
        var forbidden: Verdict?
        var detail = Self.noCredentials
        for credential in credentials(head, query) {
            let verdict = judge(credential, at: time)
            switch verdict {
            case .admitted: return verdict
            case .forbidden, .foreignPage: forbidden = forbidden ?? verdict
            case .unknown(let reason): detail = reason
            }
        }
        for credential in cookie?.values(in: head.fields).prefix(Self.credentialLimit) ?? [] {
            switch judge(credential, at: time) {
            case .admitted(let identity):
                if usesCookie { return .admitted(identity) }
                forbidden = forbidden ?? .foreignPage(identity)
            case .unknown(let reason): detail = reason
            case let verdict: forbidden = forbidden ?? verdict
            }
        }
        if let certificate, !subjects.isEmpty {
            let identity = Identity(kind: .certificate, name: certificate.subject)
            if isListed(certificate) { return .admitted(identity) }
            forbidden = forbidden ?? .forbidden(identity, detail: "the certificate is none of the route's subjects")
        }
        return forbidden ?? .unknown(detail: detail)
    }

    private func judge(_ credential: [UInt8], at time: Int) -> Verdict {
        var detail = "unknown key"
        if let keys {
            switch keys.look(up: credential, at: time) {
            case .known(let key):
                let identity = Identity(kind: .key, name: key.name, limit: key.limit)
                if keyNames.isEmpty || keyNames.contains(where: { Glob.matches($0, key.name) }) {
                    return .admitted(identity)
                }
                return .forbidden(identity, detail: "the key \(key.name) is not one of the route's")
            case .expired(let name): return .unknown(detail: "the key \(name) has expired")
            case .unknown: break
            }
        }
        guard JWTVerifier.looksLikeToken(credential) else { return .unknown(detail: detail) }
        for verifier in tokens {
            do throws(JWTVerifier.Refusal) {
                let claims = try verifier.verify(credential, at: time)
                let identity = Identity(kind: .jwt, name: claims.subject)
                guard let missing = claims.missing else { return .admitted(identity) }
                return .forbidden(identity, detail: "the token's claim \(missing) does not allow this")
            } catch {
                detail = "\(error)"
            }
        }
        return .unknown(detail: detail)
    }

    /// Whether the page that sends a request may use the cookie that lets its visitor in.
    func usesCookie(_ head: RequestHead, isTLS: Bool, cors: CORSPolicy?) -> Bool {
        cookie != nil && CookieCredentials.mayBeUsed(head, isTLS: isTLS, cors: cors)
    }

    /// Whether it is a key of the file, expired or not, or allowed here or not.
    func isOwnKey(_ credential: [UInt8]) -> Bool { keys.map { $0.look(up: credential, at: 0) != .unknown } ?? false }

    /// Where the SDKs of OpenAI, Anthropic, Google and Azure put keys, in this order, and the query's parameters.
    private func credentials(_ head: RequestHead, _ query: [String]) -> [[UInt8]] {
        var found: [[UInt8]] = []
        guard takesCredentials else { return found }
        for name: StaticString in ["authorization", "x-api-key", "x-goog-api-key", "api-key"] {
            guard let index = head.fields.firstIndex(of: name) else { continue }
            found.append(Self.credential(head.fields, index))
        }
        if !query.isEmpty {
            for item in RequestTarget(head.target).queryItems() where query.contains(item.name) {
                found.append(Array(item.value.utf8))
            }
        }
        return Array(found.filter { !$0.isEmpty }.prefix(Self.credentialLimit))
    }

    /// What a field carries: the whole of it, or for `Authorization` what follows `Bearer` and one or more spaces (RFC 6750
    /// §2.1; the scheme's case does not count). Empty for another scheme.
    static func credential(_ fields: HeaderFields, _ index: Int) -> [UInt8] {
        let value = fields.value(at: index)
        guard ASCII.equalFolded(fields.name(at: index), "authorization") else { return value.array }
        guard value.count > 7, value[6] == ASCII.space, ASCII.equalFolded(value.extracting(0..<6), "bearer") else {
            return []
        }
        return Array(value.array.dropFirst(7).drop { $0 == ASCII.space })
    }

    /// A text with an escape in it could look like two parts of a subject: only the same text matches it, no glob.
    private func isListed(_ certificate: PeerCertificate) -> Bool {
        ([certificate.subject] + certificate.names).contains { text in
            let isPlain = !text.utf8.contains(ASCII.backslash)
            return subjects.contains { $0 == text || isPlain && Glob.matches($0, text) }
        }
    }
}
