import SluiceBytes
import SluiceStreams

/// What system and user say in a body that has been taken for a good one, found without the product's readers.
enum Spoken {
    static func texts(_ bytes: [UInt8], _ format: RequestFormat, _ hints: RequestHints) -> [[UInt8]] {
        guard let body = JSONValue.parse(bytes), body.members != nil else { return [] }
        let found: [JSONValue?] =
            switch format {
            case .openAIChat, .cohere: messages(body, "content")
            case .openAIResponses: [member(body, "instructions")] + responsesInput(body)
            case .openAICompletions: [member(body, "prompt"), member(body, "prompt")?.elements?.first]
            case .anthropic: parts(member(body, "system")) + messages(body, "content")
            case .gemini: gemini(body)
            case .ollamaChat: messages(body, "content")
            case .ollamaGenerate: [member(body, "system"), member(body, "prompt")]
            case .vercelUI: vercel(body)
            case .agUI: messages(body, "content")
            case .prompt: [member(body, "system")] + prompt(body, hints)
            case .run: run(body)
            case .passthrough: []
            }
        return found.compactMap { $0?.string?.utf8 }
    }

    /// The first that is not null, as everybody here reads it.
    private static func member(_ value: JSONValue?, _ key: String) -> JSONValue? {
        value?.members?.first { $0.key == key && !$0.value.isNull }?.value
    }

    private static func isSpoken(_ message: JSONValue) -> Bool {
        let roles: [JSONString] = ["system", "developer", "user"]
        return member(message, "role")?.string.map { roles.contains($0) } ?? false
    }

    private static func messages(_ body: JSONValue?, _ key: String) -> [JSONValue?] {
        (member(body, "messages")?.elements ?? []).filter(isSpoken).flatMap { parts(member($0, key)) }
    }

    /// A string, or the texts of an array.
    private static func parts(_ content: JSONValue?) -> [JSONValue?] {
        guard let elements = content?.elements else { return [content] }
        return elements.filter { member($0, "type")?.string.map { isText($0) } ?? false }.map { member($0, "text") }
    }

    private static func isText(_ type: JSONString) -> Bool { ["text", "input_text", "output_text"].contains(type) }

    private static func responsesInput(_ body: JSONValue) -> [JSONValue?] {
        guard let items = member(body, "input")?.elements else { return [member(body, "input")] }
        let messages = items.filter { isSpoken($0) && member($0, "type")?.string ?? "message" == "message" }
        return messages.flatMap { parts(member($0, "content")) }
    }

    /// Thoughts are the model's, whoever sends them.
    private static func gemini(_ body: JSONValue) -> [JSONValue?] {
        func parts(_ content: JSONValue?) -> [JSONValue?] {
            guard let parts = member(content, "parts")?.elements else { return [] }
            return parts.filter { member($0, "thought")?.bool != true }.map { member($0, "text") }
        }
        let system = member(body, "systemInstruction") ?? member(body, "system_instruction")
        let contents = member(body, "contents")
        let all = contents?.elements ?? [contents].compactMap { $0 }
        let users = all.filter { ["user", "system", ""].contains(member($0, "role")?.string ?? "user") }
        return [system, contents] + parts(system) + users.flatMap(parts)
    }

    /// `content` counts only where there are no parts, and `prompt` where there are no messages.
    private static func vercel(_ body: JSONValue) -> [JSONValue?] {
        let system = [member(body, "system")]
        guard let messages = member(body, "messages")?.elements else { return system + [member(body, "prompt")] }
        return system
            + messages.filter(isSpoken).flatMap { message in
                let isOld = member(message, "parts")?.elements?.isEmpty ?? true
                return parts(member(message, isOld ? "content" : "parts"))
            }
    }

    /// A conversation counts only where there is no prompt, in the body or beside it.
    private static func prompt(_ body: JSONValue, _ hints: RequestHints) -> [JSONValue?] {
        if let prompt = member(body, "prompt") ?? member(body, "message") { return [prompt] }
        if hints.parameters.prompt != nil { return [] }
        let hasParts = member(body, "messages")?.elements?.contains { $0["parts"]?.elements != nil } ?? false
        return hasParts ? vercel(body) : messages(body, "content")
    }

    private static func run(_ body: JSONValue) -> [JSONValue?] {
        let input = member(body, "input")
        let prompt = member(input, "prompt") ?? member(input, "message")
        return [input, member(input, "system")] + (prompt == nil ? messages(input, "content") : [prompt])
    }
}
