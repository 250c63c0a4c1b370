/// The body of a client that speaks the upstream's language, with what the route has to say put into it.
enum RelayedBody {
    static func write(
        _ client: ClientBody, _ dialect: Dialect, _ rules: RequestRules, _ result: inout TranslatedRequest
    ) throws(RequestError) -> JSONObject {
        var body = JSONObject(client.json?.members ?? [])
        try setModel(&body, client, dialect, rules, &result)
        if let system = rules.system, !system.isEmpty {
            try RelayedSystem.put(JSONString(system), into: &body, client.format)
        }
        guard let writer = dialect.writer(model: result.model) else { return body }
        var losses = Losses()
        let defaults = RouteSettings(rules.defaults, at: "defaults", for: dialect, isOverriding: false)
        let overrides = RouteSettings(rules.overrides, at: "overrides", for: dialect, isOverriding: true)
        try merge(defaults, result.model, overriding: false, writer, into: &body, &losses)
        if dialect.hasStreamFlag { setStream(&body, client, result.asksForStream) }
        try merge(overrides, result.model, overriding: true, writer, into: &body, &losses)
        writer.complete(&body)
        if !losses.fields.isEmpty {
            guard rules.dropsUnsupported else { throw .unsupported(fields: losses.fields, dialect: dialect) }
            result.dropped = losses.fields
        }
        return body
    }

    /// The model is in the path for Google, and for MLflow, whose newer paths want it in the body too.
    private static func setModel(
        _ body: inout JSONObject, _ client: ClientBody, _ dialect: Dialect, _ rules: RequestRules,
        _ result: inout TranslatedRequest
    ) throws(RequestError) {
        let inPath = client.format == .gemini ? GeminiReader.model(in: client.hints.path) : nil
        let asked = try RouteModel.asked(
            client.format == .gemini ? inPath.map { JSONString($0) } : body["model"]?.string)
        result.model = RouteModel.choose(asked, rules)
        switch dialect {
        case .gemini: body.remove("model")
        case .mlflow: body["model"] = rules.model.map { JSONValue($0) }
        default:
            if !result.model.isEmpty, result.model != asked { body["model"] = JSONValue(result.model) }
        }
    }

    /// The client's own flag stays where it says what is asked for.
    private static func setStream(_ body: inout JSONObject, _ client: ClientBody, _ asksForStream: Bool) {
        guard client.streamFlag ?? client.streamDefault != asksForStream else { return }
        body["stream"] = .bool(asksForStream)
        // Refused where no stream is asked for.
        if !asksForStream { body.remove("stream_options") }
    }

    /// The route's settings in the upstream's words.
    private static func merge(
        _ route: RouteSettings, _ model: String, overriding: Bool, _ writer: any RequestWriter,
        into body: inout JSONObject, _ losses: inout Losses
    ) throws(RequestError) {
        var request = route.settings
        request.model = model.isEmpty ? nil : JSONString(model)
        let written = try writer.settings(request, &losses)
        // Anthropic's thinking admits no sampling.
        if overriding, written["thinking"]?["type"] == "enabled" {
            for name in ["temperature", "top_p", "top_k"] { body.remove(name) }
        }
        body.merge(written, overriding: overriding)
        route.merge(into: &body)
    }
}

/// Where a language has the system's text: the route's comes first, before the client's own.
enum RelayedSystem {
    static func put(_ system: JSONString, into body: inout JSONObject, _ format: RequestFormat) throws(RequestError) {
        switch format {
        case .openAIChat, .ollamaChat, .cohere:
            guard let messages = body["messages"]?.elements else {
                throw .invalid(field: "messages", body["messages"] == nil ? "is missing" : "is no array")
            }
            body["messages"] = .array([["role": "system", "content": .string(system)]] + messages)
        case .openAIResponses: try join(system, "instructions", &body)
        case .ollamaGenerate: try join(system, "system", &body)
        case .openAICompletions: try join(system, "prompt", &body)
        case .anthropic:
            if let blocks = body["system"]?.elements {
                body["system"] = .array([["type": "text", "text": .string(system)]] + blocks)
            } else {
                try join(system, "system", &body)
            }
        case .gemini: putParts(system, &body)
        default: break
        }
    }

    private static func join(_ system: JSONString, _ key: String, _ body: inout JSONObject) throws(RequestError) {
        guard let own = body[key], !own.isNull else { return body[key] = .string(system) }
        if let text = own.string {
            body[key] = .string(text.isEmpty ? system : .joined([system, text], by: "\n\n"))
        } else if let texts = own.elements, texts.allSatisfy({ $0.string != nil }) {
            body[key] = .array(texts.map { .string(.joined([system, $0.string ?? ""], by: "\n\n")) })
        } else {
            throw .invalid(field: key, "is no text, which the route's system text could stand before")
        }
    }

    private static func putParts(_ system: JSONString, _ body: inout JSONObject) {
        let key = body["system_instruction"] == nil ? "systemInstruction" : "system_instruction"
        let part: JSONValue = ["text": .string(system)]
        var content = body[key] ?? [:]
        if let text = content.string { content = ["parts": [["text": .string(text)]]] }
        if content.members == nil { content = [:] }
        content["parts"] = .array([part] + (content["parts"]?.elements ?? []))
        body[key] = content
    }
}
