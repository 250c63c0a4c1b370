import SluiceStreams

/// The schema of `auth`, `cors`, `rate_limit` and `trusted_proxies`, which stand at the top level and in routes.
enum AccessSchema {
    private typealias Build = SchemaBuilder
    typealias Key = SchemaBuilder.Key

    /// For the top level.
    static let root =
        own + [
            Key(
                "trusted_proxies", texts,
                "Addresses and ranges whose X-Forwarded-For is believed; unix is the peers of a unix socket.")
        ]

    /// For the top level, and for a route, whose `auth` and `cors` replace those above while its limits add to them.
    static let own = [
        Key("auth", orNone(Build.mapping(auth)), "Who may call; any one method lets a client in. none: anybody."),
        Key("cors", orNone(Build.mapping(cors)), "Which pages of other origins may read the answers. none: no page."),
        Key("rate_limit", oneOrMore(Build.mapping(rateLimit)), "How much may be asked for: 429. One, or several."),
    ]

    private static let auth = [
        Key("api_keys", Build.mapping(apiKeys), "Keys that are given out here: `sluice key new`."),
        Key("jwt", oneOrMore(Build.mapping(jwt)), "Signed tokens. One issuer, or several."),
        Key("mtls", Build.mapping(mtls), "Client certificates that the listener's client_ca has verified."),
        Key(
            "cookie", Build.text,
            "A cookie that may carry a key or token, for pages of this origin and those that cors allows with credentials."
        ),
    ]

    private static let apiKeys = [
        Key(
            "file", Build.text, "Name, SHA-256 and settings of each key. Read again on SIGHUP.", isRequired: true),
        Key("names", texts, "Globs over the names that are allowed here: else 403."),
        Key("query", Build.text, "A query parameter that may carry a key, for EventSource."),
    ]

    private static let jwt = [
        Key("algorithms", texts, "HS256, RS256, ES256, EdDSA.", isRequired: true),
        Key("secret", Build.secret, "For HS256; 32 bytes at least."),
        Key("key", Build.text, "A PEM file with a public key."),
        Key("jwks", Build.text, "A file with a JSON Web Key Set; read again on SIGHUP."),
        Key("issuer", Build.text, "What `iss` must be."),
        Key("audience", texts, "What `aud` must hold one of."),
        Key("leeway", Build.duration, "How far clocks may be apart."),
        Key("subject", Build.text, "The claim that names the client."),
        Key("claims", Build.anyMapping, "Claims and the globs that they must match: else 403."),
    ]

    private static let mtls = [
        Key(
            "subjects", texts, "Globs over the subject (CN=a,O=b) and the names (DNS:, URI:, email:): else 403.",
            isRequired: true)
    ]

    private static let cors = [
        Key("origins", texts, "https://app.example.com, https://*.example.com, * or null.", isRequired: true),
        Key("credentials", Build.flag, "Pages may send cookies and certificates."),
        Key("headers", texts, "Request fields that pages may set. Default: those they ask for."),
        Key("methods", texts, "Default: those of the route."),
        Key("max_age", Build.duration, "How long a browser may remember a preflight."),
        Key("expose", texts, "Response fields that pages may read, besides those of Sluice."),
        Key("private_network", Build.flag, "Pages of public sites may call into a private network."),
    ]

    private static let rateLimit = [
        Key("requests", Build.text, "60/m: in a second, minute, hour or day (s, m, h, d)."),
        Key("burst", Build.number(1...1_000_000_000), "Requests at once. Default: those of the whole period."),
        Key("tokens", Build.text, "100000/m: of prompts and answers together."),
        Key("concurrent", Build.number(1...1_000_000), "Exchanges at a time."),
        Key("by", Build.choice(RateLimitSpec.Subject.self), "Whom it is counted for."),
    ]

    // MARK: - Shapes

    /// One text, or a list of them.
    private static let texts: JSONValue = [
        "anyOf": [Build.text, ["type": "array", "items": Build.text]]
    ]

    /// A mapping, or the word none: `pattern` looks only at texts, `properties` only at mappings.
    private static func orNone(_ mapping: JSONValue) -> JSONValue {
        var value = mapping
        value["type"] = ["object", "string"]
        value["pattern"] = "^none$"
        return value
    }

    /// A mapping, or a list of them.
    private static func oneOrMore(_ mapping: JSONValue) -> JSONValue {
        var value = mapping
        value["type"] = ["object", "array"]
        value["items"] = mapping
        return value
    }
}
