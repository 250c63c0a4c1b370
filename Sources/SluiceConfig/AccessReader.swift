import SluiceBytes

/// `auth`, `cors`, `rate_limit` and `trusted_proxies`: who may come in, and how often.
extension ConfigurationReader {
    /// What stands at the top level for all routes.
    struct AccessDefaults {
        var auth: AuthSpec?
        var cors: CORSSpec?
        var rateLimits: [RateLimitSpec] = []
        var trustedProxies: [String] = []
    }

    func readAccess(_ root: inout Section) -> AccessDefaults {
        var access = AccessDefaults()
        access.auth = readAuth(&root) ?? nil
        access.cors = readCORS(&root) ?? nil
        access.rateLimits = readRateLimits(&root)
        for (node, path) in root.list("trusted_proxies") ?? [] {
            guard let text = Scalars.text(node, path, context) else { continue }
            if Self.isAddressRange(text) {
                access.trustedProxies.append(text)
            } else {
                context.report(node, path, "'\(text)' is not an address, a range such as 10.0.0.0/8, or unix")
            }
        }
        return access
    }

    /// A route's own words win over those of the top level; limits add up.
    func readAccess(_ section: inout Section, _ route: inout Route) {
        route.auth = readAuth(&section)
        route.cors = readCORS(&section)
        route.rateLimits = readRateLimits(&section)
    }

    /// Nobody could show a certificate that no listener asks for.
    func checkCertificates(_ root: inout Section, _ configuration: Configuration) {
        let specs = [configuration.auth] + configuration.routes.map { $0.auth ?? nil }
        guard specs.contains(where: { $0?.certificateSubjects.isEmpty == false }),
            !configuration.listeners.contains(where: { $0.tls?.clientCA != nil }), let node = root.value("listeners")
        else { return }
        context.report(node, "listeners", "none has tls.client_ca, without which auth.mtls lets nobody in")
    }

    // MARK: - Auth

    /// nil: nothing is said. `.some(nil)`: `none`.
    private func readAuth(_ parent: inout Section) -> AuthSpec?? {
        guard let node = parent.value("auth") else { return nil }
        if isNone(node) { return .some(nil) }
        guard var section = Section(node, path: parent.path(of: "auth"), context: context) else { return nil }
        var auth = AuthSpec()
        if var keys = section.section("api_keys") { auth.apiKeys = readAPIKeys(&keys) }
        auth.jwt = mappings("jwt", &section) { readJWT(&$0) }
        if var mtls = section.section("mtls") {
            auth.certificateSubjects = texts("subjects", &mtls) ?? []
            if auth.certificateSubjects.isEmpty { mtls.missing("subjects") }
            mtls.finish()
        }
        auth.cookie = readCookie(&section, auth)
        if section.entries.isEmpty { context.report(node, section.path, "must name api_keys, jwt or mtls, or be none") }
        section.finish()
        return .some(auth)
    }

    private func readCookie(_ section: inout Section, _ auth: AuthSpec) -> String? {
        guard let name = section.string("cookie"), let node = section.value("cookie") else { return nil }
        let path = section.path(of: "cookie")
        guard checkToken(name, node, path) else { return nil }
        if auth.apiKeys == nil, auth.jwt.isEmpty { context.report(node, path, "needs api_keys or jwt beside it") }
        return name
    }

    private func isNone(_ node: YAMLNode) -> Bool {
        guard case .scalar(let text, _) = node.kind else { return false }
        return text == "none"
    }

