/// OpenAI's Chat Completions: `POST /v1/chat/completions`.
enum OpenAIChatReader: RequestReader {
    static func read(_ body: JSONValue, _ hints: RequestHints) throws(RequestError) -> ChatRequest {
        var fields = try Fields(body, at: "")
        var request = ChatRequest()
        request.model = try fields.string("model")
        try OpenAISettings.read(&fields, into: &request)
        try readMessages(&fields, into: &request)
        ignoreHarmless(&fields)
        request.unknown += fields.unknown
        return request
    }

    static func readMessages(_ fields: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        var ids = CallIDs()
        for message in try fields.neededObjects("messages") { try read(message, &ids, into: &request) }
    }

    /// Labels for the provider's records, and hints that change nothing in the answer.
    static func ignoreHarmless(_ fields: inout Fields) {
        fields.ignore(
            "stream", "stream_options", "user", "metadata", "store", "service_tier", "safety_identifier",
            "prompt_cache_key", "prompt_cache_retention", "prediction", "id", "chat_id", "session_id", "trigger")
        if fields.peek("verbosity")?.string == "medium" { fields.ignore("verbosity") }
        if let kinds = fields.peek("modalities")?.elements, kinds.allSatisfy({ $0.string == "text" }) {
            fields.ignore("modalities")
        }
    }

    private static func read(
        _ fields: Fields, _ ids: inout CallIDs, into request: inout ChatRequest
    ) throws(RequestError) {
        var fields = fields
        let role = try fields.neededString("role")
        switch role.text {
        case "system", "developer": try read(&fields, .system, &ids, into: &request)
        case "user": try read(&fields, .user, &ids, into: &request)
        case "assistant": try read(&fields, .assistant, &ids, into: &request)
        case "tool", "function":
            var message = ChatRequest.Message(.tool, at: fields.path)
            try readResult(&fields, &ids, into: &message, &request)
            request.messages.append(message)
        default: throw fields.notOneOf("system, developer, user, assistant, tool", "role", role)
        }
    }

    private static func read(
        _ fields: inout Fields, _ role: ChatRequest.Role, _ ids: inout CallIDs, into request: inout ChatRequest
    ) throws(RequestError) {
        var message = ChatRequest.Message(role, at: fields.path)
        if role == .assistant, let found = fields.take(["reasoning_content", "reasoning"]),
            let text = found.value.string
        {
            message.append(.reasoning(text, signature: nil), at: found.place)
        }
        let hasContent = fields.peek("content") != nil
        try OpenAIContent.read("content", &fields, into: &message, &request)
        if role == .assistant {
            if let refusal = try fields.string("refusal"), !refusal.isEmpty {
                message.append(.refusal(refusal), at: fields.place("refusal"))
            }
            try OpenAITools.readCalls("tool_calls", &fields, ids: &ids, into: &message)
            if var call = try fields.object("function_call") {
                let name = try call.neededString("name")
                let arguments = OpenAITools.arguments(call.take("arguments"))
                let id = ids.called(name, nil)
                message.append(.toolCall(.init(id: id, name: name, arguments: arguments)), at: call.path)
            }
            if fields.take("audio") != nil { request.lack(fields.place("audio")) }
        } else if !hasContent {
            throw .invalid(field: fields.place("content"), "is missing")
        }
        request.messages.append(message)
    }

    /// A `tool` message; the older `function` message names the tool and not the call.
    private static func readResult(
        _ fields: inout Fields, _ ids: inout CallIDs, into message: inout ChatRequest.Message,
        _ request: inout ChatRequest
    ) throws(RequestError) {
        var content = ChatRequest.Message(.tool, at: fields.path)
        try OpenAIContent.read("content", &fields, into: &content, &request)
        let name = try fields.string("name")
        let id = try fields.string("tool_call_id")
        guard id != nil || name != nil else { throw .invalid(field: fields.place("tool_call_id"), "is missing") }
        let callID = ids.answered(name, id)
        message.append(
            .toolResult(.init(callID: callID, name: name, parts: content.parts, isError: false)),
            at: fields.place("content"))
    }
}
