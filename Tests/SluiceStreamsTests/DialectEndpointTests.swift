import SluiceStreams
import Testing

/// Where requests go.
@Suite struct DialectEndpointTests {
    @Test(arguments: [
        (Dialect.openAIChat, "/v1", "m", "/v1/chat/completions"), (.openAIChat, "", "m", "/chat/completions"),
        (.openAIResponses, "/v1", "m", "/v1/responses"), (.openAICompletions, "/v1", "m", "/v1/completions"),
        (.anthropicMessages, "", "m", "/v1/messages"), (.anthropicMessages, "/v1", "m", "/v1/messages"),
        (.anthropicMessages, "/proxy/v1", "m", "/proxy/v1/messages"), (.anthropicCompletion, "", "", "/v1/complete"),
        (.cohereV1, "", "m", "/v1/chat"), (.cohereV2, "", "m", "/v2/chat"), (.cohereV2, "/v2", "m", "/v2/chat"),
        (.gemini, "", "gemini-x", "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"),
        (.gemini, "/v1beta", "models/gemini-x", "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"),
        (
            .gemini, "/v1/projects/p/locations/l/publishers/google", "g",
            "/v1/projects/p/locations/l/publishers/google/models/g:streamGenerateContent?alt=sse"
        ),
        (.ollamaChat, "", "m", "/api/chat"), (.ollamaGenerate, "/api", "m", "/api/generate"),
        (.bedrockConverse, "", "anthropic.claude-v2:1", "/model/anthropic.claude-v2%3A1/converse-stream"),
        (.bedrockInvoke, "", "a/b c", "/model/a%2Fb%20c/invoke-with-response-stream"),
        (.tgi, "", "", "/generate_stream"), (.llamaCPP, "", "", "/completion"),
        (.replicate, "", "meta/llama", "/v1/models/meta/llama/predictions"), (.replicate, "", "v:1", "/v1/predictions"),
        (.watsonx, "", "m", "/ml/v1/text/generation_stream?version=2024-05-31"),
        (.mlflow, "/gateway/chat", "", "/gateway/chat/invocations"),
    ])
    func targets(dialect: Dialect, base: String, model: String, target: String) {
        #expect(dialect.target(base: base, model: model, stream: true) == target)
    }

    @Test func documentsHaveOtherTargets() {
        #expect(Dialect.gemini.target(base: "", model: "g", stream: false) == "/v1beta/models/g:generateContent")
        #expect(Dialect.bedrockConverse.target(base: "", model: "m", stream: false) == "/model/m/converse")
        #expect(Dialect.tgi.target(base: "", model: "", stream: false) == "/generate")
    }

    /// A request format and the response format of the same name are one language.
    @Test func formatsOfAProviderAnswerAsItDoes() {
        for format in RequestFormat.allCases {
            guard let response = StreamFormat(rawValue: format.rawValue) else { continue }
            #expect(format.response == response)
        }
        #expect(RequestFormat.prompt.response == .text)
    }
}
