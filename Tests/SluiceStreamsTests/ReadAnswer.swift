import Foundation
import SluiceStreams
import Testing

/// What a client understands of an encoder's bytes, read by Foundation and in the client's manner.
struct ReadAnswer {
    struct Call {
        var id = ""
        var name = ""
        /// JSON text; an object is written as one.
        var arguments = ""
    }
    var text: [Int: String] = [:]
    var reasoning: [Int: String] = [:]
    var refusal: [Int: String] = [:]
    var calls: [Int: [Call]] = [:]
    var finish: [Int: String] = [:]
    var signature = ""
    var usage: [String: Any] = [:]
    var errors: [String] = []
    /// The format's own sign of a true end was there, and the last thing.
    var isWhole = false

    static func read(_ format: StreamFormat, _ out: [UInt8]) throws -> ReadAnswer {
        switch format {
        case .openAIResponses: return try responses(WireEvent.read(out))
        case .openAICompletions: return completions(WireEvent.read(out))
        case .mlflow: return mlflow(WireEvent.read(out))
        case .anthropic: return try anthropic(WireEvent.read(out))
        case .cohere: return cohere(WireEvent.read(out))
        case .gemini: return gemini(WireEvent.read(out).map { json($0.data) })
        case .ollamaChat, .ollamaGenerate: return ollama(lines(out))
        default: return ReadAnswer()
        }
    }

    static func lines(_ out: [UInt8]) -> [[String: Any]] {
        #expect(out.isEmpty || out.last == 10)
        let lines = String(decoding: out, as: UTF8.self).unicodeScalars.split(separator: "\n")
        return lines.map { line in
            let object = json(String(line))
            #expect(!object.isEmpty)
            return object
        }
    }

    /// `{"error":{"message"}}`.
    mutating func takeError(_ object: [String: Any]) -> Bool {
        guard let error = object["error"] else { return false }
        let message = (error as? [String: Any])?["message"] as? String ?? error as? String
        errors.append(message ?? "")
        return true
    }

    static func text(ofArguments value: Any?) -> String {
        guard let object = value as? [String: Any],
            let data = try? JSONSerialization.data(withJSONObject: object, options: .sortedKeys)
        else { return "not an object" }
        return String(decoding: data, as: UTF8.self)
    }
}

// MARK: - OpenAI's legacy completions, MLflow, Gemini, Ollama

extension ReadAnswer {
    private static func completions(_ events: [WireEvent]) -> ReadAnswer {
        var answer = ReadAnswer()
        answer.isWhole = events.last?.data == "[DONE]"
        var heads: Set<String> = []
        for event in events where event.data != "[DONE]" {
            #expect(event.type == "message")
            let chunk = json(event.data)
            if answer.takeError(chunk) { continue }
            #expect(chunk["object"] as? String == "text_completion")
            heads.insert("\(chunk["id"] ?? "") \(chunk["created"] ?? "") \(chunk["model"] ?? "")")
            if let usage = chunk["usage"] as? [String: Any] { answer.usage = usage }
            for choice in chunk["choices"] as? [[String: Any]] ?? [] {
                let index = choice["index"] as? Int ?? -1
                #expect(answer.finish[index] == nil)
                answer.text[index, default: ""] += choice["text"] as? String ?? "no text"
                #expect(choice["logprobs"] is NSNull)
                answer.finish[index] = choice["finish_reason"] as? String
            }
        }
        #expect(heads.count <= 1)
        return answer
    }

