/// A body for an upstream that does not speak the client's language.
enum TranslatedBody {
    static func write(
        _ request: consuming ChatRequest, _ dialect: Dialect, _ rules: RequestRules, _ result: inout TranslatedRequest
    ) throws(RequestError) -> JSONObject {
        var request = request
        // What is unknown and may not be left out is the better reason, and is told below.
        if !request.hasContent, request.unknown.isEmpty || rules.dropsUnsupported {
            throw .invalid(field: "", "there is nothing to answer")
        }
        result.model = RouteModel.choose(try RouteModel.asked(request.model), rules)
        request.model = result.model.isEmpty ? nil : JSONString(result.model)
        if let system = rules.system, !system.isEmpty {
            request.messages.insert(.init(.system, [.text(JSONString(system))], at: "system"), at: 0)
        }
        let defaults = RouteSettings(rules.defaults, at: "defaults", for: dialect, isOverriding: false)
        let overrides = RouteSettings(rules.overrides, at: "overrides", for: dialect, isOverriding: true)
        defaults.apply(to: &request)
        overrides.apply(to: &request)

        guard let writer = dialect.writer(model: result.model) else { return JSONObject() }
        var losses = Losses()
        for place in request.unknown { losses.lose(place) }
        var body = try writer.conversation(request, &losses)
        body.merge(try writer.settings(request, &losses), overriding: true)
        defaults.merge(into: &body)
        if dialect.hasStreamFlag { body["stream"] = .bool(result.asksForStream) }
        if dialect.hasUsageOption, result.asksForStream, rules.asksForUsage {
            body["stream_options"] = ["include_usage": true]
        }
        overrides.merge(into: &body)
        writer.complete(&body)
        if !losses.fields.isEmpty {
            guard rules.dropsUnsupported else { throw .unsupported(fields: losses.fields, dialect: dialect) }
            result.dropped = losses.fields
        }
        return body
    }
}

/// Which model is asked.
public enum RouteModel {
    /// Of a model's name, in bytes. Providers' have some dozens, the ARNs of Bedrock some 150.
    public static let nameLimit = 512

    /// Refuses a body whose `model` is longer than any: it would be compared with each route's conditions.
    public static func check(_ body: JSONValue) throws(RequestError) { _ = try limited(body["model"]?.string) }

    /// The client's model as text.
    static func asked(_ name: JSONString?) throws(RequestError) -> String? { try limited(name)?.text }

    private static func limited(_ name: JSONString?) throws(RequestError) -> JSONString? {
        if name?.isLonger(than: nameLimit) == true {
            throw .invalid(field: "model", "is longer than \(nameLimit) bytes")
        }
        return name
    }

    static func choose(_ asked: String?, _ rules: RequestRules) -> String {
        var asked = asked
        if let prefix = rules.modelPrefix, let name = asked, name.hasPrefix(prefix) {
            asked = String(name.dropFirst(prefix.count))
        }
        let named = [rules.overrides?["model"]?.string?.text, rules.model, asked]
        let fallbacks = [rules.defaults?["model"]?.string?.text, rules.fallbackModel]
        return (named + fallbacks).lazy.compactMap { $0 }.first { !$0.isEmpty } ?? ""
    }
}
