import SluiceBytes

/// Bedrock's ConverseStream.
struct BedrockConverseDialect: EventDialect {
    var answer = AnswerState()

    mutating func decode(_ data: Span<UInt8>, type: Span<UInt8>, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        throw .malformed("this dialect is not read yet", offset: offset)
    }
}
