/// What is known of each name without looking at a byte: how its bytes are framed, under which content type they travel, whose
/// they are. `sluice formats` prints it, and recordings are replayed by it.
public enum FormatCatalog {
    /// How a body is cut into events.
    public enum Framing: String, CaseIterable, Sendable {
        case sse
        case ndjson
        /// One JSON array, each element an event.
        case jsonArray = "json-array"
        /// Binary frames with lengths and checksums.
        case awsEventStream = "aws-event-stream"
        /// Text and nothing else: any run of bytes is an event.
        case text

        public var contentType: StaticString {
            switch self {
            case .sse: "text/event-stream"
            case .ndjson: "application/x-ndjson"
            case .jsonArray: "application/json"
            case .awsEventStream: "application/vnd.amazon.eventstream"
            case .text: "text/plain; charset=utf-8"
            }
        }
    }

    /// What keeps a silent stream open without saying anything to a strict client.
    public enum Keepalive: String, Sendable {
        /// `:` and a blank line.
        case comment
        /// `event: ping`.
        case ping
        case none
    }
}

extension Dialect {
    /// nil where any will do: nobody reads the bytes, or they are found out.
    public var framing: FormatCatalog.Framing? {
        switch self {
        case .openAIChat, .openAICompletions, .openAIResponses, .anthropicMessages, .anthropicCompletion, .cohereV2,
            .gemini, .tgi, .llamaCPP, .replicate, .watsonx, .mlflow:
            .sse
        case .cohereV1, .ollamaChat, .ollamaGenerate: .ndjson
        case .bedrockConverse, .bedrockInvoke: .awsEventStream
        case .text: .text
        case .raw, .auto: nil
        }
    }

    /// As the provider sends it; nil where any will do.
    public var contentType: StaticString? {
        if self == .cohereV1 { return "application/stream+json" }
        return framing?.contentType
    }

    /// Whose it is, in words.
    public var summary: StaticString {
        switch self {
        case .openAIChat: "OpenAI chat completions, and the many servers that speak them"
        case .openAICompletions: "OpenAI legacy text completions"
        case .openAIResponses: "OpenAI responses"
        case .anthropicMessages: "Anthropic messages"
        case .anthropicCompletion: "Anthropic legacy text completions"
        case .cohereV1: "Cohere chat and generate, v1"
        case .cohereV2: "Cohere chat, v2"
        case .gemini: "Google Gemini and Vertex AI; also as a JSON array"
        case .ollamaChat: "Ollama chat"
        case .ollamaGenerate: "Ollama generate"
        case .bedrockConverse: "Amazon Bedrock ConverseStream"
        case .bedrockInvoke: "Amazon Bedrock InvokeModelWithResponseStream, any model family"
        case .tgi: "Hugging Face text generation inference"
        case .llamaCPP: "llama.cpp's own completion"
        case .replicate: "Replicate predictions"
        case .watsonx: "IBM watsonx.ai text generation"
        case .mlflow: "MLflow AI gateway"
        case .text: "plain text, no more"
        case .raw: "bytes that nobody reads; for passthrough"
        case .auto: "found out from the first event"
        }
    }

    /// The path of its requests, for people.
    public var path: StaticString? {
        switch self {
        case .openAIChat: "/v1/chat/completions"
        case .openAICompletions: "/v1/completions"
        case .openAIResponses: "/v1/responses"
        case .anthropicMessages: "/v1/messages"
        case .anthropicCompletion: "/v1/complete"
        case .cohereV1: "/v1/chat"
        case .cohereV2: "/v2/chat"
        case .gemini: "/v1beta/models/MODEL:streamGenerateContent"
        case .ollamaChat: "/api/chat"
        case .ollamaGenerate: "/api/generate"
        case .bedrockConverse: "/model/MODEL/converse-stream"
        case .bedrockInvoke: "/model/MODEL/invoke-with-response-stream"
        case .tgi: "/generate_stream"
        case .llamaCPP: "/completion"
        case .replicate: "/v1/predictions"
        case .watsonx: "/ml/v1/text/generation_stream"
        case .mlflow: "/gateway/NAME/invocations"
        case .text, .raw, .auto: nil
        }
    }
}

extension StreamFormat {
    /// nil for `passthrough`, whose bytes are the upstream's.
    public var framing: FormatCatalog.Framing? {
        switch self {
        case .sseText, .sseJSON, .openAIChat, .openAIResponses, .openAICompletions, .anthropic, .gemini, .cohere,
            .vercelUI,
            .agUI, .mlflow:
            .sse
        case .ndjson, .ollamaChat, .ollamaGenerate: .ndjson
        case .text, .vercelData: .text
        case .passthrough: nil
        }
    }

    public var contentType: StaticString? { framing?.contentType }

    public var keepalive: FormatCatalog.Keepalive {
        switch self {
        case .anthropic: .ping
        // Not all of their clients skip comments.
        case .gemini, .mlflow: .none
        default: framing == .sse ? .comment : .none
        }
    }

    /// Who reads it, in words.
    public var summary: StaticString {
        switch self {
        case .text: "the text of the tokens and nothing else"
        case .sseText: "EventSource: a token an event, `event: done` at the end"
        case .sseJSON: "EventSource: a JSON object an event"
        case .ndjson: "a JSON object a line, the same as sse-json"
        case .openAIChat: "OpenAI's chat SDKs"
        case .openAIResponses: "OpenAI's responses SDKs"
        case .openAICompletions: "OpenAI's legacy text completions"
        case .anthropic: "Anthropic's SDKs"
        case .gemini: "Google's SDKs"
        case .ollamaChat: "Ollama's chat clients"
        case .ollamaGenerate: "Ollama's generate clients"
        case .cohere: "Cohere's v2 SDKs"
        case .vercelUI: "useChat of the AI SDK 5 and later"
        case .vercelData: "useChat of the AI SDK 3.4 and 4"
        case .agUI: "AG-UI front ends"
        case .mlflow: "clients of MLflow's AI gateway"
        case .passthrough: "the upstream's bytes, untouched"
        }
    }
}

extension RequestFormat {
    /// Who sends it, in words.
    public var summary: StaticString {
        switch self {
        case .openAIChat: "OpenAI chat completions"
        case .openAIResponses: "OpenAI responses"
        case .openAICompletions: "OpenAI legacy text completions"
        case .anthropic: "Anthropic messages"
        case .gemini: "Gemini generateContent"
        case .ollamaChat: "Ollama chat"
        case .ollamaGenerate: "Ollama generate"
        case .cohere: "Cohere chat, v2"
        case .vercelUI: "useChat and useCompletion of the AI SDK"
        case .agUI: "AG-UI run input"
        case .prompt: "a prompt: JSON, plain text, or GET with ?prompt="
        case .run: "a workflow run: {\"input\": …}"
        case .passthrough: "any bytes, untouched"
        }
    }
}
