/// Google's `generateContent`: the model stands in the path, and calls often have no ids.
enum GeminiReader: RequestReader {
    static func read(_ body: JSONValue, _ hints: RequestHints) throws(RequestError) -> ChatRequest {
        var fields = try Fields(body, at: "", isGoogle: true)
        var request = ChatRequest()
        request.model = model(in: hints.path).map { JSONString($0) }
        fields.ignore("model")
        let place = fields.place("systemInstruction")
        if let system = fields.take("systemInstruction") { try readSystem(system, place, into: &request) }
        try readTools(&fields, into: &request)
        if let config = try fields.object("generationConfig") { try GeminiConfig.read(config, into: &request) }
        try readContents(&fields, into: &request)
        // What is unsafe is for each provider to say.
        fields.ignore("safetySettings", "labels")
        request.unknown += fields.unknown
        return request
    }

    /// `gemini-2.0-flash` of `/v1beta/models/gemini-2.0-flash:streamGenerateContent`.
    static func model(in path: String) -> String? {
        let steps = path.split(separator: "/")
        guard let marker = steps.lastIndex(of: "models"), marker + 1 < steps.count else { return nil }
        // Names of models may have colons of their own.
        let step = steps[marker + 1]
        let name = step[..<(step.lastIndex(of: ":") ?? step.endIndex)]
        return name.isEmpty ? nil : String(name)
    }

    private static func readSystem(
        _ value: JSONValue, _ place: String, into request: inout ChatRequest
    ) throws(RequestError) {
        var message = ChatRequest.Message(.system, at: place)
        if let text = value.string {
            message.append(.text(text), at: place)
        } else {
            var content = try Fields(value, at: place)
            for var part in try content.objects("parts") {
                if let text = try part.string("text") { message.append(.text(text), at: part.place("text")) }
            }
        }
        request.messages.append(message)
    }

    // MARK: - Tools

    private static func readTools(_ fields: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        for var entry in try fields.objects("tools") {
            for function in try entry.objects("functionDeclarations") { request.tools.append(try tool(function)) }
            // Google's own tools are switched on by an empty object.
            for key in entry.untaken { request.lack(entry.place(JSONString(key).excerpt)) }
        }
        request.places[.tools] = "tools"
        guard var config = try fields.object("toolConfig") else { return }
        guard let calling = try config.object("functionCallingConfig") else { return }
        try readChoice(calling, into: &request)
    }

    private static func tool(_ function: Fields) throws(RequestError) -> ChatRequest.Tool {
        var function = function
        var parameters = try function.schema("parametersJsonSchema")
        if parameters == nil { parameters = try function.schema("parameters").map(GeminiConfig.jsonSchema) }
        return ChatRequest.Tool(
            name: try function.neededString("name"), description: try function.string("description"),
            parameters: parameters)
    }

    private static func readChoice(_ fields: Fields, into request: inout ChatRequest) throws(RequestError) {
        var fields = fields
        let names = try fields.elements("allowedFunctionNames") ?? []
        request.places[.toolChoice] = fields.place("mode")
        guard let mode = try fields.string("mode") else { return }
        switch mode.text.uppercased() {
        case "AUTO", "VALIDATED", "MODE_UNSPECIFIED": request.toolChoice = .auto
        case "NONE": request.toolChoice = ChatRequest.ToolChoice.none
        case "ANY":
            request.toolChoice = .required
            if let name = names.first?.string {
                if names.count == 1 { request.toolChoice = .tool(name) }
                if names.count > 1, names.count < request.tools.count {
                    request.lack(fields.place("allowedFunctionNames"))
                }
            }
        default: throw fields.notOneOf("AUTO, NONE, ANY", "mode", mode)
        }
    }

    // MARK: - Contents

    private static func readContents(_ fields: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        var ids = CallIDs()
        if let text = fields.peek("contents")?.string {
            fields.ignore("contents")
            request.messages.append(.init(.user, [.text(text)], at: "contents"))
        } else if fields.peek("contents")?.members != nil, let content = try fields.object("contents") {
            try readContent(content, &ids, into: &request)
        } else {
            for content in try fields.neededObjects("contents") { try readContent(content, &ids, into: &request) }
        }
    }

    private static func readContent(
        _ fields: Fields, _ ids: inout CallIDs, into request: inout ChatRequest
    ) throws(RequestError) {
        var fields = fields
        var role = ChatRequest.Role.user
        if let word = try fields.string("role"), !word.isEmpty {
            switch word.text {
            case "user", "function", "tool": role = .user
            case "model": role = .assistant
            case "system": role = .system
            default: throw fields.notOneOf("user, model", "role", word)
            }
        }
        var message = ChatRequest.Message(role, at: fields.path)
        for part in try fields.objects("parts") {
            guard let (part, place) = try GeminiParts.read(part, &ids, &request) else { continue }
            let isResult = if case .toolResult = part { true } else { false }
            let partRole: ChatRequest.Role = isResult ? .tool : role
            if message.role != partRole {
                if !message.parts.isEmpty { request.messages.append(message) }
                message = ChatRequest.Message(partRole, at: fields.path)
            }
            message.append(part, at: place)
        }
        if !message.parts.isEmpty { request.messages.append(message) }
    }
}
