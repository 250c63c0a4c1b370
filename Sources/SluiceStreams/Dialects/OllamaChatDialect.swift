import SluiceBytes

/// Ollama's `/api/chat`: JSON lines, the last of which says `done`. Times differ in every line, so no two are alike
/// around the text.
struct OllamaChatDialect: EventDialect {
    var answer = AnswerState()

    static var usesTemplate: Bool { false }

    mutating func decode(_ data: Span<UInt8>, type: Span<UInt8>, at offset: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        var line = OllamaLine()
        guard line.read(data) else { throw .malformed("a line is not a JSON object", offset: offset) }
        line.tell(data, to: &answer, into: &batch)
    }

    /// The one object that stands for all lines.
    mutating func decode(document: JSONValue, into batch: inout EventBatch) -> Bool {
        let isAnswer = document["done"]?.bool == true && document["message"]?.members != nil
        guard isAnswer || document["error"] != nil else { return false }
        return decode(asEvent: document, into: &batch)
    }
}
