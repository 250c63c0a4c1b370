import SluiceBytes

/// A decoder of one dialect, as a type without parameters: behind `any StreamDecoder` the compiler specialises such types only,
/// and an unspecialised decoder costs a fifth more a token (Tests/Benchmarks).
protocol DialectDecoder: StreamDecoder {
    associatedtype Inner: StreamDecoder
    var inner: Inner { get set }
}

extension DialectDecoder {
    var progress: StreamProgress { inner.progress }

    mutating func feed(_ chunk: Span<UInt8>, into batch: inout EventBatch) throws(StreamError) {
        try inner.feed(chunk, into: &batch)
    }

    mutating func finish(into batch: inout EventBatch) throws(StreamError) { try inner.finish(into: &batch) }
}

struct OpenAIChatDecoder: DialectDecoder { var inner: EventStreamDecoder<OpenAIChatDialect> }
struct OpenAICompletionsDecoder: DialectDecoder { var inner: EventStreamDecoder<OpenAICompletionsDialect> }
struct OpenAIResponsesDecoder: DialectDecoder { var inner: EventStreamDecoder<OpenAIResponsesDialect> }
struct AnthropicMessagesDecoder: DialectDecoder { var inner: EventStreamDecoder<AnthropicMessagesDialect> }
struct AnthropicCompletionDecoder: DialectDecoder { var inner: EventStreamDecoder<AnthropicCompletionDialect> }
struct CohereV1Decoder: DialectDecoder { var inner: LineStreamDecoder<CohereV1Dialect> }
struct CohereV2Decoder: DialectDecoder { var inner: EventStreamDecoder<CohereV2Dialect> }
struct OllamaChatDecoder: DialectDecoder { var inner: LineStreamDecoder<OllamaChatDialect> }
struct OllamaGenerateDecoder: DialectDecoder { var inner: LineStreamDecoder<OllamaGenerateDialect> }
struct TGIDecoder: DialectDecoder { var inner: EventStreamDecoder<TGIDialect> }
struct LlamaCPPDecoder: DialectDecoder { var inner: EventStreamDecoder<LlamaCPPDialect> }
struct ReplicateDecoder: DialectDecoder { var inner: EventStreamDecoder<ReplicateDialect> }
struct WatsonxDecoder: DialectDecoder { var inner: EventStreamDecoder<WatsonxDialect> }
struct BedrockConverseDecoder: DialectDecoder { var inner: BedrockDecoder<BedrockConverseDialect> }
struct BedrockInvokeDecoder: DialectDecoder { var inner: BedrockDecoder<BedrockInvokeDialect> }
