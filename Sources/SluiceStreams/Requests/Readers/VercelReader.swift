/// What the AI SDK's `useChat` sends: messages with `parts` since version 5, with `content`, `toolInvocations` and
/// `experimental_attachments` before. Of the fields beside `messages`, which are the application's own, `model` and `system` are
/// read.
///
/// Reasoning, sources and data are for the screen and are left out; so are calls of tools without a result.
enum VercelReader: RequestReader {
    static func read(_ body: JSONValue, _ hints: RequestHints) throws(RequestError) -> ChatRequest {
        var fields = try Fields(body, at: "")
        var request = ChatRequest()
        try PromptReader.readModelAndSystem(&fields, into: &request)
        guard fields.peek("messages") != nil || fields.peek("prompt") == nil else {
            // useCompletion.
            return try PromptReader.read(body, hints)
        }
        try readMessages(&fields, into: &request)
        return request
    }

    static func readMessages(_ fields: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        for message in try fields.neededObjects("messages") { try read(message, into: &request) }
    }

    private static func read(_ fields: Fields, into request: inout ChatRequest) throws(RequestError) {
        var fields = fields
        let role = try fields.neededString("role")
        let parts = try fields.objects("parts")
        var turn: VercelTurn
        switch role.text {
        case "system": turn = VercelTurn(.system, at: fields.path)
        case "user": turn = VercelTurn(.user, at: fields.path)
        case "assistant": turn = VercelTurn(.assistant, at: fields.path)
        case "data": return
        default: throw fields.notOneOf("system, user, assistant", "role", role)
        }
        for part in parts { try turn.read(part, &request) }
        if parts.isEmpty { try readContent(&fields, &turn, &request) }
        for attachment in try fields.objects("experimental_attachments") { try turn.readAttachment(attachment) }
        turn.finish(&request)
    }

    /// Versions 3 and 4.
    private static func readContent(
        _ fields: inout Fields, _ turn: inout VercelTurn, _ request: inout ChatRequest
    ) throws(RequestError) {
        guard let content = fields.peek("content") else {
            throw .invalid(field: fields.place("parts"), "is missing, and so is content")
        }
        if let text = content.string {
            turn.add(.text(text), at: fields.place("content"))
        } else {
            for part in try fields.objects("content") { try turn.read(part, &request) }
        }
        for invocation in try fields.objects("toolInvocations") { try turn.readInvocation(invocation) }
    }
}

/// One message of the user interface, which may be several of the conversation: what the model said and called, what the
/// tools answered, what the model then said.
struct VercelTurn {
    private let role: ChatRequest.Role
    private let path: String
    private var said: ChatRequest.Message
    private var answers: ChatRequest.Message
    private var finished: [ChatRequest.Message] = []

    init(_ role: ChatRequest.Role, at path: String) {
        (self.role, self.path) = (role, path)
        said = ChatRequest.Message(role, at: path)
        answers = ChatRequest.Message(.tool, at: path)
    }

    mutating func add(_ part: ChatRequest.Part, at place: String) {
        if !answers.parts.isEmpty { endStep() }
        said.append(part, at: place)
    }

    mutating func finish(_ request: inout ChatRequest) {
        endStep()
        request.messages += finished
    }

    private mutating func endStep() {
        if !said.parts.isEmpty { finished.append(said) }
        if !answers.parts.isEmpty { finished.append(answers) }
        said = ChatRequest.Message(role, at: path)
        answers = ChatRequest.Message(.tool, at: path)
    }

    mutating func read(_ fields: Fields, _ request: inout ChatRequest) throws(RequestError) {
        var fields = fields
        let type = try fields.neededString("type").text
        switch type {
        case "text": add(.text(try fields.neededString("text")), at: fields.place("text"))
        case "file", "image":
            guard let found = fields.take(["url", "data", "image"]), let data = found.value.string else {
                throw .invalid(field: fields.place("url"), "is missing")
            }
            let mediaType = fields.take(["mediaType", "mimeType"])?.value.string
            addFile(
                data, mediaType ?? (type == "image" ? "image/png" : nil), try fields.string("filename"), found.place)
        case "step-start": endStep()
        case "tool-invocation":
            if let invocation = try fields.object("toolInvocation") { try readInvocation(invocation) }
        case "dynamic-tool": try readTool(&fields, name: try fields.neededString("toolName"))
        case _ where type.hasPrefix("tool-"): try readTool(&fields, name: JSONString(String(type.dropFirst(5))))
        // Reasoning, sources, data.
        default: break
        }
    }

    // MARK: - Tools

    private mutating func readTool(_ fields: inout Fields, name: JSONString) throws(RequestError) {
        let id = try fields.neededString("toolCallId")
        let input = fields.take(["input", "rawInput"])?.value
        let state = try fields.string("state")?.text ?? ""
        switch state {
        case "output-error":
            let text = try fields.string("errorText") ?? ""
            addCall(id, name, input, .text(text), isError: true, at: fields.path)
        case "output-denied":
            addCall(id, name, input, .text("The user denied this call."), isError: true, at: fields.path)
        default:
            guard state == "output-available" || fields.peek("output") != nil else { return }
            let output = ChatRequest.ToolResult.text(of: fields.take("output") ?? .null)
            addCall(id, name, input, output, isError: false, at: fields.path)
        }
    }

    /// Version 4: `{"state": "result", "toolCallId", "toolName", "args", "result"}`.
    mutating func readInvocation(_ fields: Fields) throws(RequestError) {
        var fields = fields
        let id = try fields.neededString("toolCallId")
        let name = try fields.neededString("toolName")
        let isDone = try fields.string("state") == "result"
        guard isDone || fields.peek("result") != nil else { return }
        let output = ChatRequest.ToolResult.text(of: fields.take("result") ?? .null)
        addCall(id, name, fields.take("args"), output, isError: false, at: fields.path)
    }

    private mutating func addCall(
        _ id: JSONString, _ name: JSONString, _ input: JSONValue?, _ output: ChatRequest.Part, isError: Bool,
        at place: String
    ) {
        let call = ChatRequest.ToolCall(id: id, name: name, arguments: .value(input ?? .object([])))
        said.append(.toolCall(call), at: place)
        let result = ChatRequest.ToolResult(callID: id, name: name, parts: [output], isError: isError)
        answers.append(.toolResult(result), at: place)
    }

    // MARK: - Files

    /// Version 4: `{"name", "contentType", "url"}`.
    mutating func readAttachment(_ fields: Fields) throws(RequestError) {
        var fields = fields
        let url = try fields.neededString("url")
        let name = try fields.string("name")
        addFile(url, try fields.string("contentType"), name, fields.place("url"))
    }

    /// `data` is an address, a data URL, or base64 alone.
    private mutating func addFile(
        _ data: JSONString, _ mediaType: JSONString?, _ name: JSONString?, _ place: String
    ) {
        var media = ChatRequest.Media(url: data)
        if case .url = media, let mediaType, !data.raw.prefix(32).contains(UInt8(ascii: ":")) {
            media = .base64(mediaType: mediaType, data: data)
        }
        let isImage = mediaType?.text.hasPrefix("image/") ?? media.isImage
        add(isImage ? .image(media) : .file(media, name: name), at: place)
    }
}
