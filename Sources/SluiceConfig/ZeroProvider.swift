import SluiceStreams

/// A provider that is served where no file is given, if the variables of its own SDK are set.
struct ZeroProvider: Sendable {
    let name: String
    /// The first is what other formats are translated into; the others are its own paths.
    let dialects: [Dialect]
    /// Variables that hold its key; the first that is set counts.
    let keys: [String]
    /// The variable of its address, and where it is without that.
    let baseVariable: String
    let base: String
    /// What the SDK puts behind its variable's address.
    var suffix = ""
    /// What stands in front of its other endpoints, behind the address.
    var version = ""
    /// Models that are its own; empty: any may be.
    var models: [String] = []
    /// For clients that name none, such as `useChat`.
    var fallbackModel: String?
    /// Further headers, and the variables of their values.
    var headers: [(name: String, variable: String)] = []

    /// It has endpoints as OpenAI has, behind `/v1`.
    var isOpenAIsKin: Bool { dialects.first == .openAIChat }

    static let all = [
        ZeroProvider(
            name: "openai", dialects: [.openAIChat, .openAIResponses, .openAICompletions], keys: ["OPENAI_API_KEY"],
            baseVariable: "OPENAI_BASE_URL", base: "https://api.openai.com/v1",
            models: ["gpt-*", "o1*", "o3*", "o4*", "chatgpt-*", "codex-*", "ft:*"], fallbackModel: "gpt-4o-mini",
            headers: [("OpenAI-Organization", "OPENAI_ORG_ID"), ("OpenAI-Project", "OPENAI_PROJECT_ID")]),
        ZeroProvider(
            name: "azure", dialects: [.openAIChat, .openAIResponses], keys: [], baseVariable: "AZURE_OPENAI_ENDPOINT",
            base: "", suffix: "/openai/v1", fallbackModel: "gpt-4o-mini", headers: [("api-key", "AZURE_OPENAI_API_KEY")]
        ),
        ZeroProvider(
            name: "anthropic", dialects: [.anthropicMessages], keys: ["ANTHROPIC_API_KEY"],
            baseVariable: "ANTHROPIC_BASE_URL", base: "https://api.anthropic.com", version: "/v1", models: ["claude*"],
            fallbackModel: "claude-3-5-haiku-latest"),
        ZeroProvider(
            name: "gemini", dialects: [.gemini],
            keys: ["GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY"],
            baseVariable: "GOOGLE_GEMINI_BASE_URL", base: "https://generativelanguage.googleapis.com",
            version: "/v1beta", models: ["gemini-*", "gemma-*", "models/*"], fallbackModel: "gemini-2.0-flash"),
        ZeroProvider(
            name: "mistral", dialects: [.openAIChat], keys: ["MISTRAL_API_KEY"], baseVariable: "MISTRAL_BASE_URL",
            base: "https://api.mistral.ai", suffix: "/v1",
            models: [
                "mistral-*", "ministral-*", "magistral-*", "codestral-*", "devstral-*", "pixtral-*", "voxtral-*",
                "open-mi*",
            ],
            fallbackModel: "mistral-small-latest"),
        ZeroProvider(
            name: "cohere", dialects: [.cohereV2], keys: ["CO_API_KEY", "COHERE_API_KEY"], baseVariable: "CO_API_URL",
            base: "https://api.cohere.com", models: ["command*", "c4ai-*"], fallbackModel: "command-r"),
        ZeroProvider(
            name: "groq", dialects: [.openAIChat], keys: ["GROQ_API_KEY"], baseVariable: "GROQ_BASE_URL",
            base: "https://api.groq.com", suffix: "/openai/v1", fallbackModel: "llama-3.3-70b-versatile"),
        ZeroProvider(
            name: "deepseek", dialects: [.openAIChat], keys: ["DEEPSEEK_API_KEY"], baseVariable: "DEEPSEEK_BASE_URL",
            base: "https://api.deepseek.com", models: ["deepseek-*"], fallbackModel: "deepseek-chat"),
        ZeroProvider(
            name: "xai", dialects: [.openAIChat, .openAIResponses], keys: ["XAI_API_KEY"], baseVariable: "XAI_BASE_URL",
            base: "https://api.x.ai/v1", models: ["grok-*"], fallbackModel: "grok-3-mini"),
        ZeroProvider(
            name: "together", dialects: [.openAIChat, .openAICompletions], keys: ["TOGETHER_API_KEY"],
            baseVariable: "TOGETHER_BASE_URL", base: "https://api.together.xyz/v1",
            fallbackModel: "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
        ZeroProvider(
            name: "openrouter", dialects: [.openAIChat], keys: ["OPENROUTER_API_KEY"],
            baseVariable: "OPENROUTER_BASE_URL", base: "https://openrouter.ai/api/v1",
            fallbackModel: "openrouter/auto"),
        ZeroProvider(
            name: "bedrock", dialects: [.bedrockConverse], keys: ["AWS_BEARER_TOKEN_BEDROCK"],
            baseVariable: "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", base: "",
            models: ["*.anthropic.*", "anthropic.*", "*.amazon.*", "amazon.*", "*.meta.*", "meta.*"],
            fallbackModel: "amazon.nova-lite-v1:0"),
        ZeroProvider(
            name: "ollama", dialects: [.ollamaChat, .ollamaGenerate], keys: ["OLLAMA_API_KEY"],
            baseVariable: "OLLAMA_HOST", base: ""),
    ]
}

/// The environment as the providers' SDKs read it: an empty variable is none.
struct ZeroEnvironment {
    let variables: [String: String]

