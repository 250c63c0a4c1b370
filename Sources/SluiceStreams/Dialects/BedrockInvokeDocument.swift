import SluiceBytes

/// Whole answers of the models whose answer is text in one member: as in a stream, and for Titan in `results`, for
/// Cohere in `generations`.
extension BedrockInvokeDialect {
    mutating func readText(_ document: JSONValue, into batch: inout EventBatch) -> Bool {
        let lists = ["results", "generations", "outputs", "choices"].compactMap { document[$0]?.elements }
        let pieces = lists.first ?? [document]
        guard pieces.contains(where: { Self.text($0) != nil || $0["message"]?.members != nil }) else { return false }
        let (id, model) = (document["id"]?.string ?? "", document["model"]?.string ?? "")
        answer.start(id: id.span, model: model.span, into: &batch)
        for (choice, piece) in pieces.enumerated() { read(piece, choice: choice, into: &batch) }
        var usage = Usage(
            input: Self.count(document, ["prompt_token_count", "inputTextTokenCount"]),
            output: Self.count(document, ["generation_token_count"]))
        if let counts = document["usage"] {
            usage = Usage(
                input: Self.count(counts, ["prompt_tokens"]), output: Self.count(counts, ["completion_tokens"]))
        }
        usage.output = usage.output ?? pieces.first.flatMap { Self.count($0, ["tokenCount"]) }
        answer.usage(usage, into: &batch)
        return true
    }

    private mutating func read(_ piece: JSONValue, choice: Int, into batch: inout EventBatch) {
        if let thought = piece["message"]?["reasoning_content"]?.string {
            answer.reasoning(thought.span, choice: choice, into: &batch)
        }
        if let text = Self.text(piece) { answer.text(text.span, choice: choice, into: &batch) }
        for (key, call) in (piece["message"]?["tool_calls"]?.elements ?? []).enumerated() {
            let (id, name) = (call["id"]?.string ?? "", call["function"]?["name"]?.string ?? "")
            answer.openCall(key: key, id: id.span, name: name.span, choice: choice, into: &batch)
            if let arguments = call["function"]?["arguments"]?.string {
                answer.arguments(key: key, arguments.span, choice: choice, into: &batch)
            }
        }
        let word = ["stop_reason", "completionReason", "finish_reason"].lazy.compactMap { piece[$0]?.string }.first
        if let word { answer.finish(Self.reason(word.span), raw: word.span, choice: choice, into: &batch) }
    }

    private static func text(_ piece: JSONValue) -> JSONString? {
        let names = ["generation", "outputText", "text", "completion"]
        return names.lazy.compactMap { piece[$0]?.string }.first ?? piece["message"]?["content"]?.string
    }

    private static func count(_ value: JSONValue, _ names: [String]) -> Int? {
        names.lazy.compactMap { value[$0]?.integer }.first
    }
}
