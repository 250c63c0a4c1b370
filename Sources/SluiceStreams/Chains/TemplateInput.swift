/// What the templates of a chain call `input`: what the client sent, by the names that it has there.
///
/// `prompt` and `system` are there for every format: what the user said last, and what stands in the system's mouth.
public struct TemplateInput: Sendable {
    /// For formats that call something their input: `run`.
    private let whole: JSONValue?
    private let members: JSONValue
    private let prompt: [UInt8]?
    private let system: [UInt8]?

    init(_ client: ClientBody, _ chat: ChatRequest, _ items: [(name: String, value: String)]) {
        whole = client.format == .run ? client.json?["input"] : nil
        members = whole ?? client.json ?? .object(items.map { (key: $0.name, value: JSONValue($0.value)) })
        let asked = chat.messages.last { $0.role == .user && !$0.texts.isEmpty }
        prompt = asked?.text.utf8
        system = chat.systemText?.utf8
    }

    /// As text: a string is what it says, an object or array its JSON. nil: there is none, or it is `null`.
    public func value(at path: [String]) -> [UInt8]? {
        if path.isEmpty { return whole.flatMap { $0.templateText } ?? prompt }
        if path == ["prompt"], let prompt { return prompt }
        return members.value(at: path)?.templateText ?? (path == ["system"] ? system : nil)
    }
}

extension JSONValue {
    /// What stands at a path of keys and positions.
    public func value(at path: [String]) -> JSONValue? {
        var value = self
        for step in path {
            if case .array(let elements) = value {
                guard let index = Int(step), elements.indices.contains(index) else { return nil }
                value = elements[index]
            } else if let member = value[step] {
                value = member
            } else {
                return nil
            }
        }
        return value
    }

    /// As it stands in a prompt.
    var templateText: [UInt8]? {
        switch self {
        case .null: nil
        case .string(let string): string.utf8
        case .number(let text): Array(text.utf8)
        case .bool(let flag): Array((flag ? "true" : "false").utf8)
        case .pieces, .array, .object: serialized()
        }
    }
}
