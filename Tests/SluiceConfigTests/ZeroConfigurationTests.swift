import SluiceConfig
import SluiceStreams
import Testing

/// What the environment alone makes. Which request goes where is proven with the SDKs (`Tests/EndToEnd/test_zero.py`).
@Suite struct ZeroConfigurationTests {
    private func configuration(_ environment: [String: String], listen: String? = nil) throws -> Configuration {
        try ConfigurationLoader.zeroConfiguration(
            environment: environment, listen: listen, demoURL: "http://127.0.0.1:9/v1")
    }

    private func faults(_ environment: [String: String], listen: String? = nil) -> String {
        do {
            _ = try configuration(environment, listen: listen)
            return ""
        } catch {
            return (error as? ConfigurationFaults)?.issues.map(\.message).joined() ?? "\(error)"
        }
    }

    @Test func listensForThisMachineOnly() throws {
        #expect(try configuration([:]).listeners.map(\.address) == ["127.0.0.1:8080"])
        #expect(try configuration(["GROQ_API_KEY": "k"]).listeners.map(\.address) == ["127.0.0.1:8080"])
        #expect(try configuration([:], listen: "0.0.0.0:80").listeners.map(\.address) == ["0.0.0.0:80"])
    }

    @Test func pagesOfOthersAreKeptOutWhereKeysAre() throws {
        #expect(
            try configuration(["GROQ_API_KEY": "k"]).keepsForeignPagesOut && !configuration([:]).keepsForeignPagesOut)
    }

    @Test(arguments: [
        (["OPENAI_API_KEY": "k"], "https://api.openai.com/v1"),
        (["AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": "https://x.example/"], "https://x.example/openai/v1"),
        (["GROQ_API_KEY": "k", "GROQ_BASE_URL": "http://h/openai/v1"], "http://h/openai/v1"),
        (["GROQ_API_KEY": "k"], "https://api.groq.com/openai/v1"),
        (["MISTRAL_API_KEY": "k"], "https://api.mistral.ai/v1"),
        (["COHERE_API_KEY": "k"], "https://api.cohere.com"), (["XAI_API_KEY": "k"], "https://api.x.ai/v1"),
        (["ANTHROPIC_AUTH_TOKEN": "k"], "https://api.anthropic.com"),
        (["GOOGLE_API_KEY": "k"], "https://generativelanguage.googleapis.com"),
        (
            ["AWS_BEARER_TOKEN_BEDROCK": "k", "AWS_REGION": "eu-central-1"],
            "https://bedrock-runtime.eu-central-1.amazonaws.com"
        ),
        (["OLLAMA_HOST": "0.0.0.0"], "http://127.0.0.1:11434"), (["OLLAMA_HOST": ":1"], "http://127.0.0.1:1"),
        (["OLLAMA_HOST": "h:2"], "http://h:2"), (["OLLAMA_HOST": "[::1]:3"], "http://[::1]:3"),
        (["OLLAMA_HOST": "[::1]"], "http://[::1]:11434"), (["OLLAMA_HOST": "https://ollama.com"], "https://ollama.com"),
    ])
    func addresses(environment: [String: String], url: String) throws {
        #expect(try configuration(environment).upstreams.first?.url == UpstreamURL(url))
    }

    @Test(arguments: [
        (["AZURE_OPENAI_API_KEY": "k"], "AZURE_OPENAI_ENDPOINT"), (["AWS_BEARER_TOKEN_BEDROCK": "k"], "AWS_REGION"),
        (["AWS_BEARER_TOKEN_BEDROCK": "k", "AWS_REGION": "h/"], "'h/' is no region"),
        (["OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "h"], "OPENAI_BASE_URL"),
        (["OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://u:secret@h"], "***@h"),
        (["OLLAMA_HOST": "127.0.0.1:8080"], "this proxy's own address"),
    ])
    func whatIsWrongIsNamed(environment: [String: String], words: String) {
        let told = faults(environment)
        #expect(told.contains(words) && !told.contains("secret"), "\(told)")
    }

    @Test func anotherPortIsSomebodyElse() {
        #expect(faults(["OLLAMA_HOST": "127.0.0.1:8080"], listen: "127.0.0.1:9090").isEmpty)
    }

    @Test func keysAreWhereTheProviderTakesThem() throws {
        let azure = try configuration(["AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": "http://h"]).upstreams[0]
        #expect(azure.apiKey == nil && azure.headers.map(\.name) == ["api-key"])
        let token = try configuration(["ANTHROPIC_AUTH_TOKEN": "k"]).upstreams[0]
        #expect(token.apiKey == nil && token.headers.first?.value.revealed == "Bearer k")
        let both = try configuration(["ANTHROPIC_AUTH_TOKEN": "t", "ANTHROPIC_API_KEY": "k"]).upstreams[0]
        #expect(both.apiKey?.revealed == "k" && both.headers.isEmpty)
    }

    @Test func theSummaryHasNoKey() {
        let summary = ConfigurationLoader.zeroSummary(environment: ["OPENAI_API_KEY": "canary", "CO_API_KEY": "canary"])
        #expect(
            summary.map { $0["upstream"] } == ["openai", "cohere"]
                && summary.map { $0["from"] ?? "" }.contains("CO_API_KEY"))
        #expect(!"\(summary)".contains("canary"))
    }

    /// Each route but the last of its path says which requests are its own.
    @Test func noRouteHidesAnother() throws {
        let everything = [
            "OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k", "GEMINI_API_KEY": "k", "CO_API_KEY": "k",
            "MISTRAL_API_KEY": "k",
            "GROQ_API_KEY": "k", "DEEPSEEK_API_KEY": "k", "XAI_API_KEY": "k", "TOGETHER_API_KEY": "k",
            "OPENROUTER_API_KEY": "k", "AWS_BEARER_TOKEN_BEDROCK": "k", "AWS_REGION": "eu-west-1", "OLLAMA_HOST": "h",
        ]
        for environment in [everything, ["ANTHROPIC_API_KEY": "k"], ["OLLAMA_HOST": "h"], [:]] {
            var seen: Set<String> = []
            for route in try configuration(environment).routes {
                let conditions = route.conditions.map { "\($0.subject)=\($0.glob)" }.sorted()
                let key = "\(route.label) \(route.methods) \(conditions)"
                #expect(seen.insert(key).inserted, "\(key)")
            }
        }
    }
}
