/// OpenAI's legacy text completions: `POST /v1/completions`. The prompt is what the user says.
enum OpenAICompletionsReader: RequestReader {
    static func read(_ body: JSONValue, _ hints: RequestHints) throws(RequestError) -> ChatRequest {
        var fields = try Fields(body, at: "")
        var request = ChatRequest()
        request.model = try fields.string("model")
        try OpenAISettings.read(&fields, into: &request)
        try readPrompt(&fields, into: &request)
        OpenAIChatReader.ignoreHarmless(&fields)
        if fields.peek("best_of")?.integer == 1 { fields.ignore("best_of") }
        if fields.peek("suffix")?.string?.isEmpty == true { fields.ignore("suffix") }
        request.unknown += fields.unknown
        return request
    }

    private static func readPrompt(_ fields: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        guard let prompt = fields.take("prompt") else { throw .invalid(field: "prompt", "is missing") }
        switch prompt {
        case .string(let text): request.messages = [.init(.user, [.text(text)], at: "prompt")]
        case .array(let prompts):
            // One prompt in an array is one prompt; several ask for several answers, and numbers are tokens.
            guard let text = prompts.first?.string else {
                if prompts.isEmpty { throw .invalid(field: "prompt", "is empty") }
                return request.lack("prompt[0]")
            }
            request.messages = [.init(.user, [.text(text)], at: "prompt[0]")]
            if prompts.count > 1 { request.lack("prompt[1]") }
        default: throw .invalid(field: "prompt", "is neither a string nor an array")
        }
    }
}
