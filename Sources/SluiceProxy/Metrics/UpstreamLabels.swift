import SluiceConfig
import SluiceStreams

/// What OpenTelemetry's conventions for generative AI say of a provider, as labels: the same for all requests to it.
struct UpstreamLabels: Sendable, Equatable {
    /// Its name in the configuration.
    let upstream: String
    /// `gen_ai.operation.name`
    let operation: String
    /// `gen_ai.provider.name`
    let provider: String
    /// `server.address` and `server.port`
    let address: String
    let port: Int

    init(_ spec: UpstreamSpec) {
        upstream = spec.name
        (address, port) = (spec.url.unixPath ?? spec.url.host, spec.url.port)
        let dialect = spec.wire.requestDialect
        operation = Self.operation(dialect)
        provider = Self.provider(dialect, host: spec.url.host)
    }

    private static func operation(_ dialect: Dialect) -> String {
        switch dialect {
        case .openAICompletions, .anthropicCompletion, .ollamaGenerate, .tgi, .llamaCPP, .watsonx, .replicate:
            "text_completion"
        case .gemini: "generate_content"
        default: "chat"
        }
    }

    /// Hosts of providers that speak the words of another.
    private static let hosts = [
        ("api.openai.com", "openai"), (".openai.azure.com", "azure.ai.openai"),
        (".services.ai.azure.com", "azure.ai.inference"), ("api.groq.com", "groq"), ("api.mistral.ai", "mistral_ai"),
        ("api.deepseek.com", "deepseek"), ("api.x.ai", "x_ai"), ("api.perplexity.ai", "perplexity"),
        ("api.moonshot.ai", "moonshot_ai"), ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ]

    /// A well-known value of the conventions where there is one, else the provider whose words are spoken.
    private static func provider(_ dialect: Dialect, host: String) -> String {
        if let known = hosts.first(where: { host.hasSuffix($0.0) }) { return known.1 }
        return switch dialect {
        case .openAIChat, .openAICompletions, .openAIResponses, .auto: "openai"
        case .anthropicMessages, .anthropicCompletion: "anthropic"
        case .cohereV1, .cohereV2: "cohere"
        case .gemini: "gcp.gemini"
        case .ollamaChat, .ollamaGenerate: "ollama"
        case .bedrockConverse, .bedrockInvoke: "aws.bedrock"
        case .watsonx: "ibm.watsonx.ai"
        case .tgi, .llamaCPP, .replicate, .mlflow, .text, .raw: dialect.rawValue
        }
    }
}