    private func readAPIKeys(_ section: inout Section) -> APIKeysSpec {
        var spec = APIKeysSpec(keys: [])
        if let file = section.requiredString("file"), let node = section.value("file") {
            let path = section.path(of: "file")
            if let text = context.readFile(context.absolute(file)) {
                let read = APIKeyFile(text)
                for fault in read.faults { context.report(node, path, "\(file):\(fault.line): \(fault.message)") }
                spec.keys = read.keys
            } else {
                context.report(node, path, "the file \(file) cannot be read")
            }
        }
        spec.names = texts("names", &section) ?? []
        spec.query = section.string("query")
        if let query = spec.query, let node = section.value("query"),
            query.isEmpty || !query.utf8.allSatisfy({ ASCII.isDigit($0) || ($0 | 0x20) &- 0x61 < 26 || $0 == 0x5F })
        {
            context.report(node, section.path(of: "query"), "must be a name of letters, digits and _")
        }
        section.finish()
        return spec
    }

    private func readJWT(_ section: inout Section) -> JWTSpec? {
        let algorithms = (texts("algorithms", &section) ?? []).compactMap { text -> JWTSpec.Algorithm? in
            let algorithm = JWTSpec.Algorithm(rawValue: text)
            if algorithm == nil, let node = section.value("algorithms") {
                let choices = JWTSpec.Algorithm.allCases.map(\.rawValue)
                context.report(node, section.path(of: "algorithms"), Names.notOneOf(text, choices))
            }
            return algorithm
        }
        if section.value("algorithms") == nil { section.missing("algorithms") }
        let keys = readKeySource(&section, algorithms)
        var spec = JWTSpec(algorithms: algorithms, keys: keys ?? .file(""))
        spec.issuer = section.string("issuer")
        spec.audiences = texts("audience", &section) ?? []
        spec.leeway = section.duration("leeway") ?? spec.leeway
        spec.subjectClaim = section.string("subject") ?? spec.subjectClaim
        if let claims = section.section("claims") {
            for (name, _, value) in claims.entries {
                guard let glob = Scalars.text(value, claims.path(of: name), context) else { continue }
                spec.claims.append((name: name, glob: glob))
            }
        }
        section.finish()
        return keys == nil || algorithms.isEmpty ? nil : spec
    }

    private func readKeySource(_ section: inout Section, _ algorithms: [JWTSpec.Algorithm]) -> JWTSpec.KeySource? {
        var sources: [JWTSpec.KeySource] = []
        if let node = section.value("secret"),
            let secret = Scalars.secret(node, section.path(of: "secret"), context)
        {
            sources.append(.secret(secret))
            // RFC 7518 §3.2: no shorter than the hash. A public key in the place of a secret would let everybody sign.
            if secret.revealed.utf8.count < 32 {
                context.report(node, section.path(of: "secret"), "must have at least 32 bytes for HS256")
            }
            if algorithms.contains(where: { $0 != .hs256 }) || secret.revealed.hasPrefix("-----BEGIN") {
                context.report(node, section.path(of: "secret"), "is for HS256 only; public keys go into key or jwks")
            }
        }
        if let file = section.string("key") {
            sources.append(.file(context.absolute(file)))
            if algorithms.contains(.hs256), let node = section.value("key") {
                context.report(node, section.path(of: "key"), "is a public key, which HS256 must never be checked with")
            }
        }
        if let file = section.string("jwks") { sources.append(.jwks(context.absolute(file))) }
        guard sources.count == 1 else {
            context.report(section.node, section.path, "needs one of secret, key and jwks")
            return nil
        }
        return sources[0]
    }

    // MARK: - CORS

    private func readCORS(_ parent: inout Section) -> CORSSpec?? {
        guard let node = parent.value("cors") else { return nil }
        if isNone(node) { return .some(nil) }
        guard var section = Section(node, path: parent.path(of: "cors"), context: context) else { return nil }
        var cors = CORSSpec()
        cors.allowsCredentials = section.bool("credentials") ?? false
        if section.value("origins") == nil { section.missing("origins") }
        for text in texts("origins", &section) ?? [] {
            if let pattern = OriginPattern(text) {
                cors.origins.append(pattern)
            } else if let node = section.value("origins") {
                context.report(
                    node, section.path(of: "origins"),
                    "'\(text)' is not scheme://host[:port], https://*.example.com, * or null")
            }
        }
        if cors.allowsCredentials, cors.origins.contains(.any), let node = section.value("credentials") {
            context.report(
                node, section.path(of: "credentials"), "with origins: * any page could use a visitor's login")
        }
        cors.headers = tokens("headers", &section)
        cors.methods = tokens("methods", &section).map { $0.uppercased() }
        cors.expose = tokens("expose", &section)
        cors.maxAge = section.duration("max_age") ?? cors.maxAge
        cors.allowsPrivateNetwork = section.bool("private_network") ?? false
        section.finish()
        return .some(cors)
    }

