import SluiceBytes

/// A request for an answer, in no provider's words: every client's format is read into it, every upstream's is written from it.
///
/// Texts, images and schemas are slices of the client's body. What the client did not say is nil, and no default is made up here.
public struct ChatRequest: Sendable {
    public enum Role: Sendable { case system, user, assistant, tool }

    public struct Message: Sendable {
        public var role: Role
        public private(set) var parts: [Part]
        /// Where the message stands in the client's body, as `messages[2]`; for errors.
        public var place: String
        private var places: [String] = []

        public init(_ role: Role, _ parts: [Part] = [], at place: String = "") {
            (self.role, self.parts, self.place) = (role, parts, place)
            places = Array(repeating: place, count: parts.count)
        }

        public mutating func append(_ part: Part, at place: String) {
            parts.append(part)
            places.append(place)
        }

        /// The parts, each with its place in the client's body.
        public var placed: Zip2Sequence<[Part], [String]> { zip(parts, places) }
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

    /// What stands once in a request; the key of `places`.
    public enum Field: String, Sendable {
        case temperature, topP, topK, presencePenalty, frequencyPenalty, seed, maxTokens
        case choices, stop, responseFormat, reasoning, tools, toolChoice, parallelToolCalls
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
    /// Fields (with their paths, as `logit_bias` or `options.mirostat`) that this vocabulary has no word for.
    public var unknown: [String] = []
    /// The client's own names of what it said, as `generationConfig.topK`; for errors.
    public var places: [Field: String] = [:]

    public init() {}
}

// MARK: - Parts of it by name

extension ChatRequest {
    /// A number of the request; nil for fields of another kind.
    subscript(number field: Field) -> String? {
        get {
            switch field {
            case .temperature: temperature
            case .topP: topP
            case .topK: topK
            case .presencePenalty: presencePenalty
            case .frequencyPenalty: frequencyPenalty
            case .seed: seed
            case .maxTokens: maxTokens
            default: nil
            }
        }
        set {
            switch field {
            case .temperature: temperature = newValue
            case .topP: topP = newValue
            case .topK: topK = newValue
            case .presencePenalty: presencePenalty = newValue
            case .frequencyPenalty: frequencyPenalty = newValue
            case .seed: seed = newValue
            case .maxTokens: maxTokens = newValue
            default: break
            }
        }
    }

    /// Notes a field that this vocabulary has no word for.
    mutating func lack(_ place: String) {
        if unknown.count < Losses.limit { unknown.append(place) }
    }

    /// All that the client and the route put into the system's mouth, wherever it stands, with blank lines between.
    var systemText: JSONString? {
        let texts = messages.filter { $0.role == .system }.flatMap(\.texts)
        return texts.isEmpty ? nil : .joined(texts, by: "\n\n")
    }

    /// Somebody says something. Thoughts alone are no turn.
    var hasContent: Bool {
        messages.contains { message in
            message.parts.contains { if case .reasoning = $0 { false } else { true } }
        }
    }

    /// What is said between user and model.
    var turns: [Message] { messages.filter { $0.role != .system } }

    /// The names of the tools that were called, by the calls' ids.
    var toolNames: [JSONString: JSONString] {
        var names: [JSONString: JSONString] = [:]
        for message in messages {
            for case .toolCall(let call) in message.parts { names[call.id] = call.name }
        }
        return names
    }

    /// Settings alone, as a route has them, are about tools that stand elsewhere.
    var hasTools: Bool { !tools.isEmpty || messages.isEmpty }
}

extension ChatRequest.Message {
    var texts: [JSONString] {
        parts.compactMap { part in
            switch part {
            case .text(let text), .refusal(let text): text.isEmpty ? nil : text
            default: nil
            }
        }
    }

    var calls: [ChatRequest.ToolCall] {
        parts.compactMap { if case .toolCall(let call) = $0 { call } else { nil } }
    }

    /// The texts as one: what a user wrote in lines, what a model said without a break.
    var text: JSONString { .joined(texts, by: role == .assistant ? "" : "\n") }
}
