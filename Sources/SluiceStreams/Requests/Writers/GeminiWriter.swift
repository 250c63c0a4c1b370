/// Google's `generateContent`: the model, and whether to stream, stand in the path.
struct GeminiWriter: RequestWriter {
    func conversation(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var body = JSONObject()
        if let system = request.systemText { body["systemInstruction"] = ["parts": [["text": .string(system)]]] }
        let names = request.toolNames
        var turns = Turns()
        let needsSignatures = Self.needsSignatures(request.model?.text ?? "")
        for message in request.turns {
            var parts = try Self.parts(message, names, &losses)
            if needsSignatures { Self.sign(&parts) }
            turns.add(isUser: message.role != .assistant, parts)
        }
        body["contents"] = .array(
            turns.list.map { ["role": $0.isUser ? "user" : "model", "parts": .array($0.content)] })
        return body
    }

    /// From its third version on Gemini refuses a turn whose first call has no signature.
    private static func needsSignatures(_ model: String) -> Bool {
        guard let start = model.ranges(of: "gemini-").last?.upperBound else { return false }
        return Int(model[start...].prefix { $0.isASCII && $0.isNumber }).map { $0 >= 3 } ?? false
    }

    /// Calls that another API has told to the client have lost theirs. Google's word for those.
    /// https://ai.google.dev/gemini-api/docs/thought-signatures
    private static func sign(_ parts: inout [JSONValue]) {
        guard let index = parts.firstIndex(where: { $0["functionCall"] != nil }),
            parts[index]["thoughtSignature"] == nil
        else { return }
        parts[index]["thoughtSignature"] = "skip_thought_signature_validator"
    }

    private static func parts(
        _ message: ChatRequest.Message, _ names: [JSONString: JSONString], _ losses: inout Losses
    ) throws(RequestError) -> [JSONValue] {
        var parts: [JSONValue] = []
        for (part, place) in message.placed {
            switch part {
            case .text(let text), .refusal(let text):
                if !text.isEmpty { parts.append(["text": .string(text)]) }
            case .image(let media), .file(let media, _):
                if let part = self.media(media) { parts.append(part) } else { losses.lose(place) }
            case .toolCall(let call):
                var part = JSONObject([
                    ("functionCall", ["name": .string(call.name), "args": try call.argumentObject(at: place)])
                ])
                if let signature = call.signature { part["thoughtSignature"] = .string(signature) }
                parts.append(part.value)
            case .toolResult(let result):
                if result.hasMedia { losses.lose(place) }
                guard let name = result.name ?? names[result.callID] else {
                    throw .invalid(field: place, "no call has the id '\(result.callID.excerpt)'")
                }
                parts.append(["functionResponse": ["name": .string(name), "response": result.object]])
            case .reasoning: break
            }
        }
        return parts
    }

    /// Google takes addresses of its own storage only.
    private static func media(_ media: ChatRequest.Media) -> JSONValue? {
        switch media {
        case .base64(let mediaType, let data):
            return ["inlineData": ["mimeType": .string(mediaType), "data": .string(data)]]
        case .url(let url, _):
            let starts: [JSONString] = ["gs://", "https://generativelanguage.googleapis.com/"]
            guard starts.contains(where: { url.raw.starts(with: $0.raw) }) else { return nil }
            return ["fileData": ["fileUri": .string(url)]]
        }
    }

    // MARK: - Settings

    func settings(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var body = JSONObject()
        if !request.tools.isEmpty {
            body["tools"] = [["functionDeclarations": .array(request.tools.map(Self.tool))]]
        }
        if request.hasTools, let choice = request.toolChoice {
            body["toolConfig"] = ["functionCallingConfig": Self.choice(choice)]
        }
        losses.loseSingleCalls(request)
        var config = Vocabulary.gemini.write(request, &losses)
        switch request.responseFormat {
        case .json?: config["responseMimeType"] = "application/json"
        case .schema(let schema, _, _)?:
            config["responseMimeType"] = "application/json"
            config["responseJsonSchema"] = schema
        case .text?, nil: break
        }
        if let reasoning = request.reasoning { config.put("thinkingConfig", Self.thinking(reasoning)) }
        body.put("generationConfig", config)
        return body
    }

    private static func tool(_ tool: ChatRequest.Tool) -> JSONValue {
        var object = JSONObject([("name", .string(tool.name))])
        if let description = tool.description { object["description"] = .string(description) }
        if let parameters = tool.parameters { object["parametersJsonSchema"] = parameters }
        return object.value
    }

    private static func choice(_ choice: ChatRequest.ToolChoice) -> JSONValue {
        switch choice {
        case .auto: ["mode": "AUTO"]
        case .none: ["mode": "NONE"]
        case .required: ["mode": "ANY"]
        case .tool(let name): ["mode": "ANY", "allowedFunctionNames": [.string(name)]]
        }
    }

    private static func thinking(_ reasoning: ChatRequest.Reasoning) -> JSONObject {
        guard reasoning.isEnabled else { return JSONObject([("thinkingBudget", 0)]) }
        var config = JSONObject()
        if let tokens = reasoning.tokens { config["thinkingBudget"] = JSONValue(tokens) }
        if let isShown = reasoning.isShown { config["includeThoughts"] = .bool(isShown) }
        return config
    }
}