    func text(_ name: String) -> String? { variables[name].flatMap { $0.isEmpty ? nil : $0 } }

    /// The variable that makes this provider one that is served; nil: it is not.
    func trigger(_ provider: ZeroProvider) -> String? {
        switch provider.name {
        case "ollama": text("OLLAMA_HOST") == nil ? nil : "OLLAMA_HOST"
        case "azure": text("AZURE_OPENAI_API_KEY") == nil ? nil : "AZURE_OPENAI_API_KEY"
        case "anthropic":
            (provider.keys + ["ANTHROPIC_AUTH_TOKEN"]).first { text($0) != nil }
        default: provider.keys.first { text($0) != nil }
        }
    }

    /// Its address, with what its SDK would put behind that. Throws which variable is missing or wrong.
    func url(_ provider: ZeroProvider) throws(ConfigurationFaults) -> UpstreamURL {
        var (address, variable) = (text(provider.baseVariable) ?? provider.base, provider.baseVariable)
        switch provider.name {
        case "ollama": address = Self.ollama(address)
        case "azure" where address.isEmpty:
            throw Self.fault("AZURE_OPENAI_API_KEY is set, but not AZURE_OPENAI_ENDPOINT")
        case "bedrock" where address.isEmpty:
            guard let region = ["AWS_REGION", "AWS_DEFAULT_REGION"].first(where: { text($0) != nil }) else {
                throw Self.fault("AWS_BEARER_TOKEN_BEDROCK is set, but not AWS_REGION")
            }
            let name = text(region) ?? ""
            guard name.utf8.allSatisfy({ $0 == 0x2D || (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) })
            else {
                throw Self.fault("'\(name)' is no region (\(region))")
            }
            (address, variable) = ("https://bedrock-runtime.\(name).amazonaws.com", region)
        default: break
        }
        guard var url = UpstreamURL(address) else {
            throw Self.fault("'\(UpstreamURL.withoutSecrets(address))' is no URL of an upstream (\(variable))")
        }
        if !url.basePath.hasSuffix(provider.suffix) { url.basePath += provider.suffix }
        return url
    }

    /// `OLLAMA_HOST` is also what the server listens on: a bare address, with a port of its own.
    private static func ollama(_ text: String) -> String {
        guard !text.contains("://") else { return text }
        var (host, port) = (Substring(text), Substring("11434"))
        if let colon = text.lastIndex(of: ":"), !text.hasSuffix("]"), text[..<colon].last != ":" {
            (host, port) = (text[..<colon], text[text.index(after: colon)...])
        }
        if host.isEmpty || host == "0.0.0.0" { host = "127.0.0.1" }
        return "http://\(host):\(port)"
    }

    static func fault(_ message: String) -> ConfigurationFaults {
        ConfigurationFaults(
            issues: [ConfigurationIssue(file: "environment", line: 0, column: 0, path: "", message: message)])
    }
}
