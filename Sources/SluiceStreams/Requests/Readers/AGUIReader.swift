/// A run of an agent as AG-UI asks for it (`RunAgentInput`). The run's names are read by whoever writes its answer; `state` and
/// `forwardedProps` are for an agent, which a provider is not.
enum AGUIReader: RequestReader {
    static func read(_ body: JSONValue, _ hints: RequestHints) throws(RequestError) -> ChatRequest {
        var fields = try Fields(body, at: "")
        var request = ChatRequest()
        for tool in try fields.objects("tools") { request.tools.append(try OpenAITools.tool(tool)) }
        request.places[.tools] = "tools"
        try readContext(&fields, into: &request)
        var ids = CallIDs()
        for message in try fields.neededObjects("messages") { try read(message, &ids, into: &request) }
        return request
    }

    /// What the front end wants the model to know.
    private static func readContext(_ fields: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        var message = ChatRequest.Message(.system, at: "context")
        for var entry in try fields.objects("context") {
            let texts = [try entry.string("description"), try entry.string("value")]
            message.append(.text(.joined(texts.compactMap { $0 }, by: ": ")), at: entry.path)
        }
        if !message.parts.isEmpty { request.messages.append(message) }
    }

    private static func read(
        _ fields: Fields, _ ids: inout CallIDs, into request: inout ChatRequest
    ) throws(RequestError) {
        var fields = fields
        let word = try fields.neededString("role")
        let role: ChatRequest.Role
        switch word.text {
        case "system", "developer": role = .system
        case "user": role = .user
        case "assistant": role = .assistant
        case "tool":
            let callID = ids.answered(nil, try fields.neededString("toolCallId"))
            let isError = try fields.string("error")?.isEmpty == false
            let text = try fields.string("content") ?? ""
            let result = ChatRequest.ToolResult(callID: callID, parts: [.text(text)], isError: isError)
            request.messages.append(.init(.tool, [.toolResult(result)], at: fields.place("content")))
            return
        // What the user sees beside the conversation.
        case "activity", "reasoning": return
        default: throw fields.notOneOf("system, developer, user, assistant, tool", "role", word)
        }
        var message = ChatRequest.Message(role, at: fields.path)
        try readContent(&fields, into: &message, &request)
        try OpenAITools.readCalls("toolCalls", &fields, ids: &ids, into: &message)
        request.messages.append(message)
    }

    private static func readContent(
        _ fields: inout Fields, into message: inout ChatRequest.Message, _ request: inout ChatRequest
    ) throws(RequestError) {
        guard let content = fields.peek("content") else { return }
        if let text = content.string {
            message.append(.text(text), at: fields.place("content"))
            return
        }
        for var part in try fields.objects("content") {
            let type = try part.neededString("type")
            if type == "text" {
                message.append(.text(try part.neededString("text")), at: part.place("text"))
            } else if let (media, isImage) = try media(&part, type) {
                let name = try part.string("filename")
                message.append(isImage ? .image(media) : .file(media, name: name), at: "\(part.path).\(type.excerpt)")
            } else {
                request.lack("\(part.path).\(type.excerpt)")
            }
        }
    }

    /// `{"type": "binary", "mimeType", "data" | "url"}`, and newer `{"type": "image", "source": {"type", "value", "mimeType"}}`.
    private static func media(
        _ fields: inout Fields, _ kind: JSONString
    ) throws(RequestError) -> (media: ChatRequest.Media, isImage: Bool)? {
        var source = try fields.object("source") ?? fields
        let type = try source.string("mimeType")
        let isImage = kind == "image" || type?.text.hasPrefix("image/") == true
        let isAddress = try source.string("type") == "url"
        guard let found = source.take(["value", "data", "url"]), let text = found.value.string else { return nil }
        if isAddress || found.place.hasSuffix("url") { return (.init(url: text), isImage) }
        return (.base64(mediaType: type ?? "application/octet-stream", data: text), isImage)
    }
}
