import SluiceStreams

/// Each path in the format that it is known for. A provider's own path goes to that provider if it is there, so that its own
/// fields survive; a model's name leads to whose it is; all else goes to the first, translated.
extension ZeroConfiguration {
    private static let formats: [(path: Route.Path, format: RequestFormat)] = [
        (.exact("/v1/chat/completions"), .openAIChat), (.exact("/v1/completions"), .openAICompletions),
        (.exact("/v1/responses"), .openAIResponses), (.exact("/v1/messages"), .anthropic),
        (.exact("/v2/chat"), .cohere), (.exact("/api/generate"), .ollamaGenerate),
    ]
    /// Google's SDK asks for the first from its third major version on, or where it is told so.
    private static let geminiVersions = ["/v1", "/v1beta"]
    private static let geminiMethods = ["*:generateContent", "*:streamGenerateContent"]

    var routes: [Route] {
        var routes = Self.formats.flatMap { shared($0.path, $0.format) }
        for version in Self.geminiVersions {
            for method in Self.geminiMethods {
                routes += shared(.prefix("\(version)/models/"), .gemini, when: [(subject: .path, glob: method)])
            }
        }
        // Ollama's clients name a model, useChat does not.
        routes += shared(.exact("/api/chat"), .ollamaChat, when: [(subject: .body(["model"]), glob: "*")])
        routes += ownPaths + forPages
        return routes + (served.isEmpty ? [demoModels] : others)
    }

    // MARK: - Who answers

    /// `SLUICE_MODEL`, for clients that name none.
    private var chosenModel: String? { environment.text("SLUICE_MODEL") }

    /// Where a request goes that says nothing of whom it is for, and with which model; `model` is nil for the demo.
    private var standard: (served: Served?, model: String?) {
        guard let model = chosenModel else { return (served.first, served.first?.provider.fallbackModel) }
        if let named = served.first(where: { model.hasPrefix($0.provider.name + "/") }) {
            return (named, String(model.dropFirst(named.provider.name.count + 1)))
        }
        let owner = served.first { one in one.provider.models.contains { Self.glob($0, matches: model) } }
        return (owner ?? served.first, model)
    }

    /// Globs of this table have their stars at an end, or around a word.
    private static func glob(_ glob: String, matches model: String) -> Bool {
        let word = glob.filter { $0 != "*" }
        if glob.hasPrefix("*") { return model.contains(word) }
        return glob.hasSuffix("*") ? model.hasPrefix(word) : model == word
    }

    // MARK: - Formats

    /// One path for all providers.
    private func shared(
        _ path: Route.Path, _ format: RequestFormat, when conditions: [(subject: Route.Subject, glob: String)] = []
    ) -> [Route] {
        let native = served.first { $0.upstream(for: format.response.dialect) != nil }
        let base = native ?? standard.served
        var routes: [Route] = []
        for one in served {
            // Whose name stands before the model's.
            if served.count > 1 {
                var route = route(path, format, one, conditions, model: one.provider.name + "/*")
                route.modelPrefix = one.provider.name + "/"
                routes.append(route)
            }
            // A provider's own path needs no word on its own models.
            if one.first == base?.first, native != nil { continue }
            routes += one.provider.models.map { route(path, format, one, conditions, model: $0) }
        }
        guard let base else { return [demo(path, format, conditions)] }
        var last = route(path, format, base, conditions, model: nil)
        if native == nil { setModel(&last, base) }
        return routes + [last]
    }

    /// A route to one provider. `model`: only for models of that name.
    private func route(
        _ path: Route.Path, _ format: RequestFormat, _ one: Served,
        _ conditions: [(subject: Route.Subject, glob: String)] = [], model: String?
    ) -> Route {
        let upstream = one.upstream(for: format.response.dialect) ?? one.first
        var conditions = conditions
        if let model, case .prefix(let stem) = path {
            // Gemini's clients name it in the path.
            conditions.append((subject: .path, glob: "\(stem)\(model):*"))
        } else if let model {
            conditions.removeAll { $0.subject == .body(["model"]) }
            conditions.append((subject: .body(["model"]), glob: model))
        }
        var route = Route(path: path, request: format, response: .format(format.response), upstream: upstream)
        (route.methods, route.conditions, route.dropsUnsupported) = (["POST"], conditions, true)
        return route
    }

