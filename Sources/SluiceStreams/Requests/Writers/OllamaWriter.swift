/// Ollama's chat.
struct OllamaChatWriter: RequestWriter {
    func conversation(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var body = JSONObject()
        if let model = request.model { body["model"] = .string(model) }
        let names = request.toolNames
        var messages: [JSONValue] = []
        for message in request.messages { try Self.write(message, names, into: &messages, &losses) }
        body["messages"] = .array(messages)
        return body
    }

    private static func write(
        _ message: ChatRequest.Message, _ names: [JSONString: JSONString], into messages: inout [JSONValue],
        _ losses: inout Losses
    ) throws(RequestError) {
        var images: [JSONValue] = []
        var calls: [JSONValue] = []
        var thoughts: [JSONString] = []
        for (part, place) in message.placed {
            switch part {
            case .text, .refusal: break
            case .image(.base64(_, let data)): images.append(.string(data))
            case .image, .file: losses.lose(place)
            case .reasoning(let text, _): thoughts.append(text)
            case .toolCall(let call):
                let arguments = try call.argumentObject(at: place)
                calls.append(["function": ["name": .string(call.name), "arguments": arguments]])
            case .toolResult(let result):
                if result.hasMedia { losses.lose(place) }
                var object = JSONObject([("role", "tool"), ("content", .string(result.text))])
                if let name = result.name ?? names[result.callID] { object["tool_name"] = .string(name) }
                messages.append(object.value)
            }
        }
        guard message.role != .tool else { return }
        var object = JSONObject([("role", JSONValue(role(message.role))), ("content", .string(message.text))])
        if !images.isEmpty { object["images"] = .array(images) }
        if !thoughts.isEmpty { object["thinking"] = .string(.joined(thoughts, by: "\n")) }
        if !calls.isEmpty { object["tool_calls"] = .array(calls) }
        messages.append(object.value)
    }

    private static func role(_ role: ChatRequest.Role) -> String {
        switch role {
        case .system: "system"
        case .user: "user"
        case .assistant: "assistant"
        case .tool: "tool"
        }
    }

    func settings(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var body = Self.common(request, &losses)
        // The model chooses by itself; leaving the tools out is the way to have it choose none.
        if !request.tools.isEmpty, request.toolChoice != ChatRequest.ToolChoice.none {
            body["tools"] = .array(request.tools.map(Self.tool))
        }
        losses.loseForcedTools(request)
        return body
    }

    /// What chat and generate have in common.
    static func common(_ request: ChatRequest, _ losses: inout Losses) -> JSONObject {
        var body = JSONObject()
        body.put("options", Vocabulary.ollama.write(request, &losses))
        switch request.responseFormat {
        case .json?: body["format"] = "json"
        case .schema(let schema, _, _)?: body["format"] = schema
        case .text?, nil: break
        }
        if let reasoning = request.reasoning { body["think"] = think(reasoning, request.model?.text ?? "") }
        return body
    }

    /// Levels are known to one family of models; the others think or do not.
    private static func think(_ reasoning: ChatRequest.Reasoning, _ model: String) -> JSONValue {
        guard reasoning.isEnabled, model.contains("gpt-oss"), let word = reasoning.word else {
            return .bool(reasoning.isEnabled)
        }
        return .string(word == "minimal" ? "low" : word)
    }

    private static func tool(_ tool: ChatRequest.Tool) -> JSONValue {
        var function = JSONObject([("name", .string(tool.name))])
        if let description = tool.description { function["description"] = .string(description) }
        function["parameters"] = tool.schema
        return ["type": "function", "function": function.value]
    }
}

/// Ollama's completion of one prompt.
struct OllamaGenerateWriter: RequestWriter {
    func conversation(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var body = JSONObject()
        if let model = request.model { body["model"] = .string(model) }
        if let system = request.systemText { body["system"] = .string(system) }
        body["prompt"] = .string(PromptText.plain(request.turns, &losses, takesImages: true))
        var images: [JSONValue] = []
        for message in request.turns {
            for case .image(.base64(_, let data)) in message.parts { images.append(.string(data)) }
        }
        if !images.isEmpty { body["images"] = .array(images) }
        return body
    }

    func settings(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        losses.loseTools(request)
        return OllamaChatWriter.common(request, &losses)
    }
}
