/// Anthropic's Messages: `POST /v1/messages`.
enum AnthropicReader: RequestReader {
    static func read(_ body: JSONValue, _ hints: RequestHints) throws(RequestError) -> ChatRequest {
        var fields = try Fields(body, at: "")
        var request = ChatRequest()
        request.model = try fields.string("model")
        try Vocabulary.anthropic.read(&fields, into: &request)
        try readSystem(&fields, into: &request)
        try readTools(&fields, into: &request)
        try readThinking(&fields, into: &request)
        if var metadata = try fields.object("metadata") { request.user = try metadata.string("user_id") }
        for message in try fields.neededObjects("messages") { try readMessage(message, into: &request) }
        fields.ignore(
            "stream", "service_tier", "inference_geo", "context_management", "betas", "cache_control", "speed")
        request.unknown += fields.unknown
        return request
    }

    private static func readSystem(_ fields: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        guard let system = fields.peek("system") else { return }
        var message = ChatRequest.Message(.system, at: "system")
        if let text = system.string {
            fields.ignore("system")
            message.append(.text(text), at: "system")
        } else {
            for var block in try fields.objects("system") {
                message.append(.text(try block.neededString("text")), at: block.place("text"))
            }
        }
        request.messages.append(message)
    }

    // MARK: - Settings

    private static func readTools(_ fields: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        for var entry in try fields.objects("tools") {
            if let type = try entry.string("type"), type != "custom" {
                request.lack("\(entry.path).\(type.excerpt)")
                continue
            }
            request.tools.append(
                ChatRequest.Tool(
                    name: try entry.neededString("name"), description: try entry.string("description"),
                    parameters: try entry.schema("input_schema"), isStrict: try entry.flag("strict")))
        }
        request.places[.tools] = "tools"
        guard var choice = try fields.object("tool_choice") else { return }
        let type = try choice.neededString("type")
        switch type.text {
        case "auto": request.toolChoice = .auto
        case "any": request.toolChoice = .required
        case "none": request.toolChoice = ChatRequest.ToolChoice.none
        case "tool": request.toolChoice = .tool(try choice.neededString("name"))
        default: throw choice.notOneOf("auto, any, none, tool", "type", type)
        }
        request.places[.toolChoice] = "tool_choice"
        if let isSingle = try choice.flag("disable_parallel_tool_use") {
            request.parallelToolCalls = !isSingle
            request.places[.parallelToolCalls] = choice.place("disable_parallel_tool_use")
        }
    }

    private static func readThinking(_ fields: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        var reasoning: ChatRequest.Reasoning?
        if var thinking = try fields.object("thinking") {
            let type = try thinking.neededString("type")
            switch type.text {
            case "enabled": reasoning = .init(budget: try thinking.integer("budget_tokens"), isShown: true)
            case "adaptive": reasoning = .init(isShown: true)
            case "disabled": reasoning = .init(isEnabled: false)
            default: throw thinking.notOneOf("enabled, adaptive, disabled", "type", type)
            }
            request.places[.reasoning] = "thinking"
        }
        if var config = try fields.object("output_config") {
            // Of a request that does not think, effort is about the length of the answer.
            if let effort = try config.string("effort"), reasoning?.isEnabled == true { reasoning?.effort = effort }
            if let format = try config.object("format") { try readFormat(format, into: &request) }
            request.unknown += config.unknown
        }
        if let format = try fields.object("output_format") { try readFormat(format, into: &request) }
        request.reasoning = reasoning
    }

    private static func readFormat(_ fields: Fields, into request: inout ChatRequest) throws(RequestError) {
        var fields = fields
        let type = try fields.neededString("type")
        guard type == "json_schema" else { throw fields.notOneOf("json_schema", "type", type) }
        guard let schema = try fields.schema("schema") else {
            throw .invalid(field: fields.place("schema"), "is missing")
        }
        request.responseFormat = .schema(schema, name: nil, isStrict: nil)
        request.places[.responseFormat] = fields.path
    }

    // MARK: - Messages

    private static func readMessage(_ fields: Fields, into request: inout ChatRequest) throws(RequestError) {
        var fields = fields
        let word = try fields.neededString("role")
        let role: ChatRequest.Role
        switch word.text {
        case "user": role = .user
        case "assistant": role = .assistant
        case "system": role = .system
        default: throw fields.notOneOf("user, assistant", "role", word)
        }
        guard let content = fields.peek("content") else {
            throw .invalid(field: fields.place("content"), "is missing")
        }
        if let text = content.string {
            request.messages.append(.init(role, [.text(text)], at: fields.place("content")))
            return
        }
        guard content.elements != nil else {
            throw .invalid(field: fields.place("content"), "is neither a string nor an array")
        }
        var message = ChatRequest.Message(role, at: fields.path)
        for block in try fields.objects("content") {
            for (part, place) in try AnthropicContent.read(block, &request) {
                let isResult = if case .toolResult = part { true } else { false }
                let partRole: ChatRequest.Role = isResult ? .tool : role
                if message.role != partRole {
                    if !message.parts.isEmpty { request.messages.append(message) }
                    message = ChatRequest.Message(partRole, at: fields.path)
                }
                message.append(part, at: place)
            }
        }
        if !message.parts.isEmpty { request.messages.append(message) }
    }
}
