import SluiceConfig

/// Whom a route's `auth` knows a client as: for logs and limits, never a secret.
struct Identity: Equatable {
    enum Kind: String { case key, jwt, certificate }
    let kind: Kind
    let name: String
    /// Limits of its own, over all routes together.
    var limit: RateLimitSpec?
}

/// What `auth` makes of a request.
enum Verdict: Equatable {
    case admitted(Identity)
    /// Nobody that is known. `detail` is for the log: the client is told the same whatever was wrong.
    case unknown(detail: String)
    /// Known, and not allowed here.
    case forbidden(Identity, detail: String)
    /// Known by a cookie, in a request of a page that must not use it.
    case foreignPage(Identity)
}

/// What a client's connection says about it.
struct PeerCertificate {
    /// RFC 4514 form.
    let subject: String
    /// `DNS:…`, `URI:…`, `email:…`.
    let names: [String]
}
