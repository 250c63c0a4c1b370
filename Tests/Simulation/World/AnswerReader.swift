import SluiceBytes
import SluiceStreams

/// What a client understands of the body that it got: its text, and how it ended.
struct ReadAnswer: Equatable {
    enum Ending { case none, complete, error }
    var text: [UInt8] = []
    var ending = Ending.none

    /// `isWhole`: the message ended as HTTP says.
    static func read(_ body: [UInt8], _ plan: Plan, isWhole: Bool) -> ReadAnswer {
        guard plan.wantsStream else { return document(body, plan, isWhole: isWhole) }
        switch plan.format {
        case .text: return ReadAnswer(text: body, ending: isWhole ? .complete : .none)
        case .sseText: return sseText(body)
        case .sseJSON:
            return events(body) { answer, name, value in
                if let text = value["text"]?.string { answer.text += text.utf8 }
                if value["done"]?.bool == true { answer.end(.complete) }
                if value["error"] != nil || name == "error" { answer.end(.error) }
            }
        case .ndjson:
            return lines(body) { answer, value in
                if let text = value["text"]?.string { answer.text += text.utf8 }
                if value["done"]?.bool == true { answer.end(.complete) }
                if value["error"] != nil { answer.end(.error) }
            }
        case .openAI: return openAI(body)
        case .anthropic: return anthropic(body)
        case .ollama: return ollama(body)
        case .passthrough:
            switch plan.dialect {
            case .openAI: return openAI(body)
            case .anthropic: return anthropic(body)
            case .ollama: return ollama(body)
            }
        }
    }

    private mutating func end(_ ending: Ending) { if self.ending == .none { self.ending = ending } }

    private static func document(_ body: [UInt8], _ plan: Plan, isWhole: Bool) -> ReadAnswer {
        var answer = ReadAnswer()
        guard isWhole, let value = JSONValue.parse(body) else { return answer }
        let format = plan.format == .passthrough ? plan.dialect : .openAI
        let text: JSONString?
        switch format {
        case .openAI: text = value["choices"]?.elements?.first?["message"]?["content"]?.string
        case .anthropic: text = value["content"]?.elements?.first?["text"]?.string
        case .ollama: text = value["message"]?["content"]?.string
        }
        if value["error"] != nil { answer.ending = .error }
        if let text { (answer.text, answer.ending) = (text.utf8, .complete) }
        return answer
    }

    private static func openAI(_ body: [UInt8]) -> ReadAnswer {
        events(body) { answer, _, value in
            if let text = value["choices"]?.elements?.first?["delta"]?["content"]?.string { answer.text += text.utf8 }
            if value["error"] != nil { answer.end(.error) }
        }
    }

    private static func anthropic(_ body: [UInt8]) -> ReadAnswer {
        events(body) { answer, _, value in
            switch value["type"]?.string?.text {
            case "content_block_delta": answer.text += value["delta"]?["text"]?.string?.utf8 ?? []
            case "message_stop": answer.end(.complete)
            case "error": answer.end(.error)
            default: break
            }
        }
    }

    private static func ollama(_ body: [UInt8]) -> ReadAnswer {
        lines(body) { answer, value in
            if let text = value["message"]?["content"]?.string { answer.text += text.utf8 }
            if value["done"]?.bool == true { answer.end(.complete) }
            if value["error"] != nil { answer.end(.error) }
        }
    }

    private static func sseText(_ body: [UInt8]) -> ReadAnswer {
        var answer = ReadAnswer()
        eachEvent(body) { name, data in
            switch name {
            case "done": answer.end(.complete)
            case "error": answer.end(.error)
            default: answer.text += data
            }
        }
        return answer
    }

    private static func events(_ body: [UInt8], _ take: (inout ReadAnswer, String, JSONValue) -> Void) -> ReadAnswer {
        var answer = ReadAnswer()
        eachEvent(body) { name, data in
            if data.elementsEqual("[DONE]".utf8) { return answer.end(.complete) }
            if let value = JSONValue.parse(data) { take(&answer, name, value) }
        }
        return answer
    }

    private static func lines(_ body: [UInt8], _ take: (inout ReadAnswer, JSONValue) -> Void) -> ReadAnswer {
        var answer = ReadAnswer()
        // What stands behind the last line's end is no line.
        for line in body.split(separator: ASCII.lf, omittingEmptySubsequences: false).dropLast() {
            if let value = JSONValue.parse(Array(line)) { take(&answer, value) }
        }
        return answer
    }

    /// Lines that CRLF, LF or CR ended.
    private static func sseLines(_ body: [UInt8]) -> [ArraySlice<UInt8>] {
        guard body.contains(ASCII.cr) else {
            return body.split(separator: ASCII.lf, omittingEmptySubsequences: false).dropLast()
        }
        var (lines, start, index) = ([ArraySlice<UInt8>](), 0, 0)
        while index < body.count {
            if body[index] == ASCII.lf || body[index] == ASCII.cr {
                lines.append(body[start..<index])
                if body[index] == ASCII.cr, index + 1 < body.count, body[index + 1] == ASCII.lf { index += 1 }
                start = index + 1
            }
            index += 1
        }
        return lines
    }

    /// Events that an empty line ended.
    private static func eachEvent(_ body: [UInt8], _ take: (String, [UInt8]) -> Void) {
        var (name, data, hasData) = ("", [UInt8](), false)
        for line in sseLines(body) {
            if line.isEmpty {
                if hasData { take(name, data) }
                (name, data, hasData) = ("", [], false)
            } else if line.starts(with: "data:".utf8) {
                if hasData { data.append(ASCII.lf) }
                data += line.dropFirst(line.dropFirst(5).first == ASCII.space ? 6 : 5)
                hasData = true
            } else if line.starts(with: "event: ".utf8) {
                name = String(decoding: line.dropFirst(7), as: UTF8.self)
            }
        }
    }
}
