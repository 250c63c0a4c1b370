import SluiceBytes

/// A failure to be told to the client, whoever found it: the provider, the proxy, or the encoder itself.
struct ErrorReport {
    let kind: StreamErrorKind
    let message: [UInt8]
    /// The provider's own word for it, else OpenAI's.
    let type: [UInt8]

    init(_ kind: StreamErrorKind, _ message: Span<UInt8>, type: Span<UInt8> = Span()) {
        self.kind = kind
        self.message = Array(copying: message)
        self.type = type.isEmpty ? .written { $0.append(kind.word) } : Array(copying: type)
    }

    init(_ failure: StreamFailure) {
        let message = Array(failure.message.utf8)
        self.init(failure.kind, message.span)
    }

    /// What the client is sent would be too much to hold.
    static var tooLarge: ErrorReport {
        ErrorReport(StreamFailure(.malformed, "the answer is larger than its format can be held for"))
    }

    /// A tool call where the format must have an object, and the model wrote none.
    static var brokenCall: ErrorReport {
        ErrorReport(StreamFailure(.malformed, "the arguments of a tool call are no JSON object"))
    }

    /// As OpenAI says it, in its streams and its documents.
    func appendOpenAI(into out: inout ByteQueue) {
        ErrorDocument.appendOpenAI(type.span, Span(), message.span, into: &out)
    }

    func appendAnthropic(into out: inout ByteQueue) {
        ErrorDocument.appendAnthropic(ErrorDocument.anthropicType(kind.status), message.span, into: &out)
    }

    func appendGemini(into out: inout ByteQueue) { ErrorDocument.appendGemini(kind.status, message.span, into: &out) }

    /// The whole answer, if it was to be a document.
    func append(_ format: StreamFormat, into out: inout ByteQueue) {
        ErrorDocument.append(
            format, status: kind.status, type: type.span, code: Span(), message: message.span, into: &out)
    }
}
