import SluiceBytes
import SluiceStreams

/// Amazon Bedrock's Converse: blocks of text without a start, tool calls with one, usage behind the stop.
struct BedrockConverseWire: DemoWire {
    let answer: DemoAnswer
    let contentType = "application/vnd.amazon.eventstream"
    private var block = 0
    private var isOpen = false
    private var count = 0

    init(answer: DemoAnswer) { self.answer = answer }

    mutating func write(_ part: DemoAnswer.Part) -> [UInt8] {
        switch part {
        case .start: return frame("messageStart", ["role": "assistant"])
        case .reasoning(let token): return delta(["reasoningContent": ["text": JSONValue(token)]])
        case .reasoningEnd: return delta(["reasoningContent": ["signature": "ZGVtbw=="]]) + close()
        case .text(let token): return delta(["text": JSONValue(token)])
        case .callStart:
            guard let call = answer.call else { return [] }
            let start = close()
            isOpen = true
            let use: JSONValue = ["toolUseId": JSONValue(call.id), "name": JSONValue(call.name)]
            return start
                + frame("contentBlockStart", ["start": ["toolUse": use], "contentBlockIndex": JSONValue(block)])
        case .arguments(let fragment): return delta(["toolUse": ["input": JSONValue(fragment)]])
        case .callEnd: return close()
        case .finish: return close() + frame("messageStop", ["stopReason": stopReason])
        case .usage: return frame("metadata", ["usage": usage, "metrics": metrics])
        case .end: return []
        }
    }

    func document() -> JSONValue {
        var content: [JSONValue] = []
        if !answer.reasoning.isEmpty {
            let text: JSONValue = ["text": JSONValue(answer.wholeReasoning), "signature": "ZGVtbw=="]
            content.append(["reasoningContent": ["reasoningText": text]])
        }
        if !answer.text.isEmpty { content.append(["text": JSONValue(answer.wholeText)]) }
        if let call = answer.call {
            let use: JSONValue = [
                "toolUseId": JSONValue(call.id), "name": JSONValue(call.name), "input": call.arguments,
            ]
            content.append(["toolUse": use])
        }
        return [
            "output": ["message": ["role": "assistant", "content": .array(content)]], "stopReason": stopReason,
            "usage": usage, "metrics": metrics,
        ]
    }

    // MARK: - Parts

    private var stopReason: JSONValue { answer.call == nil ? "end_turn" : "tool_use" }
    private var metrics: JSONValue { ["latencyMs": 500] }
    private var usage: JSONValue {
        let (input, output) = (answer.inputTokens, answer.outputTokens)
        return [
            "inputTokens": JSONValue(input), "outputTokens": JSONValue(output),
            "totalTokens": JSONValue(input + output),
        ]
    }

    private mutating func delta(_ delta: JSONValue) -> [UInt8] {
        isOpen = true
        return frame("contentBlockDelta", ["contentBlockIndex": JSONValue(block), "delta": delta])
    }

    private mutating func close() -> [UInt8] {
        guard isOpen else { return [] }
        isOpen = false
        defer { block += 1 }
        return frame("contentBlockStop", ["contentBlockIndex": JSONValue(block)])
    }

    private mutating func frame(_ type: String, _ payload: JSONValue) -> [UInt8] {
        count += 1
        // Against those who measure: each payload is padded by another length.
        let padding = String("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".prefix(count &* 17 % 52))
        var payload = payload
        payload["p"] = JSONValue(padding)
        return AWSFrame.event(type, payload.serialized())
    }
}

/// Amazon Bedrock's InvokeModelWithResponseStream, of Anthropic's models: their own events, in base64, in frames.
struct BedrockInvokeWire: DemoWire {
    private var events: EncodedWire
    let contentType = "application/vnd.amazon.eventstream"

    init(_ answer: DemoAnswer, _ request: DemoRequest) { events = EncodedWire(.anthropic, answer, request) }

    mutating func write(_ part: DemoAnswer.Part) -> [UInt8] {
        let prefix = Array("data: ".utf8)
        return events.write(part).split(separator: ASCII.lf).filter { $0.starts(with: prefix) }.flatMap { line in
            let payload: JSONValue = [
                "bytes": .string(JSONString(raw: AWSFrame.base64(line.dropFirst(prefix.count))[...])),
                "p": "abcdefghijklmnop",
            ]
            return AWSFrame.event("chunk", payload.serialized())
        }
    }

    func document() -> JSONValue { events.document() }
}
