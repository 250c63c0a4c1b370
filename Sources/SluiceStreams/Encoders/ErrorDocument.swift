import SluiceBytes

/// An error as a whole response, in the words of the client's dialect.
public enum ErrorDocument {
    /// Appends the JSON body for an answer with an error status. `type`: OpenAI's word for the kind (`rate_limit_error`,
    /// `invalid_request_error`, `overloaded_error`, `timeout_error`, `upstream_error`); `code`: Sluice's own, as in its log.
    public static func append(
        _ format: StreamFormat, status: Int, type: String, code: String, message: String, into out: inout ByteQueue
    ) {
        out.append("{\"error\":{\"message\":")
        JSONText.appendQuoted(message, into: &out)
        out.append(",\"type\":")
        JSONText.appendQuoted(type, into: &out)
        out.append(",\"param\":null,\"code\":")
        JSONText.appendQuoted(code, into: &out)
        out.append("}}\n")
    }
}
