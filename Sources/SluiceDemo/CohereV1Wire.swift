import SluiceStreams

/// Cohere's chat, version 1: JSON lines; a tool call comes whole, and the last line repeats the whole answer.
struct CohereV1Wire: DemoWire {
    let answer: DemoAnswer
    let contentType = "application/stream+json"

    mutating func write(_ part: DemoAnswer.Part) -> [UInt8] {
        switch part {
        case .start: line("stream-start", ["generation_id": JSONValue(answer.id)])
        case .text(let token): line("text-generation", ["text": JSONValue(token)])
        case .callEnd: line("tool-calls-generation", ["tool_calls": calls])
        case .finish:
            line("stream-end", ["finish_reason": "COMPLETE", "response": document()], isFinished: true)
        default: []
        }
    }

    func document() -> JSONValue {
        var document: JSONValue = [
            "response_id": JSONValue(answer.id), "generation_id": JSONValue(answer.id),
            "text": JSONValue(answer.wholeText), "finish_reason": "COMPLETE",
        ]
        if answer.call != nil { document["tool_calls"] = calls }
        let (input, output) = (JSONValue(answer.inputTokens), JSONValue(answer.outputTokens))
        document["meta"] = [
            "api_version": ["version": "1"], "billed_units": ["input_tokens": input, "output_tokens": output],
            "tokens": ["input_tokens": input, "output_tokens": output],
        ]
        return document
    }

    private var calls: JSONValue {
        answer.call.map { [["name": JSONValue($0.name), "parameters": $0.arguments]] } ?? []
    }

    private func line(_ type: String, _ rest: JSONValue, isFinished: Bool = false) -> [UInt8] {
        let head: JSONValue = ["is_finished": .bool(isFinished), "event_type": JSONValue(type)]
        return Self.line(.object((head.members ?? []) + (rest.members ?? [])))
    }
}
