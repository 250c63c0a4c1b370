import SluiceBytes
import SluiceConfig
import SluiceStreams

/// One run of a route's steps: what the client sent, what the steps have answered by now, and what is to be asked next. It asks
/// nobody: the exchange that owns it does.
final class ChainRun {
    /// What a step's exchange sends in place of a client's request.
    struct StepRequest {
        var system: String?
        /// nil: the client's body goes out.
        var chat: ChatRequest?
        var expectation: UpstreamRequest.Expectation
    }

    enum Next {
        /// It is asked, and its answer collected.
        case collect(ChainPlan.Step, StepRequest)
        /// It is the last one, and answers the client.
        case answer(ChainPlan.Step, RouteEntry, StepRequest)
    }

    let plan: ChainPlan
    let client: ChainRequest
    let expectation: UpstreamRequest.Expectation
    /// Of the step that the next one follows.
    private(set) var position = -1
    /// By step; nil: it has not run, or was left out.
    private var outputs: [String: (text: [UInt8], finish: String)] = [:]
    private let requestLimit: Int
    private var heldBytes = 0

    /// The step that is asked now, as an exchange of its own.
    var running: Exchange?
    /// The step that answers; nil until then.
    var answer: StepRequest?
    /// What its steps have cost so far.
    private(set) var spent = RateLimiter.Spent.counted(0)
    /// Why a step failed, for the log.
    var failure: String?

    init(
        _ plan: ChainPlan, _ client: ChainRequest, _ expectation: UpstreamRequest.Expectation, bodyBytes: Int,
        requestLimit: Int
    ) {
        (self.plan, self.client, self.expectation, self.requestLimit) = (plan, client, expectation, requestLimit)
        hold(bodyBytes)
    }

    deinit { BufferedBytes.gaveBack(heldBytes) }

    /// What is held in arrays counts like any buffer.
    private func hold(_ bytes: Int) {
        heldBytes += bytes
        BufferedBytes.took(bytes)
    }

    /// The client's request as it was read, and what has been answered.
    var bufferedBytes: Int { heldBytes + (running?.step?.output?.count ?? 0) }

    /// What a request lacks that some step is going to need: told before anything is asked, and paid for.
    var lack: ProxyError? {
        for (subject, path, step) in plan.needed where client.input.value(at: path) == nil {
            return Self.missing(subject, step)
        }
        return nil
    }

    // MARK: - Going on

    /// The next step that is not left out.
    func next() throws(ProxyError) -> Next? {
        while position + 1 < plan.steps.count {
            position += 1
            let step = plan.steps[position]
            guard holds(step.spec.conditions) else { continue }
            let isLast = step.last != nil
            let request = try request(step.spec, isLast: isLast)
            if let last = step.last { return .answer(step, last, request) }
            return .collect(step, request)
        }
        return nil
    }

    /// The step at `position` has answered.
    func take(_ output: [UInt8], finish: FinishReason?) {
        hold(output.count)
        outputs[plan.steps[position].spec.name] = (output, finish?.text ?? "")
    }

    func spend(_ tokens: RateLimiter.Spent) { spent = Self.sum(spent, tokens) }

    /// Both together; estimated if one of them is.
    static func sum(_ left: RateLimiter.Spent, _ right: RateLimiter.Spent) -> RateLimiter.Spent {
        switch (left, right) {
        case (.counted(let a), .counted(let b)): .counted(a + b)
        case (.counted(let a), .estimated(let b)), (.estimated(let a), .counted(let b)): .estimated(output: a + b)
        case (.estimated(let a), .estimated(let b)): .estimated(output: a + b)
        }
    }

    // MARK: - Values

    private func holds(_ conditions: [(subject: TemplateSubject, glob: String)]) -> Bool {
        conditions.allSatisfy { subject, glob in
            value(subject).map { Glob.matches(glob, String(decoding: $0, as: UTF8.self)) } ?? false
        }
    }

    private func value(_ subject: TemplateSubject) -> [UInt8]? {
        switch subject {
        case .input(let path): return client.input.value(at: path)
        case .finishReason(let step): return Array((outputs[step]?.finish ?? "").utf8)
        case .output(let step, let path):
            // A step that was left out has said nothing.
            guard let output = outputs[step]?.text else { return [] }
            return path.isEmpty ? output : StepOutput.value(in: output, at: path)
        }
    }

    // MARK: - Requests

    private func request(_ spec: StepSpec, isLast: Bool) throws(ProxyError) -> StepRequest {
        var expectation = UpstreamRequest.Expectation(format: .sseJSON, wantsStream: false)
        if isLast { expectation = self.expectation }
        var request = StepRequest(expectation: expectation)
        var left = requestLimit
        if let system = spec.system {
            request.system = String(decoding: try expand(system, spec, &left), as: UTF8.self)
        }
        if !spec.messages.isEmpty {
            var messages: [ChatRequest.Message] = []
            for message in spec.messages {
                let text = JSONString(escaping: try expand(message.content, spec, &left))
                messages.append(ChatRequest.Message(message.role.own, [.text(text)], at: "steps.\(spec.name)"))
            }
            let base = isLast ? client.chat : client.chat.conversation
            request.chat = base.saying(messages, without: plan.inputNames)
        } else if !isLast {
            request.chat = client.chat.conversation
        }
        return request
    }

    private func expand(_ template: PromptTemplate, _ spec: StepSpec, _ left: inout Int) throws(ProxyError) -> [UInt8] {
        switch template.expand(limitBytes: left, value) {
        case .text(let text):
            left -= text.count
            return text
        case .missing(let subject): throw Self.missing(subject, spec.name)
        case .tooLarge:
            let limit = Limit("request_body_bytes", requestLimit)
            throw ProxyError(
                .limit(limit, status: 413), .client,
                "what step '\(spec.name)' asks is larger than \(limit.name) (\(limit.value) bytes)")
        }
    }

    private static func missing(_ subject: TemplateSubject, _ step: String) -> ProxyError {
        if case .input = subject {
            return ProxyError(.badRequest, .client, "\(subject) is missing, which step '\(step)' needs")
        }
        return ProxyError(
            .malformed(.body), .upstream,
            "there is no \(subject), which step '\(step)' needs: what came is no such JSON")
    }
}

extension StepSpec.Message.Role {
    fileprivate var own: ChatRequest.Role {
        switch self {
        case .system: .system
        case .user: .user
        case .assistant: .assistant
        }
    }
}
