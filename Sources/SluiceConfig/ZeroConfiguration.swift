import SluiceStreams

/// What is served where no file is given: the upstreams that the environment's keys make, or the demo.
struct ZeroConfiguration {
    /// A provider whose own SDK reads these variables.
    private struct Provider {
        let name: String
        let dialect: Dialect
        let keys: [String]
        let baseKey: String
        let base: String
    }
    private static let providers = [
        Provider(
            name: "openai", dialect: .openAIChat, keys: ["OPENAI_API_KEY"], baseKey: "OPENAI_BASE_URL",
            base: "https://api.openai.com/v1"),
        Provider(
            name: "openai-responses", dialect: .openAIResponses, keys: ["OPENAI_API_KEY"],
            baseKey: "OPENAI_BASE_URL", base: "https://api.openai.com/v1"),
        Provider(
            name: "openai-completions", dialect: .openAICompletions, keys: ["OPENAI_API_KEY"],
            baseKey: "OPENAI_BASE_URL", base: "https://api.openai.com/v1"),
        Provider(
            name: "anthropic", dialect: .anthropicMessages, keys: ["ANTHROPIC_API_KEY"],
            baseKey: "ANTHROPIC_BASE_URL", base: "https://api.anthropic.com"),
        Provider(
            name: "gemini", dialect: .gemini, keys: ["GEMINI_API_KEY", "GOOGLE_API_KEY"],
            baseKey: "GOOGLE_GEMINI_BASE_URL", base: "https://generativelanguage.googleapis.com"),
    ]

    private(set) var upstreams: [UpstreamSpec] = []

    /// Throws the variable and the text of a base that is no URL.
    init(environment: [String: String], demoURL: String) throws(ConfigurationFaults) {
        for provider in Self.providers {
            guard let key = provider.keys.lazy.compactMap({ environment[$0] }).first(where: { !$0.isEmpty }) else {
                continue
            }
            let base = environment[provider.baseKey] ?? provider.base
            upstreams.append(
                UpstreamSpec(
                    name: provider.name, url: try Self.url(base, provider.baseKey), wire: .dialect(provider.dialect),
                    apiKey: Secret(key)))
        }
        guard upstreams.isEmpty else { return }
        upstreams = [UpstreamSpec(name: "demo", url: try Self.url(demoURL, "the demo's address"))]
    }

    /// Whether the environment names any provider.
    static func namesProvider(_ environment: [String: String]) -> Bool {
        providers.contains { provider in provider.keys.contains { environment[$0]?.isEmpty == false } }
    }

    private static func url(_ text: String, _ variable: String) throws(ConfigurationFaults) -> UpstreamURL {
        if let url = UpstreamURL(text) { return url }
        let message = "'\(UpstreamURL.withoutSecrets(text))' is no URL of an upstream (\(variable))"
        throw ConfigurationFaults(
            issues: [ConfigurationIssue(file: "environment", line: 0, column: 0, path: "", message: message)])
    }

    /// Each path in the format that it is known for. A provider's own path goes to that provider, if it is there, so that its own
    /// fields survive; all others go to the first.
    var routes: [Route] {
        var routes = [
            route("/v1/chat/completions", .openAIChat), route("/v1/completions", .openAICompletions),
            route("/v1/responses", .openAIResponses), route("/v1/messages", .anthropic), route("/v2/chat", .cohere),
            route(.prefix("/v1beta/models/"), .gemini), route("/api/generate", .ollamaGenerate),
        ]
        // Ollama's clients name a model, useChat does not.
        var ollama = route("/api/chat", .ollamaChat)
        ollama.conditions = [(subject: .body(["model"]), glob: "*")]
        var completion = route("/api/completion", .prompt)
        completion.response = .format(.vercelUI)
        var chat = route("/api/chat", .vercelUI)
        chat.resume = ResumeSpec()
        routes += [ollama, chat, route("/ag-ui", .agUI), completion]
        if let openAI = upstreams.firstIndex(where: { $0.wire == .dialect(.openAIChat) }) {
            var models = Route(
                path: .exact("/v1/models"), request: .passthrough, response: .format(.passthrough), upstream: openAI)
            models.methods = ["GET"]
            models.upstreamPath = "/models"
            routes.append(models)
        }
        for path in ["/workflows/runs", "/api/workflows/runs"] {
            var run = route(path, .run)
            run.response = .format(.sseText)
            var workflow = WorkflowSpec(id: "chat", path: run.path)
            workflow?.title = "Chat"
            workflow?.isDefault = true
            run.workflow = workflow
            routes.append(run)
        }
        let framings: [(String, Route.Response)] = [
            ("/stream", .auto), ("/stream/text", .format(.text)), ("/stream/sse", .format(.sseText)),
            ("/stream/json", .format(.sseJSON)), ("/stream/ndjson", .format(.ndjson)),
        ]
        return routes
            + framings.map { path, response in
                var route = Route(path: .exact(path), request: .prompt, response: response, upstream: 0)
                route.methods = ["GET", "POST"]
                if response == .auto { route.resume = ResumeSpec() }
                return route
            }
    }

    private func route(_ path: String, _ request: RequestFormat) -> Route { route(.exact(path), request) }

    private func route(_ path: Route.Path, _ request: RequestFormat) -> Route {
        let upstream = upstreams.firstIndex { $0.wire == request.response.dialect.map { .dialect($0) } } ?? 0
        var route = Route(path: path, request: request, response: .format(request.response), upstream: upstream)
        route.methods = ["POST"]
        // A client's model is another provider's only by chance.
        if request.response.dialect.map({ .dialect($0) }) != upstreams[upstream].wire,
            case .dialect(let dialect) = upstreams[upstream].wire, upstreams[upstream].name != "demo"
        {
            route.model = dialect.fallbackModel
        }
        route.dropsUnsupported = true
        return route
    }
}

extension ConfigurationLoader {
    /// What the environment's keys make, else the upstream at `demoURL`.
    public static func zeroConfiguration(
        environment: [String: String], listen: String?, demoURL: String
    ) throws(ConfigurationFaults) -> Configuration {
        let zero = try ZeroConfiguration(environment: environment, demoURL: demoURL)
        var configuration = Configuration(
            listeners: [ListenerSpec(address: listen ?? "0.0.0.0:8080")], upstreams: zero.upstreams,
            routes: zero.routes)
        configuration.servesPage = !namesProvider(environment)
        return configuration
    }

    /// Whether the environment has a provider's key, so that no demo is needed.
    public static func namesProvider(_ environment: [String: String]) -> Bool {
        ZeroConfiguration.namesProvider(environment)
    }
}
