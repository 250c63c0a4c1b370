/// What an encoder needs besides the events: values for where the provider says nothing.
public struct EncoderOptions: Sendable {
    public var id = ""
    public var model = ""
    /// Seconds since 1970, for `created` where the provider gives none.
    public var created = 0
    /// The client asked for a usage chunk (`stream_options.include_usage`).
    public var includeUsage = false

    public init() {}
}

/// Makes the encoder of a format.
public enum StreamEncoders {
    /// nil for `passthrough`, which encodes nothing.
    public static func make(_ format: StreamFormat, options: EncoderOptions) -> (any StreamEncoder)? {
        switch format {
        case .text: TextEncoder()
        case .sseText: SSETextEncoder()
        case .sseJSON: JSONObjectEncoder(.sse)
        case .ndjson: JSONObjectEncoder(.lines)
        case .openAIChat: OpenAIChatEncoder(options)
        case .passthrough: nil
        }
    }
}

extension FinishReason {
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
