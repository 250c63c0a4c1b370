/// Tools and their calls as OpenAI's chat has them, which Cohere, Ollama and AG-UI took over.
enum OpenAITools {
    /// `tools: [{"type": "function", "function": {…}}]`; other types are the provider's own and have no word here.
    static func read(_ fields: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        var tools: [ChatRequest.Tool] = []
        for var entry in try fields.objects("tools") {
            if let function = try entry.object("function") {
                tools.append(try tool(function))
            } else if let type = try entry.string("type"), type != "function" {
                request.lack("\(entry.path).\(type.excerpt)")
            } else {
                throw .invalid(field: entry.place("function"), "is missing")
            }
        }
        // The predecessor of `tools`.
        for function in try fields.objects("functions") { tools.append(try tool(function)) }
        guard !tools.isEmpty else { return }
        request.tools = tools
        request.places[.tools] = fields.place("tools")
    }

    /// `{"name", "description", "parameters", "strict"}`.
    static func tool(_ function: Fields) throws(RequestError) -> ChatRequest.Tool {
        var function = function
        return ChatRequest.Tool(
            name: try function.neededString("name"), description: try function.string("description"),
            parameters: try function.schema("parameters"), isStrict: try function.flag("strict"))
    }

    /// `auto`, `none`, `required`, or one tool: `{"type": "function", "function": {"name"}}`, and in the Responses API `{"type", "name"}`.
    static func readChoice(
        _ key: String, _ fields: inout Fields, into request: inout ChatRequest
    ) throws(RequestError) {
        guard let value = fields.take(key) else { return }
        if let word = value.string {
            switch word.text.lowercased() {
            case "auto": request.toolChoice = .auto
            case "none": request.toolChoice = ChatRequest.ToolChoice.none
            case "required", "any": request.toolChoice = .required
            default: throw fields.notOneOf("auto, none, required", key, word)
            }
        } else {
            var choice = try Fields(value, at: fields.place(key))
            if let type = try choice.string("type"), type != "function" {
                request.lack("\(choice.path).\(type.excerpt)")
                return
            }
            var function = try choice.object("function") ?? choice
            request.toolChoice = .tool(try function.neededString("name"))
        }
        request.places[.toolChoice] = fields.place(key)
    }

    /// `tool_calls: [{"id", "type", "function": {"name", "arguments"}}]` of an assistant's message.
    static func readCalls(
        _ key: String, _ fields: inout Fields, ids: inout CallIDs, into message: inout ChatRequest.Message
    ) throws(RequestError) {
        for var entry in try fields.objects(key) {
            guard var function = try entry.object("function") else {
                throw .invalid(field: entry.place("function"), "is missing")
            }
            let name = try function.neededString("name")
            let call = ChatRequest.ToolCall(
                id: ids.called(name, try entry.string("id")), name: name,
                arguments: arguments(function.take("arguments")), signature: try signature(&entry))
            message.append(.toolCall(call), at: entry.path)
        }
    }

    static func arguments(_ value: JSONValue?) -> ChatRequest.Arguments {
        switch value {
        case nil: .value(.object([]))
        case .string(let text)?: .string(text)
        case let value?: .value(value)
        }
    }

    /// Google's own place for `thoughtSignature` in OpenAI's words: `extra_content.google.thought_signature`.
    private static func signature(_ call: inout Fields) throws(RequestError) -> JSONString? {
        guard var extra = try call.object("extra_content"), var google = try extra.object("google") else { return nil }
        return try google.string("thought_signature")
    }
}

/// Pairs calls with results for formats whose ids are optional: a result without one belongs to the first call of its
/// tool that has none yet, and if no tool is named, to the first call at all.
struct CallIDs {
    private struct Queue {
        var ids: [JSONString] = []
        var next = 0

        mutating func pop(_ isAnswered: Set<JSONString>) -> JSONString? {
            while next < ids.count {
                next += 1
                if !isAnswered.contains(ids[next - 1]) { return ids[next - 1] }
            }
            return nil
        }
    }

    private var all = Queue()
    private var byName: [JSONString: Queue] = [:]
    private var isAnswered: Set<JSONString> = []

    mutating func called(_ name: JSONString, _ id: JSONString?) -> JSONString {
        let known = id.flatMap { $0.isEmpty ? nil : $0 }
        let id = known ?? JSONString("call_\(all.ids.count + 1)")
        all.ids.append(id)
        byName[name, default: Queue()].ids.append(id)
        return id
    }

    mutating func answered(_ name: JSONString?, _ id: JSONString?) -> JSONString {
        var found = id.flatMap { $0.isEmpty ? nil : $0 }
        if found == nil {
            found = if let name { byName[name]?.pop(isAnswered) } else { all.pop(isAnswered) }
        }
        let callID = found ?? name ?? "call_0"
        isAnswered.insert(callID)
        return callID
    }
}
