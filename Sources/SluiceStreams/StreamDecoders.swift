/// Makes the decoder of a dialect.
public enum StreamDecoders {
    /// `eventBytes` bounds what one event may hold while it is assembled.
    public static func make(_ dialect: Dialect, eventBytes: Int) -> any StreamDecoder {
        switch dialect {
        case .openAIChat, .mlflow: OpenAIChatDecoder(inner: .init(eventBytes: eventBytes))
        case .openAICompletions: OpenAICompletionsDecoder(inner: .init(eventBytes: eventBytes))
        case .openAIResponses: OpenAIResponsesDecoder(inner: .init(eventBytes: eventBytes))
        case .anthropicMessages: AnthropicMessagesDecoder(inner: .init(eventBytes: eventBytes))
        case .anthropicCompletion: AnthropicCompletionDecoder(inner: .init(eventBytes: eventBytes))
        case .cohereV1: CohereV1Decoder(inner: .init(eventBytes: eventBytes))
        case .cohereV2: CohereV2Decoder(inner: .init(eventBytes: eventBytes))
        case .gemini: GeminiDecoder(eventBytes: eventBytes)
        case .ollamaChat: OllamaChatDecoder(inner: .init(eventBytes: eventBytes))
        case .ollamaGenerate: OllamaGenerateDecoder(inner: .init(eventBytes: eventBytes))
        case .bedrockConverse: BedrockConverseDecoder(inner: .init(eventBytes: eventBytes))
        case .bedrockInvoke: BedrockInvokeDecoder(inner: .init(eventBytes: eventBytes))
        case .tgi: TGIDecoder(inner: .init(eventBytes: eventBytes))
        case .llamaCPP: LlamaCPPDecoder(inner: .init(eventBytes: eventBytes))
        case .replicate: ReplicateDecoder(inner: .init(eventBytes: eventBytes))
        case .watsonx: WatsonxDecoder(inner: .init(eventBytes: eventBytes))
        case .text: RawTextDecoder()
        case .raw: RawDecoder()
        case .auto: AutoDecoder(eventBytes: eventBytes)
        }
    }

    public static func make(_ custom: CustomDialect, eventBytes: Int) -> any StreamDecoder {
        CustomPathDecoder(custom, eventBytes: eventBytes)
    }

    /// For an upstream that answers with one document where a stream was asked for, or where none was. nil: the dialect has no
    /// such documents.
    public static func makeDocument(_ dialect: Dialect, eventBytes: Int) -> (any StreamDecoder)? {
        switch dialect {
        case .auto: AutoDecoder(eventBytes: eventBytes)
        case .openAIChat, .mlflow: DocumentDecoder<OpenAIChatDialect>(eventBytes: eventBytes)
        case .openAICompletions: DocumentDecoder<OpenAICompletionsDialect>(eventBytes: eventBytes)
        case .openAIResponses: DocumentDecoder<OpenAIResponsesDialect>(eventBytes: eventBytes)
        case .anthropicMessages: DocumentDecoder<AnthropicMessagesDialect>(eventBytes: eventBytes)
        case .anthropicCompletion: DocumentDecoder<AnthropicCompletionDialect>(eventBytes: eventBytes)
        case .cohereV1: DocumentDecoder<CohereV1Dialect>(eventBytes: eventBytes)
        case .cohereV2: DocumentDecoder<CohereV2Dialect>(eventBytes: eventBytes)
        case .gemini: DocumentDecoder<GeminiDialect>(eventBytes: eventBytes)
        case .ollamaChat: DocumentDecoder<OllamaChatDialect>(eventBytes: eventBytes)
        case .ollamaGenerate: DocumentDecoder<OllamaGenerateDialect>(eventBytes: eventBytes)
        case .bedrockConverse: DocumentDecoder<BedrockConverseDialect>(eventBytes: eventBytes)
        case .bedrockInvoke: DocumentDecoder<BedrockInvokeDialect>(eventBytes: eventBytes)
        case .tgi: DocumentDecoder<TGIDialect>(eventBytes: eventBytes)
        case .llamaCPP: DocumentDecoder<LlamaCPPDialect>(eventBytes: eventBytes)
        case .replicate: DocumentDecoder<ReplicateDialect>(eventBytes: eventBytes)
        case .watsonx: DocumentDecoder<WatsonxDialect>(eventBytes: eventBytes)
        case .text, .raw: nil
        }
    }
}
