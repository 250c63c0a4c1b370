/// The parts of a turn as Google has them.
enum GeminiParts {
    /// nil for what is dropped.
    static func read(
        _ fields: Fields, _ ids: inout CallIDs, _ request: inout ChatRequest
    ) throws(RequestError) -> (part: ChatRequest.Part, place: String)? {
        var fields = fields
        let signature = fields.take("thoughtSignature")?.string
        if let text = try fields.string("text") {
            let isThought = try fields.flag("thought") ?? false
            let part: ChatRequest.Part = isThought ? .reasoning(text, signature: nil) : .text(text)
            return (part, fields.place("text"))
        }
        if let data = try fields.object("inlineData") { return try media(data) }
        if let data = try fields.object("fileData") { return try media(data) }
        if var call = try fields.object("functionCall") {
            let name = try call.neededString("name")
            let part = ChatRequest.ToolCall(
                id: ids.called(name, try call.string("id")), name: name,
                arguments: OpenAITools.arguments(call.take("args")), signature: signature)
            return (.toolCall(part), call.path)
        }
        if let response = try fields.object("functionResponse") { return try result(response, &ids) }
        for key in fields.untaken where key != "thought" { request.lack(fields.place(JSONString(key).excerpt)) }
        return nil
    }

    private static func media(
        _ fields: Fields
    ) throws(RequestError) -> (part: ChatRequest.Part, place: String) {
        var fields = fields
        let type = try fields.string("mimeType") ?? ""
        let media: ChatRequest.Media
        if let address = try fields.string("fileUri") {
            media = .url(address, detail: nil)
        } else {
            media = .base64(mediaType: type, data: try fields.neededString("data").standardBase64)
        }
        let name = try fields.string("displayName")
        let isImage = type.text.hasPrefix("image/")
        return (isImage ? .image(media) : .file(media, name: name), fields.path)
    }

    /// What the tool said is an object here; where it is no more than a wrapper of a text, it is that text.
    private static func result(
        _ fields: Fields, _ ids: inout CallIDs
    ) throws(RequestError) -> (part: ChatRequest.Part, place: String) {
        var fields = fields
        let name = try fields.neededString("name")
        let callID = ids.answered(name, try fields.string("id"))
        let response = fields.take("response") ?? .object([])
        var inner = response
        var isError = false
        if let members = response.members, members.count == 1, let member = members.first, member.value.string != nil {
            if member.key == "result" || member.key == "output" { inner = member.value }
            if member.key == "error" { (inner, isError) = (member.value, true) }
        }
        let part = ChatRequest.ToolResult(
            callID: callID, name: name, parts: [ChatRequest.ToolResult.text(of: inner)], isError: isError)
        return (.toolResult(part), fields.path)
    }
}
