/// OpenAI's Responses API: `POST /v1/responses`. What it says in items is joined into messages: the calls of one turn belong
/// to the assistant's message before them.
enum OpenAIResponsesReader: RequestReader {
    static func read(_ body: JSONValue, _ hints: RequestHints) throws(RequestError) -> ChatRequest {
        var fields = try Fields(body, at: "")
        var request = ChatRequest()
        request.model = try fields.string("model")
        try Vocabulary.openAIResponses.read(&fields, into: &request)
        try readSettings(&fields, into: &request)
        if let instructions = try fields.string("instructions") {
            request.messages.append(.init(.system, [.text(instructions)], at: "instructions"))
        }
        try readInput(&fields, into: &request)
        OpenAIChatReader.ignoreHarmless(&fields)
        fields.ignore("include", "truncation", "max_tool_calls", "top_logprobs")
        request.unknown += fields.unknown
        return request
    }

    // MARK: - Settings

    private static func readSettings(_ fields: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        for var entry in try fields.objects("tools") {
            let type = try entry.string("type") ?? "function"
            if type == "function" {
                request.tools.append(try OpenAITools.tool(entry))
            } else {
                request.lack("\(entry.path).\(type.excerpt)")
            }
        }
        request.places[.tools] = "tools"
        try OpenAITools.readChoice("tool_choice", &fields, into: &request)
        request.parallelToolCalls = try fields.flag("parallel_tool_calls")
        request.places[.parallelToolCalls] = "parallel_tool_calls"
        request.user = try fields.string("user")
        if var text = try fields.object("text") {
            if let format = try text.object("format") { try readFormat(format, into: &request) }
            if text.peek("verbosity")?.string == "medium" { text.ignore("verbosity") }
            request.unknown += text.unknown
        }
        if var reasoning = try fields.object("reasoning") {
            var wish = ChatRequest.Reasoning()
            if let effort = try reasoning.string("effort") { wish = ChatRequest.Reasoning(effort: effort) }
            if try reasoning.string("summary") != nil { wish.isShown = true }
            request.reasoning = wish
            request.places[.reasoning] = "reasoning"
        }
    }

    private static func readFormat(_ fields: Fields, into request: inout ChatRequest) throws(RequestError) {
        var fields = fields
        let type = try fields.neededString("type")
        request.places[.responseFormat] = fields.path
        switch type.text {
        case "text": request.responseFormat = .text
        case "json_object": request.responseFormat = .json
        case "json_schema":
            guard let schema = try fields.schema("schema") else {
                throw .invalid(field: fields.place("schema"), "is missing")
            }
            request.responseFormat = .schema(
                schema, name: try fields.string("name"), isStrict: try fields.flag("strict"))
        default: throw fields.notOneOf("text, json_object, json_schema", "type", type)
        }
    }

    // MARK: - Input

    private static func readInput(_ fields: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        if let text = fields.peek("input")?.string {
            fields.ignore("input")
            request.messages.append(.init(.user, [.text(text)], at: "input"))
            return
        }
        for item in try fields.neededObjects("input") { try readItem(item, into: &request) }
    }

    private static func readItem(_ fields: Fields, into request: inout ChatRequest) throws(RequestError) {
        var fields = fields
        let type = try fields.string("type") ?? "message"
        switch type.text {
        case "message": try readMessage(&fields, into: &request)
        case "function_call":
            let call = ChatRequest.ToolCall(
                id: try fields.neededString("call_id"), name: try fields.neededString("name"),
                arguments: OpenAITools.arguments(fields.take("arguments")))
            addToAssistant(.toolCall(call), at: fields.path, &request)
        case "function_call_output":
            var content = ChatRequest.Message(.tool, at: fields.path)
            let callID = try fields.neededString("call_id")
            try OpenAIContent.read("output", &fields, into: &content, &request)
            let result = ChatRequest.ToolResult(callID: callID, parts: content.parts, isError: false)
            request.messages.append(.init(.tool, [.toolResult(result)], at: fields.place("output")))
        case "reasoning":
            // What is encrypted can be read by its own provider only.
            for var summary in try fields.objects("summary") {
                guard let text = try summary.string("text") else { continue }
                request.messages.append(.init(.assistant, [.reasoning(text, signature: nil)], at: summary.path))
            }
        default: request.lack("\(fields.path).\(type.excerpt)")
        }
    }

    private static func readMessage(_ fields: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        let word = try fields.neededString("role")
        let role: ChatRequest.Role
        switch word.text {
        case "system", "developer": role = .system
        case "user": role = .user
        case "assistant": role = .assistant
        default: throw fields.notOneOf("system, developer, user, assistant", "role", word)
        }
        guard fields.peek("content") != nil else { throw .invalid(field: fields.place("content"), "is missing") }
        var message = ChatRequest.Message(role, at: fields.path)
        try OpenAIContent.read("content", &fields, into: &message, &request)
        guard role == .assistant else { return request.messages.append(message) }
        for (part, place) in message.placed { addToAssistant(part, at: place, &request) }
    }

    private static func addToAssistant(_ part: ChatRequest.Part, at place: String, _ request: inout ChatRequest) {
        if let last = request.messages.indices.last, request.messages[last].role == .assistant {
            request.messages[last].append(part, at: place)
        } else {
            request.messages.append(.init(.assistant, [part], at: place))
        }
    }
}