    /// A client's model is another provider's only by chance; where any name may be right, it counts.
    private func setModel(_ route: inout Route, _ one: Served) {
        guard let model = one.first == standard.served?.first ? standard.model : one.provider.fallbackModel else {
            return
        }
        if one.provider.models.isEmpty, route.request.response.dialect != nil {
            let named = JSONValue.object([(key: "model", value: JSONValue(model))])
            route.defaults = String(decoding: named.serialized(), as: UTF8.self)
        } else {
            route.model = model
        }
    }

    private func demo(
        _ path: Route.Path, _ format: RequestFormat, _ conditions: [(subject: Route.Subject, glob: String)]
    ) -> Route {
        var route = Route(path: path, request: format, response: .format(format.response), upstream: 0)
        (route.methods, route.conditions, route.dropsUnsupported) = (["POST"], conditions, true)
        return route
    }

    // MARK: - Pages

    /// For browsers: `useChat`, `useCompletion`, AG-UI, EventSource and fetch. They name no model.
    private var forPages: [Route] {
        var chat = page("/api/chat", .vercelUI)
        chat.resume = ResumeSpec()
        let framings: [(String, Route.Response)] = [
            ("/stream", .auto), ("/stream/text", .format(.text)), ("/stream/sse", .format(.sseText)),
            ("/stream/json", .format(.sseJSON)), ("/stream/ndjson", .format(.ndjson)),
        ]
        var completion = page("/api/completion", .prompt)
        completion.response = .format(.vercelUI)
        return [chat, page("/ag-ui", .agUI), completion] + ["/workflows/runs", "/api/workflows/runs"].map(workflow)
            + framings.map { path, response in
                var route = page(path, .prompt)
                (route.response, route.methods) = (response, ["GET", "POST"])
                if response == .auto { route.resume = ResumeSpec() }
                return route
            }
    }

    /// For front ends of model-compose.
    private func workflow(_ path: String) -> Route {
        var run = page(path, .run)
        run.response = .format(.sseText)
        run.workflow = WorkflowSpec(id: "chat", path: run.path)
        run.workflow?.title = "Chat"
        run.workflow?.isDefault = true
        return run
    }

    private func page(_ path: String, _ format: RequestFormat) -> Route {
        guard let one = standard.served else { return demo(.exact(path), format, []) }
        var page = route(.exact(path), format, one, model: nil)
        setModel(&page, one)
        return page
    }

    // MARK: - All else that providers have

    /// `/NAME/…`: a provider by its name, in its own words.
    private var ownPaths: [Route] {
        served.flatMap { one -> [Route] in
            let provider = one.provider
            var routes: [Route] = []
            for dialect in provider.dialects {
                for (path, format) in Self.formats where format.response.dialect == dialect {
                    guard case .exact(let path) = path else { continue }
                    routes.append(route(.exact("/\(provider.name)\(path)"), format, one, model: nil))
                }
            }
            switch provider.name {
            case "gemini":
                for version in Self.geminiVersions {
                    for method in Self.geminiMethods {
                        let when = [(subject: Route.Subject.path, glob: method)]
                        routes.append(route(.prefix("/gemini\(version)/models/"), .gemini, one, when, model: nil))
                    }
                    routes.append(relay("/gemini\(version)/*", one, to: one.target(version + "/*")))
                }
            case "ollama": routes.append(route(.exact("/ollama/api/chat"), .ollamaChat, one, model: nil))
            case "bedrock": routes.append(relay("/bedrock/model/*", one, to: "/model/*"))
            case "cohere": routes += [relay("/cohere/v2/*", one, to: "/v2/*"), relay("/cohere/v1/*", one, to: "/v1/*")]
            default: routes.append(relay("/\(provider.name)/v1/*", one))
            }
            return routes
        }
    }

