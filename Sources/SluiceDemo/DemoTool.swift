import SluiceStreams

/// A tool that the client offers, in whichever words its format has for it.
struct DemoTool {
    var name: String
    /// JSON Schema; of Cohere's v1, its parameter definitions as one.
    var schema: JSONValue

    // MARK: - Reading

    static func all(in body: JSONValue) -> [DemoTool] {
        if body["tool_choice"] == "none" || body["tool_choice"]?["type"] == "none" { return [] }
        let tools = (body["tools"] ?? body["toolConfig"]?["tools"])?.elements ?? []
        return tools.flatMap { tool -> [JSONValue] in
            (tool["functionDeclarations"] ?? tool["function_declarations"])?.elements ?? [tool]
        }.compactMap(DemoTool.init)
    }

    private init?(_ tool: JSONValue) {
        let tool = tool["function"] ?? tool["toolSpec"] ?? tool
        guard let name = tool.text(at: ["name"]) else { return nil }
        self.name = name
        if let definitions = tool["parameter_definitions"] {
            schema = Self.schema(definitions)
        } else {
            schema =
                tool["inputSchema"]?["json"] ?? tool["input_schema"] ?? tool["parametersJsonSchema"]
                ?? tool["parameters"] ?? .null
        }
    }

    private static func schema(_ definitions: JSONValue) -> JSONValue {
        let required = (definitions.members ?? []).filter { $0.value["required"] == true }.map { JSONValue($0.key) }
        return ["properties": definitions, "required": .array(required)]
    }

    /// The tool that the client insists on; empty for any.
    static func forced(in body: JSONValue) -> String? {
        if let choice = body["tool_choice"] ?? body["toolConfig"]?["toolChoice"] {
            if let name = choice.text(at: ["function", "name"]) ?? choice.text(at: ["tool", "name"])
                ?? choice.text(at: ["name"])
            {
                return name
            }
            let word = (choice.string?.text ?? choice.text(at: ["type"]))?.lowercased()
            return word == "required" || word == "any" || choice["any"] != nil ? "" : nil
        }
        let mode = (body["toolConfig"]?["functionCallingConfig"])?.text(at: ["mode"])
        return mode == "ANY" ? "" : nil
    }

    // MARK: - Calling

    /// The prompt speaks of it: by its name, a word of it (`weather` for `get_weather`), or of tools in general.
    func isMeant(by prompt: String) -> Bool {
        let prompt = prompt.lowercased()
        if prompt.contains("tool") || prompt.contains(name.lowercased()) { return true }
        return words.contains { $0.count > 3 && prompt.contains($0) }
    }

    /// `get_weather`, `getWeather` and `get-weather` are two words each.
    private var words: [String] {
        var words = [""]
        for character in name {
            if !character.isLetter || character.isUppercase, words.last?.isEmpty == false { words.append("") }
            if character.isLetter { words[words.count - 1] += character.lowercased() }
        }
        return words
    }

    /// A plausible value for each property that the schema requires.
    func arguments(for prompt: String) -> JSONValue { Self.object(schema, prompt, depth: 0) }

    private static func object(_ schema: JSONValue, _ prompt: String, depth: Int) -> JSONValue {
        let required = (schema["required"]?.elements ?? []).compactMap { $0.string?.text }
        return .object(
            required.map { name in
                (key: name, value: value(name, schema["properties"]?[name] ?? .null, prompt, depth: depth + 1))
            })
    }

    private static func value(_ name: String, _ schema: JSONValue, _ prompt: String, depth: Int) -> JSONValue {
        if let first = schema["enum"]?.elements?.first { return first }
        if let value = schema["const"] ?? schema["default"] { return value }
        let type = schema["type"]?.elements?.first ?? schema["type"]
        switch type?.string?.text.lowercased() {
        case "integer", "int": return schema["minimum"] ?? 1
        case "number", "float": return schema["minimum"] ?? .number("1.5")
        case "boolean", "bool": return true
        case "array", "list":
            return depth > 8 ? [] : [value(name, schema["items"] ?? .null, prompt, depth: depth + 1)]
        case "object", "dict": return depth > 8 ? .object([]) : object(schema, prompt, depth: depth)
        default: return JSONValue(word(name.lowercased(), prompt))
        }
    }

    /// By what a property is called.
    private static func word(_ name: String, _ prompt: String) -> String {
        for place in ["city", "location", "place", "town", "destination"] where name.contains(place) {
            return Self.place(in: prompt) ?? "Paris"
        }
        for (hint, word) in [
            ("unit", "celsius"), ("country", "France"), ("date", "2025-01-31"), ("time", "12:00"), ("lang", "en"),
            ("currency", "EUR"), ("email", "demo@example.com"), ("url", "https://example.com/"),
            ("path", "README.md"), ("file", "README.md"), ("command", "echo demo"), ("id", "demo-1"),
        ] where name.contains(hint) { return word }
        return String(prompt.prefix(80))
    }

    /// The name behind `in`, `at`, `for` or `to`: “What is the weather in Rome?”
    private static func place(in prompt: String) -> String? {
        let words = prompt.split { !$0.isLetter && $0 != "-" }
        for (before, name) in zip(words, words.dropFirst())
        where ["in", "at", "for", "to", "of"].contains(before.lowercased()) && name.first?.isUppercase == true {
            return String(name)
        }
        return nil
    }
}
