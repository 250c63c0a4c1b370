/// Reads one client format into the neutral request.
protocol RequestReader {
    static func read(_ body: JSONValue, _ hints: RequestHints) throws(RequestError) -> ChatRequest
}

extension RequestFormat {
    /// nil for what nobody reads.
    var reader: (any RequestReader.Type)? {
        switch self {
        case .openAIChat: OpenAIChatReader.self
        case .openAIResponses: OpenAIResponsesReader.self
        case .openAICompletions: OpenAICompletionsReader.self
        case .anthropic: AnthropicReader.self
        case .gemini: GeminiReader.self
        case .ollamaChat: OllamaChatReader.self
        case .ollamaGenerate: OllamaGenerateReader.self
        case .cohere: CohereReader.self
        case .vercelUI: VercelReader.self
        case .agUI: AGUIReader.self
        case .prompt: PromptReader.self
        case .run: RunReader.self
        case .passthrough: nil
        }
    }
}