    /// Models, embeddings, files, token counts and what else there is, by paths that no other provider has, or by a header.
    private var others: [Route] {
        var routes: [Route] = []
        func one(_ name: String) -> Served? { served.first { $0.provider.name == name } }
        if let anthropic = one("anthropic") {
            var relay = relay("/v1/*", anthropic)
            relay.conditions = [(subject: .header("anthropic-version"), glob: "*")]
            routes.append(relay)
        }
        if let gemini = one("gemini") {
            for version in Self.geminiVersions {
                var relays = [
                    relay("\(version)/*", gemini, to: gemini.target(version + "/*")),
                    relay("/upload\(version)/*", gemini, to: "/upload\(version)/*"),
                ]
                // `/v1` is others' too; Google's clients say who they are by where they put their key.
                if version == "/v1" {
                    for index in relays.indices {
                        relays[index].conditions = [(subject: .header("x-goog-api-key"), glob: "*")]
                    }
                }
                routes += relays
            }
        }
        if let cohere = one("cohere") {
            routes.append(relay("/v2/*", cohere, to: "/v2/*"))
            for path in ["/v1/chat", "/v1/embed", "/v1/rerank", "/v1/classify", "/v1/tokenize", "/v1/detokenize"] {
                routes.append(relay(path, cohere, to: path))
            }
        }
        if let mistral = one("mistral") {
            for path in ["/fim/completions", "/ocr"] { routes.append(relay("/v1" + path, mistral, to: path)) }
        }
        if let bedrock = one("bedrock") { routes.append(relay("/model/*", bedrock, to: "/model/*")) }
        if let ollama = one("ollama") {
            // Not those that pull, push, copy or delete models.
            for path in ["/api/tags", "/api/ps", "/api/version"] {
                routes.append(relay(path, ollama, to: path, methods: ["GET", "HEAD"]))
            }
            for path in ["/api/show", "/api/embed", "/api/embeddings"] {
                routes.append(relay(path, ollama, to: path, methods: ["POST"]))
            }
        }
        return routes + unclaimed
    }

    /// `/v1/embeddings` by the model's name, and `/v1/*`: OpenAI's kin, else whoever is there.
    private var unclaimed: [Route] {
        var routes: [Route] = []
        let kin = served.filter { $0.provider.isOpenAIsKin }
        for one in kin where kin.count > 1 && one.first != kin.first?.first {
            for glob in one.provider.models {
                var relay = relay("/v1/embeddings", one, to: "/embeddings", methods: ["POST"])
                relay.conditions = [(subject: .body(["model"]), glob: glob)]
                routes.append(relay)
            }
        }
        guard let one = kin.first ?? standard.served else { return routes }
        switch one.provider.name {
        // Neither has a `/v1` whose every endpoint a client should reach.
        case "gemini", "bedrock", "ollama": return routes
        case "cohere": return routes + [relay("/v1/*", one, to: "/v1/*")]
        default: return routes + [relay("/v1/*", one)]
        }
    }

    /// Bytes as they come, with the key put in. `target`: behind the provider's address; nil: its version, and what stands
    /// behind the route's path.
    private func relay(_ path: String, _ one: Served, to target: String? = nil, methods: [String] = []) -> Route {
        let pattern: Route.Path = path.hasSuffix("/*") ? .prefix(String(path.dropLast())) : .exact(path)
        var route = Route(path: pattern, request: .passthrough, response: .format(.passthrough), upstream: one.first)
        route.upstreamPath = target ?? one.target(one.provider.version + "/*")
        route.methods = methods
        return route
    }

    private var demoModels: Route {
        var models = Route(
            path: .exact("/v1/models"), request: .passthrough, response: .format(.passthrough), upstream: 0)
        (models.methods, models.upstreamPath) = (["GET"], "/models")
        return models
    }
}
