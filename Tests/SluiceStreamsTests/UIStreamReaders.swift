import Foundation

/// What a client ends up with, and everything in its stream that its library would choke on.
struct ClientReading {
    struct Call: Equatable {
        var id = ""
        var name = ""
        /// The fragments, joined.
        var arguments = ""
        /// The arguments as the stream tells them whole: canonical JSON; nil if it never does.
        var input: String?
        var hasEnded = false
    }
    var text = ""
    var reasoning = ""
    var calls: [Call] = []
    var sources: [String] = []
    var signatures: [String] = []
    var finish: String?
    var usage: [String: Any] = [:]
    var error: String?
    var isComplete = false
    var faults: [String] = []

    mutating func fault(_ words: String) { faults.append(words) }

    mutating func withCall(_ id: String, _ body: (inout Call) -> Void) {
        guard let index = calls.firstIndex(where: { $0.id == id }) else { return fault("unknown call \(id)") }
        body(&calls[index])
    }

    /// Values that are the same have the same text.
    static func canonical(_ value: Any) -> String? {
        let options: JSONSerialization.WritingOptions = [.sortedKeys, .fragmentsAllowed]
        return (try? JSONSerialization.data(withJSONObject: value, options: options)).map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    static func canonical(json: String) -> String? {
        let text = json.isEmpty ? "{}" : json
        let value = try? JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)
        return value.flatMap(canonical)
    }
}

/// The UI message stream as AI SDK 5.0.0 checks it: closed lists of keys for each part, and the order of the parts.
struct UIMessageStreamReader {
    private(set) var reading = ClientReading()
    private var openText: Set<String> = []
    private var openReasoning: Set<String> = []
    private var usedIDs: Set<String> = []
    private var state = State.beforeStart
    private enum State { case beforeStart, beforeStep, inStep, afterStep, finished, failed, done }

    /// Keys that must be there, and those that may.
    private static let parts: [String: (required: Set<String>, optional: Set<String>)] = [
        "start": ([], ["messageId", "messageMetadata"]),
        "start-step": ([], []), "finish-step": ([], []),
        "text-start": (["id"], ["providerMetadata"]), "text-end": (["id"], ["providerMetadata"]),
        "text-delta": (["id", "delta"], ["providerMetadata"]),
        "reasoning-start": (["id"], ["providerMetadata"]), "reasoning-end": (["id"], ["providerMetadata"]),
        "reasoning-delta": (["id", "delta"], ["providerMetadata"]),
        "tool-input-start": (["toolCallId", "toolName"], ["providerExecuted", "dynamic"]),
        "tool-input-delta": (["toolCallId", "inputTextDelta"], []),
        "tool-input-available": (["toolCallId", "toolName", "input"], ["providerExecuted", "dynamic"]),
        "source-url": (["sourceId", "url"], ["title"]),
        "finish": ([], ["messageMetadata"]),
        "error": (["errorText"], []),
    ]

    static func read(_ out: [UInt8], allowsFinishReason: Bool = false) -> ClientReading {
        var reader = UIMessageStreamReader()
        for event in WireEvent.read(out) { reader.take(event, allowsFinishReason) }
        if reader.state != .done { reader.reading.fault("no [DONE]") }
        return reader.reading
    }

    private mutating func take(_ event: WireEvent, _ allowsFinishReason: Bool) {
        if event.type != "message" || event.id != nil { reading.fault("an event with a name or an id") }
        if state == .done { reading.fault("something behind [DONE]") }
        if event.data == "[DONE]" {
            if state != .finished, state != .failed { reading.fault("[DONE] in \(state)") }
            state = .done
            return
        }
        let part = json(event.data)
        guard let type = part["type"] as? String, let keys = Self.parts[type] else {
            return reading.fault("no part: \(event.data)")
        }
        var optional = keys.optional
        if type == "finish", allowsFinishReason { optional.insert("finishReason") }
        let names = Set(part.keys).subtracting(["type"])
        if !keys.required.isSubset(of: names) || !names.subtracting(keys.required).isSubset(of: optional) {
            reading.fault("keys of \(event.data)")
        }
        for name in names where name != "input" && name != "dynamic" && !name.hasSuffix("Metadata") {
            if !(part[name] is String) { reading.fault("\(name) of \(event.data)") }
        }
        if part["dynamic"] != nil, part["dynamic"] as? Bool != true { reading.fault("dynamic of \(event.data)") }
        order(type)
        take(type, part)
    }

