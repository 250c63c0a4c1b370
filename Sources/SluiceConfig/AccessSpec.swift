import SluiceBytes

/// Who may call a route. Any one of the methods lets a client in.
public struct AuthSpec: Sendable, Equatable {
    public var apiKeys: APIKeysSpec?
    /// One for each issuer.
    public var jwt: [JWTSpec] = []
    /// Globs over the subject (RFC 4514 form) and the names (`DNS:`, `URI:`, `email:`) of a verified client certificate.
    public var certificateSubjects: [String] = []
    /// A cookie that may carry a key or token, in requests of pages of the same origin, or of one that `cors` allows with credentials.
    /// nil: none may.
    public var cookie: String?

    public init() {}
}

/// Keys that Sluice itself gives out, by their hashes.
public struct APIKeysSpec: Sendable, Equatable {
    public var keys: [APIKeySpec]
    /// Globs over the names of the keys that are allowed here; empty is all of the file.
    public var names: [String] = []
    /// A query parameter that may carry a key, for `EventSource`, which cannot send a header. nil: none may.
    public var query: String?

    public init(keys: [APIKeySpec]) { self.keys = keys }
}

/// One line of a key file. Its description leaves the hash out: that of a key that somebody has chosen could be guessed.
public struct APIKeySpec: Sendable, Equatable, CustomStringConvertible, CustomReflectable {
    /// For logs and limits; several keys may have the same one while they are changed.
    public var name: String
    /// SHA-256, 32 bytes.
    public var hash: [UInt8]
    /// Seconds since 1970 from which on it is refused; nil is never.
    public var expires: Int?
    /// The key's own limits, over all routes together.
    public var limit: RateLimitSpec?

    public init(name: String, hash: [UInt8], expires: Int? = nil, limit: RateLimitSpec? = nil) {
        (self.name, self.hash, self.expires, self.limit) = (name, hash, expires, limit)
    }

    public var description: String { name }
    public var customMirror: Mirror { Mirror(self, children: ["name": name]) }
}

/// Tokens of one issuer (RFC 7519, signed as RFC 7515 says).
public struct JWTSpec: Sendable, Equatable {
    public enum Algorithm: String, Sendable, CaseIterable {
        case hs256 = "HS256"
        case rs256 = "RS256"
        case es256 = "ES256"
        case edDSA = "EdDSA"
    }
    /// What the signatures are checked with.
    public enum KeySource: Sendable, Equatable {
        /// For HS256.
        case secret(Secret)
        /// A PEM file with a public key.
        case file(String)
        /// A file with a JSON Web Key Set (RFC 7517).
        case jwks(String)
    }
    public var algorithms: [Algorithm]
    public var keys: KeySource
    public var issuer: String?
    /// One of these must stand in `aud`. Empty: a token that names an audience is refused (RFC 7519 §4.1.3).
    public var audiences: [String] = []
    /// How far the clocks of issuer and proxy may be apart.
    public var leeway = Interval.seconds(30)
    /// The claim that names the client.
    public var subjectClaim = "sub"
    /// Claims that must match a glob; of a list, one element.
    public var claims: [(name: String, glob: String)] = []

    public init(algorithms: [Algorithm], keys: KeySource) { (self.algorithms, self.keys) = (algorithms, keys) }

    public static func == (left: JWTSpec, right: JWTSpec) -> Bool {
        left.algorithms == right.algorithms && left.keys == right.keys && left.issuer == right.issuer
            && left.audiences == right.audiences && left.leeway == right.leeway
            && left.subjectClaim == right.subjectClaim && left.claims.elementsEqual(right.claims) { $0 == $1 }
    }
}

/// Which pages of other origins may read a route's answers (the Fetch standard's CORS protocol).
public struct CORSSpec: Sendable, Equatable {
    /// `https://app.example.com`, `https://*.example.com` (one label), `*`, `null`.
    public var origins: [OriginPattern] = []
    /// Pages may send cookies and client certificates.
    public var allowsCredentials = false
    /// Request fields that a page may set; empty: those that it asks for.
    public var headers: [String] = []
    /// Empty: those of the route.
    public var methods: [String] = []
    /// How long a browser may remember the answer to a preflight.
    public var maxAge = Interval.seconds(600)
    /// Response fields that a page may read, besides those that Sluice itself writes.
    public var expose: [String] = []
    /// Pages of public sites may call a server in a private network.
    public var allowsPrivateNetwork = false

    public init() {}
}

/// How much may be asked for.
public struct RateLimitSpec: Sendable, Equatable {
    public enum Subject: String, Sendable, CaseIterable {
        /// Whoever the route's `auth` knows; else the address.
        case key
        /// An IPv4 address, or the /64 of an IPv6 one.
        case address
        /// All clients of the route together.
        case route
    }
    public var requests: Rate?
    /// Requests that may come at once; nil is as many as `requests` allows in its whole period.
    public var burst: Int?
    /// Of prompts and answers together.
    public var tokens: Rate?
    /// Exchanges at a time.
    public var concurrent: Int?
    public var by: Subject

    public init(
        requests: Rate? = nil, burst: Int? = nil, tokens: Rate? = nil, concurrent: Int? = nil, by: Subject = .key
    ) {
        (self.requests, self.burst, self.tokens) = (requests, burst, tokens)
        (self.concurrent, self.by) = (concurrent, by)
    }

    public var isEmpty: Bool { requests == nil && tokens == nil && concurrent == nil }
}

/// `60/m`: so many in a second, minute, hour or day.
public struct Rate: Sendable, Equatable, CustomStringConvertible {
    public var count: Int
    public var period: Interval

    public init(_ count: Int, per period: Interval) { (self.count, self.period) = (count, period) }

    /// nil for anything but 1 to 1,000,000,000 in `s`, `m`, `h` or `d`.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let count = Int(parts[0]), 1...1_000_000_000 ~= count,
            let unit = Self.units.first(where: { $0.name == parts[1] })
        else { return nil }
        self.init(count, per: .seconds(unit.seconds))
    }

    public var description: String {
        let unit = Self.units.first { .seconds($0.seconds) == period }
        return "\(count)/\(unit?.name ?? "\(period.seconds)s")"
    }

    private static let units: [(name: Substring, seconds: UInt64)] = [
        ("s", 1), ("m", 60), ("h", 3600), ("d", 86_400),
    ]
}
