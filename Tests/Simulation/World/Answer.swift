import SluiceBytes

/// The bytes of one answer in a provider's dialect: an event each, and where its own end is.
struct AnswerScript {
    var events: [[UInt8]] = []
    /// Events up to and with the one that says that the answer is over.
    var endCount = 0
    var contentType = "text/event-stream"

    static func stream(_ plan: Plan, _ dialect: UpstreamDialect, random: inout SeededRandom) -> AnswerScript {
        var script = AnswerScript()
        switch dialect {
        case .openAI:
            for token in plan.tokens {
                script.add(
                    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\(quoted(token, &random))},\"finish_reason\":null}]}\n\n"
                )
            }
            script.add(
                "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
            )
            script.endCount = script.events.count
            script.add("data: [DONE]\n\n")
        case .anthropic:
            script.add(
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"a\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n"
            )
            script.add(
                "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
            )
            for token in plan.tokens {
                script.add(
                    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\(quoted(token, &random))}}\n\n"
                )
            }
            script.add("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n")
            script.add(
                "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":7}}\n\n"
            )
            script.endCount = script.events.count
            script.add("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
        case .ollama:
            script.contentType = "application/x-ndjson"
            for token in plan.tokens {
                script.add(
                    "{\"model\":\"m\",\"created_at\":\"2026-01-01T00:00:00Z\",\"message\":{\"role\":\"assistant\",\"content\":\(quoted(token, &random))},\"done\":false}\n"
                )
            }
            script.add(
                "{\"model\":\"m\",\"created_at\":\"2026-01-01T00:00:00Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":3,\"eval_count\":7}\n"
            )
            script.endCount = script.events.count
        }
        return script
    }

    static func document(_ plan: Plan, _ dialect: UpstreamDialect, random: inout SeededRandom) -> AnswerScript {
        var script = AnswerScript()
        script.contentType = "application/json"
        let text = quoted(plan.text, &random)
        switch dialect {
        case .openAI:
            script.add(
                "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\(text)},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":7,\"total_tokens\":10}}"
            )
        case .anthropic:
            script.add(
                "{\"id\":\"a\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[{\"type\":\"text\",\"text\":\(text)}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":7}}"
            )
        case .ollama:
            script.add(
                "{\"model\":\"m\",\"created_at\":\"2026-01-01T00:00:00Z\",\"message\":{\"role\":\"assistant\",\"content\":\(text)},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":3,\"eval_count\":7}"
            )
        }
        script.endCount = 1
        return script
    }

    /// What the provider says in place of the rest.
    static func error(_ dialect: UpstreamDialect) -> [UInt8] {
        switch dialect {
        case .openAI: Array("data: {\"error\":{\"message\":\"it broke\",\"type\":\"server_error\"}}\n\n".utf8)
        case .anthropic:
            Array(
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"it broke\"}}\n\n"
                    .utf8)
        case .ollama: Array("{\"error\":\"it broke\"}\n".utf8)
        }
    }

    private mutating func add(_ text: String) { events.append(Array(text.utf8)) }

    /// With what JSON must escape escaped, and now and then what it may.
    private static func quoted(_ text: [UInt8], _ random: inout SeededRandom) -> String {
        var out = "\""
        for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case _ where scalar.value > 0x7F && random.chance(30):
                for unit in String(scalar).utf16 {
                    let hex = String(unit, radix: 16)
                    out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
                }
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }
}
