/// Amazon Bedrock's `converse`, and the body of Nova's models, which have nearly the same words.
struct BedrockConverseWriter: RequestWriter {
    /// Nova's own body, for `invoke`.
    var isNova = false

    func conversation(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var body = JSONObject()
        if isNova { body["schemaVersion"] = "messages-v1" }
        if let system = request.systemText { body["system"] = [["text": .string(system)]] }
        var turns = Turns()
        for message in request.turns {
            turns.add(isUser: message.role != .assistant, try blocks(message, &losses))
        }
        turns.beginWithUser(["text": "Hello."])
        body["messages"] = .array(
            turns.list.map { ["role": $0.isUser ? "user" : "assistant", "content": .array($0.content)] })
        return body
    }

    private func blocks(
        _ message: ChatRequest.Message, _ losses: inout Losses
    ) throws(RequestError) -> [JSONValue] {
        var blocks: [JSONValue] = []
        for (part, place) in message.placed {
            switch part {
            case .toolCall(let call):
                let input = try call.argumentObject(at: place)
                blocks.append([
                    "toolUse": ["toolUseId": .string(call.id), "name": .string(call.name), "input": input]
                ])
            case .toolResult(let result):
                var object = JSONObject([("toolUseId", .string(result.callID))])
                object["content"] = .array(result.parts.compactMap { Self.block($0, place, &losses) })
                if result.isError { object["status"] = "error" }
                blocks.append(["toolResult": object.value])
            // Thoughts are taken back only with their proof.
            case .reasoning(let text, let signature):
                guard let signature, !signature.isEmpty, message.role == .assistant, !isNova else { break }
                let inner: JSONValue = ["text": .string(text), "signature": .string(signature)]
                blocks.append(["reasoningContent": ["reasoningText": inner]])
            default:
                if let block = Self.block(part, place, &losses) { blocks.append(block) }
            }
        }
        return blocks
    }

    /// Texts that are empty are not taken.
    private static func block(_ part: ChatRequest.Part, _ place: String, _ losses: inout Losses) -> JSONValue? {
        switch part {
        case .text(let text), .refusal(let text):
            if text.isEmpty { return nil }
            return ["text": .string(text)]
        case .image(.base64(_, let data)):
            if let format = format(part) {
                return ["image": ["format": JSONValue(format), "source": ["bytes": .string(data)]]]
            }
        case .file(.base64(_, let data), let name):
            if let format = format(part) {
                let name = JSONValue(documentName(name))
                let document: JSONValue = [
                    "format": JSONValue(format), "name": name, "source": ["bytes": .string(data)],
                ]
                return ["document": document]
            }
        default: break
        }
        losses.lose(place)
        return nil
    }

    /// Bedrock names formats by their endings.
    private static func format(_ part: ChatRequest.Part) -> String? {
        switch part {
        case .image(let media):
            let formats = ["image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"]
            return media.mediaType == "image/jpg" ? "jpeg" : formats[media.mediaType ?? ""]
        case .file(let media, _):
            let formats = [
                "application/pdf": "pdf", "text/csv": "csv", "text/html": "html", "text/plain": "txt",
                "text/markdown": "md", "application/msword": "doc", "application/vnd.ms-excel": "xls",
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
                "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
            ]
            return formats[media.mediaType ?? ""]
        default: return nil
        }
    }

    /// Letters, digits, hyphens and brackets only.
    private static func documentName(_ name: JSONString?) -> String {
        let text = String((name?.text ?? "document").map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" })
        return text.isEmpty ? "document" : String(text.prefix(200))
    }
}

// MARK: - Settings

extension BedrockConverseWriter {
    func settings(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var request = request
        let isClaude = request.model?.text.contains("anthropic") ?? false
        var more = JSONObject()
        // What only one maker's models know goes beside what all of them do.
        if isClaude, let topK = request.topK {
            more["top_k"] = .number(topK)
            request.topK = nil
        }
        let thinking = isClaude ? AnthropicThinking.budget(request) : nil
        if let thinking {
            more = JSONObject([("thinking", ["type": "enabled", "budget_tokens": JSONValue(thinking)])])
            (request.temperature, request.topP, request.topK) = (nil, nil, nil)
            // Bedrock's default is less than the thinking alone would take.
            if request.maxTokens == nil {
                request.maxTokens = "\(min(thinking, .max - AnthropicWriter.maxTokens) + AnthropicWriter.maxTokens)"
            }
        }
        if !isClaude { losses.loseReasoning(request) }
        let vocabulary = isNova ? Vocabulary.bedrockNova : Vocabulary.bedrockConverse
        var body = JSONObject()
        body.put("inferenceConfig", vocabulary.write(request, &losses))
        body.put("toolConfig", toolConfig(request))
        body.put("additionalModelRequestFields", more)
        losses.loseSingleCalls(request)
        losses.loseFormat(request)
        return body
    }

    /// There is no choice of none: the tools are left out then, unless a call stands in the conversation, which is refused
    /// without them.
    private func toolConfig(_ request: ChatRequest) -> JSONObject {
        var config = JSONObject()
        let called = Self.calledTools(request)
        if request.toolChoice == ChatRequest.ToolChoice.none, called.isEmpty { return config }
        let tools = request.tools.isEmpty ? called : request.tools
        if !tools.isEmpty { config["tools"] = .array(tools.map(Self.tool)) }
        guard request.hasTools else { return config }
        switch request.toolChoice {
        case .auto?: config["toolChoice"] = ["auto": [:]]
        case .required?: config["toolChoice"] = ["any": [:]]
        case .tool(let name)?: config["toolChoice"] = ["tool": ["name": .string(name)]]
        case .some(.none), nil: break
        }
        return config
    }

    private static func calledTools(_ request: ChatRequest) -> [ChatRequest.Tool] {
        var names: Set<JSONString> = []
        return request.messages.flatMap(\.calls).compactMap {
            names.insert($0.name).inserted ? ChatRequest.Tool(name: $0.name) : nil
        }
    }

    private static func tool(_ tool: ChatRequest.Tool) -> JSONValue {
        var spec = JSONObject([("name", .string(tool.name))])
        if let description = tool.description { spec["description"] = .string(description) }
        spec["inputSchema"] = ["json": tool.schema]
        return ["toolSpec": spec.value]
    }
}
