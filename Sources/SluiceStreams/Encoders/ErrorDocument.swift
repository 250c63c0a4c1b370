import SluiceBytes

extension StreamFormat {
    /// An error is told as OpenAI tells it.
    public var hasOpenAIErrors: Bool {
        switch self {
        case .anthropic, .gemini, .ollamaChat, .ollamaGenerate, .cohere, .mlflow, .passthrough: false
        default: true
        }
    }
}

extension Dialect {
    public var hasOpenAIErrors: Bool {
        self == .openAIChat || self == .openAIResponses || self == .openAICompletions
    }
}

/// An error as a whole response, in the words of the client's dialect.
public enum ErrorDocument {
    /// Appends the JSON body for an answer with an error status. `type`: OpenAI's word for the kind
    /// (`rate_limit_error`, `invalid_request_error`, `overloaded_error`, `timeout_error`, `upstream_error`);
    /// `code`: Sluice's own, as in its log.
    public static func append(
        _ format: StreamFormat, status: Int, type: String, code: String, message: String, into out: inout ByteQueue
    ) {
        let (type, code, message) = (Array(type.utf8), Array(code.utf8), Array(message.utf8))
        append(format, status: status, type: type.span, code: code.span, message: message.span, into: &out)
        out.append(ASCII.lf)
    }

    /// The same without the line end; an empty `code` is null.
    static func append(
        _ format: StreamFormat, status: Int, type: Span<UInt8>, code: Span<UInt8>, message: Span<UInt8>,
        into out: inout ByteQueue
    ) {
        switch format {
        case .anthropic: appendAnthropic(anthropicType(status), message, into: &out)
        case .gemini: appendGemini(status, message, into: &out)
        case .ollamaChat, .ollamaGenerate: append("error", message, into: &out)
        case .cohere: append("message", message, into: &out)
        case .mlflow: append("detail", message, into: &out)
        default: appendOpenAI(type, code, message, into: &out)
        }
    }

    // MARK: - Shapes, which errors inside a stream have too

    static func appendOpenAI(
        _ type: Span<UInt8>, _ code: Span<UInt8>, _ message: Span<UInt8>, into out: inout ByteQueue
    ) {
        out.append("{\"error\":{\"message\":")
        JSONText.appendQuoted(message, into: &out)
        out.append(",\"type\":")
        JSONText.appendQuoted(type, into: &out)
        out.append(",\"param\":null,\"code\":")
        if code.isEmpty { out.append("null") } else { JSONText.appendQuoted(code, into: &out) }
        out.append("}}")
    }

    static func appendAnthropic(_ type: StaticString, _ message: Span<UInt8>, into out: inout ByteQueue) {
        out.append("{\"type\":\"error\",\"error\":{\"type\":\"")
        out.append(type)
        out.append("\",\"message\":")
        JSONText.appendQuoted(message, into: &out)
        out.append("}}")
    }

    static func appendGemini(_ status: Int, _ message: Span<UInt8>, into out: inout ByteQueue) {
        out.append("{\"error\":{\"code\":")
        out.append(decimal: status)
        out.append(",\"message\":")
        JSONText.appendQuoted(message, into: &out)
        out.append(",\"status\":\"")
        out.append(geminiStatus(status))
        out.append("\"}}")
    }

    /// `{"<name>":"<message>"}`.
    static func append(_ name: StaticString, _ message: Span<UInt8>, into out: inout ByteQueue) {
        var members = MemberWriter()
        out.append(ASCII.leftBrace)
        members.string(name, message, into: &out)
        out.append(ASCII.rightBrace)
    }

    // MARK: - Words

    static func anthropicType(_ status: Int) -> StaticString {
        switch status {
        case 400: "invalid_request_error"
        case 401: "authentication_error"
        case 403: "permission_error"
        case 404: "not_found_error"
        case 413: "request_too_large"
        case 429: "rate_limit_error"
        case 503, 529: "overloaded_error"
        default: "api_error"
        }
    }

    static func geminiStatus(_ status: Int) -> StaticString {
        switch status {
        case 401: "UNAUTHENTICATED"
        case 403: "PERMISSION_DENIED"
        case 404: "NOT_FOUND"
        case 408, 504: "DEADLINE_EXCEEDED"
        case 429: "RESOURCE_EXHAUSTED"
        case 400..<500: "INVALID_ARGUMENT"
        case 503, 529: "UNAVAILABLE"
        default: "INTERNAL"
        }
    }
}
