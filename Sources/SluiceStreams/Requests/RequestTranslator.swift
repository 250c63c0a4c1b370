import SluiceBytes

/// Why a client's request cannot go to the upstream; told to the client with status 400.
public enum RequestError: Error, Equatable, Sendable {
    /// Not of the client's format. `field`: a path such as `messages[2].content`; empty for the whole body.
    case invalid(field: String, String)
    /// Fields that the upstream's dialect has no words for.
    case unsupported(fields: [String], dialect: Dialect)

    /// For the client.
    public var message: String {
        switch self {
        case .invalid(let field, let why): field.isEmpty ? why : "\(field): \(why)"
        case .unsupported(let fields, let dialect):
            "\(dialect.rawValue) has no equivalent of: \(fields.joined(separator: ", ")) "
                + "(drop_unsupported on the route lets them go)"
        }
    }
}

/// What the route says of a request.
public struct RequestRules: Sendable {
    /// In place of the client's model.
    public var model: String?
    /// Taken off the front of the client's.
    public var modelPrefix: String?
    /// Where the client names none and the route neither.
    public var fallbackModel: String?
    public var system: String?
    /// JSON objects. OpenAI's chat names are put into the upstream's words (`max_tokens`, `temperature`, `stop` …), any other member
    /// goes into the upstream's body as it is.
    public var defaults: JSONValue?
    public var overrides: JSONValue?
    public var dropsUnsupported = false
    /// Of a stream, from those who tell it only if they are asked to.
    public var asksForUsage = true

    public init() {}
}

/// What stands outside the body and says something of the request.
public struct RequestHints: Sendable {
    /// Of the target, decoded: `/v1beta/models/gemini-2.0-flash:streamGenerateContent`.
    public var path = ""
    public var accept = ""
    /// `?stream=`, `?alt=`.
    public var streamQuery: String?
    public var altQuery: String?
    /// For `prompt`: `?prompt=`, `?messages=` and their like, or a form's.
    public var parameters = PromptParameters()
    /// What holds where the client says nothing of streaming; nil: what its format does.
    public var streamDefault: Bool?
    /// The body is `text/plain`, for `prompt`.
    public var isPlainText = false

    public init() {}
}

/// A request as it goes to the upstream, and what the client expects of the answer.
public struct TranslatedRequest: Sendable {
    /// The upstream's body; empty for none.
    public var body: [UInt8] = []
    /// For the upstream's path (Gemini, Bedrock), the log and encoders.
    public var model = ""
    /// The upstream was asked for a stream.
    public var asksForStream = true
    /// The client wants a stream; else one document.
    public var wantsStream = true
    /// OpenAI: the client asked for a usage chunk.
    public var includeUsage = false
    /// Gemini without `alt=sse`.
    public var wantsArray = false
    /// `vercel-ui`: the message that the answer goes on with, else empty.
    public var messageID = ""
    /// AG-UI's own names for this run, else empty.
    public var threadID = ""
    public var runID = ""
    /// What was left out by `drop_unsupported`.
    public var dropped: [String] = []

    public init() {}
}

/// Clients' requests into upstreams' words: read, changed by the route's rules, written.
///
/// A client that speaks the upstream's own language is not read but edited: what it sent goes out in its order, with all that
/// this proxy has never heard of.
public enum RequestTranslator {
    /// `body`: the client's, whole.
    public static func translate(
        _ body: [UInt8], from format: RequestFormat, to dialect: Dialect, _ rules: RequestRules, _ hints: RequestHints
    ) throws(RequestError) -> TranslatedRequest {
        if format == .passthrough || dialect == .raw { return untouched(body, rules, hints) }
        let client = try ClientBody(body, format, hints)
        var result = TranslatedRequest()
        client.describe(&result)
        let isRelay = format.isLanguage(of: dialect)
        result.asksForStream = asksForStream(client, dialect, rules, isRelay: isRelay)
        let written =
            isRelay
            ? try RelayedBody.write(client, dialect, rules, &result)
            : try TranslatedBody.write(try client.read(), dialect, rules, &result)
        try needModel(dialect, result)
        result.body = written.value.serialized()
        return result
    }

    static func needModel(_ dialect: Dialect, _ result: TranslatedRequest) throws(RequestError) {
        if dialect.namesModelInTarget, dialect != .replicate, result.model.isEmpty {
            throw .invalid(field: "model", "is missing, and the route names none")
        }
    }

    private static func untouched(_ body: [UInt8], _ rules: RequestRules, _ hints: RequestHints) -> TranslatedRequest {
        var result = TranslatedRequest()
        result.body = body
        let named = rules.model == nil ? JSONValue.parse(body)?["model"]?.string : nil
        // What is no name is no reason to refuse a body that goes on as it is.
        let model = rules.model ?? named.flatMap { $0.isLonger(than: RouteModel.nameLimit) ? nil : $0.text }
        result.model = model ?? GeminiReader.model(in: hints.path) ?? rules.fallbackModel ?? ""
        return result
    }

    /// A client is answered with its provider's own document if it asked for one; else documents are made of streams.
    private static func asksForStream(
        _ client: ClientBody, _ dialect: Dialect, _ rules: RequestRules, isRelay: Bool
    ) -> Bool {
        if let wish = rules.overrides?["stream"]?.bool { return wish }
        return isRelay && dialect != .auto && dialect != .text ? client.wantsStream : true
    }
}
