/// The settings of an OpenAI chat request, which the route's `defaults` and `overrides` use too.
enum OpenAISettings {
    static func read(_ fields: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        try Vocabulary.openAIChat(maxTokens: "max_completion_tokens").read(&fields, into: &request)
        // What OpenAI calls deprecated and most others know; and what only others have.
        try Vocabulary(numbers: [(.maxTokens, "max_tokens"), (.topK, "top_k")]).read(&fields, into: &request)
        try OpenAITools.read(&fields, into: &request)
        try OpenAITools.readChoice("tool_choice", &fields, into: &request)
        try OpenAITools.readChoice("function_call", &fields, into: &request)
        if let isParallel = try fields.flag("parallel_tool_calls") {
            request.parallelToolCalls = isParallel
            request.places[.parallelToolCalls] = fields.place("parallel_tool_calls")
        }
        if let effort = try fields.string("reasoning_effort") {
            request.reasoning = ChatRequest.Reasoning(effort: effort)
            request.places[.reasoning] = fields.place("reasoning_effort")
        }
        if let format = try fields.object("response_format") {
            request.responseFormat = try responseFormat(format)
            request.places[.responseFormat] = format.path
        }
        request.user = try fields.string("user")
    }

    /// The names above, for telling them from what goes into the upstream's body as it is.
    static let names: Set<String> = [
        "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "stop", "seed", "presence_penalty",
        "frequency_penalty", "reasoning_effort", "response_format", "tools", "tool_choice", "user", "n",
        "parallel_tool_calls",
    ]

    /// `{"type": "json_schema", "json_schema": {"name", "schema", "strict"}}`; Cohere puts the schema itself there.
    static func responseFormat(_ fields: Fields) throws(RequestError) -> ChatRequest.ResponseFormat {
        var fields = fields
        let type = try fields.neededString("type")
        switch type.text {
        case "text": return .text
        case "json_object":
            guard let found = fields.take(["json_schema", "schema"]) else { return .json }
            guard found.value.members != nil else { throw .invalid(field: found.place, "is no object") }
            return .schema(found.value, name: nil, isStrict: nil)
        case "json_schema":
            guard var inner = try fields.object("json_schema") else {
                throw .invalid(field: fields.place("json_schema"), "is missing")
            }
            guard let schema = try inner.schema("schema") else {
                throw .invalid(field: inner.place("schema"), "is missing")
            }
            return .schema(schema, name: try inner.string("name"), isStrict: try inner.flag("strict"))
        default: throw fields.notOneOf("text, json_object, json_schema", "type", type)
        }
    }
}
