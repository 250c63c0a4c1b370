/// A lone prompt: `?prompt=`, `{"prompt": …}` or `{"message": …}`, or a body that is nothing but the text; or, where there is none,
/// a conversation in `messages`.
///
/// Of what else such a body holds, `model` and `system` are read; the rest is the application's own. A query, which is written for
/// nobody else, may also say `max_tokens` and `temperature`.
enum PromptReader: RequestReader {
    static func read(_ body: JSONValue, _ hints: RequestHints) throws(RequestError) -> ChatRequest {
        var fields = try Fields(body, at: "")
        var request = ChatRequest()
        try readModelAndSystem(&fields, into: &request)
        if let found = fields.take(["prompt", "message"]) {
            guard let text = found.value.string else { throw .invalid(field: found.place, "is no string") }
            request.messages.append(.init(.user, [.text(text)], at: found.place))
        } else if let prompt = hints.parameters.prompt {
            request.messages.append(.init(.user, [.text(JSONString(prompt))], at: "prompt"))
        } else if fields.peek("messages") != nil {
            try readConversation(&fields, into: &request)
        } else {
            throw .invalid(field: "prompt", "is missing")
        }
        return request
    }

    /// A query or form: the conversation so far, and behind it the prompt.
    static func read(_ parameters: PromptParameters) throws(RequestError) -> ChatRequest {
        var fields = try Fields(try parameters.body(), at: "")
        var request = ChatRequest()
        try readModelAndSystem(&fields, into: &request)
        try OpenAISettings.read(&fields, into: &request)
        if fields.peek("messages") != nil { try readConversation(&fields, into: &request) }
        if let prompt = try fields.string("prompt") {
            request.messages.append(.init(.user, [.text(prompt)], at: "prompt"))
        } else if parameters.messages?.isEmpty ?? true {
            throw .invalid(field: "prompt", "is missing")
        }
        return request
    }

    /// `messages` as OpenAI has them; or as `useChat` has them, if one of them has `parts`.
    static func readConversation(
        _ fields: inout Fields, into request: inout ChatRequest
    ) throws(RequestError) {
        if fields.peek("messages")?.elements?.contains(where: { $0["parts"]?.elements != nil }) == true {
            try VercelReader.readMessages(&fields, into: &request)
        } else {
            try OpenAIChatReader.readMessages(&fields, into: &request)
        }
    }

    /// A body that is no JSON object, or none at all.
    static func read(text: [UInt8], _ hints: RequestHints) throws(RequestError) -> ChatRequest {
        if text.isEmpty { return try read(hints.parameters) }
        var prompt = JSONString(String(decoding: text, as: UTF8.self))
        if !hints.isPlainText, let quoted = JSONValue.parse(strictly: text)?.string {
            prompt = quoted
        }
        var request = ChatRequest()
        request.messages = [.init(.user, [.text(prompt)], at: "prompt")]
        return request
    }

    static func readModelAndSystem(_ fields: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        if let model = try fields.string("model"), !model.isEmpty { request.model = model }
        if let system = try fields.string("system"), !system.isEmpty {
            request.messages.append(.init(.system, [.text(system)], at: fields.place("system")))
        }
    }
}

/// A run of a workflow: `{"input": …}`, where the input is a text, or holds `prompt`, `message` or `messages`; besides these `system`,
/// `model`, `temperature` and `max_tokens` are read, and the rest is the application's own.
enum RunReader: RequestReader {
    static func read(_ body: JSONValue, _ hints: RequestHints) throws(RequestError) -> ChatRequest {
        var fields = try Fields(body, at: "")
        guard let input = fields.take("input") else { throw .invalid(field: "input", "is missing") }
        if let text = input.string {
            var request = ChatRequest()
            request.messages = [.init(.user, [.text(text)], at: "input")]
            return request
        }
        var inner = try Fields(input, at: "input")
        var request = ChatRequest()
        try PromptReader.readModelAndSystem(&inner, into: &request)
        if let found = inner.take(["prompt", "message"]) {
            guard let text = found.value.string else { throw .invalid(field: found.place, "is no string") }
            request.messages.append(.init(.user, [.text(text)], at: found.place))
        } else {
            guard inner.peek("messages") != nil else {
                throw .invalid(field: "input", "holds neither prompt, message nor messages")
            }
            try PromptReader.readConversation(&inner, into: &request)
        }
        try readSettings(&inner, into: &request)
        return request
    }

    /// A form says numbers in text; what is no number is meant for somebody else.
    private static func readSettings(_ fields: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        var settings: [(key: String, value: JSONValue)] = []
        for name in ["temperature", "max_tokens"] {
            let value = fields.peek(name)
            let said = value?.string.flatMap { JSONValue.parse(strictly: $0.utf8) } ?? value
            if let said, said.number != nil { settings.append((key: name, value: said)) }
        }
        if settings.isEmpty { return }
        var inner = try Fields(.object(settings), at: "input")
        try OpenAISettings.read(&inner, into: &request)
    }
}
