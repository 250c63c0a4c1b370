import SluiceStreams

/// Which provider a request is for: told by its path, as the real ones have it.
struct DemoEndpoint: Equatable {
    var dialect: Dialect
    /// Where the path names it.
    var model: String?
    /// Where the path says whether the answer is a stream; else the body does.
    var streams: Bool?

    init(_ dialect: Dialect, model: String? = nil, streams: Bool? = nil) {
        (self.dialect, self.model, self.streams) = (dialect, model, streams)
    }

    /// nil for a path that no provider has.
    init?(path: String) {
        if let fixed = Self.fixed[path] {
            self = fixed
        } else if let endpoint = Self.gemini(path) ?? Self.bedrock(path) ?? Self.others(path) {
            self = endpoint
        } else {
            return nil
        }
    }

    private static let fixed: [String: DemoEndpoint] = [
        "/v1/chat/completions": DemoEndpoint(.openAIChat),
        "/v1/completions": DemoEndpoint(.openAICompletions),
        "/v1/responses": DemoEndpoint(.openAIResponses),
        "/v1/messages": DemoEndpoint(.anthropicMessages),
        "/v1/complete": DemoEndpoint(.anthropicCompletion),
        "/v1/chat": DemoEndpoint(.cohereV1),
        "/v2/chat": DemoEndpoint(.cohereV2),
        "/api/chat": DemoEndpoint(.ollamaChat),
        "/api/generate": DemoEndpoint(.ollamaGenerate),
        "/generate_stream": DemoEndpoint(.tgi, streams: true),
        "/generate": DemoEndpoint(.tgi, streams: false),
        "/completion": DemoEndpoint(.llamaCPP),
        "/v1/predictions": DemoEndpoint(.replicate),
        "/ml/v1/text/generation_stream": DemoEndpoint(.watsonx, streams: true),
        "/ml/v1/text/generation": DemoEndpoint(.watsonx, streams: false),
        "/gateway/mlflow/v1/chat/completions": DemoEndpoint(.mlflow),
    ]

    /// `…/models/M:streamGenerateContent`, of the Gemini API and of Vertex AI.
    private static func gemini(_ path: String) -> DemoEndpoint? {
        guard let last = path.split(separator: "/").last, path.contains("/models/"),
            let colon = last.lastIndex(of: ":")
        else { return nil }
        let model = String(last[..<colon])
        return switch last[last.index(after: colon)...] {
        case "streamGenerateContent": DemoEndpoint(.gemini, model: model, streams: true)
        case "generateContent": DemoEndpoint(.gemini, model: model, streams: false)
        default: nil
        }
    }

    /// `/model/M/converse-stream` and its siblings.
    private static func bedrock(_ path: String) -> DemoEndpoint? {
        let parts = path.split(separator: "/")
        guard parts.count == 3, parts[0] == "model" else { return nil }
        let model = parts[1].split(separator: "%3A", omittingEmptySubsequences: false).joined(separator: ":")
        return switch parts[2] {
        case "converse-stream": DemoEndpoint(.bedrockConverse, model: model, streams: true)
        case "converse": DemoEndpoint(.bedrockConverse, model: model, streams: false)
        case "invoke-with-response-stream": DemoEndpoint(.bedrockInvoke, model: model, streams: true)
        case "invoke": DemoEndpoint(.bedrockInvoke, model: model, streams: false)
        default: nil
        }
    }

    private static func others(_ path: String) -> DemoEndpoint? {
        if path.hasPrefix("/gateway/"), path.hasSuffix("/invocations") { return DemoEndpoint(.mlflow) }
        if path.hasPrefix("/v1/models/"), path.hasSuffix("/predictions") { return DemoEndpoint(.replicate) }
        return nil
    }

    /// What stands before the number in the answer's id.
    var idPrefix: String {
        switch dialect {
        case .openAICompletions: "cmpl-demo"
        case .openAIResponses: "resp_demo"
        case .anthropicMessages, .bedrockInvoke: "msg_demo"
        case .anthropicCompletion: "compl_demo"
        case .openAIChat, .mlflow: "chatcmpl-demo"
        default: "demo"
        }
    }

    /// Where nobody names one.
    var usualModel: String {
        switch dialect {
        case .openAIChat, .openAIResponses, .mlflow: "gpt-4o-mini"
        case .openAICompletions: "gpt-3.5-turbo-instruct"
        case .anthropicMessages, .anthropicCompletion, .bedrockConverse, .bedrockInvoke: "claude-demo"
        case .cohereV1, .cohereV2: "command-demo"
        case .gemini: "gemini-demo"
        default: "demo"
        }
    }

    /// The field of the body that has the prompt in it.
    var promptField: String {
        switch dialect {
        case .openAIResponses, .watsonx, .replicate: "input"
        case .openAICompletions, .anthropicCompletion, .ollamaGenerate, .llamaCPP: "prompt"
        case .cohereV1: "message"
        case .gemini: "contents"
        case .tgi: "inputs"
        default: "messages"
        }
    }
}
