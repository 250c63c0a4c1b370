import SluiceStreams

/// What is served where no file is given: the upstreams that the environment's keys make, or the demo.
struct ZeroConfiguration {
    /// A provider that the environment names.
    struct Served {
        let provider: ZeroProvider
        /// The variable that says so.
        let variable: String
        /// The position of its first upstream; the others, one for each further dialect, stand behind it.
        let first: Int
        let url: UpstreamURL

        /// A path behind its address, where a version that stands there already is not put again.
        func target(_ path: String) -> String {
            let version = provider.version
            return !version.isEmpty && url.basePath.hasSuffix(version) ? "/*" : path
        }

        func upstream(for dialect: Dialect?) -> Int? {
            provider.dialects.firstIndex { $0 == dialect }.map { first + $0 }
        }
    }
    let environment: ZeroEnvironment
    private(set) var served: [Served] = []
    private(set) var upstreams: [UpstreamSpec] = []

    /// Throws the variable and the text of an address that is no URL, or is this proxy's own.
    init(environment: [String: String], listen: String, demoURL: String) throws(ConfigurationFaults) {
        self.environment = ZeroEnvironment(variables: environment)
        for provider in ZeroProvider.all {
            guard let variable = self.environment.trigger(provider) else { continue }
            let url = try self.environment.url(provider)
            guard !Self.isSelf(url, listen) else {
                throw ZeroEnvironment.fault(
                    "\(provider.baseVariable) is this proxy's own address: it belongs into the environment of clients")
            }
            served.append(Served(provider: provider, variable: variable, first: upstreams.count, url: url))
            for (index, dialect) in provider.dialects.enumerated() {
                let kind = dialect.rawValue.split(separator: "-").last.map { "-\($0)" } ?? ""
                let name = provider.name + (index == 0 ? "" : kind)
                upstreams.append(upstream(name, dialect, provider, url))
            }
        }
        guard upstreams.isEmpty else { return }
        guard let url = UpstreamURL(demoURL) else {
            throw ZeroEnvironment.fault("'\(demoURL)' is no URL of an upstream")
        }
        upstreams = [UpstreamSpec(name: "demo", url: url)]
    }

    private func upstream(_ name: String, _ dialect: Dialect, _ provider: ZeroProvider, _ url: UpstreamURL)
        -> UpstreamSpec
    {
        let key = provider.keys.lazy.compactMap { environment.text($0) }.first
        var headers = provider.headers.compactMap { header in
            environment.text(header.variable).map { (name: header.name, value: Secret($0)) }
        }
        if provider.name == "anthropic", key == nil, let token = environment.text("ANTHROPIC_AUTH_TOKEN") {
            headers.append((name: "Authorization", value: Secret("Bearer " + token)))
        }
        return UpstreamSpec(
            name: name, url: url, wire: .dialect(dialect), apiKey: key.map { Secret($0) }, headers: headers)
    }

    /// A request would go round for ever.
    private static func isSelf(_ url: UpstreamURL, _ listen: String) -> Bool {
        let port = listen.split(separator: ":").last.flatMap { Int($0) }
        return url.port == port && ["127.0.0.1", "localhost", "::1", "0.0.0.0"].contains(url.host)
    }

    /// Whether the environment names any provider.
    static func namesProvider(_ environment: [String: String]) -> Bool {
        let environment = ZeroEnvironment(variables: environment)
        return ZeroProvider.all.contains { environment.trigger($0) != nil }
    }

    /// An address alone makes no provider, and whoever set it may take the demo's answers for that server's.
    var warnings: [String] {
        ZeroProvider.all.compactMap { provider in
            guard environment.trigger(provider) == nil, environment.text(provider.baseVariable) != nil,
                let key = provider.keys.first
            else { return nil }
            return "\(provider.baseVariable): is not used without \(key); a server without keys takes any word"
        }
    }

    /// One for each provider: for the log.
    var summary: [[String: String]] {
        served.map { one in
            let models = one.provider.models.isEmpty ? "any" : one.provider.models.joined(separator: " ")
            let scheme = one.url.isTLS ? "https" : "http"
            return [
                "upstream": one.provider.name, "from": one.variable, "models": models,
                "url": "\(scheme)://\(one.url.host):\(one.url.port)\(one.url.basePath)",
                "paths": "/\(one.provider.name)/*",
            ]
        }
    }
}

extension ConfigurationLoader {
    /// Everyone who reaches it spends the keys: so nobody else's machine does, unless that is asked for.
    public static let zeroListen = "127.0.0.1:8080"

    /// What the environment's keys make, else the upstream at `demoURL`.
    public static func zeroConfiguration(
        environment: [String: String], listen: String?, demoURL: String
    ) throws(ConfigurationFaults) -> Configuration {
        let address = listen ?? zeroListen
        let zero = try ZeroConfiguration(environment: environment, listen: address, demoURL: demoURL)
        var configuration = Configuration(
            listeners: [ListenerSpec(address: address)], upstreams: zero.upstreams, routes: zero.routes)
        configuration.servesPage = zero.served.isEmpty
        configuration.keepsForeignPagesOut = !zero.served.isEmpty
        configuration.probe = ProbeSpec()
        let tracing = TracingEnvironment(environment)
        (configuration.tracing, configuration.warnings) = (tracing.spec, tracing.warnings + zero.warnings)
        return configuration
    }

    /// Whether the environment has a provider's key, so that no demo is needed.
    public static func namesProvider(_ environment: [String: String]) -> Bool {
        ZeroConfiguration.namesProvider(environment)
    }

    /// For the log, one entry for each provider that `zeroConfiguration` found: never a key.
    public static func zeroSummary(environment: [String: String]) -> [[String: String]] {
        let zero = try? ZeroConfiguration(environment: environment, listen: "", demoURL: "")
        return zero?.summary ?? []
    }
}
