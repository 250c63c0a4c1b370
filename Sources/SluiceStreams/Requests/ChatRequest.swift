import SluiceBytes

/// A request for an answer, in no provider's words: every client's format is read into it, every upstream's is written from it.
///
/// Texts, images and schemas are slices of the client's body. What the client did not say is nil, and no default is made up here.
public struct ChatRequest: Sendable {
    public enum Role: Sendable { case system, user, assistant, tool }

    public struct Message: Sendable {
        public var role: Role
        public var parts: [Part]
    }

    public enum Part: Sendable {
        case text(JSONString)
        case image(Media)
        /// A document or an audio clip, by its media type.
        case file(Media, name: JSONString?)
        case toolCall(ToolCall)
        case toolResult(ToolResult)
        /// What the model thought in an earlier turn, with the provider's proof of it.
        case reasoning(JSONString, signature: JSONString?)
        case refusal(JSONString)
    }

    public enum Media: Sendable {
        /// `data` is base64; `mediaType` as in `image/png`.
        case base64(mediaType: JSONString, data: JSONString)
        /// `detail`: OpenAI's `low`, `high`, `auto`.
        case url(JSONString, detail: JSONString?)
    }

    public struct ToolCall: Sendable {
        public var id: JSONString
        public var name: JSONString
        public var arguments: Arguments
        /// Gemini's `thoughtSignature`, which must go back with the call.
        public var signature: JSONString?
    }

    /// Some formats carry a call's arguments as JSON in a string, some as the JSON itself.
    public enum Arguments: Sendable {
        case string(JSONString)
        case value(JSONValue)
    }

    public struct ToolResult: Sendable {
        public var callID: JSONString
        /// Gemini and Ollama name the tool and not the call.
        public var name: JSONString?
        /// Text and images; a provider's JSON value stands as its text.
        public var parts: [Part]
        public var isError: Bool
    }

    public struct Tool: Sendable {
        public var name: JSONString
        public var description: JSONString?
        /// A JSON Schema object.
        public var parameters: JSONValue?
        public var isStrict: Bool?
    }

    public enum ToolChoice: Sendable, Equatable {
        case auto, none, required
        case tool(JSONString)
    }

    public enum ResponseFormat: Sendable {
        case text
        case json
        case schema(JSONValue, name: JSONString?, isStrict: Bool?)
    }

    public struct Reasoning: Sendable {
        /// `minimal`, `low`, `medium`, `high` …
        public var effort: JSONString?
        /// Tokens that thinking may take.
        public var budget: Int?
        /// False: the client asks for none.
        public var isEnabled = true
        /// Thoughts, or summaries of them, are wanted in the answer.
        public var isShown: Bool?
    }

    public var model: JSONString?
    public var messages: [Message] = []
    public var tools: [Tool] = []
    public var toolChoice: ToolChoice?
    public var parallelToolCalls: Bool?
    // Numbers keep the text that they were written in.
    public var temperature: String?
    public var topP: String?
    public var topK: String?
    public var presencePenalty: String?
    public var frequencyPenalty: String?
    public var seed: String?
    public var maxTokens: String?
    public var choices: Int?
    public var stop: [JSONString] = []
    public var responseFormat: ResponseFormat?
    public var reasoning: Reasoning?
    public var user: JSONString?
    /// Top-level fields (with their paths, as `logit_bias` or `options.mirostat`) that this vocabulary has no word for.
    public var unknown: [String] = []

    public init() {}
}
