import SluiceBytes
import SluiceStreams

/// How an answer ended, as a strict client of its format understands it.
struct Ending {
    /// What one event, line or document says of the ending.
    private enum Sign { case whole, failure, closing }

    private let way: Way
    private let bytes: [UInt8]
    private var signs: [Sign?] = []

    init(_ bytes: [UInt8], _ way: Way) {
        (self.bytes, self.way) = (bytes, way)
        if way.readsDocument {
            if !bytes.isEmpty { signs = [sign(ofDocument: json(bytes[...], "a document"))] }
        } else {
            signs = readEvents()
        }
    }

    /// Either it was whole or it failed, nothing comes behind that, and nobody is told that a cut answer is a whole one.
    func check(_ ending: BodyEnding, endedTruly: Bool) {
        if way.format == .passthrough { return }
        if !way.readsDocument, way.format == .text {
            return require(ending == .abort || endedTruly, "\(way): a text that failed ends like a whole one")
        }
        let (wholes, failures) = (signs.count { $0 == .whole }, signs.count { $0 == .failure })
        require(wholes == 0 || failures == 0, "\(way): the answer is whole and has failed:\n\(text)")
        require(wholes + failures > 0, "\(way): the answer has no ending:\n\(text)")
        require(wholes == 0 || endedTruly, "\(way): an answer that did not end is told as a whole one:\n\(text)")
        guard let first = signs.firstIndex(where: { $0 != nil }) else { return }
        require(!signs[first...].contains(nil), "\(way): something comes behind the end:\n\(text)")
    }

    private var text: String { String(decoding: bytes, as: UTF8.self) }

    // MARK: - Streams

    private func readEvents() -> [Sign?] {
        switch way.format {
        case .text, .passthrough: []
        case .ndjson, .ollamaChat, .ollamaGenerate: lines(bytes[...]).map { sign("", $0) }
        case .vercelData: lines(bytes[...]).map(sign(ofPart:))
        default: readEventStream()
        }
    }

    private func readEventStream() -> [Sign?] {
        var (signs, name, data): ([Sign?], String, [UInt8]?) = ([], "", nil)
        for line in bytes.split(separator: ASCII.lf, omittingEmptySubsequences: false) {
            let line = line.last == ASCII.cr ? line.dropLast() : line
            if line.isEmpty {
                if let data { signs.append(sign(name, data[...])) }
                (name, data) = ("", nil)
            } else if line.starts(with: Array("event: ".utf8)) {
                name = String(decoding: line.dropFirst(7), as: UTF8.self)
            } else if line.starts(with: Array("data: ".utf8)) {
                data = (data ?? []) + line.dropFirst(6)
            } else {
                let isID = way.format == .sseText && line.starts(with: Array("id: ".utf8))
                require(isID, "\(way): a line of an event stream is a field: \(String(decoding: line, as: UTF8.self))")
            }
        }
        require(data == nil, "\(way): an event is cut off:\n\(text)")
        return signs
    }

    private func lines(_ bytes: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
        require(bytes.isEmpty || bytes.last == ASCII.lf, "\(way): a line is cut off:\n\(text)")
        return bytes.split(separator: ASCII.lf)
    }

    private func sign(ofPart line: ArraySlice<UInt8>) -> Sign? {
        let code = line.prefix(2)
        _ = json(line.dropFirst(2), "a part")
        if code.elementsEqual("d:".utf8) { return .whole }
        // It stands before `d`.
        if code.elementsEqual("e:".utf8) { return .closing }
        return code.elementsEqual("3:".utf8) ? .failure : nil
    }

    private func sign(_ name: String, _ data: ArraySlice<UInt8>) -> Sign? {
        if way.format == .sseText, name.isEmpty { return nil }
        if data.elementsEqual("[DONE]".utf8) {
            return way.format == .openAIChat || way.format == .openAICompletions ? .whole : .closing
        }
        let value = json(data, "an event")
        switch way.format {
        case .sseText: return name == "done" ? .whole : .failure
        case .sseJSON, .ndjson, .ollamaChat, .ollamaGenerate:
            return value["error"] != nil ? .failure : value["done"]?.bool == true ? .whole : nil
        case .openAIChat, .openAICompletions: return value["error"] != nil ? .failure : nil
        case .openAIResponses:
            if name == "response.completed" || name == "response.incomplete" { return .whole }
            return name == "response.failed" || name == "error" ? .failure : nil
        case .anthropic:
            if name == "message_stop" { return .whole }
            if name == "message_delta" { return .closing }
            return name == "error" ? .failure : nil
        case .gemini:
            if value["error"] != nil { return .failure }
            return value["candidates"]?.elements?.contains { $0["finishReason"] != nil } == true ? .whole : nil
        case .cohere:
            guard name == "message-end" else { return nil }
            return value["delta"]?["finish_reason"]?.string == "ERROR" ? .failure : .whole
        case .vercelUI:
            let type = value["type"]?.string
            return type == "finish" ? .whole : type == "error" ? .failure : nil
        case .agUI:
            let type = value["type"]?.string
            return type == "RUN_FINISHED" ? .whole : type == "RUN_ERROR" ? .failure : nil
        case .mlflow:
            if value["error"] != nil { return .failure }
            let reasons = (value["choices"]?.elements ?? []).compactMap { $0["finish_reason"] }
            return reasons.contains { !$0.isNull } ? .whole : nil
        case .text, .vercelData, .passthrough: return nil
        }
    }

    // MARK: - Documents

    private func sign(ofDocument value: JSONValue) -> Sign {
        let isFailure =
            switch way.format {
            case .anthropic: value["type"]?.string == "error"
            case .cohere: value["finish_reason"] == nil
            case .mlflow: value["choices"] == nil
            case .openAIResponses: value["error"]?.isNull == false
            default: value["error"] != nil
            }
        return isFailure ? .failure : .whole
    }

    private func json(_ bytes: ArraySlice<UInt8>, _ what: String) -> JSONValue {
        let bytes = Array(bytes)
        require(StrictJSON.isValue(bytes), "\(way): \(what) is JSON: \(String(decoding: bytes, as: UTF8.self))")
        // What is nested deeper than this reads says nothing of an ending.
        return JSONValue.parse(bytes) ?? .null
    }
}
