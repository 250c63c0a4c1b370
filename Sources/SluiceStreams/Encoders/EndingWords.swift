/// Why an answer ended, in the words of each format.
extension FinishReason {
    /// OpenAI's clients know no other words.
    var openAIWord: StaticString { self == .other || self == .error ? "stop" : word }

    /// `text_completion`: there are no tools.
    var completionWord: StaticString { self == .toolCalls ? "stop" : openAIWord }

    var anthropicWord: StaticString {
        switch self {
        case .stop, .error, .other: "end_turn"
        case .length: "max_tokens"
        case .toolCalls: "tool_use"
        case .contentFilter: "refusal"
        }
    }

    var geminiWord: StaticString {
        switch self {
        case .stop, .toolCalls: "STOP"
        case .length: "MAX_TOKENS"
        case .contentFilter: "SAFETY"
        case .error, .other: "OTHER"
        }
    }

    var ollamaWord: StaticString { self == .length ? "length" : "stop" }

    var cohereWord: StaticString {
        switch self {
        case .stop, .contentFilter, .error, .other: "COMPLETE"
        case .length: "MAX_TOKENS"
        case .toolCalls: "TOOL_CALL"
        }
    }

    /// `incomplete_details.reason` of a response that is not complete.
    var incompleteWord: StaticString? {
        switch self {
        case .length: "max_output_tokens"
        case .contentFilter: "content_filter"
        default: nil
        }
    }
}

/// What kind of failure it is, in the words of each format.
extension StreamErrorKind {
    /// The status that the answer would have had, if the failure had come before it.
    var status: Int {
        switch self {
        case .provider, .truncated, .malformed: 502
        case .overloaded, .draining: 503
        case .rateLimited: 429
        case .invalidRequest: 400
        case .timeout: 504
        }
    }

    /// `response.error.code`, of which OpenAI's library has a closed list.
    var responseCode: StaticString {
        switch self {
        case .rateLimited: "rate_limit_exceeded"
        case .invalidRequest: "invalid_prompt"
        default: "server_error"
        }
    }
}
