/// Anthropic's Messages, also as the body of Bedrock's `invoke`.
struct AnthropicWriter: RequestWriter {
    /// Bedrock knows the model by the path, and the version by the body.
    var isBedrock = false

    /// What is asked for if nobody said how long an answer may be; thinking comes on top.
    static let maxTokens = 4096

    func conversation(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var body = JSONObject()
        if isBedrock {
            body["anthropic_version"] = "bedrock-2023-05-31"
        } else if let model = request.model {
            body["model"] = .string(model)
        }
        if let system = request.systemText { body["system"] = .string(system) }
        var turns = Turns()
        for message in request.turns {
            turns.add(isUser: message.role != .assistant, try Self.blocks(message, &losses))
        }
        turns.beginWithUser(Self.text("Hello."))
        body["messages"] = .array(
            turns.list.map { ["role": $0.isUser ? "user" : "assistant", "content": Self.content($0.content)] })
        return body
    }

    // MARK: - Blocks

    private static func text(_ text: JSONString) -> JSONValue { ["type": "text", "text": .string(text)] }

    /// A string if there is nothing but one text.
    private static func content(_ blocks: [JSONValue]) -> JSONValue {
        if blocks.count == 1, blocks[0]["type"]?.string == "text", let text = blocks[0]["text"] { return text }
        return .array(blocks)
    }

    private static func blocks(
        _ message: ChatRequest.Message, _ losses: inout Losses
    ) throws(RequestError) -> [JSONValue] {
        var blocks: [JSONValue] = []
        for (part, place) in message.placed {
            switch part {
            case .toolCall(let call):
                let input = try call.argumentObject(at: place)
                blocks.append([
                    "type": "tool_use", "id": .string(call.id), "name": .string(call.name), "input": input,
                ])
            case .toolResult(let result): blocks.append(self.result(result, place, &losses))
            // Thoughts are taken back only with their proof.
            case .reasoning(let text, let signature):
                guard let signature, !signature.isEmpty, message.role == .assistant else { break }
                blocks.append(["type": "thinking", "thinking": .string(text), "signature": .string(signature)])
            default:
                if let block = block(part, place, &losses) { blocks.append(block) }
            }
        }
        return blocks
    }

    /// Texts that are empty are not taken.
    private static func block(_ part: ChatRequest.Part, _ place: String, _ losses: inout Losses) -> JSONValue? {
        switch part {
        case .text(let text), .refusal(let text):
            if text.isEmpty { return nil }
            return self.text(text)
        case .image(let media): return ["type": "image", "source": source(media)]
        case .file(let media, let name) where media.mediaType == nil || media.mediaType == "application/pdf":
            var document = JSONObject([("type", "document"), ("source", source(media))])
            if let name { document["title"] = .string(name) }
            return document.value
        case .file(let media, _) where media.isImage: return ["type": "image", "source": source(media)]
        default:
            losses.lose(place)
            return nil
        }
    }

    private static func source(_ media: ChatRequest.Media) -> JSONValue {
        switch media {
        case .base64(let mediaType, let data):
            ["type": "base64", "media_type": .string(mediaType), "data": .string(data)]
        case .url(let url, _): ["type": "url", "url": .string(url)]
        }
    }

    private static func result(
        _ result: ChatRequest.ToolResult, _ place: String, _ losses: inout Losses
    ) -> JSONValue {
        var object = JSONObject([("type", "tool_result"), ("tool_use_id", .string(result.callID))])
        if result.hasMedia {
            object["content"] = .array(result.parts.compactMap { block($0, place, &losses) })
        } else {
            object["content"] = .string(result.text)
        }
        if result.isError { object["is_error"] = true }
        return object.value
    }
}

// MARK: - Settings

extension AnthropicWriter {
    func settings(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var body = Vocabulary.anthropic.write(request, &losses)
        if let thinking = AnthropicThinking.budget(request) {
            body["thinking"] = ["type": "enabled", "budget_tokens": JSONValue(thinking)]
            // They exclude each other.
            body.remove("temperature")
            body.remove("top_k")
            body.remove("top_p")
        } else if request.reasoning?.isEnabled == false {
            body["thinking"] = ["type": "disabled"]
        }
        if !request.tools.isEmpty { body["tools"] = .array(request.tools.map(Self.tool)) }
        if request.hasTools { body["tool_choice"] = Self.choice(request) }
        switch request.responseFormat {
        case .schema(let schema, _, _)?: body["output_config"] = ["format": ["type": "json_schema", "schema": schema]]
        case .json?: losses.lose(.responseFormat, of: request)
        case .text?, nil: break
        }
        if let user = request.user, !isBedrock { body["metadata"] = ["user_id": .string(user)] }
        return body
    }

    func complete(_ body: inout JSONObject) {
        guard body["max_tokens"] == nil else { return }
        let budget = body["thinking"]?["budget_tokens"]?.integer ?? 0
        let (sum, isTooMuch) = budget.addingReportingOverflow(Self.maxTokens)
        body["max_tokens"] = JSONValue(isTooMuch ? budget : sum)
    }

    private static func tool(_ tool: ChatRequest.Tool) -> JSONValue {
        var object = JSONObject([("name", .string(tool.name))])
        if let description = tool.description { object["description"] = .string(description) }
        object["input_schema"] = tool.schema
        if let isStrict = tool.isStrict, isStrict { object["strict"] = true }
        return object.value
    }

    private static func choice(_ request: ChatRequest) -> JSONValue? {
        var object = JSONObject()
        switch request.toolChoice {
        case .auto?: object["type"] = "auto"
        case .required?: object["type"] = "any"
        case .some(.none): return ["type": "none"]
        case .tool(let name)?:
            object["type"] = "tool"
            object["name"] = .string(name)
        case nil: break
        }
        if request.parallelToolCalls == false {
            if object.isEmpty { object["type"] = "auto" }
            object["disable_parallel_tool_use"] = true
        }
        if object.isEmpty { return nil }
        return object.value
    }
}

/// When Anthropic's models can be asked to think.
enum AnthropicThinking {
    /// In tokens; nil for no thinking. How hard to think is a wish of the client, and gives way to what else it asked for.
    static func budget(_ request: ChatRequest) -> Int? {
        guard let reasoning = request.reasoning, reasoning.isEnabled, let wish = reasoning.tokens else { return nil }
        // A tool cannot be forced on a model that thinks.
        switch request.toolChoice {
        case .required?, .tool?: return nil
        default: break
        }
        if lacksThoughts(request) { return nil }
        let budget = max(wish, ChatRequest.Reasoning.leastBudget)
        guard let most = request.maxTokens.flatMap({ Int($0) }), budget >= most else { return budget }
        let half = max(most / 2, ChatRequest.Reasoning.leastBudget)
        return half < most ? half : nil
    }

    /// A turn that is still calling tools has to begin with the thoughts behind its calls, which most formats do not carry.
    private static func lacksThoughts(_ request: ChatRequest) -> Bool {
        guard request.messages.last?.role == .tool else { return false }
        guard let turn = request.messages.last(where: { $0.role == .assistant }) else { return false }
        return !turn.parts.contains { if case .reasoning(_, let signature?) = $0 { !signature.isEmpty } else { false } }
    }
}
