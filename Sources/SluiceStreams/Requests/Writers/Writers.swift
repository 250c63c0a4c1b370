extension Dialect {
    /// `model`: of the upstream, by which Bedrock's bodies differ. nil for what nobody writes.
    func writer(model: String) -> (any RequestWriter)? {
        switch self {
        case .openAIChat, .text, .auto: OpenAIChatWriter()
        case .mlflow: OpenAIChatWriter(hasModel: false)
        case .openAICompletions: OpenAICompletionsWriter()
        case .openAIResponses: OpenAIResponsesWriter()
        case .anthropicMessages: AnthropicWriter()
        case .anthropicCompletion: AnthropicCompletionWriter()
        case .cohereV1: CohereV1Writer()
        case .cohereV2: CohereV2Writer()
        case .gemini: GeminiWriter()
        case .ollamaChat: OllamaChatWriter()
        case .ollamaGenerate: OllamaGenerateWriter()
        case .bedrockConverse: BedrockConverseWriter()
        case .bedrockInvoke: BedrockInvoke.writer(for: model)
        case .tgi: TGIWriter()
        case .llamaCPP: LlamaCPPWriter()
        case .replicate: ReplicateWriter()
        case .watsonx: WatsonxWriter()
        case .raw: nil
        }
    }

    /// The body says whether a stream is wanted; where it does not, the path does.
    var hasStreamFlag: Bool {
        switch self {
        case .gemini, .bedrockConverse, .bedrockInvoke, .tgi, .watsonx, .raw: false
        default: true
        }
    }

    /// Sends a usage chunk if asked.
    var hasUsageOption: Bool { self == .openAIChat || self == .openAICompletions || self == .auto }

    var speaksOpenAI: Bool {
        switch self {
        case .openAIChat, .openAICompletions, .mlflow, .auto, .text: true
        default: false
        }
    }

}

extension RequestFormat {
    /// The client's words are the upstream's.
    func isLanguage(of dialect: Dialect) -> Bool {
        switch self {
        case .openAIChat: [.openAIChat, .mlflow, .auto, .text].contains(dialect)
        case .openAICompletions: dialect == .openAICompletions
        case .openAIResponses: dialect == .openAIResponses
        case .anthropic: dialect == .anthropicMessages
        case .gemini: dialect == .gemini
        case .ollamaChat: dialect == .ollamaChat
        case .ollamaGenerate: dialect == .ollamaGenerate
        case .cohere: dialect == .cohereV2
        case .vercelUI, .agUI, .prompt, .run, .passthrough: false
        }
    }
}
