import Foundation
import Testing

/// The formats with named events: what a client's library insists on is checked on the way.
extension ReadAnswer {
    private static func object(_ event: WireEvent) -> [String: Any] {
        let object = json(event.data)
        #expect(object["type"] as? String == event.type)
        return object
    }

    /// Blocks stand one after the other, numbered from 0, between `message_start` and `message_delta`.
    static func anthropic(_ events: [WireEvent]) throws -> ReadAnswer {
        var answer = ReadAnswer()
        var (open, next): (String?, Int) = (nil, 0)
        let kinds = ["text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "tool_use"]
        for (position, event) in events.enumerated() {
            let data = object(event)
            let block = data["content_block"] as? [String: Any] ?? [:]
            let delta = data["delta"] as? [String: Any] ?? [:]
            #expect((event.type == "message_start") == (position == 0) || event.type == "error")
            switch event.type {
            case "message_start":
                let message = try #require(data["message"] as? [String: Any])
                #expect(message["content"] as? [String] == [] && message["role"] as? String == "assistant")
                let usage = message["usage"] as? [String: Any]
                #expect(usage?["input_tokens"] is Int && usage?["output_tokens"] is Int)
            case "content_block_start":
                #expect(open == nil && data["index"] as? Int == next)
                open = block["type"] as? String
                if open == "tool_use" {
                    let call = Call(id: block["id"] as? String ?? "", name: block["name"] as? String ?? "")
                    answer.calls[0, default: []].append(call)
                    #expect((block["input"] as? [String: Any])?.isEmpty == true)
                }
            case "content_block_delta":
                #expect(data["index"] as? Int == next)
                let kind = delta["type"] as? String ?? ""
                #expect(open == kinds[kind] ?? "thinking")
                answer.text[0, default: ""] += delta["text"] as? String ?? ""
                answer.reasoning[0, default: ""] += delta["thinking"] as? String ?? ""
                answer.signature += delta["signature"] as? String ?? ""
                if let last = answer.calls[0]?.indices.last {
                    answer.calls[0]?[last].arguments += delta["partial_json"] as? String ?? ""
                }
            case "content_block_stop":
                #expect(open != nil && data["index"] as? Int == next)
                (open, next) = (nil, next + 1)
            case "message_delta":
                #expect(open == nil && answer.finish.isEmpty)
                answer.finish[0] = delta["stop_reason"] as? String
                answer.usage = data["usage"] as? [String: Any] ?? [:]
            case "message_stop":
                #expect(position == events.count - 1 && !answer.finish.isEmpty)
                answer.isWhole = true
            case "error": #expect(answer.takeError(data) && position == events.count - 1)
            default: Issue.record("unknown event \(event.type)")
            }
        }
        return answer
    }

    /// Contents one after the other; calls with their own numbers.
    static func cohere(_ events: [WireEvent]) -> ReadAnswer {
        var answer = ReadAnswer()
        answer.isWhole = events.last?.data == "[DONE]"
        var (open, next): (Int?, Int) = (nil, 0)
        var openCalls: Set<Int> = []
        for (position, event) in events.enumerated() where event.data != "[DONE]" {
            let data = object(event)
            let delta = data["delta"] as? [String: Any] ?? [:]
            let message = delta["message"] as? [String: Any] ?? [:]
            let content = message["content"] as? [String: Any] ?? [:]
            let call = message["tool_calls"] as? [String: Any] ?? [:]
            let function = call["function"] as? [String: Any] ?? [:]
            let index = data["index"] as? Int ?? -1
            #expect((event.type == "message-start") == (position == 0))
            switch event.type {
            case "message-start": #expect(data["id"] is String && message["role"] as? String == "assistant")
            case "content-start":
                #expect(open == nil && index == next)
                #expect(content["type"] as? String == "text" || content["type"] as? String == "thinking")
                open = index
            case "content-delta":
                #expect(open == index)
                answer.text[0, default: ""] += content["text"] as? String ?? ""
                answer.reasoning[0, default: ""] += content["thinking"] as? String ?? ""
            case "content-end":
                #expect(open == index)
                (open, next) = (nil, next + 1)
            case "tool-call-start":
                #expect(open == nil && index == answer.calls[0]?.count ?? 0 && call["type"] as? String == "function")
                openCalls.insert(index)
                let name = function["name"] as? String ?? ""
                answer.calls[0, default: []].append(Call(id: call["id"] as? String ?? "", name: name))
            case "tool-call-delta":
                #expect(openCalls.contains(index))
                guard answer.calls[0]?.indices.contains(index) == true else { continue }
                answer.calls[0]?[index].arguments += function["arguments"] as? String ?? "no arguments"
            case "tool-call-end": #expect(openCalls.remove(index) != nil)
            case "message-end":
                answer.finish[0] = delta["finish_reason"] as? String
                let usage = delta["usage"] as? [String: Any] ?? [:]
                answer.usage = usage["tokens"] as? [String: Any] ?? [:]
                answer.usage["cached_tokens"] = usage["cached_tokens"]
                let isError = answer.takeError(delta)
                #expect(isError || (open == nil && openCalls.isEmpty))
            default: Issue.record("unknown event \(event.type)")
            }
        }
        return answer
    }

    /// Numbers from 0; each item and part is added, told and done; what is done is what was told, and the last
    /// event repeats it.
    static func responses(_ events: [WireEvent]) throws -> ReadAnswer {
        var answer = ReadAnswer()
        var told: [String: String] = [:]
        var open: Set<String> = []
        var done: [Int: NSDictionary] = [:]
        for (position, event) in events.enumerated() {
            let data = object(event)
            #expect(data["sequence_number"] as? Int == position)
            let output = data["output_index"] as? Int ?? -1
            let item = data["item"] as? [String: Any] ?? [:]
            let part = data["content_index"] as? Int ?? data["summary_index"] as? Int ?? -1
            let place = "\(data["item_id"] ?? item["id"] ?? "") \(output) \(part)"
            switch event.type.split(separator: ".").last ?? "" {
            case "created", "in_progress":
                #expect(position < 2 && (data["response"] as? [String: Any])?["status"] as? String == "in_progress")
            case "added": #expect(open.insert("\(event.type.dropLast(6)) \(place)").inserted)
            case "delta":
                #expect(!open.isEmpty)
                told["\(event.type.dropLast(6)) \(place)", default: ""] += data["delta"] as? String ?? "no delta"
            case "done":
                let name = event.type.dropLast(5)
                if let whole = data["text"] ?? data["refusal"] ?? data["arguments"] {
                    #expect(told["\(name) \(place)"] == whole as? String)
                } else {
                    #expect(open.remove("\(name) \(place)") != nil)
                }
                if !item.isEmpty { done[output] = item as NSDictionary }
            case "completed", "incomplete":
                #expect(position == events.count - 1 && open.isEmpty)
                let response = try #require(data["response"] as? [String: Any])
                #expect(response["output"] as? [NSDictionary] == done.keys.sorted().compactMap { done[$0] })
                answer.takeResponse(response)
                #expect(event.type == "response.\(response["status"] ?? "")")
                answer.isWhole = true
            case "error": answer.errors.append(data["message"] as? String ?? "")
            case "failed":
                let response = try #require(data["response"] as? [String: Any])
                let error = try #require(response["error"] as? [String: Any])
                #expect(answer.errors == [error["message"] as? String ?? ""] && position == events.count - 1)
                answer.takeTold(told)
            default: Issue.record("unknown event \(event.type)")
            }
        }
        return answer
    }

    /// Where there is no last word, the deltas count.
    private mutating func takeTold(_ told: [String: String]) {
        for (key, value) in told.sorted(by: { $0.key < $1.key }) {
            if key.hasPrefix("response.output_text") { text[0, default: ""] += value }
            if key.hasPrefix("response.reasoning") { reasoning[0, default: ""] += value }
        }
    }

    mutating func takeResponse(_ response: [String: Any]) {
        #expect(response["object"] as? String == "response" && response["created_at"] is Int)
        #expect(response["parallel_tool_calls"] as? Bool == true && response["tool_choice"] as? String == "auto")
        usage = response["usage"] as? [String: Any] ?? [:]
        let details = response["incomplete_details"] as? [String: Any]
        finish[0] = details?["reason"] as? String ?? response["status"] as? String
        for item in response["output"] as? [[String: Any]] ?? [] {
            switch item["type"] as? String {
            case "message":
                for part in item["content"] as? [[String: Any]] ?? [] {
                    text[0, default: ""] += part["text"] as? String ?? ""
                    refusal[0, default: ""] += part["refusal"] as? String ?? ""
                }
            case "reasoning":
                for part in item["summary"] as? [[String: Any]] ?? [] {
                    reasoning[0, default: ""] += part["text"] as? String ?? ""
                }
            case "function_call":
                let arguments = item["arguments"] as? String ?? ""
                let (id, name) = (item["call_id"] as? String ?? "", item["name"] as? String ?? "")
                calls[0, default: []].append(Call(id: id, name: name, arguments: arguments))
            default: Issue.record("unknown item \(item)")
            }
        }
    }
}
