import SluiceStreams

/// What the demo says, in no provider's words: every wire writes it down in its own.
struct DemoAnswer {
    struct Call {
        var id: String
        var name: String
        var arguments: JSONValue
    }
    /// What is written down at a time: one step of a stream.
    enum Part {
        case start
        case reasoning(String)
        case reasoningEnd
        case text(String)
        case callStart
        /// A fragment of the arguments' JSON text.
        case arguments(String)
        case callEnd
        case finish
        case usage
        case end
    }

    var id: String
    var model: String
    var created: Int
    /// Words stand for tokens; a demo has no tokenizer.
    var reasoning: [String]
    var text: [String]
    var call: Call?
    var inputTokens: Int

    init(to request: DemoRequest, serial: Int, time: Int) {
        id = "\(request.endpoint.idPrefix)\(serial)"
        (model, created) = (request.model, time)
        inputTokens = DemoAnswers.tokens(of: request.prompt).count + 3
        reasoning = []
        if request.wantsReasoning, request.endpoint.hasReasoning {
            reasoning = DemoAnswers.tokens(of: DemoAnswers.reasoning(on: request.prompt))
        }
        text = []
        if let result = request.toolResult {
            text = DemoAnswers.tokens(of: DemoAnswers.answer(toResult: result))
        } else if let tool = Self.tool(request) {
            let prefix = request.endpoint.dialect == .anthropicMessages ? "toolu_demo" : "call_demo"
            call = Call(
                id: "\(prefix)\(serial)", name: tool.name, arguments: tool.arguments(for: request.prompt))
        } else {
            text = DemoAnswers.tokens(of: DemoAnswers.answer(to: request.prompt))
        }
    }

    private static func tool(_ request: DemoRequest) -> DemoTool? {
        guard request.endpoint.hasTools else { return nil }
        if let name = request.forcedTool {
            return name.isEmpty ? request.tools.first : request.tools.first { $0.name == name }
        }
        let prompt = request.prompt.lowercased()
        return request.tools.first { prompt.contains($0.name.lowercased()) }
            ?? request.tools.first { $0.isMeant(by: prompt) }
    }

    // MARK: - Looking at it

    var wholeText: String { text.joined() }
    var wholeReasoning: String { reasoning.joined() }
    var argumentsText: String { call.map { String(decoding: $0.arguments.serialized(), as: UTF8.self) } ?? "" }
    var argumentTokens: [String] { DemoAnswers.tokens(of: argumentsText) }
    var finish: FinishReason { call == nil ? .stop : .toolCalls }
    var outputTokens: Int { text.count + reasoning.count + argumentTokens.count }
    var usage: Usage {
        Usage(input: inputTokens, output: outputTokens, reasoning: reasoning.isEmpty ? nil : reasoning.count)
    }

    var parts: [Part] {
        var parts: [Part] = [.start]
        parts += reasoning.map(Part.reasoning)
        if !reasoning.isEmpty { parts.append(.reasoningEnd) }
        parts += text.map(Part.text)
        if call != nil { parts += [.callStart] + argumentTokens.map(Part.arguments) + [.callEnd] }
        return parts + [.finish, .usage, .end]
    }
}

extension DemoAnswer.Part {
    /// Takes a provider's time; what frames an answer comes with what it frames.
    var isToken: Bool {
        switch self {
        case .reasoning, .text, .callStart, .arguments: true
        case .start, .reasoningEnd, .callEnd, .finish, .usage, .end: false
        }
    }
}

extension DemoEndpoint {
    /// The format has a place for thoughts.
    var hasReasoning: Bool {
        switch dialect {
        case .openAICompletions, .anthropicCompletion, .cohereV1, .tgi, .llamaCPP, .replicate, .watsonx, .mlflow: false
        default: true
        }
    }

    /// The format has a place for tool calls.
    var hasTools: Bool {
        switch dialect {
        case .openAICompletions, .anthropicCompletion, .ollamaGenerate, .tgi, .llamaCPP, .replicate, .watsonx: false
        default: true
        }
    }
}
