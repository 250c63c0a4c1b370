import SluiceBytes
import SluiceStreams

/// How one provider writes an answer down.
protocol DemoWire {
    /// Of the stream.
    var contentType: String { get }
    /// The bytes of one part; empty if the format has none for it, or waits for more.
    mutating func write(_ part: DemoAnswer.Part) -> [UInt8]
    /// The whole answer, for a client that asks for no stream.
    func document() -> JSONValue
}

extension DemoWire {
    static func bytes(_ json: JSONValue) -> String { String(decoding: json.serialized(), as: UTF8.self) }
    /// An event of a stream.
    static func sse(_ json: JSONValue, event: String? = nil) -> [UInt8] {
        Array("\(event.map { "event: \($0)\n" } ?? "")data: \(bytes(json))\n\n".utf8)
    }
    /// A line.
    static func line(_ json: JSONValue) -> [UInt8] { json.serialized() + [ASCII.lf] }
}

/// OpenAI's chat completions, as OpenAI sends them.
struct OpenAIChatWire: DemoWire {
    let answer: DemoAnswer
    let wantsUsage: Bool
    let contentType = "text/event-stream; charset=utf-8"

    mutating func write(_ part: DemoAnswer.Part) -> [UInt8] {
        switch part {
        case .start: return delta(["role": "assistant", "content": answer.call == nil ? "" : nil, "refusal": nil])
        case .reasoning(let token): return delta(["reasoning_content": JSONValue(token)])
        case .text(let token): return delta(["content": JSONValue(token)])
        case .callStart: return delta(["tool_calls": [call(["arguments": ""])]])
        case .arguments(let fragment):
            return delta(["tool_calls": [["index": 0, "function": ["arguments": JSONValue(fragment)]]]])
        case .finish: return delta(.object([]), finish: JSONValue(finish))
        case .usage: return wantsUsage ? chunk([], usage: usage) : []
        case .end: return Array("data: [DONE]\n\n".utf8)
        case .reasoningEnd, .callEnd: return []
        }
    }

    func document() -> JSONValue {
        var message: JSONValue = [
            "role": "assistant", "content": answer.call == nil ? JSONValue(answer.wholeText) : nil, "refusal": nil,
        ]
        if !answer.reasoning.isEmpty { message["reasoning_content"] = JSONValue(answer.wholeReasoning) }
        if answer.call != nil {
            var call = call(["arguments": JSONValue(answer.argumentsText)])
            call["index"] = nil
            message["tool_calls"] = [call]
        }
        let choice: JSONValue = [
            "index": 0, "message": message, "logprobs": nil, "finish_reason": JSONValue(finish),
        ]
        return head("chat.completion", ["choices": [choice], "usage": usage])
    }

    // MARK: - Parts

    private var finish: String { answer.call == nil ? "stop" : "tool_calls" }

    private var usage: JSONValue {
        let (input, output) = (answer.inputTokens, answer.outputTokens)
        return [
            "prompt_tokens": JSONValue(input), "completion_tokens": JSONValue(output),
            "total_tokens": JSONValue(input + output),
            "completion_tokens_details": ["reasoning_tokens": JSONValue(answer.reasoning.count)],
        ]
    }

    private func call(_ function: JSONValue) -> JSONValue {
        guard let call = answer.call else { return .null }
        let name: JSONValue = ["name": JSONValue(call.name)]
        return [
            "index": 0, "id": JSONValue(call.id), "type": "function",
            "function": .object((name.members ?? []) + (function.members ?? [])),
        ]
    }

    private func head(_ object: String, _ rest: JSONValue) -> JSONValue {
        let head: JSONValue = [
            "id": JSONValue(answer.id), "created": JSONValue(answer.created), "model": JSONValue(answer.model),
            "object": JSONValue(object),
        ]
        return .object((head.members ?? []) + (rest.members ?? []))
    }

    private func delta(_ delta: JSONValue, finish: JSONValue = .null) -> [UInt8] {
        chunk([["index": 0, "delta": delta, "logprobs": nil, "finish_reason": finish]])
    }

    private func chunk(_ choices: JSONValue, usage: JSONValue? = nil) -> [UInt8] {
        var body: JSONValue = ["choices": choices]
        body["usage"] = usage
        return Self.sse(head("chat.completion.chunk", body))
    }
}
