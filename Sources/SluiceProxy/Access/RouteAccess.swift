import Glibc
import SluiceBytes
import SluiceConfig
import SluiceIO
import SluiceStreams

/// Who may use a route, from which pages, and how often: the route's own words and those of the top level, ready for use.
final class RouteAccess: Sendable {
    /// nil: anybody.
    let authenticator: Authenticator?
    let cors: CORSPolicy?
    let rules: [RateRule]
    /// Query parameters that may carry a client's key; none of them ever goes on to an upstream.
    let queryKeys: [String]

    /// nil where a route is open and unlimited, so that its requests cost nothing here.
    fileprivate init?(
        authenticator: Authenticator?, cors: CORSPolicy?, rules: [RateRule], queryKeys: [String]
    ) {
        (self.authenticator, self.cors) = (authenticator, cors)
        (self.rules, self.queryKeys) = (rules, queryKeys)
        if authenticator == nil, cors == nil, rules.isEmpty { return nil }
    }

    /// By route of the configuration; nil for an open one.
    /// - Throws: for a key of a `jwt` that cannot be read or used; names the file.
    static func make(_ configuration: Configuration) throws -> [RouteAccess?] {
        let common = configuration.rateLimits.enumerated().map { RateRule($0.element, scope: "all#\($0.offset)") }
        let shared = try configuration.auth.map { try Authenticator(reading: $0) }
        return try configuration.routes.map { route in
            let spec = route.auth ?? configuration.auth
            let authenticator: Authenticator? =
                switch route.auth {
                case .none: shared
                case .some(let own): try own.map { try Authenticator(reading: $0) }
                }
            let cors = (route.cors ?? configuration.cors).map { CORSPolicy($0, routeMethods: Self.methods(route)) }
            let own = route.rateLimits.enumerated().map {
                RateRule($0.element, scope: "\(Self.scope(route))#\($0.offset)")
            }
            return RouteAccess(
                authenticator: authenticator, cors: cors, rules: own + common,
                queryKeys: queryKeys(route, spec, configuration))
        }
    }

    /// What pages may ask of it. Answers that outlive their connection are read on and stopped beside the route's own methods.
    private static func methods(_ route: Route) -> [String] {
        guard route.resume != nil, !route.methods.isEmpty else { return route.methods }
        return route.methods + ["GET", "DELETE"].filter { !route.methods.contains($0) }
    }

    /// The same route in the next configuration has the same one, wherever it stands in the file.
    private static func scope(_ route: Route) -> String {
        let conditions = route.conditions.map { "\($0.subject)=\($0.glob)" }.sorted()
        return "\(route.host ?? "")\(route.label) \(route.methods.sorted()) \(conditions)"
    }

    /// Google's API takes a key in the query; others only where the route says so.
    private static func queryKeys(_ route: Route, _ auth: AuthSpec?, _ configuration: Configuration) -> [String] {
        var names: [String] = []
        if let query = auth?.apiKeys?.query { names.append(query) }
        let isGoogle =
            route.request == .gemini
            || route.request == .passthrough
                && route.upstreams.contains { choice in
                    configuration.upstreams.indices.contains(choice.upstream)
                        && configuration.upstreams[choice.upstream].wire == .dialect(.gemini)
                }
        if isGoogle { names.append("key") }
        return names
    }
}

extension Authenticator {
    /// - Throws: for a file that cannot be read, and for keys that do not fit the algorithms.
    convenience init(reading spec: AuthSpec) throws {
        self.init(spec, tokens: try spec.jwt.map { try JWTVerifier(reading: $0) })
    }
}

extension JWTVerifier {
    init(reading spec: JWTSpec) throws {
        do throws(SignatureKeyError) {
            switch spec.keys {
            case .secret(let secret):
                let key = try SignatureKey(secret: Array(secret.revealed.utf8))
                try self.init(spec, keys: [JSONWebKey(key: key, isOnly: true)])
            case .file(let path):
                let key = try SignatureKey(pem: try Self.text(path))
                try self.init(spec, keys: [JSONWebKey(key: key, isOnly: true)])
            case .jwks(let path):
                try self.init(spec, keys: try JSONWebKey.set(try Self.text(path), for: spec.algorithms))
            }
        } catch {
            let file =
                switch spec.keys {
                case .secret: "secret"
                case .file(let path), .jwks(let path): path
                }
            throw StartError("auth.jwt: \(file): \(error)")
        }
    }

    private static func text(_ path: String) throws(SignatureKeyError) -> [UInt8] {
        guard let text = AWSSharedFile.read(path) else {
            throw SignatureKeyError("cannot be read: \(String(cString: strerror(errno)))")
        }
        return text
    }
}