    private mutating func order(_ type: String) {
        switch (type, state) {
        case ("start", .beforeStart): state = .beforeStep
        case ("start-step", .beforeStep): state = .inStep
        case ("finish-step", .inStep):
            if !openText.isEmpty || !openReasoning.isEmpty { reading.fault("open at finish-step") }
            state = .afterStep
        case ("finish", .afterStep): state = .finished
        case ("error", .beforeStart), ("error", .inStep):
            if !openText.isEmpty || !openReasoning.isEmpty { reading.fault("open at error") }
            state = .failed
        case (_, .inStep) where !["start", "start-step", "finish"].contains(type): break
        default: reading.fault("\(type) in \(state)")
        }
    }

    private mutating func take(_ type: String, _ part: [String: Any]) {
        func string(_ key: String) -> String { part[key] as? String ?? "" }
        let (id, call) = (string("id"), string("toolCallId"))
        switch type {
        case "text-start": open(id, \.openText)
        case "text-delta":
            if !openText.contains(id) { reading.fault("text \(id) is not open") }
            if string("delta").isEmpty { reading.fault("empty delta") }
            reading.text += string("delta")
        case "text-end": if openText.remove(id) == nil { reading.fault("text \(id) is not open") }
        case "reasoning-start": open(id, \.openReasoning)
        case "reasoning-delta":
            if !openReasoning.contains(id) { reading.fault("reasoning \(id) is not open") }
            if string("delta").isEmpty { reading.fault("empty delta") }
            reading.reasoning += string("delta")
        case "reasoning-end":
            if openReasoning.remove(id) == nil { reading.fault("reasoning \(id) is not open") }
            let own = (part["providerMetadata"] as? [String: [String: Any]])?["sluice"]
            if let signature = own?["signature"] as? String { reading.signatures.append(signature) }
        case "tool-input-start":
            if reading.calls.contains(where: { $0.id == call }) { reading.fault("call \(call) twice") }
            reading.calls.append(.init(id: call, name: string("toolName")))
        case "tool-input-delta":
            reading.withCall(call) { $0.arguments += string("inputTextDelta") }
            if reading.calls.contains(where: { $0.id == call && $0.hasEnded }) { reading.fault("delta behind \(call)") }
        case "tool-input-available":
            reading.withCall(call) {
                $0.input = part["input"].flatMap(ClientReading.canonical)
                $0.hasEnded = true
            }
        case "source-url":
            if !usedIDs.insert("source " + string("sourceId")).inserted { reading.fault("source twice") }
            reading.sources.append(string("url") + " " + string("title"))
        case "error": reading.error = string("errorText")
        case "finish":
            reading.isComplete = true
            let metadata = part["messageMetadata"] as? [String: Any] ?? [:]
            reading.finish = metadata["finishReason"] as? String
            if let word = part["finishReason"] as? String, word != reading.finish { reading.fault("two reasons") }
            reading.usage = metadata["usage"] as? [String: Any] ?? [:]
        default: break
        }
    }

    private mutating func open(_ id: String, _ set: WritableKeyPath<Self, Set<String>>) {
        if !usedIDs.insert(id).inserted { reading.fault("id \(id) twice") }
        self[keyPath: set].insert(id)
    }
}

/// The data stream of AI SDK 4: lines of a code and a value.
enum DataStreamReader {
    static func read(_ out: [UInt8]) -> ClientReading {
        var reading = ClientReading()
        let lines = String(decoding: out, as: UTF8.self).unicodeScalars.split(
            separator: "\n", omittingEmptySubsequences: false)
        if !(lines.last?.isEmpty ?? false) { reading.fault("the last line has no end") }
        var codes = ""
        for line in lines.dropLast() {
            let text = String(line)
            let value = try? JSONSerialization.jsonObject(
                with: Data(text.dropFirst(2).utf8), options: .fragmentsAllowed)
            guard let value, text.dropFirst().first == ":", let code = text.first else {
                reading.fault("no part: \(text)")
                continue
            }
            codes.append(code)
            take(code, value, into: &reading)
        }
        check(codes, &reading)
        return reading
    }

