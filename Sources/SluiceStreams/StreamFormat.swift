/// A provider's stream as it comes in: `dialect:` of an upstream, `--from` on the command line.
public enum Dialect: String, CaseIterable, Sendable {
    case openAIChat = "openai-chat"
    case openAICompletions = "openai-completions"
    case openAIResponses = "openai-responses"
    case anthropicMessages = "anthropic-messages"
    case anthropicCompletion = "anthropic-completion"
    case cohereV1 = "cohere-v1"
    case cohereV2 = "cohere-v2"
    /// An event stream (`alt=sse`) or a JSON array, told apart by the first byte.
    case gemini
    case ollamaChat = "ollama-chat"
    case ollamaGenerate = "ollama-generate"
    case bedrockConverse = "bedrock-converse"
    case bedrockInvoke = "bedrock-invoke"
    case tgi
    case llamaCPP = "llama.cpp"
    case replicate
    case watsonx
    case mlflow
    /// The answer's text and nothing else, as `text/plain`.
    case text
    /// Bytes that nobody reads; only for `passthrough` routes.
    case raw
    /// Found out from the first event. Requests go out as OpenAI's chat.
    case auto
}

/// A stream as it goes out to a client: `response:` of a route, `--to` on the command line.
public enum StreamFormat: String, CaseIterable, Sendable {
    case text
    case sseText = "sse-text"
    case sseJSON = "sse-json"
    case ndjson
    case openAIChat = "openai-chat"
    case openAIResponses = "openai-responses"
    case openAICompletions = "openai-completions"
    case anthropic
    case gemini
    case ollamaChat = "ollama-chat"
    case ollamaGenerate = "ollama-generate"
    case cohere
    case vercelUI = "vercel-ui"
    case vercelData = "vercel-data"
    case agUI = "ag-ui"
    case mlflow
    case passthrough
}

/// What a client sends: `request:` of a route.
public enum RequestFormat: String, CaseIterable, Sendable {
    case openAIChat = "openai-chat"
    case openAIResponses = "openai-responses"
    case openAICompletions = "openai-completions"
    case anthropic
    case gemini
    case ollamaChat = "ollama-chat"
    case ollamaGenerate = "ollama-generate"
    /// Cohere's v2 chat.
    case cohere
    case vercelUI = "vercel-ui"
    case agUI = "ag-ui"
    case prompt
    case run
    case passthrough
}

/// A dialect that the configuration describes by paths such as `choices[0].delta.content` (`dialects:`).
public struct CustomDialect: Equatable, Sendable {
    public enum Framing: String, CaseIterable, Sendable { case sse, ndjson }
    public var framing: Framing
    public var text: String
    public var finish: String?
    public var error: String?
    /// The payload that ends the stream, e.g. `[DONE]`.
    public var done: String?

    public init(framing: Framing, text: String, finish: String? = nil, error: String? = nil, done: String? = nil) {
        (self.framing, self.text, self.finish, self.error, self.done) = (framing, text, finish, error, done)
    }
}
