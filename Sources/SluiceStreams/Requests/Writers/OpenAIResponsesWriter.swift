/// OpenAI's Responses API.
struct OpenAIResponsesWriter: RequestWriter {
    func conversation(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var body = JSONObject()
        if let model = request.model { body["model"] = .string(model) }
        if let system = request.systemText { body["instructions"] = .string(system) }
        var items: [JSONValue] = []
        for message in request.turns { Self.write(message, into: &items, &losses) }
        body["input"] = .array(items)
        // This API keeps what it is asked unless told otherwise; whoever asks for a chat does not expect that.
        body["store"] = false
        return body
    }

    private static func write(
        _ message: ChatRequest.Message, into items: inout [JSONValue], _ losses: inout Losses
    ) {
        var content: [JSONValue] = []
        for (part, place) in message.placed {
            switch part {
            case .toolCall(let call):
                flush(&content, message.role, &items)
                items.append([
                    "type": "function_call", "call_id": .string(call.id), "name": .string(call.name),
                    "arguments": .string(call.argumentText),
                ])
            case .toolResult(let result):
                items.append([
                    "type": "function_call_output", "call_id": .string(result.callID),
                    "output": output(result, place, &losses),
                ])
            default:
                if let written = write(part, message.role, place, &losses) { content.append(written) }
            }
        }
        flush(&content, message.role, &items)
    }

    private static func flush(_ content: inout [JSONValue], _ role: ChatRequest.Role, _ items: inout [JSONValue]) {
        guard !content.isEmpty else { return }
        items.append(["role": role == .assistant ? "assistant" : "user", "content": .array(content)])
        content = []
    }

    private static func write(
        _ part: ChatRequest.Part, _ role: ChatRequest.Role, _ place: String, _ losses: inout Losses
    ) -> JSONValue? {
        switch part {
        case .text(let text):
            // Beside calls the other APIs have an empty one.
            if text.isEmpty, role == .assistant { return nil }
            return ["type": role == .assistant ? "output_text" : "input_text", "text": .string(text)]
        case .refusal(let text): return ["type": "refusal", "refusal": .string(text)]
        case .image(let media) where role != .assistant:
            var image = JSONObject([("type", "input_image"), ("image_url", media.address)])
            if let detail = media.detail { image["detail"] = .string(detail) }
            return image.value
        case .file(.url(let url, _), _) where role != .assistant:
            return ["type": "input_file", "file_url": .string(url)]
        case .file(let media, let name) where role != .assistant && media.mediaType?.hasPrefix("audio/") == false:
            return ["type": "input_file", "filename": .string(name ?? "file"), "file_data": media.address]
        case .reasoning: return nil
        default:
            losses.lose(place)
            return nil
        }
    }

    private static func output(
        _ result: ChatRequest.ToolResult, _ place: String, _ losses: inout Losses
    ) -> JSONValue {
        guard result.hasMedia else { return .string(result.text) }
        return .array(result.parts.compactMap { write($0, .tool, place, &losses) })
    }

    // MARK: - Settings

    func settings(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var body = Vocabulary.openAIResponses.write(request, &losses)
        if !request.tools.isEmpty { body["tools"] = .array(request.tools.map(Self.tool)) }
        if request.hasTools {
            if let choice = request.toolChoice { body["tool_choice"] = Self.choice(choice) }
            if let isParallel = request.parallelToolCalls { body["parallel_tool_calls"] = .bool(isParallel) }
        }
        if let format = request.responseFormat { body["text"] = ["format": Self.format(format)] }
        if let reasoning = request.reasoning, reasoning.isEnabled {
            var wish = JSONObject()
            if let word = reasoning.word { wish["effort"] = .string(word) }
            if reasoning.isShown == true { wish["summary"] = "auto" }
            body.put("reasoning", wish)
        }
        if let user = request.user { body["user"] = .string(user) }
        return body
    }

    /// Schemas are taken strictly here unless a tool says otherwise.
    private static func tool(_ tool: ChatRequest.Tool) -> JSONValue {
        var object = JSONObject([("type", "function"), ("name", .string(tool.name))])
        if let description = tool.description { object["description"] = .string(description) }
        object["parameters"] = tool.schema
        object["strict"] = .bool(tool.isStrict ?? false)
        return object.value
    }

    private static func choice(_ choice: ChatRequest.ToolChoice) -> JSONValue {
        switch choice {
        case .auto: "auto"
        case .none: "none"
        case .required: "required"
        case .tool(let name): ["type": "function", "name": .string(name)]
        }
    }

    private static func format(_ format: ChatRequest.ResponseFormat) -> JSONValue {
        switch format {
        case .text: return ["type": "text"]
        case .json: return ["type": "json_object"]
        case .schema(let schema, let name, let isStrict):
            var object = JSONObject([("type", "json_schema"), ("name", .string(name ?? "response"))])
            object["schema"] = schema
            if let isStrict { object["strict"] = .bool(isStrict) }
            return object.value
        }
    }
}
