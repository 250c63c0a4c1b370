/// Where a provider listens, and how it is asked.
extension Dialect {
    /// How a key is put into a request.
    public enum KeyField: String, Sendable {
        /// `Authorization: Bearer KEY`.
        case bearer = "Authorization"
        case anthropic = "x-api-key"
        case google = "x-goog-api-key"
    }

    public var keyField: KeyField {
        switch self {
        case .anthropicMessages, .anthropicCompletion: .anthropic
        case .gemini: .google
        default: .bearer
        }
    }

    /// Fields that the provider insists on.
    public var requiredFields: [(name: String, value: String)] {
        switch self {
        // https://docs.anthropic.com/en/api/versioning
        case .anthropicMessages, .anthropicCompletion: [(name: "anthropic-version", value: "2023-06-01")]
        // The answer to the request is the whole prediction then (https://replicate.com/docs/topics/predictions/create-a-prediction);
        // its stream is behind a second address.
        case .replicate: [(name: "prefer", value: "wait")]
        default: []
        }
    }

    /// `Accept` for a stream of it.
    public var streamAccept: String {
        switch self {
        case .cohereV1: "application/stream+json, application/x-ndjson"
        case .ollamaChat, .ollamaGenerate: "application/x-ndjson"
        case .bedrockConverse, .bedrockInvoke: "application/vnd.amazon.eventstream"
        case .text: "text/plain"
        case .raw: "*/*"
        default: "text/event-stream"
        }
    }

    /// The target of a request, behind the upstream's base path. A version that stands at the end of `base` is not put there again:
    /// `https://api.anthropic.com` and `https://api.anthropic.com/v1` are the same upstream. OpenAI's base has it always.
    public func target(base: String, model: String, stream: Bool) -> String {
        switch self {
        case .openAIChat, .text, .raw, .auto: base + "/chat/completions"
        case .openAICompletions: base + "/completions"
        case .openAIResponses: base + "/responses"
        case .anthropicMessages: Self.join(base, "/v1", "/messages")
        case .anthropicCompletion: Self.join(base, "/v1", "/complete")
        case .cohereV1: Self.join(base, "/v1", "/chat")
        case .cohereV2: Self.join(base, "/v2", "/chat")
        case .gemini: Self.gemini(base, model, stream)
        case .ollamaChat: Self.join(base, "/api", "/chat")
        case .ollamaGenerate: Self.join(base, "/api", "/generate")
        case .bedrockConverse: base + "/model/" + Self.escaped(model) + (stream ? "/converse-stream" : "/converse")
        case .bedrockInvoke:
            base + "/model/" + Self.escaped(model) + (stream ? "/invoke-with-response-stream" : "/invoke")
        case .tgi: base + (stream ? "/generate_stream" : "/generate")
        case .llamaCPP: base + "/completion"
        case .replicate: Self.replicate(base, model)
        case .watsonx:
            Self.join(base, "/ml/v1", stream ? "/text/generation_stream" : "/text/generation") + "?version=2024-05-31"
        case .mlflow: base.hasSuffix("/invocations") ? base : base + "/invocations"
        }
    }

    /// Whether the target depends on the request's model.
    public var namesModelInTarget: Bool {
        self == .gemini || self == .bedrockConverse || self == .bedrockInvoke || self == .replicate
    }

    private static func join(_ base: String, _ version: String, _ path: String) -> String {
        base.hasSuffix(version) ? base + path : base + version + path
    }

    /// A model `owner/name` has an address of its own; a version goes into the body.
    private static func replicate(_ base: String, _ model: String) -> String {
        if base.hasSuffix("/predictions") { return base }
        let parts = model.split(separator: "/")
        guard parts.count == 2, !model.contains(":") else { return join(base, "/v1", "/predictions") }
        return join(base, "/v1", "/models/" + parts.map { escaped(String($0)) }.joined(separator: "/") + "/predictions")
    }

    /// The Gemini API, or Vertex AI, whose base ends in `/publishers/google`.
    private static func gemini(_ base: String, _ model: String, _ stream: Bool) -> String {
        let hasVersion = base.hasSuffix("/v1beta") || base.hasSuffix("/v1") || base.contains("/publishers/")
        let name = model.hasPrefix("models/") ? String(model.dropFirst(7)) : model
        let method = stream ? ":streamGenerateContent?alt=sse" : ":generateContent"
        return base + (hasVersion ? "" : "/v1beta") + "/models/" + escaped(name) + method
    }

    /// A path segment (RFC 3986 §2.3): all but unreserved characters as `%XX`.
    static func escaped(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            let isLetter = (0x61...0x7A).contains(byte | 0x20)
            if isLetter || (0x30...0x39).contains(byte) || "-._~".utf8.contains(byte) {
                result.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                let digits = Array("0123456789ABCDEF".unicodeScalars)
                result += "%"
                result.unicodeScalars.append(digits[Int(byte >> 4)])
                result.unicodeScalars.append(digits[Int(byte & 15)])
            }
        }
        return result
    }

    /// What a request names where neither client nor route does; nil where nothing would be right.
    public var fallbackModel: String? {
        switch self {
        case .openAIChat, .openAIResponses, .auto: "gpt-4o-mini"
        case .openAICompletions: "gpt-3.5-turbo-instruct"
        case .anthropicMessages: "claude-3-5-haiku-latest"
        case .anthropicCompletion: "claude-2.1"
        case .cohereV1, .cohereV2: "command-r"
        case .gemini: "gemini-2.0-flash"
        default: nil
        }
    }
}

extension StreamFormat {
    /// The dialect whose streams need no conversion to be this format.
    public var dialect: Dialect? {
        switch self {
        case .openAIChat: .openAIChat
        case .openAIResponses: .openAIResponses
        case .openAICompletions: .openAICompletions
        case .anthropic: .anthropicMessages
        case .gemini: .gemini
        case .ollamaChat: .ollamaChat
        case .ollamaGenerate: .ollamaGenerate
        case .cohere: .cohereV2
        case .mlflow: .mlflow
        case .text, .sseText, .sseJSON, .ndjson, .vercelUI, .vercelData, .agUI, .passthrough: nil
        }
    }

    /// How an id that Sluice makes itself begins.
    public var idPrefix: String {
        switch self {
        case .openAIResponses: "resp_"
        case .openAICompletions: "cmpl-"
        case .anthropic, .vercelUI, .vercelData: "msg_"
        case .openAIChat, .mlflow: "chatcmpl-"
        default: ""
        }
    }
}

extension RequestFormat {
    /// What its clients expect back where nothing else is said (`response: auto`).
    public var response: StreamFormat {
        switch self {
        case .openAIChat: .openAIChat
        case .openAIResponses: .openAIResponses
        case .openAICompletions: .openAICompletions
        case .anthropic: .anthropic
        case .gemini: .gemini
        case .ollamaChat: .ollamaChat
        case .ollamaGenerate: .ollamaGenerate
        case .cohere: .cohere
        case .vercelUI: .vercelUI
        case .agUI: .agUI
        case .prompt, .run: .text
        case .passthrough: .passthrough
        }
    }
}