    private static func mlflow(_ events: [WireEvent]) -> ReadAnswer {
        var answer = ReadAnswer()
        for event in events {
            #expect(event.type == "message" && event.data != "[DONE]")
            let chunk = json(event.data)
            if answer.takeError(chunk) { continue }
            #expect(Set(chunk.keys) == ["id", "object", "created", "model", "choices", "usage"])
            #expect(chunk["object"] as? String == "chat.completion.chunk")
            if let usage = chunk["usage"] as? [String: Any] { answer.usage = usage }
            for choice in chunk["choices"] as? [[String: Any]] ?? [] {
                let index = choice["index"] as? Int ?? -1
                let delta = choice["delta"] as? [String: Any] ?? [:]
                #expect(Set(delta.keys) == ["role", "content", "tool_calls"])
                let isFirst = answer.text[index] == nil
                if choice["finish_reason"] is NSNull {
                    #expect((delta["role"] as? String == "assistant") == isFirst)
                }
                answer.text[index, default: ""] += delta["content"] as? String ?? ""
                answer.finish[index] = choice["finish_reason"] as? String
                for call in delta["tool_calls"] as? [[String: Any]] ?? [] {
                    let function = call["function"] as? [String: Any] ?? [:]
                    if let id = call["id"] as? String {
                        let name = function["name"] as? String ?? ""
                        answer.calls[index, default: []].append(Call(id: id, name: name))
                    }
                    let position = call["index"] as? Int ?? -1
                    guard answer.calls[index]?.indices.contains(position) == true else { continue }
                    answer.calls[index]?[position].arguments += function["arguments"] as? String ?? ""
                }
            }
        }
        answer.isWhole = !answer.finish.isEmpty && answer.errors.isEmpty
        return answer
    }

    static func gemini(_ responses: [[String: Any]]) -> ReadAnswer {
        var answer = ReadAnswer()
        for (position, response) in responses.enumerated() {
            if answer.takeError(response) { continue }
            #expect(response["modelVersion"] is String && response["responseId"] is String)
            if let usage = response["usageMetadata"] as? [String: Any] { answer.usage = usage }
            for candidate in response["candidates"] as? [[String: Any]] ?? [] {
                let index = candidate["index"] as? Int ?? -1
                let content = candidate["content"] as? [String: Any] ?? [:]
                #expect(content["role"] as? String == "model")
                for part in content["parts"] as? [[String: Any]] ?? [] { answer.take(part, index) }
                if let reason = candidate["finishReason"] as? String {
                    #expect(position == responses.count - 1)
                    answer.finish[index] = reason
                }
            }
        }
        answer.isWhole = !answer.finish.isEmpty && answer.errors.isEmpty
        return answer
    }

    private mutating func take(_ part: [String: Any], _ index: Int) {
        if let call = part["functionCall"] as? [String: Any] {
            let arguments = Self.text(ofArguments: call["args"])
            calls[index, default: []].append(
                Call(id: call["id"] as? String ?? "", name: call["name"] as? String ?? "", arguments: arguments))
        } else if part["thought"] as? Bool == true {
            reasoning[index, default: ""] += part["text"] as? String ?? "no text"
        } else {
            text[index, default: ""] += part["text"] as? String ?? "no text"
        }
        signature += part["thoughtSignature"] as? String ?? ""
    }

    static func ollama(_ lines: [[String: Any]]) -> ReadAnswer {
        var answer = ReadAnswer()
        for (position, line) in lines.enumerated() {
            if answer.takeError(line) { continue }
            #expect(line["model"] is String && line["created_at"] is String)
            let message = line["message"] as? [String: Any]
            answer.text[0, default: ""] += message?["content"] as? String ?? line["response"] as? String ?? "no text"
            answer.reasoning[0, default: ""] += message?["thinking"] as? String ?? line["thinking"] as? String ?? ""
            for call in message?["tool_calls"] as? [[String: Any]] ?? [] {
                let function = call["function"] as? [String: Any] ?? [:]
                #expect(function["index"] is Int)
                let arguments = Self.text(ofArguments: function["arguments"])
                let name = function["name"] as? String ?? ""
                answer.calls[0, default: []].append(
                    Call(id: call["id"] as? String ?? "", name: name, arguments: arguments))
            }
            guard line["done"] as? Bool == true else { continue }
            #expect(position == lines.count - 1)
            answer.isWhole = position == lines.count - 1
            answer.finish[0] = line["done_reason"] as? String
            answer.usage = line
        }
        return answer
    }
}
