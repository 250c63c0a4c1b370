/// A conversation as one text, for upstreams that continue a prompt and know no messages.
enum PromptText {
    /// One text of the user is the prompt; several turns are a plain transcript, which the model goes on with.
    static func plain(
        _ turns: [ChatRequest.Message], _ losses: inout Losses, takesImages: Bool = false
    ) -> JSONString {
        let spoken = self.spoken(turns, &losses, takesImages)
        if spoken.count == 1, let only = spoken.first, only.isUser { return only.text }
        var pieces: [JSONString] = spoken.map { .joined([$0.isUser ? "User: " : "Assistant: ", $0.text], by: "") }
        if spoken.last?.isUser == true { pieces.append("Assistant:") }
        return .joined(pieces, by: "\n\n")
    }

    /// The same behind the system's text, for upstreams that have no field for it.
    static func withSystem(_ request: ChatRequest, _ losses: inout Losses) -> JSONString {
        let prompt = plain(request.turns, &losses)
        return .joined([request.systemText, prompt].compactMap { $0 }, by: "\n\n")
    }

    /// Anthropic's legacy form, which has to begin and end like this.
    static func human(_ request: ChatRequest, _ losses: inout Losses) -> JSONString {
        let spoken = self.spoken(request.turns, &losses, false)
        var pieces: [JSONString] = request.systemText.map { [$0] } ?? []
        for turn in spoken {
            pieces.append(turn.isUser ? "\n\nHuman: " : "\n\nAssistant: ")
            pieces.append(turn.text)
        }
        if spoken.last?.isUser != false { pieces.append("\n\nAssistant:") }
        return .joined(pieces, by: "")
    }

    private static func spoken(
        _ turns: [ChatRequest.Message], _ losses: inout Losses, _ takesImages: Bool
    ) -> [(isUser: Bool, text: JSONString)] {
        var spoken: [(isUser: Bool, text: JSONString)] = []
        for message in turns {
            for (part, place) in message.placed {
                switch part {
                case .text, .refusal, .reasoning: break
                case .image(.base64) where takesImages: break
                case .image, .file, .toolCall, .toolResult: losses.lose(place)
                }
            }
            if message.role != .tool { spoken.append((message.role == .user, message.text)) }
        }
        return spoken
    }
}