    private func tokens(_ key: String, _ section: inout Section) -> [String] {
        (texts(key, &section) ?? []).filter { text in
            guard let node = section.value(key) else { return false }
            return checkToken(text, node, section.path(of: key))
        }
    }

    private func checkToken(_ text: String, _ node: YAMLNode, _ path: String) -> Bool {
        let isToken =
            !text.isEmpty
            && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"\"(),/:;<=>?@[\\]{}*".utf8.contains($0) }
        if !isToken { context.report(node, path, "'\(text)' is no name of a field or method") }
        return isToken
    }

    // MARK: - Limits

    private func readRateLimits(_ parent: inout Section) -> [RateLimitSpec] {
        mappings("rate_limit", &parent) { section in
            var spec = RateLimitSpec()
            spec.requests = readRate("requests", &section)
            spec.tokens = readRate("tokens", &section)
            spec.burst = section.integer("burst", 1...1_000_000_000)
            spec.concurrent = section.integer("concurrent", 1...1_000_000)
            spec.by = section.choice("by", RateLimitSpec.Subject.self) ?? .key
            section.finish()
            if spec.isEmpty { context.report(section.node, section.path, "needs requests, tokens or concurrent") }
            if spec.burst != nil, spec.requests == nil { section.missing("requests") }
            return spec
        }
    }

    private func readRate(_ key: String, _ section: inout Section) -> Rate? {
        guard let text = section.string(key), let node = section.value(key) else { return nil }
        let rate = Rate(text)
        if rate == nil {
            context.report(node, section.path(of: key), "'\(text)' is not a rate such as 60/m (s, m, h, d)")
        }
        return rate
    }

    // MARK: - Shapes

    /// One mapping, or a list of them.
    private func mappings<T>(_ key: String, _ parent: inout Section, _ read: (inout Section) -> T?) -> [T] {
        guard let node = parent.value(key) else { return [] }
        let path = parent.path(of: key)
        guard case .sequence(let elements) = node.kind else {
            guard var section = Section(node, path: path, context: context) else { return [] }
            return read(&section).map { [$0] } ?? []
        }
        return elements.enumerated().compactMap { index, element in
            guard var section = Section(element, path: "\(path)[\(index)]", context: context) else { return nil }
            return read(&section)
        }
    }

    /// One text, or a list of them; nil if there is none.
    private func texts(_ key: String, _ section: inout Section) -> [String]? {
        guard let node = section.value(key) else { return nil }
        let path = section.path(of: key)
        guard case .sequence(let elements) = node.kind else {
            return Scalars.text(node, path, context).map { [$0] }
        }
        return elements.enumerated().compactMap { Scalars.text($0.element, "\(path)[\($0.offset)]", context) }
    }

    /// An address, with or without `/bits`; or `unix`, for peers on a unix socket.
    private static func isAddressRange(_ text: String) -> Bool {
        if text == "unix" { return true }
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let address = parts.first else { return false }
        let isV6 = address.contains(":")
        if parts.count == 2 {
            guard let bits = Int(parts[1]), 0...(isV6 ? 128 : 32) ~= bits else { return false }
        }
        if isV6 { return address.utf8.allSatisfy { ASCII.hexValue($0) != nil || $0 == ASCII.colon || $0 == 0x2E } }
        let numbers = address.split(separator: ".", omittingEmptySubsequences: false)
        return numbers.count == 4 && numbers.allSatisfy { UInt8($0) != nil }
    }
}
