/// What an encoder needs besides the events: values for where the provider says nothing.
public struct EncoderOptions: Sendable {
    public var id = ""
    public var model = ""
    /// Seconds since 1970, for `created` where the provider gives none.
    public var created = 0
    /// The client asked for a usage chunk (`stream_options.include_usage`).
    public var includeUsage = false
    /// The client wants one document and no stream (`stream: false`).
    public var isDocument = false
    /// `gemini` without `alt=sse`: a JSON array.
    public var isArray = false
    /// `vercel-ui`: put `finishReason` into `finish` (AI SDK 5.0.92 and later; older ones refuse it).
    public var writesFinishReason = false
    /// `vercel-ui`: mark tools as `dynamic`, for front ends that have no tool of that name.
    public var hasDynamicTools = false
    /// `vercel-ui`: the id of the client's last message, if that is the assistant's own and this answer goes on with it. Else
    /// empty, and the provider's id is the new message's.
    public var messageID = ""
    /// `openai-chat`: signatures are those of calls, and have to come back with them (Gemini). They stand where Google's own
    /// API in OpenAI's words has them.
    public var signsCalls = false
    /// `ag-ui`: what the client calls its thread and run.
    public var threadID = ""
    public var runID = ""

    /// It answers a run of a workflow.
    public var run: RunAnswer?

    public init() {}
}

/// Makes the encoder of a format.
public enum StreamEncoders {
    /// nil for `passthrough`, which encodes nothing.
    public static func make(_ format: StreamFormat, options: EncoderOptions) -> (any StreamEncoder)? {
        if options.isDocument, format != .passthrough { return DocumentEncoder(format, options) }
        if options.run != nil, let form = RunText.Form(format) { return RunEncoder(form) }
        return switch format {
        case .text: TextEncoder()
        case .sseText: SSETextEncoder()
        case .sseJSON: JSONObjectEncoder(.sse)
        case .ndjson: JSONObjectEncoder(.lines)
        case .openAIChat: OpenAIChatEncoder(options)
        case .openAIResponses: OpenAIResponsesEncoder(options)
        case .openAICompletions: OpenAICompletionsEncoder(options)
        case .anthropic: AnthropicEncoder(options)
        case .gemini: GeminiEncoder(options)
        case .ollamaChat: OllamaChatEncoder(options)
        case .ollamaGenerate: OllamaGenerateEncoder(options)
        case .cohere: CohereEncoder(options)
        case .vercelUI: VercelUIEncoder(options)
        case .vercelData: VercelDataEncoder(options)
        case .agUI: AGUIEncoder(options)
        case .mlflow: MLflowEncoder(options)
        case .passthrough: nil
        }
    }
}

extension FinishReason {
    /// The reason where refusals are shown as text like any other: that it was one is then told here.
    func told(hasRefused: Bool) -> FinishReason { hasRefused && self == .stop ? .contentFilter : self }

    /// In OpenAI's words, which `sse-text`, `sse-json` and `ndjson` use too.
    var word: StaticString {
        switch self {
        case .stop: "stop"
        case .length: "length"
        case .toolCalls: "tool_calls"
        case .contentFilter: "content_filter"
        case .error: "error"
        case .other: "other"
        }
    }
}

extension StreamErrorKind {
    /// The `type` of an error object, where the provider gives none.
    var word: StaticString {
        switch self {
        case .provider: "upstream_error"
        case .overloaded: "overloaded_error"
        case .rateLimited: "rate_limit_error"
        case .invalidRequest: "invalid_request_error"
        case .truncated: "stream_truncated"
        case .malformed: "stream_malformed"
        case .timeout: "timeout_error"
        case .draining: "server_draining"
        }
    }
}
