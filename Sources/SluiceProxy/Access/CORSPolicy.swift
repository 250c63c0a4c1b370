import SluiceBytes
import SluiceConfig
import SluiceHTTP

/// What pages of other origins may do with a route: the server's side of CORS (WHATWG Fetch §3.2).
///
/// It protects what is in answers, not the route itself: a request of a page that is not allowed is still answered, and its
/// browser keeps the answer from it. Whom to serve is `auth`'s matter.
struct CORSPolicy: Sendable {
    private let spec: CORSSpec
    private let methods: String
    private let exposed: String

    /// What `Access-Control-Request-Headers` may hold.
    private static let headerListBytes = 2048
    /// Fields of answers that Sluice writes itself and pages have a use for.
    private static let ownFields = [
        "X-Request-Id", "X-Stream-Id", "Retry-After", "x-vercel-ai-ui-message-stream", "x-vercel-ai-data-stream",
        "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests",
        "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens",
        "anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset", "anthropic-ratelimit-tokens-limit",
        "anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset",
    ]

    /// `routeMethods`: empty for any.
    init(_ spec: CORSSpec, routeMethods: [String]) {
        self.spec = spec
        let own = routeMethods.isEmpty ? ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] : routeMethods
        methods = (spec.methods.isEmpty ? own : spec.methods).joined(separator: ", ")
        exposed = (Self.ownFields + spec.expose).joined(separator: ", ")
    }

    /// A question whether another request may be sent, and no request itself.
    static func isPreflight(_ head: RequestHead) -> Bool {
        head.method == "OPTIONS" && head.fields.contains("origin")
            && head.fields.contains("access-control-request-method")
    }

    func allows(_ head: RequestHead) -> Bool { allowedOrigin(head) != nil }

    /// The page may use what its visitor is known by. A page without an origin never does: anybody can make one.
    func allowsCredentials(_ head: RequestHead) -> Bool {
        guard spec.allowsCredentials, let origin = allowedOrigin(head) else { return false }
        return origin != "null" && origin != "*"
    }

    /// The fields of the answer to a preflight; without those that allow something if the origin is none of the policy's.
    func preflight(_ head: RequestHead) -> HeaderFields {
        var fields = HeaderFields()
        fields.append("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
        guard let origin = allowedOrigin(head) else { return fields }
        appendOrigin(origin, to: &fields)
        fields.append("Access-Control-Allow-Methods", methods)
        if let headers = allowedHeaders(head) { fields.append("Access-Control-Allow-Headers", headers) }
        fields.append("Access-Control-Max-Age", "\(Int(spec.maxAge.seconds))")
        if spec.allowsPrivateNetwork, head.fields.first("access-control-request-private-network") == "true" {
            fields.append("Access-Control-Allow-Private-Network", "true")
        }
        return fields
    }

    /// Puts the policy's fields on an answer, in place of any that an upstream had put there.
    func apply(to fields: inout HeaderFields, for head: RequestHead) {
        let own = fields
        fields = own.filtered { !Self.isCORS(own.name(at: $0)) }
        // Always: a cache must not hand one origin's answer to another.
        fields.append("Vary", "Origin")
        guard let origin = allowedOrigin(head) else { return }
        appendOrigin(origin, to: &fields)
        fields.append("Access-Control-Expose-Headers", exposed)
    }

    private func appendOrigin(_ origin: String, to fields: inout HeaderFields) {
        fields.append("Access-Control-Allow-Origin", origin)
        if spec.allowsCredentials { fields.append("Access-Control-Allow-Credentials", "true") }
    }

    /// nil for a request without an origin, with two of them, or with one that may not read the answer.
    private func allowedOrigin(_ head: RequestHead) -> String? {
        let fields = head.fields
        guard let index = fields.firstIndex(of: "origin"),
            !((index + 1)..<fields.count).contains(where: { ASCII.equalFolded(fields.name(at: $0), "origin") })
        else { return nil }
        let origin = fields.valueString(at: index)
        guard origin.utf8.count <= 512, spec.origins.contains(where: { $0.matches(origin) }) else { return nil }
        return spec.origins.contains(.any) && !spec.allowsCredentials ? "*" : origin
    }

    private func allowedHeaders(_ head: RequestHead) -> String? {
        if !spec.headers.isEmpty { return spec.headers.joined(separator: ", ") }
        guard let asked = head.fields.first("access-control-request-headers"),
            asked.utf8.count <= Self.headerListBytes,
            asked.utf8.allSatisfy({ byte in
                ASCII.isDigit(byte) || (byte | 0x20) &- 0x61 < 26 || "-_.!#$%&'*+^`|~, ".utf8.contains(byte)
            })
        else { return nil }
        return asked
    }

    private static func isCORS(_ name: Span<UInt8>) -> Bool {
        let prefix: StaticString = "access-control-"
        let count = prefix.utf8CodeUnitCount
        return name.count > count && ASCII.equalFolded(name.extracting(0..<count), prefix)
    }
}
