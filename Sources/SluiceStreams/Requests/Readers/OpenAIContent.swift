/// `content` of a message as OpenAI has it, in Chat Completions and in Responses: a string, or parts of several types.
enum OpenAIContent {
    static func read(
        _ key: String, _ fields: inout Fields, into message: inout ChatRequest.Message, _ request: inout ChatRequest
    ) throws(RequestError) {
        guard let value = fields.peek(key) else { return }
        if let text = value.string {
            fields.ignore(key)
            message.append(.text(text), at: fields.place(key))
            return
        }
        guard value.elements != nil else {
            throw .invalid(field: fields.place(key), "is neither a string nor an array")
        }
        for part in try fields.objects(key) { try read(part, into: &message, &request) }
    }

    private static func read(
        _ fields: Fields, into message: inout ChatRequest.Message, _ request: inout ChatRequest
    ) throws(RequestError) {
        var fields = fields
        let type = try fields.neededString("type").text
        let place = fields.place(type)
        switch type {
        case "text", "input_text", "output_text":
            message.append(.text(try fields.neededString("text")), at: fields.place("text"))
        case "refusal": message.append(.refusal(try fields.neededString("refusal")), at: place)
        case "thinking", "reasoning": break
        case "image_url":
            // Some clients give the address itself in place of the object.
            if let url = fields.peek("image_url")?.string {
                message.append(.image(.init(url: url)), at: place)
            } else if var image = try fields.object("image_url") {
                let url = try image.neededString("url")
                message.append(.image(.init(url: url, detail: try image.string("detail"))), at: place)
            } else {
                throw .invalid(field: place, "is missing")
            }
        case "input_image":
            guard let url = try fields.string("image_url") else {
                return request.lack(fields.place("file_id"))
            }
            message.append(.image(.init(url: url, detail: try fields.string("detail"))), at: place)
        case "input_audio": try readAudio(&fields, at: place, into: &message)
        case "file", "input_file": try readFile(type, &fields, into: &message, &request)
        default: request.lack("\(fields.path).\(JSONString(type).excerpt)")
        }
    }

    private static func readAudio(
        _ fields: inout Fields, at place: String, into message: inout ChatRequest.Message
    ) throws(RequestError) {
        guard var audio = try fields.object("input_audio") else { throw .invalid(field: place, "is missing") }
        let format = try audio.neededString("format")
        let type: JSONString = format == "mp3" ? "audio/mpeg" : .joined(["audio/", format], by: "")
        let media = ChatRequest.Media.base64(mediaType: type, data: try audio.neededString("data"))
        message.append(.file(media, name: nil), at: place)
    }

    private static func readFile(
        _ type: String, _ fields: inout Fields, into message: inout ChatRequest.Message, _ request: inout ChatRequest
    ) throws(RequestError) {
        let place = fields.place(type)
        var file = fields
        if type == "file" {
            guard let inner = try fields.object("file") else { throw .invalid(field: place, "is missing") }
            file = inner
        }
        guard let found = file.take(["file_data", "file_url"]), let data = found.value.string else {
            return request.lack(file.place("file_id"))
        }
        message.append(.file(.init(url: data), name: try file.string("filename")), at: place)
    }
}
