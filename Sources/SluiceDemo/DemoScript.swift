import SluiceBytes
import SluiceStreams

/// What is answered to one request: a document at once, or a stream of steps.
struct DemoScript {
    struct Step {
        /// Since the step before.
        var delay: Interval
        /// Body bytes: what leaves at a time.
        var bytes: [UInt8]
    }
    var status = 200
    var contentType = "application/json"
    /// One step without delay, or a stream's many.
    var steps: [Step]

    /// The pace of a stream.
    struct Pace: Sendable {
        var firstToken = Interval.milliseconds(200)
        var token = Interval.milliseconds(30)

        init(firstToken: Interval = .milliseconds(200), token: Interval = .milliseconds(30)) {
            (self.firstToken, self.token) = (firstToken, token)
        }
    }

    static func document(_ status: Int, _ json: JSONValue) -> DemoScript {
        DemoScript(status: status, steps: [Step(delay: .zero, bytes: json.serialized())])
    }
}

/// The demo upstream's answers. Pure: the same request, number and time give the same bytes.
extension DemoScript {
    static func answer(
        method: String, path: String, query: String = "", body: Span<UInt8>, serial: Int, time: Int, pace: Pace
    ) -> DemoScript {
        if method == "GET", path == "/v1/models" { return models(time) }
        guard method == "POST", let endpoint = DemoEndpoint(path: path) else {
            return error(404, "Invalid URL (\(method) \(path))", .openAIChat)
        }
        guard let json = JSONValue.parse(body), case .object = json else {
            return error(400, "We could not parse the JSON body of your request.", endpoint.dialect)
        }
        guard let request = DemoRequest(json, endpoint: endpoint, query: query) else {
            return error(400, "Missing required parameter: '\(endpoint.promptField)'.", endpoint.dialect)
        }
        let answer = DemoAnswer(to: request, serial: serial, time: time)
        var wire = wire(request, answer)
        guard request.wantsStream else { return document(200, wire.document()) }
        return stream(answer, &wire, serial: serial, pace: pace)
    }

    private static func wire(_ request: DemoRequest, _ answer: DemoAnswer) -> any DemoWire {
        func encoded(_ format: StreamFormat) -> any DemoWire { EncodedWire(format, answer, request) }
        return switch request.endpoint.dialect {
        case .openAICompletions: encoded(.openAICompletions)
        case .openAIResponses: encoded(.openAIResponses)
        case .anthropicMessages: encoded(.anthropic)
        case .cohereV2: encoded(.cohere)
        case .gemini: encoded(.gemini)
        case .ollamaChat: encoded(.ollamaChat)
        case .ollamaGenerate: encoded(.ollamaGenerate)
        case .mlflow: encoded(.mlflow)
        case .anthropicCompletion: AnthropicCompletionWire(answer: answer)
        case .cohereV1: CohereV1Wire(answer: answer)
        case .bedrockConverse: BedrockConverseWire(answer: answer)
        case .bedrockInvoke: BedrockInvokeWire(answer, request)
        case .tgi: TGIWire(answer: answer)
        case .llamaCPP: LlamaCPPWire(answer: answer)
        case .replicate: ReplicateWire(answer: answer)
        case .watsonx: WatsonxWire(answer: answer)
        case .openAIChat, .text, .raw, .auto: OpenAIChatWire(answer: answer, wantsUsage: request.wantsUsage)
        }
    }

    private static func stream(
        _ answer: DemoAnswer, _ wire: inout any DemoWire, serial: Int, pace: Pace
    ) -> DemoScript {
        var steps: [Step] = []
        var random = UInt64(truncatingIfNeeded: serial) &+ 1
        var isFirst = true
        var delay = Interval.zero
        for part in answer.parts {
            if part.isToken {
                // Between half and one and a half of the pace, from a generator that starts the same for the same serial.
                random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                let jittered = pace.token.nanoseconds / 2 + pace.token.nanoseconds * (random >> 54) / 1024
                delay.nanoseconds += isFirst ? pace.firstToken.nanoseconds : jittered
                isFirst = false
            }
            let bytes = wire.write(part)
            if bytes.isEmpty { continue }
            steps.append(Step(delay: delay, bytes: bytes))
            delay = .zero
        }
        return DemoScript(contentType: wire.contentType, steps: steps)
    }

    private static func models(_ time: Int) -> DemoScript {
        let model: JSONValue = [
            "id": "gpt-4o-mini", "object": "model", "created": JSONValue(time), "owned_by": "demo",
        ]
        return document(200, ["object": "list", "data": [model]])
    }

    // MARK: - Refusing

    /// A refusal in the provider's shape.
    static func error(_ status: Int, _ message: String, _ dialect: Dialect) -> DemoScript {
        let text = JSONValue(message)
        let code = JSONValue(status)
        return switch dialect {
        case .anthropicMessages, .anthropicCompletion:
            document(status, ["type": "error", "error": ["type": "invalid_request_error", "message": text]])
        case .cohereV1, .cohereV2, .bedrockConverse, .bedrockInvoke: document(status, ["message": text])
        case .gemini:
            document(status, ["error": ["code": code, "message": text, "status": "INVALID_ARGUMENT"]])
        case .ollamaChat, .ollamaGenerate: document(status, ["error": text])
        case .tgi: document(status, ["error": text, "error_type": "validation"])
        case .replicate, .mlflow: document(status, ["detail": text])
        case .watsonx:
            document(status, ["errors": [["code": "invalid_request", "message": text]], "status_code": code])
        default:
            document(
                status,
                ["error": ["message": text, "type": "invalid_request_error", "param": nil, "code": nil]])
        }
    }
}
