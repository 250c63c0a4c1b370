import SluiceBytes
import SluiceStreams

/// Anthropic's legacy text completions, version 2023-06-01: named events, each with a delta.
struct AnthropicCompletionWire: DemoWire {
    let answer: DemoAnswer
    let contentType = "text/event-stream; charset=utf-8"

    mutating func write(_ part: DemoAnswer.Part) -> [UInt8] {
        switch part {
        case .start: Self.sse(["type": "ping"], event: "ping")
        case .text(let token): Self.sse(completion(token, stop: .null), event: "completion")
        case .finish: Self.sse(completion("", stop: "stop_sequence"), event: "completion")
        default: []
        }
    }

    func document() -> JSONValue { completion(" " + answer.wholeText, stop: "stop_sequence") }

    private func completion(_ text: String, stop: JSONValue) -> JSONValue {
        [
            "type": "completion", "id": JSONValue(answer.id), "completion": JSONValue(text), "stop_reason": stop,
            "model": JSONValue(answer.model), "stop": stop.isNull ? nil : "\n\nHuman:", "log_id": JSONValue(answer.id),
        ]
    }
}

/// Hugging Face's text generation inference: no space behind `data:`, a special token at the end that repeats the whole text.
struct TGIWire: DemoWire {
    let answer: DemoAnswer
    let contentType = "text/event-stream"
    private var count = 0

    init(answer: DemoAnswer) { self.answer = answer }

    mutating func write(_ part: DemoAnswer.Part) -> [UInt8] {
        switch part {
        case .text(let token): event(token)
        case .finish: event("</s>", isLast: true)
        default: []
        }
    }

    func document() -> JSONValue { ["generated_text": JSONValue(answer.wholeText), "details": details] }

    private var details: JSONValue {
        [
            "finish_reason": "eos_token", "generated_tokens": JSONValue(answer.text.count + 1),
            "input_length": JSONValue(answer.inputTokens), "seed": nil,
        ]
    }

    private mutating func event(_ token: String, isLast: Bool = false) -> [UInt8] {
        count += 1
        let event: JSONValue = [
            "index": JSONValue(count),
            "token": [
                "id": JSONValue(isLast ? 2 : 100 + count), "text": JSONValue(token), "logprob": .number("-0.5"),
                "special": .bool(isLast),
            ],
            "generated_text": isLast ? JSONValue(answer.wholeText) : nil, "details": isLast ? details : nil,
        ]
        return Array("data:\(Self.bytes(event))\n\n".utf8)
    }
}

/// llama.cpp's own completion.
struct LlamaCPPWire: DemoWire {
    let answer: DemoAnswer
    let contentType = "text/event-stream"

    mutating func write(_ part: DemoAnswer.Part) -> [UInt8] {
        switch part {
        case .text(let token):
            Self.sse(["index": 0, "content": JSONValue(token), "tokens": [], "stop": false, "id_slot": 0])
        case .finish: Self.sse(last(content: ""))
        default: []
        }
    }

    func document() -> JSONValue { last(content: answer.wholeText) }

    private func last(content: String) -> JSONValue {
        [
            "index": 0, "content": JSONValue(content), "tokens": [], "id_slot": 0, "stop": true,
            "model": JSONValue(answer.model), "tokens_predicted": JSONValue(answer.outputTokens),
            "tokens_evaluated": JSONValue(answer.inputTokens), "truncated": false, "stop_type": "eos",
            "stopping_word": "",
        ]
    }
}

/// Replicate's event stream: the text as it is, in as many `data:` lines as it has lines.
struct ReplicateWire: DemoWire {
    let answer: DemoAnswer
    let contentType = "text/event-stream"
    private var count = 0

    init(answer: DemoAnswer) { self.answer = answer }

    mutating func write(_ part: DemoAnswer.Part) -> [UInt8] {
        switch part {
        case .text(let token): event("output", token)
        case .end: event("done", "{}")
        default: []
        }
    }

    func document() -> JSONValue {
        [
            "id": JSONValue(answer.id), "model": JSONValue(answer.model), "status": "succeeded", "error": nil,
            "output": .array(answer.text.map { JSONValue($0) }),
            "metrics": [
                "input_token_count": JSONValue(answer.inputTokens),
                "output_token_count": JSONValue(answer.outputTokens),
            ],
        ]
    }

    private mutating func event(_ name: String, _ data: String) -> [UInt8] {
        let lines = data.split(separator: "\n", omittingEmptySubsequences: false).map { "data: \($0)\n" }.joined()
        defer { count += 1 }
        return Array("event: \(name)\nid: \(answer.created):\(count)\n\(lines)\n".utf8)
    }
}

/// IBM's watsonx.ai text generation.
struct WatsonxWire: DemoWire {
    let answer: DemoAnswer
    let contentType = "text/event-stream"
    private var count = 0

    init(answer: DemoAnswer) { self.answer = answer }

    mutating func write(_ part: DemoAnswer.Part) -> [UInt8] {
        switch part {
        case .start: event("", input: answer.inputTokens, stop: "not_finished")
        case .text(let token): event(token, input: 0, stop: "not_finished")
        case .finish: event("", input: 0, stop: "eos_token")
        default: []
        }
    }

    func document() -> JSONValue {
        results(answer.wholeText, input: answer.inputTokens, output: answer.outputTokens, stop: "eos_token")
    }

    private mutating func event(_ text: String, input: Int, stop: String) -> [UInt8] {
        let tokens = min(count, answer.text.count)
        count += 1
        let data = Self.bytes(results(text, input: input, output: tokens, stop: stop))
        return Array("id: \(count)\nevent: message\ndata: \(data)\n\n".utf8)
    }

    private func results(_ text: String, input: Int, output: Int, stop: String) -> JSONValue {
        let result: JSONValue = [
            "generated_text": JSONValue(text), "generated_token_count": JSONValue(output),
            "input_token_count": JSONValue(input), "stop_reason": JSONValue(stop),
        ]
        return [
            "model_id": JSONValue(answer.model), "created_at": "2025-01-31T12:00:00.000Z", "results": [result],
        ]
    }
}
