/// The arguments of a tool's call: JSON in a string for some APIs, the JSON itself for others.
extension ChatRequest.ToolCall {
    /// As JSON in a string.
    var argumentText: JSONString {
        switch arguments {
        case .string(let text): text.isEmpty ? "{}" : text
        case .value(let value): value.isNull ? "{}" : JSONString(escaping: value.serialized())
        }
    }

    /// As an object.
    func argumentObject(at place: String) throws(RequestError) -> JSONValue {
        let value: JSONValue? =
            switch arguments {
            case .value(let value): value
            case .string(let text): text.isEmpty ? .object([]) : JSONValue.parse(strictly: text.utf8)
            }
        guard let value, value.members != nil || value.isNull else {
            throw .invalid(field: place, "the arguments are no JSON object")
        }
        return value.isNull ? .object([]) : value
    }
}

extension ChatRequest.ToolResult {
    /// The texts of it.
    var text: JSONString {
        let texts = parts.compactMap { part -> JSONString? in
            if case .text(let text) = part { text } else { nil }
        }
        return .joined(texts, by: "\n")
    }

    /// Images and files, which most APIs do not take from tools.
    var hasMedia: Bool {
        parts.contains { if case .text = $0 { false } else { true } }
    }

    /// As an object: what the tool said if it is one, else `{"result": …}`.
    var object: JSONValue {
        let text = text
        if !isError, text.raw.first == UInt8(ascii: "{"), let value = JSONValue.parse(strictly: text.utf8),
            value.members != nil
        {
            return value
        }
        return .object([(key: isError ? "error" : "result", value: .string(text))])
    }

    /// A provider's JSON as a result: a string is its text.
    static func text(of value: JSONValue) -> ChatRequest.Part {
        .text(value.string ?? JSONString(escaping: value.serialized()))
    }
}

extension ChatRequest.Tool {
    /// For APIs that insist on a schema.
    var schema: JSONValue { parameters ?? ["type": "object", "properties": [:]] }
}
