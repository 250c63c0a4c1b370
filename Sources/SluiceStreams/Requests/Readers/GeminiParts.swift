/// The parts of a turn as Google has them. Its own libraries write names in camel case; its servers take snake case too.
enum GeminiParts {
    /// nil for what is dropped.
    static func read(
        _ fields: Fields, _ ids: inout CallIDs, _ request: inout ChatRequest
    ) throws(RequestError) -> (part: ChatRequest.Part, place: String)? {
        var fields = fields
        let signature = fields.take(["thoughtSignature", "thought_signature"])?.value.string
        if let text = try fields.string("text") {
            let isThought = try fields.flag("thought") ?? false
            let part: ChatRequest.Part = isThought ? .reasoning(text, signature: nil) : .text(text)
            return (part, fields.place("text"))
        }
        if let found = fields.take(["inlineData", "inline_data"]) { return try media(found) }
        if let found = fields.take(["fileData", "file_data"]) { return try media(found) }
        if let found = fields.take(["functionCall", "function_call"]) {
            var call = try Fields(found.value, at: found.place)
            let name = try call.neededString("name")
            let part = ChatRequest.ToolCall(
                id: ids.called(name, try call.string("id")), name: name,
                arguments: OpenAITools.arguments(call.take("args")), signature: signature)
            return (.toolCall(part), found.place)
        }
        if let found = fields.take(["functionResponse", "function_response"]) { return try result(found, &ids) }
        for key in fields.untaken where key != "thought" { request.lack(fields.place(JSONString(key).excerpt)) }
        return nil
    }

    private static func media(
        _ found: (value: JSONValue, place: String)
    ) throws(RequestError) -> (part: ChatRequest.Part, place: String) {
        var fields = try Fields(found.value, at: found.place)
        let type = fields.take(["mimeType", "mime_type"])?.value.string ?? ""
        let media: ChatRequest.Media
        if let address = fields.take(["fileUri", "file_uri"])?.value.string {
            media = .url(address, detail: nil)
        } else {
            media = .base64(mediaType: type, data: try fields.neededString("data"))
        }
        let name = fields.take(["displayName", "display_name"])?.value.string
        let isImage = type.text.hasPrefix("image/")
        return (isImage ? .image(media) : .file(media, name: name), found.place)
    }

    /// What the tool said is an object here; where it is no more than a wrapper of a text, it is that text.
    private static func result(
        _ found: (value: JSONValue, place: String), _ ids: inout CallIDs
    ) throws(RequestError) -> (part: ChatRequest.Part, place: String) {
        var fields = try Fields(found.value, at: found.place)
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
        return (.toolResult(part), found.place)
    }
}
