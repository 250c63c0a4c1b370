import SluiceBytes

/// Ollama's `/api/generate`: JSON lines as those of its chat, with the text under `response`.
struct OllamaGenerateDialect: EventDialect {
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
        let isAnswer = document["done"]?.bool == true && document["response"]?.string != nil
        guard isAnswer || document["error"] != nil else { return false }
        return decode(asEvent: document, into: &batch)
    }
}
