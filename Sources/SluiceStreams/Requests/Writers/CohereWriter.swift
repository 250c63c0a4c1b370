/// Cohere's chat, version 2.
struct CohereV2Writer: RequestWriter {
    func conversation(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var body = JSONObject()
        if let model = request.model { body["model"] = .string(model) }
        var messages: [JSONValue] = []
        for message in request.messages { Self.write(message, into: &messages, &losses) }
        body["messages"] = .array(messages)
        return body
    }

    private static func write(
        _ message: ChatRequest.Message, into messages: inout [JSONValue], _ losses: inout Losses
    ) {
        switch message.role {
        case .system:
            messages.append(["role": "system", "content": .string(.joined(message.texts, by: "\n\n"))])
        case .tool: messages += OpenAIChatWriter.results(message, &losses)
        case .user:
            for case (.file, let place) in message.placed { losses.lose(place) }
            var known = ChatRequest.Message(.user, at: message.place)
            for (part, place) in message.placed {
                if case .file = part { continue }
                known.append(part, at: place)
            }
            guard let content = OpenAIChatWriter.content(known, &losses) else { return }
            messages.append(["role": "user", "content": content])
        case .assistant:
            for (part, place) in message.placed {
                switch part {
                case .image, .file, .toolResult: losses.lose(place)
                default: break
                }
            }
            let calls = message.calls.map(call)
            var object = JSONObject([("role", "assistant")])
            // What is said beside calls is their plan.
            if !message.texts.isEmpty { object[calls.isEmpty ? "content" : "tool_plan"] = .string(message.text) }
            if !calls.isEmpty { object["tool_calls"] = .array(calls) }
            if object.members.count > 1 { messages.append(object.value) }
        }
    }

    /// As OpenAI's, but for `strict`, which stands for all tools in a field of its own.
    private static func tool(_ tool: ChatRequest.Tool) -> JSONValue {
        var tool = tool
        tool.isStrict = nil
        return OpenAIChatWriter.tool(tool)
    }

    private static func call(_ call: ChatRequest.ToolCall) -> JSONValue {
        [
            "id": .string(call.id), "type": "function",
            "function": ["name": .string(call.name), "arguments": .string(call.argumentText)],
        ]
    }

    func settings(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var body = Vocabulary.cohere.write(request, &losses)
        var tools = request.tools
        if request.hasTools {
            switch request.toolChoice {
            case .required?: body["tool_choice"] = "REQUIRED"
            case .some(.none): body["tool_choice"] = "NONE"
            case .tool(let name)?:
                // One tool cannot be named: it is the only one that is told of.
                tools = tools.filter { $0.name == name }
                body["tool_choice"] = "REQUIRED"
            case .auto?, nil: break
            }
        }
        if !tools.isEmpty { body["tools"] = .array(tools.map(Self.tool)) }
        losses.loseSingleCalls(request)
        switch request.responseFormat {
        case .json?: body["response_format"] = ["type": "json_object"]
        case .schema(let schema, _, _)?:
            body["response_format"] = ["type": "json_object", "json_schema": schema]
        case .text?, nil: break
        }
        if let reasoning = request.reasoning {
            var thinking = JSONObject([("type", reasoning.isEnabled ? "enabled" : "disabled")])
            if reasoning.isEnabled, let tokens = reasoning.tokens { thinking["token_budget"] = JSONValue(tokens) }
            body["thinking"] = thinking.value
        }
        return body
    }
}

/// Cohere's chat, version 1: what the user says last is the `message`, everything before it history.
struct CohereV1Writer: RequestWriter {
    /// Bedrock knows the model by the path.
    var hasModel = true

    func conversation(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var body = JSONObject()
        if hasModel, let model = request.model { body["model"] = .string(model) }
        if let system = request.systemText { body["preamble"] = .string(system) }
        var calls: [JSONString: JSONValue] = [:]
        var history: [JSONValue] = []
        var turns = Self.joiningResults(request.turns)
        let last = turns.last?.role == .assistant ? nil : turns.popLast()
        for message in turns { history.append(try Self.write(message, &calls, &losses)) }
        body["message"] = .string(last?.role == .user ? last?.text ?? "" : "")
        if !history.isEmpty { body["chat_history"] = .array(history) }
        if let last {
            Self.loseMedia(last, &losses)
            if last.role == .tool { body["tool_results"] = .array(Self.results(last, calls)) }
        }
        return body
    }

