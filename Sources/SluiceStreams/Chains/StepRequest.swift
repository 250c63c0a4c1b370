/// A client's request as the steps of a chain see it.
public struct ChainRequest: Sendable {
    /// The conversation with its settings; empty where the client has none, and no step needs it.
    public let chat: ChatRequest
    public let input: TemplateInput
    /// What the client expects of the answer; its body is empty.
    public let answer: TranslatedRequest
}

extension RequestTranslator {
    /// Reads a client's request for a chain. `items`: the target's query, or a form. A request without a conversation is refused only
    /// if `needsConversation`, or where its format demands one.
    public static func read(
        _ body: [UInt8], from format: RequestFormat, _ hints: RequestHints, items: [(name: String, value: String)],
        needsConversation: Bool
    ) throws(RequestError) -> ChainRequest {
        let client = try ClientBody(body, format, hints)
        var answer = TranslatedRequest()
        client.describe(&answer)
        var chat = ChatRequest()
        do throws(RequestError) {
            chat = try client.read()
        } catch {
            let mayLackOne = format == .prompt || format == .run && client.json?["input"] != nil
            guard mayLackOne, !needsConversation else { throw error }
            // Without anything to say, it may still name a model.
            let named = (client.json?["input"] ?? client.json)?["model"]?.string?.text ?? hints.parameters.model ?? ""
            chat.model = named.isEmpty ? nil : JSONString(named)
        }
        return ChainRequest(chat: chat, input: TemplateInput(client, chat, items), answer: answer)
    }

    /// Writes a request that a chain has put together for an upstream. The answer comes as a stream unless the rules say otherwise.
    public static func compose(
        _ chat: ChatRequest, to dialect: Dialect, _ rules: RequestRules
    ) throws(RequestError) -> TranslatedRequest {
        var result = TranslatedRequest()
        result.asksForStream = rules.overrides?["stream"]?.bool ?? true
        let written = try TranslatedBody.write(chat, dialect, rules, &result)
        try needModel(dialect, result)
        result.body = written.value.serialized()
        return result
    }
}

extension ChatRequest {
    /// The same with other messages. Fields that nobody knows but the chain's own templates are not missed.
    public func saying(_ messages: [Message], without names: Set<String>) -> ChatRequest {
        var chat = self
        chat.messages = messages
        chat.unknown.removeAll { names.contains($0) }
        return chat
    }

    /// The conversation alone, for a step before the last: what the client says of its answer is not said of this one. Tools stay where
    /// they were called, since some providers want to know what of, but are not to be called.
    public var conversation: ChatRequest {
        var chat = ChatRequest()
        (chat.model, chat.messages) = (model, messages)
        let hasCalls = messages.contains { message in
            message.parts.contains { part in
                switch part {
                case .toolCall, .toolResult: true
                default: false
                }
            }
        }
        if hasCalls, !tools.isEmpty {
            (chat.tools, chat.toolChoice) = (tools, ChatRequest.ToolChoice.none)
            chat.places[.tools] = places[.tools]
        }
        return chat
    }
}
