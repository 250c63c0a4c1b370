/// Ollama's chat: `POST /api/chat`.
enum OllamaChatReader: RequestReader {
    static func read(_ body: JSONValue, _ hints: RequestHints) throws(RequestError) -> ChatRequest {
        var fields = try Fields(body, at: "")
        var request = ChatRequest()
        try OllamaSettings.read(&fields, into: &request)
        var ids = CallIDs()
        for message in try fields.neededObjects("messages") { try read(message, &ids, into: &request) }
        request.unknown += fields.unknown
        return request
    }

    private static func read(
        _ fields: Fields, _ ids: inout CallIDs, into request: inout ChatRequest
    ) throws(RequestError) {
        var fields = fields
        let word = try fields.neededString("role")
        let role: ChatRequest.Role
        switch word.text {
        case "system": role = .system
        case "user": role = .user
        case "assistant": role = .assistant
        case "tool":
            let name = fields.take(["tool_name", "name"])?.value.string
            let callID = ids.answered(name, try fields.string("tool_call_id"))
            let text = try fields.string("content") ?? ""
            let result = ChatRequest.ToolResult(callID: callID, name: name, parts: [.text(text)], isError: false)
            request.messages.append(.init(.tool, [.toolResult(result)], at: fields.place("content")))
            return
        default: throw fields.notOneOf("system, user, assistant, tool", "role", word)
        }
        var message = ChatRequest.Message(role, at: fields.path)
        if let thinking = try fields.string("thinking"), !thinking.isEmpty {
            message.append(.reasoning(thinking, signature: nil), at: fields.place("thinking"))
        }
        if let text = try fields.string("content"), !text.isEmpty {
            message.append(.text(text), at: fields.place("content"))
        }
        try OllamaSettings.readImages(&fields, into: &message)
        try OpenAITools.readCalls("tool_calls", &fields, ids: &ids, into: &message)
        request.messages.append(message)
    }
}

/// Ollama's completion of one prompt: `POST /api/generate`.
enum OllamaGenerateReader: RequestReader {
    static func read(_ body: JSONValue, _ hints: RequestHints) throws(RequestError) -> ChatRequest {
        var fields = try Fields(body, at: "")
        var request = ChatRequest()
        try OllamaSettings.read(&fields, into: &request)
        if let system = try fields.string("system"), !system.isEmpty {
            request.messages.append(.init(.system, [.text(system)], at: "system"))
        }
        var message = ChatRequest.Message(.user, at: "prompt")
        message.append(.text(try fields.neededString("prompt")), at: "prompt")
        try OllamaSettings.readImages(&fields, into: &message)
        request.messages.append(message)
        for key in ["suffix", "template"] where fields.peek(key)?.string?.isEmpty == true { fields.ignore(key) }
        request.unknown += fields.unknown
        return request
    }
}

/// What both of Ollama's requests have in common.
enum OllamaSettings {
    static func read(_ fields: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        request.model = try fields.string("model")
        if var options = try fields.object("options") {
            try Vocabulary.ollama.read(&options, into: &request)
            // Below zero: as many as there are.
            if let most = request.maxTokens, most.hasPrefix("-") { request.maxTokens = nil }
            // How the server is to run the model.
            options.ignore(
                "num_ctx", "num_gpu", "num_thread", "num_batch", "num_keep", "main_gpu", "low_vram", "use_mmap",
                "use_mlock", "numa", "f16_kv", "vocab_only")
            request.unknown += options.unknown
        }
        if let format = fields.take("format") { try readFormat(format, into: &request) }
        if let think = fields.take("think") {
            if let level = think.string {
                request.reasoning = .init(effort: level, isShown: true)
            } else if let isWanted = think.bool {
                request.reasoning = .init(isEnabled: isWanted, isShown: isWanted)
            } else {
                throw .invalid(field: "think", "is neither true, false nor a level")
            }
            request.places[.reasoning] = "think"
        }
        try OpenAITools.read(&fields, into: &request)
        fields.ignore("stream", "keep_alive")
    }

    private static func readFormat(_ value: JSONValue, into request: inout ChatRequest) throws(RequestError) {
        request.places[.responseFormat] = "format"
        if let word = value.string {
            switch word.text {
            case "": break
            case "json": request.responseFormat = .json
            default: throw .invalid(field: "format", "'\(word.excerpt)' is neither json nor a schema")
            }
        } else if value.members != nil {
            request.responseFormat = .schema(value, name: nil, isStrict: nil)
        } else {
            throw .invalid(field: "format", "is neither json nor a schema")
        }
    }

    static func readImages(_ fields: inout Fields, into message: inout ChatRequest.Message) throws(RequestError) {
        for (index, image) in (try fields.elements("images") ?? []).enumerated() {
            let place = "\(fields.place("images"))[\(index)]"
            guard let data = image.string else { throw .invalid(field: place, "is no string") }
            message.append(.image(.guessed(data)), at: place)
        }
    }
}