    /// The results of one turn's calls stand together, also where the client has a message for each.
    private static func joiningResults(_ turns: [ChatRequest.Message]) -> [ChatRequest.Message] {
        var joined: [ChatRequest.Message] = []
        for message in turns {
            if message.role == .tool, var last = joined.last, last.role == .tool {
                for (part, place) in message.placed { last.append(part, at: place) }
                joined[joined.count - 1] = last
            } else {
                joined.append(message)
            }
        }
        return joined
    }

    private static func write(
        _ message: ChatRequest.Message, _ calls: inout [JSONString: JSONValue], _ losses: inout Losses
    ) throws(RequestError) -> JSONValue {
        loseMedia(message, &losses)
        if message.role == .tool { return ["role": "TOOL", "tool_results": .array(results(message, calls))] }
        var object = JSONObject([("role", message.role == .assistant ? "CHATBOT" : "USER")])
        object["message"] = .string(message.text)
        var written: [JSONValue] = []
        for case (.toolCall(let call), let place) in message.placed {
            let value: JSONValue = ["name": .string(call.name), "parameters": try call.argumentObject(at: place)]
            calls[call.id] = value
            written.append(value)
        }
        if !written.isEmpty { object["tool_calls"] = .array(written) }
        return object.value
    }

    private static func loseMedia(_ message: ChatRequest.Message, _ losses: inout Losses) {
        for (part, place) in message.placed {
            switch part {
            case .image, .file: losses.lose(place)
            case .toolResult(let result) where result.hasMedia: losses.lose(place)
            default: break
            }
        }
    }

    /// Each with the call that it answers.
    private static func results(_ message: ChatRequest.Message, _ calls: [JSONString: JSONValue]) -> [JSONValue] {
        message.parts.compactMap { part in
            guard case .toolResult(let result) = part else { return nil }
            let call = calls[result.callID] ?? ["name": .string(result.name ?? result.callID), "parameters": [:]]
            return ["call": call, "outputs": [result.object]]
        }
    }

    func settings(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var body = Vocabulary.cohere.write(request, &losses)
        if !request.tools.isEmpty, request.toolChoice != ChatRequest.ToolChoice.none {
            body["tools"] = .array(request.tools.map(Self.tool))
        }
        losses.loseForcedTools(request)
        switch request.responseFormat {
        case .json?: body["response_format"] = ["type": "json_object"]
        case .schema(let schema, _, _)?: body["response_format"] = ["type": "json_object", "schema": schema]
        case .text?, nil: break
        }
        losses.loseReasoning(request)
        return body
    }

    /// The first level of a JSON Schema, with the names of Python's types.
    private static func tool(_ tool: ChatRequest.Tool) -> JSONValue {
        var object = JSONObject([("name", .string(tool.name))])
        object["description"] = .string(tool.description ?? tool.name)
        let required = Set((tool.parameters?["required"]?.elements ?? []).compactMap { $0.string?.text })
        var definitions: [(key: String, value: JSONValue)] = []
        var names: Set<String> = []
        for member in tool.parameters?["properties"]?.members ?? [] where names.insert(member.key).inserted {
            var definition = JSONObject([("type", JSONValue(type(member.value["type"]?.string?.text)))])
            if let description = member.value["description"] { definition["description"] = description }
            definition["required"] = .bool(required.contains(member.key))
            definitions.append((key: member.key, value: definition.value))
        }
        object.put("parameter_definitions", JSONObject(definitions))
        return object.value
    }

    private static func type(_ type: String?) -> String {
        switch type {
        case "integer": "int"
        case "number": "float"
        case "boolean": "bool"
        case "array": "list"
        case "object": "dict"
        default: "str"
        }
    }
}
