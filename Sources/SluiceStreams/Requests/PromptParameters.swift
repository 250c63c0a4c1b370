/// What a query, or a form, says of a prompt: an `EventSource` and a link have no body to say it in.
///
/// Of a name that stands there twice the first value counts. A number or conversation that is empty says nothing, as a form has it
/// that was not filled in.
public struct PromptParameters: Sendable, Equatable {
    /// `prompt` or `message`.
    public var prompt: String?
    /// JSON: an array of `{role, content}` as OpenAI has it, or of `{role, parts}` as `useChat` has it.
    public var messages: String?
    public var system: String?
    public var model: String?
    public var maxTokens: String?
    public var temperature: String?

    public init() {}

    public init(_ items: [(name: String, value: String)]) {
        for (name, value) in items {
            switch name {
            case "prompt", "message": prompt = prompt ?? value
            case "messages": messages = messages ?? value
            case "system": system = system ?? value
            case "model": model = model ?? value
            case "max_tokens": maxTokens = maxTokens ?? value
            case "temperature": temperature = temperature ?? value
            default: break
            }
        }
    }

    /// What these do not say, those do.
    public func or(_ others: PromptParameters) -> PromptParameters {
        var both = self
        both.prompt = prompt ?? others.prompt
        both.messages = messages ?? others.messages
        both.system = system ?? others.system
        both.model = model ?? others.model
        both.maxTokens = maxTokens ?? others.maxTokens
        both.temperature = temperature ?? others.temperature
        return both
    }

    /// The same as a JSON body would have it.
    func body() throws(RequestError) -> JSONValue {
        var members: [(key: String, value: JSONValue)] = []
        for (name, text) in [("system", system), ("model", model), ("prompt", prompt)] {
            if let text { members.append((key: name, value: JSONValue(text))) }
        }
        if let messages, !messages.isEmpty {
            guard let value = JSONValue.parse(strictly: Array(messages.utf8)) else {
                throw .invalid(field: "messages", "is no JSON")
            }
            members.append((key: "messages", value: value))
        }
        if let maxTokens, !maxTokens.isEmpty {
            guard let count = Int(maxTokens), count > 0 else {
                throw .invalid(field: "max_tokens", "is no whole number above 0")
            }
            members.append((key: "max_tokens", value: JSONValue(count)))
        }
        if let temperature, !temperature.isEmpty {
            guard case .number(let number)? = JSONValue.parse(strictly: Array(temperature.utf8)) else {
                throw .invalid(field: "temperature", "is no number")
            }
            members.append((key: "temperature", value: .number(number)))
        }
        return .object(members)
    }
}
