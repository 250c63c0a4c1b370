import SluiceStreams

/// What the demo needs to know of a request, wherever its provider's format has it.
struct DemoRequest {
    var endpoint: DemoEndpoint
    var model: String
    /// The last that the user said.
    var prompt: String
    /// What a tool has answered, if that is the last turn.
    var toolResult: String?
    var tools: [DemoTool]
    /// The client insists on a tool; empty is any.
    var forcedTool: String?
    var wantsReasoning: Bool
    var wantsStream: Bool
    /// OpenAI: `stream_options.include_usage`.
    var wantsUsage: Bool
    /// Gemini without `alt=sse`.
    var wantsArray: Bool

    /// nil if the body holds no prompt where the endpoint has it.
    init?(_ body: JSONValue, endpoint: DemoEndpoint, query: String) {
        guard let field = body[endpoint.promptField] else { return nil }
        // Unlike anything else that is called `messages`, these must be a list.
        if endpoint.promptField == "messages", field.elements == nil { return nil }
        self.endpoint = endpoint
        model = endpoint.model ?? body.text(at: ["model"]) ?? body.text(at: ["model_id"]) ?? endpoint.usualModel
        let turns = field.elements ?? []
        prompt = Self.prompt(field, turns)
        toolResult = turns.last.flatMap(Self.toolResult) ?? Self.toolResult(cohere: body["tool_results"])
        tools = DemoTool.all(in: body)
        forcedTool = DemoTool.forced(in: body)
        wantsReasoning = Self.wantsReasoning(body) || prompt.lowercased().contains("reason")
        let isOllama = endpoint.dialect == .ollamaChat || endpoint.dialect == .ollamaGenerate
        wantsStream = endpoint.streams ?? (isOllama ? body["stream"] != false : body["stream"] == true)
        wantsUsage = body["stream_options"]?["include_usage"] == true
        wantsArray = endpoint.dialect == .gemini && !query.split(separator: "&").contains("alt=sse")
    }

    // MARK: - Prompt

    private static func prompt(_ field: JSONValue, _ turns: [JSONValue]) -> String {
        if let inner = field["prompt"] { return text(of: inner) }
        guard turns.contains(where: { $0.members != nil }) else { return lastHuman(text(of: field)) }
        let spoken = turns.filter { $0["role"] == nil || $0["role"] == "user" }.map(text(of:))
        return spoken.last { !$0.isEmpty } ?? ""
    }

    /// A string, or what is text in a list of parts or in a turn; a tool's result is none.
    private static func text(of value: JSONValue) -> String {
        switch value {
        case .string(let string): return string.text
        case .array(let elements):
            return elements.map(text(of:)).filter { !$0.isEmpty }.joined(separator: " ")
        case .object:
            if let text = value["text"] { return self.text(of: text) }
            if value["role"] == nil, value["parts"] == nil { return "" }
            return (value["content"] ?? value["parts"]).map(text(of:)) ?? ""
        case .null, .bool, .number, .pieces: return ""
        }
    }

    /// The last turn of `\n\nHuman: …\n\nAssistant:`.
    private static func lastHuman(_ text: String) -> String {
        guard let start = text.ranges(of: "\n\nHuman:").last?.upperBound else { return text }
        let turn = text[start...]
        let end = turn.ranges(of: "\n\nAssistant:").first?.lowerBound ?? turn.endIndex
        return turn[..<end].drop { $0 == " " }.description
    }

    // MARK: - Tools' results

    private static func toolResult(_ turn: JSONValue) -> String? {
        if turn["role"] == "tool" { return turn["content"].map(words) }
        if turn["type"] == "function_call_output" { return turn["output"].map(words) }
        for part in (turn["content"] ?? turn["parts"])?.elements ?? [] {
            if part["type"] == "tool_result" { return part["content"].map(words) ?? "" }
            if let result = part["toolResult"] { return result["content"].map(words) ?? "" }
            if let result = part["functionResponse"] ?? part["function_response"] {
                return result["response"].map(words) ?? ""
            }
        }
        return nil
    }

    private static func toolResult(cohere results: JSONValue?) -> String? {
        results?.elements?.last?["outputs"].map(words)
    }

    /// The text in it, or the JSON itself.
    private static func words(_ value: JSONValue) -> String {
        let text = text(of: value)
        return text.isEmpty ? String(decoding: value.serialized(), as: UTF8.self) : text
    }

    // MARK: - Reasoning

    private static func wantsReasoning(_ body: JSONValue) -> Bool {
        if let effort = body["reasoning_effort"] { return effort != "none" && !effort.isNull }
        if let reasoning = body["reasoning"] { return reasoning.members != nil && reasoning["effort"] != "none" }
        if let think = body["think"] { return think != false && !think.isNull }
        let thinking = body["thinking"] ?? body["additionalModelRequestFields"]?["thinking"]
        if let type = thinking?["type"] { return type != "disabled" }
        return body["generationConfig"]?["thinkingConfig"]?["includeThoughts"] == true
    }
}
