import SluiceBytes

/// A client's body as JSON, and what it and the request around it say of the answer.
struct ClientBody {
    let format: RequestFormat
    let hints: RequestHints
    /// nil for a prompt that is text.
    let json: JSONValue?
    let text: [UInt8]
    /// Of the body itself; nil if it does not say.
    let streamFlag: Bool?
    let wantsStream: Bool

    init(_ body: [UInt8], _ format: RequestFormat, _ hints: RequestHints) throws(RequestError) {
        (self.format, self.hints, text) = (format, hints, body)
        let isText = format == .prompt && (hints.isPlainText || body.isEmpty)
        let parsed = isText ? nil : JSONValue.parse(body)
        if format == .prompt {
            json = parsed?.members == nil ? nil : parsed
        } else {
            guard let parsed else {
                throw .invalid(field: "", body.isEmpty ? "the body is empty" : "the body is not JSON")
            }
            json = parsed
        }
        if let json {
            // What the upstream's reader makes of a body that is nearly JSON, nobody knows.
            guard JSONGrammar.isValue(body.span) else { throw .invalid(field: "", "the body is not JSON") }
            try Self.checkNames(json)
        }
        streamFlag = try Self.streamFlag(json, format)
        wantsStream = try Self.wantsStream(format, streamFlag, hints)
    }

    /// A member that is there twice could be read here once and by the upstream once more, past the route's rules.
    private static func checkNames(_ body: JSONValue) throws(RequestError) {
        guard let members = body.members else { throw .invalid(field: "", "the body is no JSON object") }
        var names: Set<String> = []
        for member in members where !names.insert(member.key).inserted {
            throw .invalid(field: JSONString(member.key).excerpt, "is there twice")
        }
    }

    func read() throws(RequestError) -> ChatRequest {
        guard let json else { return try PromptReader.read(text: text, hints) }
        guard let reader = format.reader else { return ChatRequest() }
        return try reader.read(json, hints)
    }

    /// What the client expects of the answer.
    func describe(_ result: inout TranslatedRequest) {
        result.wantsStream = wantsStream
        switch format {
        case .openAIChat, .openAICompletions:
            result.includeUsage = json?["stream_options"]?["include_usage"]?.bool ?? false
        case .gemini:
            let streams = hints.path.hasSuffix(":streamGenerateContent")
            result.wantsArray = streams && hints.altQuery != "sse"
        case .agUI:
            result.threadID = json?["threadId"]?.string?.text ?? ""
            result.runID = json?["runId"]?.string?.text ?? ""
        case .vercelUI:
            // The answer goes on with a message that the page has already: a tool's result has been sent back.
            guard let last = json?["messages"]?.elements?.last, last["role"] == "assistant" else { return }
            result.messageID = last["id"]?.string?.text ?? ""
        default: break
        }
    }
}

// MARK: - Streams

extension ClientBody {
    private static func streamFlag(_ body: JSONValue?, _ format: RequestFormat) throws(RequestError) -> Bool? {
        // The user interfaces' bodies and Google's have no such field.
        if [.gemini, .vercelUI, .agUI].contains(format) { return nil }
        guard let flag = body?["stream"], !flag.isNull else { return nil }
        guard let isWanted = flag.bool else { throw .invalid(field: "stream", "is neither true nor false") }
        return isWanted
    }

    private static func wantsStream(
        _ format: RequestFormat, _ flag: Bool?, _ hints: RequestHints
    ) throws(RequestError) -> Bool {
        if let flag { return flag }
        if format == .gemini {
            if hints.path.hasSuffix(":streamGenerateContent") { return true }
            if hints.path.hasSuffix(":generateContent") { return false }
        }
        switch hints.streamQuery {
        case "true"?, "1"?: return true
        case "false"?, "0"?: return false
        default: break
        }
        // What they show is made of streams only.
        if format == .vercelUI || format == .agUI { return true }
        let accept = hints.accept.lowercased()
        if accept.contains("text/event-stream") || accept.contains("ndjson") { return true }
        if accept == "application/json" { return false }
        if let fallback = hints.streamDefault { return fallback }
        switch format {
        case .ollamaChat, .ollamaGenerate, .prompt, .run, .vercelUI, .agUI, .passthrough: return true
        case .openAIChat, .openAIResponses, .openAICompletions, .anthropic, .gemini, .cohere: return false
        }
    }

    /// What the client's own provider does if the body does not say.
    var streamDefault: Bool { format == .ollamaChat || format == .ollamaGenerate }
}
