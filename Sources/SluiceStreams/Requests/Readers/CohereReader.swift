/// Cohere's chat, version 2: `POST /v2/chat`.
enum CohereReader: RequestReader {
    static func read(_ body: JSONValue, _ hints: RequestHints) throws(RequestError) -> ChatRequest {
        var fields = try Fields(body, at: "")
        var request = ChatRequest()
        request.model = try fields.string("model")
        try Vocabulary.cohere.read(&fields, into: &request)
        try OpenAITools.read(&fields, into: &request)
        try OpenAITools.readChoice("tool_choice", &fields, into: &request)
        if let format = try fields.object("response_format") {
            request.responseFormat = try OpenAISettings.responseFormat(format)
            request.places[.responseFormat] = format.path
        }
        if var thinking = try fields.object("thinking") {
            let type = try thinking.neededString("type")
            request.reasoning = .init(budget: try thinking.integer("token_budget"), isEnabled: type != "disabled")
            request.places[.reasoning] = "thinking"
        }
        var ids = CallIDs()
        for message in try fields.neededObjects("messages") { try read(message, &ids, into: &request) }
        fields.ignore("stream", "citation_options", "safety_mode", "priority", "strict_tools")
        request.unknown += fields.unknown
        return request
    }

    private static func read(
        _ fields: Fields, _ ids: inout CallIDs, into request: inout ChatRequest
    ) throws(RequestError) {
        var fields = fields
        let word = try fields.neededString("role")
        let role: ChatRequest.Role
        switch word.text.lowercased() {
        case "system", "developer": role = .system
        case "user": role = .user
        case "assistant": role = .assistant
        case "tool": return try readResult(&fields, &ids, into: &request)
        default: throw fields.notOneOf("system, user, assistant, tool", "role", word)
        }
        var message = ChatRequest.Message(role, at: fields.path)
        // The plan is what the model said before it called.
        if let plan = try fields.string("tool_plan"), !plan.isEmpty {
            message.append(.text(plan), at: fields.place("tool_plan"))
        }
        try OpenAIContent.read("content", &fields, into: &message, &request)
        try OpenAITools.readCalls("tool_calls", &fields, ids: &ids, into: &message)
        request.messages.append(message)
    }

    /// `content` is a text, or texts and documents.
    private static func readResult(
        _ fields: inout Fields, _ ids: inout CallIDs, into request: inout ChatRequest
    ) throws(RequestError) {
        let callID = ids.answered(nil, try fields.neededString("tool_call_id"))
        let place = fields.place("content")
        var parts: [ChatRequest.Part] = []
        if let text = fields.peek("content")?.string {
            parts = [.text(text)]
        } else {
            for var entry in try fields.objects("content") {
                if let text = try entry.string("text") {
                    parts.append(.text(text))
                } else if var document = try entry.object("document"), let data = document.take("data") {
                    parts.append(ChatRequest.ToolResult.text(of: data))
                } else {
                    request.lack(entry.path)
                }
            }
        }
        let result = ChatRequest.ToolResult(callID: callID, parts: parts, isError: false)
        request.messages.append(.init(.tool, [.toolResult(result)], at: place))
    }
}