    private static func take(_ code: Character, _ value: Any, into reading: inout ClientReading) {
        let members = value as? [String: Any] ?? [:]
        func keys(_ names: String...) {
            if Set(members.keys) != Set(names) { reading.fault("keys of \(code): \(value)") }
        }
        func string(_ key: String) -> String { members[key] as? String ?? "" }
        switch code {
        case "f": keys("messageId")
        case "0": reading.text += value as? String ?? "?"
        case "g": reading.reasoning += value as? String ?? "?"
        case "j":
            keys("signature")
            reading.signatures.append(string("signature"))
        case "b":
            keys("toolCallId", "toolName")
            if reading.calls.contains(where: { $0.id == string("toolCallId") }) { reading.fault("call twice") }
            reading.calls.append(.init(id: string("toolCallId"), name: string("toolName")))
        case "c":
            keys("toolCallId", "argsTextDelta")
            reading.withCall(string("toolCallId")) { $0.arguments += string("argsTextDelta") }
        case "9":
            keys("toolCallId", "toolName", "args")
            guard let input = members["args"] as? [String: Any] else { return reading.fault("args: \(value)") }
            reading.withCall(string("toolCallId")) {
                ($0.input, $0.hasEnded) = (ClientReading.canonical(input), true)
            }
        case "h":
            if string("sourceType") != "url" || string("id").isEmpty { reading.fault("source: \(value)") }
            reading.sources.append(string("url") + " " + string("title"))
        case "3": reading.error = value as? String
        case "e", "d":
            if code == "e" { keys("finishReason", "usage", "isContinued") } else { keys("finishReason", "usage") }
            reading.finish = string("finishReason")
            let usage = members["usage"] as? [String: Any] ?? [:]
            if Set(usage.keys) != ["promptTokens", "completionTokens"] { reading.fault("usage: \(value)") }
            reading.usage = usage.filter { !($0.value is NSNull) }
            reading.isComplete = code == "d"
        default: reading.fault("code \(code)")
        }
    }

    /// `f` first, then deltas; `e` and `d` last, or `3`.
    private static func check(_ codes: String, _ reading: inout ClientReading) {
        let isWhole = codes.hasSuffix("ed") && codes.hasPrefix("f") && !codes.contains("3")
        let isFailed = codes.hasSuffix("3") && (codes.hasPrefix("f") || codes == "3")
        let once = "fed3".allSatisfy { code in codes.count { $0 == code } <= 1 }
        if !once || !(isWhole || isFailed) { reading.fault("order: \(codes)") }
    }
}

/// AG-UI, as its client's middleware checks it.
struct AGUIReader {
    private(set) var reading = ClientReading()
    private var openMessage: String?
    private var openReasoning: String?
    private var hasReasoningMessage = false
    private var openCalls: Set<String> = []
    private var usedIDs: Set<String> = []
    private var run: [String] = []
    private var hasStarted = false
    private var hasEnded = false
    /// One tool call at a time, and nothing beside it: the rule of older clients.
    var isOld = false

    static func read(_ out: [UInt8], isOld: Bool = false) -> ClientReading {
        var reader = AGUIReader()
        reader.isOld = isOld
        for event in WireEvent.read(out) {
            if event.type != "message" { reader.reading.fault("an event with a name") }
            reader.take(json(event.data))
        }
        if !reader.hasEnded { reader.reading.fault("the run has no end") }
        return reader.reading
    }

    private static let keys: [String: Set<String>] = [
        "RUN_STARTED": ["threadId", "runId"], "RUN_FINISHED": ["threadId", "runId"], "RUN_ERROR": ["message", "code"],
        "TEXT_MESSAGE_START": ["messageId", "role"], "TEXT_MESSAGE_CONTENT": ["messageId", "delta"],
        "TEXT_MESSAGE_END": ["messageId"], "REASONING_START": ["messageId"],
        "REASONING_MESSAGE_START": ["messageId", "role"], "REASONING_MESSAGE_CONTENT": ["messageId", "delta"],
        "REASONING_MESSAGE_END": ["messageId"], "REASONING_END": ["messageId"],
        "TOOL_CALL_START": ["toolCallId", "toolCallName", "parentMessageId"],
        "TOOL_CALL_ARGS": ["toolCallId", "delta"],
        "TOOL_CALL_END": ["toolCallId"],
    ]

