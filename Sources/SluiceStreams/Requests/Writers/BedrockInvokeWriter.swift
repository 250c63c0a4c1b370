/// Amazon Bedrock's `invoke`: each maker's models have a body of their own, told by the model's id, which may have a region
/// or an ARN in front.
enum BedrockInvoke {
    static func writer(for model: String) -> any RequestWriter {
        func isOf(_ family: String) -> Bool { model.contains(family) }
        if isOf("anthropic.claude-v2") || isOf("anthropic.claude-instant") {
            return BedrockPromptWriter(family: .claude2)
        }
        if isOf("anthropic.") { return AnthropicWriter(isBedrock: true) }
        if isOf("amazon.nova") { return BedrockConverseWriter(isNova: true) }
        if isOf("amazon.titan") { return BedrockPromptWriter(family: .titan) }
        if isOf("meta.llama") { return BedrockPromptWriter(family: .llama) }
        if isOf("cohere.command-r") { return CohereV1Writer(hasModel: false) }
        if isOf("cohere.") { return BedrockPromptWriter(family: .cohere) }
        if isOf("mistral.") { return BedrockPromptWriter(family: .mistral) }
        // The others took OpenAI's words.
        return OpenAIChatWriter(hasModel: false)
    }
}

/// The families that continue a prompt.
struct BedrockPromptWriter: RequestWriter {
    enum Family { case llama, titan, mistral, cohere, claude2 }
    let family: Family

    func conversation(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        let isHuman = family == .claude2
        let prompt = isHuman ? PromptText.human(request, &losses) : PromptText.withSystem(request, &losses)
        return JSONObject([(family == .titan ? "inputText" : "prompt", .string(prompt))])
    }

    func settings(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        losses.loseAllButText(request)
        switch family {
        case .llama: return Vocabulary.bedrockLlama.write(request, &losses)
        case .mistral: return Vocabulary.bedrockMistral.write(request, &losses)
        case .cohere: return Vocabulary.cohere.write(request, &losses)
        case .claude2: return Vocabulary.anthropicCompletion.write(request, &losses)
        case .titan:
            var body = JSONObject()
            body.put("textGenerationConfig", Vocabulary.bedrockTitan.write(request, &losses))
            return body
        }
    }

    func complete(_ body: inout JSONObject) {
        if family == .claude2 { AnthropicCompletionWriter().complete(&body) }
    }
}
