/// `generationConfig`, and the schemas of Google's own dialect of OpenAPI.
enum GeminiConfig {
    static func read(_ config: Fields, into request: inout ChatRequest) throws(RequestError) {
        var config = config
        try Vocabulary.gemini.read(&config, into: &request)
        try readFormat(&config, into: &request)
        if let thinking = try config.object("thinkingConfig") {
            request.reasoning = try reasoning(thinking)
            request.places[.reasoning] = thinking.path
        }
        if let kinds = config.peek("responseModalities")?.elements, kinds.allSatisfy({ $0.string == "TEXT" }) {
            config.ignore("responseModalities")
        }
        request.unknown += config.unknown
    }

    private static func readFormat(_ config: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        let type = try config.string("responseMimeType")
        switch type?.text {
        case nil, "text/plain"?, "": break
        case "application/json"?: request.responseFormat = .json
        default: request.lack(config.place("responseMimeType"))
        }
        var schema = try config.schema("responseSchema").map(jsonSchema)
        for key in ["responseJsonSchema", "_responseJsonSchema"] {
            if let given = try config.schema(key) { schema = given }
        }
        if let schema { request.responseFormat = .schema(schema, name: nil, isStrict: nil) }
        request.places[.responseFormat] = config.place(schema == nil ? "responseMimeType" : "responseSchema")
    }

    /// A budget of 0 is none at all, and -1 the model's own choice.
    private static func reasoning(_ fields: Fields) throws(RequestError) -> ChatRequest.Reasoning {
        var fields = fields
        let budget = try fields.integer("thinkingBudget")
        return ChatRequest.Reasoning(
            effort: try fields.string("thinkingLevel").map { JSONString($0.text.lowercased()) },
            budget: budget.flatMap { $0 > 0 ? $0 : nil }, isEnabled: budget != 0,
            isShown: try fields.flag("includeThoughts"))
    }

    /// Types are in capitals there, as in `{"type": "STRING"}`.
    static func jsonSchema(_ schema: JSONValue) -> JSONValue {
        switch schema {
        case .object(let members):
            .object(
                members.map { member in
                    if member.key == "type", let type = member.value.string {
                        return (key: "type", value: JSONValue(type.text.lowercased()))
                    }
                    let isData = ["enum", "default", "example", "const"].contains(member.key)
                    return (key: member.key, value: isData ? member.value : jsonSchema(member.value))
                })
        case .array(let elements): .array(elements.map(jsonSchema))
        default: schema
        }
    }
}