    private mutating func take(_ event: [String: Any]) {
        guard let type = event["type"] as? String, let keys = Self.keys[type] else { return reading.fault("\(event)") }
        let names = Set(event.keys).subtracting(["type"])
        let extra: Set<String> = type == "RUN_FINISHED" ? ["result"] : []
        if !keys.isSubset(of: names) || !names.isSubset(of: keys.union(extra)) { reading.fault("keys of \(event)") }
        for name in keys where (event[name] as? String ?? "").isEmpty && name != "message" {
            reading.fault("\(name) of \(event)")
        }
        if hasEnded { reading.fault("\(type) behind the run's end") }
        if hasStarted == (type == "RUN_STARTED") { reading.fault("\(type) at the start") }
        hasStarted = true
        if type.hasPrefix("TEXT") || type.hasPrefix("REASONING") {
            message(type, event["messageId"] as? String ?? "", event["delta"] as? String ?? "")
        } else if type.hasPrefix("TOOL") {
            call(type, event)
        } else {
            self.run(type, event)
        }
    }

    private mutating func run(_ type: String, _ event: [String: Any]) {
        let ids = [event["threadId"] as? String ?? "", event["runId"] as? String ?? ""]
        if type == "RUN_STARTED" {
            run = ids
            return
        }
        hasEnded = true
        if openMessage != nil || openReasoning != nil || !openCalls.isEmpty { reading.fault("open at the run's end") }
        if type == "RUN_ERROR" {
            reading.error = event["message"] as? String
            return
        }
        if ids != run { reading.fault("another run") }
        reading.isComplete = true
        let result = event["result"] as? [String: Any] ?? [:]
        reading.finish = result["finishReason"] as? String
        reading.usage = result["usage"] as? [String: Any] ?? [:]
    }

    private mutating func message(_ type: String, _ id: String, _ delta: String) {
        if isOld, !openCalls.isEmpty { reading.fault("\(type) in a call") }
        switch type {
        case "TEXT_MESSAGE_START":
            if openMessage != nil || openReasoning != nil || !usedIDs.insert(id).inserted {
                reading.fault("\(type) \(id)")
            }
            openMessage = id
        case "TEXT_MESSAGE_CONTENT":
            if openMessage != id { reading.fault("\(type) \(id)") }
            reading.text += delta
        case "TEXT_MESSAGE_END":
            if openMessage != id { reading.fault("\(type) \(id)") }
            openMessage = nil
        case "REASONING_START":
            if openMessage != nil || openReasoning != nil || !usedIDs.insert(id).inserted {
                reading.fault("\(type) \(id)")
            }
            openReasoning = id
        case "REASONING_END":
            if openReasoning != id || hasReasoningMessage { reading.fault("\(type) \(id)") }
            openReasoning = nil
        default:
            let isStart = type == "REASONING_MESSAGE_START"
            if openReasoning != id || hasReasoningMessage == isStart { reading.fault("\(type) \(id)") }
            hasReasoningMessage = type != "REASONING_MESSAGE_END"
            reading.reasoning += delta
        }
    }

    private mutating func call(_ type: String, _ event: [String: Any]) {
        let id = event["toolCallId"] as? String ?? ""
        if openMessage != nil || openReasoning != nil { reading.fault("\(type) in a message") }
        switch type {
        case "TOOL_CALL_START":
            if isOld, !openCalls.isEmpty { reading.fault("a call in a call") }
            if reading.calls.contains(where: { $0.id == id }) { reading.fault("call \(id) twice") }
            openCalls.insert(id)
            reading.calls.append(.init(id: id, name: event["toolCallName"] as? String ?? ""))
        case "TOOL_CALL_ARGS":
            if !openCalls.contains(id) { reading.fault("call \(id) is not open") }
            reading.withCall(id) { $0.arguments += event["delta"] as? String ?? "" }
        default:
            if openCalls.remove(id) == nil { reading.fault("call \(id) is not open") }
            reading.withCall(id) {
                $0.hasEnded = true
                $0.input = ClientReading.canonical(json: $0.arguments)
            }
        }
    }
}
