/// The blocks of a message's `content` as Anthropic has them.
enum AnthropicContent {
    typealias Placed = (part: ChatRequest.Part, place: String)

    /// Usually one part; none for what is dropped.
    static func read(_ fields: Fields, _ request: inout ChatRequest) throws(RequestError) -> [Placed] {
        var fields = fields
        let type = try fields.neededString("type")
        let place = "\(fields.path).\(type.excerpt)"
        switch type.text {
        case "text": return [(.text(try fields.neededString("text")), fields.place("text"))]
        case "image":
            guard let media = try readSource(&fields, &request) else { return [] }
            return [(.image(media), place)]
        case "document": return try readDocument(&fields, place, &request)
        case "tool_use":
            let call = ChatRequest.ToolCall(
                id: try fields.neededString("id"), name: try fields.neededString("name"),
                arguments: OpenAITools.arguments(fields.take("input")))
            return [(.toolCall(call), fields.path)]
        case "tool_result":
            let id = try fields.neededString("tool_use_id")
            let parts = try readResult(&fields, &request)
            let isError = try fields.flag("is_error") ?? false
            return [(.toolResult(.init(callID: id, parts: parts, isError: isError)), place)]
        case "thinking":
            let signature = try fields.string("signature")
            return [(.reasoning(try fields.string("thinking") ?? "", signature: signature), place)]
        // What no one but its own provider can read.
        case "redacted_thinking": return []
        default:
            request.lack(place)
            return []
        }
    }

    private static func readSource(
        _ fields: inout Fields, _ request: inout ChatRequest
    ) throws(RequestError) -> ChatRequest.Media? {
        guard var source = try fields.object("source") else {
            throw .invalid(field: fields.place("source"), "is missing")
        }
        let type = try source.neededString("type")
        switch type.text {
        case "base64":
            return .base64(mediaType: try source.neededString("media_type"), data: try source.neededString("data"))
        case "url": return .url(try source.neededString("url"), detail: nil)
        default:
            request.lack("\(source.path).\(type.excerpt)")
            return nil
        }
    }

    /// A document that is plain text, or made of blocks, is what it says; others are files.
    private static func readDocument(
        _ fields: inout Fields, _ place: String, _ request: inout ChatRequest
    ) throws(RequestError) -> [Placed] {
        let title = try fields.string("title")
        if var source = fields.peek("source").flatMap({ try? Fields($0, at: fields.place("source")) }) {
            switch try source.string("type")?.text {
            case "text"?: return [(.text(try source.neededString("data")), source.place("data"))]
            case "content"?: return try readContent(&source, &request)
            default: break
            }
        }
        guard let media = try readSource(&fields, &request) else { return [] }
        return [(.file(media, name: title), place)]
    }

    private static func readResult(
        _ fields: inout Fields, _ request: inout ChatRequest
    ) throws(RequestError) -> [ChatRequest.Part] {
        try readContent(&fields, &request).map(\.part)
    }

    private static func readContent(
        _ fields: inout Fields, _ request: inout ChatRequest
    ) throws(RequestError) -> [Placed] {
        if let text = fields.peek("content")?.string {
            fields.ignore("content")
            return [(.text(text), fields.place("content"))]
        }
        var parts: [Placed] = []
        for block in try fields.objects("content") {
            parts += try read(block, &request).filter {
                switch $0.part {
                case .text, .image, .file: true
                default: false
                }
            }
        }
        return parts
    }
}
