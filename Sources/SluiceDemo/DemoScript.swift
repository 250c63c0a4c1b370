import SluiceBytes
import SluiceStreams

/// What the demo upstream answers: a document at once, or a stream of steps. Pure: the same request, id and time give
/// the same bytes. Shapes: OpenAI's chat completions API.
struct DemoScript {
    struct Step {
        /// Since the step before.
        var delay: Interval
        /// Body bytes: one event of the stream.
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

    static func answer(method: String, path: String, body: Span<UInt8>, serial: Int, time: Int, pace: Pace)
        -> DemoScript
    {
        switch (method, path) {
        case ("POST", "/v1/chat/completions"): return chat(body, serial: serial, time: time, pace: pace)
        case ("GET", "/v1/models"):
            let model = #"{"id":"gpt-4o-mini","object":"model","created":\#(time),"owned_by":"demo"}"#
            return document(200, #"{"object":"list","data":[\#(model)]}"#)
        default: return error(404, "Invalid URL (\(method) \(path))")
        }
    }

    static func error(_ status: Int, _ message: String) -> DemoScript {
        let text = text { JSONText.appendQuoted(message, into: &$0) }
        return document(
            status, #"{"error":{"message":\#(text),"type":"invalid_request_error","param":null,"code":null}}"#)
    }

    private static func document(_ status: Int, _ text: String) -> DemoScript {
        DemoScript(status: status, steps: [Step(delay: .zero, bytes: Array(text.utf8))])
    }

    private static func chat(_ body: Span<UInt8>, serial: Int, time: Int, pace: Pace) -> DemoScript {
        guard let request = JSONValue.parse(body), case .object = request else {
            return error(400, "We could not parse the JSON body of your request.")
        }
        guard case .array(let messages)? = request["messages"] else {
            return error(400, "Missing required parameter: 'messages'.")
        }
        let prompt = messages.last { $0["role"] == .string("user") }.map(text(of:)) ?? ""
        let answer = DemoAnswers.answer(to: prompt)
        let tokens = DemoAnswers.tokens(of: answer)
        let model = request.text(at: ["model"]) ?? "gpt-4o-mini"
        let head = #""id":"chatcmpl-demo\#(serial)","created":\#(time),"model":\#(quoted(model))"#
        let usage = usage(prompt: prompt, completion: tokens.count)
        guard request["stream"] == .bool(true) else {
            let message = #"{"role":"assistant","content":\#(quoted(answer)),"refusal":null}"#
            let choice = #"{"index":0,"message":\#(message),"logprobs":null,"finish_reason":"stop"}"#
            return document(200, #"{\#(head),"object":"chat.completion","choices":[\#(choice)],"usage":\#(usage)}"#)
        }
        let wantsUsage = request["stream_options"]?["include_usage"] == .bool(true)
        return stream(tokens, head: head, usage: wantsUsage ? usage : nil, serial: serial, pace: pace)
    }

    private static func stream(
        _ tokens: [String], head: String, usage: String?, serial: Int, pace: Pace
    ) -> DemoScript {
        var steps: [Step] = []
        func add(_ delay: Interval, _ choices: String, _ usage: String? = nil) {
            let tail = usage.map { #","usage":\#($0)"# } ?? ""
            let event = #"data: {\#(head),"object":"chat.completion.chunk","choices":[\#(choices)]\#(tail)}"# + "\n\n"
            steps.append(Step(delay: delay, bytes: Array(event.utf8)))
        }
        func choice(_ delta: String, _ finish: String = "null") -> String {
            #"{"index":0,"delta":\#(delta),"logprobs":null,"finish_reason":\#(finish)}"#
        }
        add(.zero, choice(#"{"role":"assistant","content":"","refusal":null}"#))
        var random = UInt64(truncatingIfNeeded: serial) &+ 1
        for (index, token) in tokens.enumerated() {
            // Between half and one and a half of the pace, from a generator that starts the same for the same serial.
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let jittered = Interval(
                nanoseconds: pace.token.nanoseconds / 2 + pace.token.nanoseconds * (random >> 54) / 1024)
            add(index == 0 ? pace.firstToken : jittered, choice(#"{"content":\#(quoted(token))}"#))
        }
        add(.zero, choice("{}", #""stop""#))
        if let usage { add(.zero, "", usage) }
        steps.append(Step(delay: .zero, bytes: Array("data: [DONE]\n\n".utf8)))
        return DemoScript(contentType: "text/event-stream; charset=utf-8", steps: steps)
    }

    private static func text(of message: JSONValue) -> String {
        if let text = message.text(at: ["content"]) { return text }
        guard case .array(let parts)? = message["content"] else { return "" }
        return parts.compactMap { $0.text(at: ["text"]) }.joined(separator: " ")
    }

    /// Words stand for tokens; a demo has no tokenizer.
    private static func usage(prompt: String, completion: Int) -> String {
        let input = DemoAnswers.tokens(of: prompt).count + 3
        return #"{"prompt_tokens":\#(input),"completion_tokens":\#(completion),"total_tokens":\#(input + completion)}"#
    }

    private static func quoted(_ text: String) -> String { self.text { JSONText.appendQuoted(text, into: &$0) } }

    private static func text(_ write: (inout ByteQueue) -> Void) -> String {
        var out = ByteQueue()
        write(&out)
        return out.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }
}
