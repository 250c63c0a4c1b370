/// OpenAI's Chat Completions, and all that speak like it.
struct OpenAIChatWriter: RequestWriter {
    /// MLflow's gateway knows its model by the path.
    var hasModel = true

    func conversation(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var body = JSONObject()
        if hasModel, let model = request.model { body["model"] = .string(model) }
        var messages: [JSONValue] = []
        for message in request.messages { Self.write(message, into: &messages, &losses) }
        body["messages"] = .array(messages)
        return body
    }

    // MARK: - Messages

    private static func write(
        _ message: ChatRequest.Message, into messages: inout [JSONValue], _ losses: inout Losses
    ) {
        switch message.role {
        case .system:
            let text = JSONString.joined(message.texts, by: "\n\n")
            messages.append(["role": "system", "content": .string(text)])
        case .user:
            if let content = content(message, &losses) { messages.append(["role": "user", "content": content]) }
        case .assistant:
            if let assistant = assistant(message, &losses) { messages.append(assistant) }
        case .tool: messages += results(message, &losses)
        }
    }

    /// A string if there is nothing but one text.
    static func content(_ message: ChatRequest.Message, _ losses: inout Losses) -> JSONValue? {
        if message.parts.count == 1, case .text(let text)? = message.parts.first { return .string(text) }
        var parts: [JSONValue] = []
        for (part, place) in message.placed {
            switch part {
            case .text(let text), .refusal(let text): parts.append(["type": "text", "text": .string(text)])
            case .image(let media): parts.append(image(media))
            case .file(let media, let name):
                if let file = file(media, name) { parts.append(file) } else { losses.lose(place) }
            case .reasoning: break
            case .toolCall, .toolResult: losses.lose(place)
            }
        }
        if parts.isEmpty { return nil }
        return .array(parts)
    }

    static func image(_ media: ChatRequest.Media) -> JSONValue {
        var image = JSONObject([("url", media.address)])
        if let detail = media.detail { image["detail"] = .string(detail) }
        return ["type": "image_url", "image_url": image.value]
    }

    /// Sound by its format, any other file as a data URL; files at an address are not taken.
    private static func file(_ media: ChatRequest.Media, _ name: JSONString?) -> JSONValue? {
        guard case .base64(_, let data) = media, let type = media.mediaType else { return nil }
        if type.hasPrefix("audio/") {
            let isMP3 = type == "audio/mpeg" || type == "audio/mp3"
            let format = JSONValue(isMP3 ? "mp3" : String(type.dropFirst(6)))
            return ["type": "input_audio", "input_audio": ["data": .string(data), "format": format]]
        }
        let filename = JSONValue.string(name ?? "file")
        return ["type": "file", "file": ["filename": filename, "file_data": media.address]]
    }

    private static func assistant(_ message: ChatRequest.Message, _ losses: inout Losses) -> JSONValue? {
        var texts: [JSONString] = []
        var refusals: [JSONString] = []
        var calls: [JSONValue] = []
        for (part, place) in message.placed {
            switch part {
            case .text(let text): texts.append(text)
            case .refusal(let text): refusals.append(text)
            case .toolCall(let call): calls.append(self.call(call))
            case .reasoning: break
            case .image, .file, .toolResult: losses.lose(place)
            }
        }
        guard !texts.isEmpty || !refusals.isEmpty || !calls.isEmpty else { return nil }
        var object = JSONObject([("role", "assistant")])
        object["content"] = texts.isEmpty ? .null : .string(.joined(texts, by: ""))
        if !refusals.isEmpty { object["refusal"] = .string(.joined(refusals, by: "")) }
        if !calls.isEmpty { object["tool_calls"] = .array(calls) }
        return object.value
    }

    /// With Google's signature where Google looks for it.
    static func call(_ call: ChatRequest.ToolCall) -> JSONValue {
        var object = JSONObject([("id", .string(call.id)), ("type", "function")])
        object["function"] = ["name": .string(call.name), "arguments": .string(call.argumentText)]
        if let signature = call.signature {
            object["extra_content"] = ["google": ["thought_signature": .string(signature)]]
        }
        return object.value
    }

    static func results(_ message: ChatRequest.Message, _ losses: inout Losses) -> [JSONValue] {
        var results: [JSONValue] = []
        for case (.toolResult(let result), let place) in message.placed {
            if result.hasMedia { losses.lose(place) }
            results.append([
                "role": "tool", "tool_call_id": .string(result.callID), "content": .string(result.text),
            ])
        }
        return results
    }
}

// MARK: - Settings

extension OpenAIChatWriter {
    func settings(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        let isNew = Self.countsReasoning(request.model?.text ?? "")
        var body = Vocabulary.openAIChat(maxTokens: isNew ? "max_completion_tokens" : "max_tokens")
            .write(request, &losses)
        if !request.tools.isEmpty { body["tools"] = .array(request.tools.map(Self.tool)) }
        if request.hasTools {
            if let choice = request.toolChoice { body["tool_choice"] = Self.choice(choice) }
            if let isParallel = request.parallelToolCalls { body["parallel_tool_calls"] = .bool(isParallel) }
        }
        if let format = request.responseFormat { body["response_format"] = Self.format(format) }
        if let reasoning = request.reasoning, reasoning.isEnabled, let word = reasoning.word {
            body["reasoning_effort"] = .string(word)
        }
        if let user = request.user { body["user"] = .string(user) }
        return body
    }

    /// OpenAI's models that think take `max_completion_tokens` only.
    static func countsReasoning(_ model: String) -> Bool {
        let name = model.split(separator: "/").last ?? ""
        return ["o1", "o3", "o4", "gpt-5"].contains { name.hasPrefix($0) }
    }

    static func tool(_ tool: ChatRequest.Tool) -> JSONValue {
        var function = JSONObject([("name", .string(tool.name))])
        if let description = tool.description { function["description"] = .string(description) }
        if let parameters = tool.parameters { function["parameters"] = parameters }
        if let isStrict = tool.isStrict { function["strict"] = .bool(isStrict) }
        return ["type": "function", "function": function.value]
    }

    private static func choice(_ choice: ChatRequest.ToolChoice) -> JSONValue {
        switch choice {
        case .auto: "auto"
        case .none: "none"
        case .required: "required"
        case .tool(let name): ["type": "function", "function": ["name": .string(name)]]
        }
    }

    private static func format(_ format: ChatRequest.ResponseFormat) -> JSONValue {
        switch format {
        case .text: return ["type": "text"]
        case .json: return ["type": "json_object"]
        case .schema(let schema, let name, let isStrict):
            var inner = JSONObject([("name", .string(name ?? "response")), ("schema", schema)])
            if let isStrict { inner["strict"] = .bool(isStrict) }
            return ["type": "json_schema", "json_schema": inner.value]
        }
    }
}
