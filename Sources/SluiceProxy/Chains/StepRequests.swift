import SluiceBytes
import SluiceHTTP
import SluiceStreams

/// What the steps of a chain ask, as requests.
extension UpstreamRequest {
    /// Reads a client's request for all steps, and what it expects of their answer.
    static func read(
        _ body: Span<UInt8>, _ head: RequestHead, _ path: String, _ route: RouteEntry, _ plan: ChainPlan
    ) throws(ProxyError) -> (client: ChainRequest, expectation: Expectation) {
        let format = try responseFormat(route, head)
        var hints = hints(head, path, route, format)
        let (bytes, form) = formItems(body, head, route)
        if !form.isEmpty { hints.parameters = hints.parameters.or(PromptParameters(form)) }
        let items = form + RequestTarget(head.target).queryItems()
        do throws(RequestError) {
            let client = try RequestTranslator.read(
                bytes, from: route.spec.request, hints, items: items, needsConversation: plan.needsConversation)
            return (client, Expectation(format, client.answer))
        } catch {
            throw ProxyError(.badRequest, .client, error.message)
        }
    }

    /// A request that is none of the client's, in the upstream's words.
    static func composed(
        _ context: Context, _ chat: ChatRequest, _ step: ChainRun.StepRequest
    ) throws(ProxyError) -> Plan {
        var rules = context.route.rules(at: context.position)
        rules.fallbackModel = context.upstream.dialect.fallbackModel
        rules.system = step.system
        var expectation = step.expectation
        // What is relayed has what the client asked for, and no more.
        let isRelayed = expectation.wantsStream && AnswerBridge.isRelayed(expectation, context.upstream)
        rules.asksForUsage = !isRelayed || expectation.includeUsage
        let request: TranslatedRequest
        do throws(RequestError) {
            request = try RequestTranslator.compose(chat, to: context.upstream.dialect, rules)
        } catch {
            throw ProxyError(.badRequest, .client, error.message)
        }
        (expectation.model, expectation.asksForStream) = (request.model, request.asksForStream)
        return Plan(body: request.body, expectation: expectation, dropped: request.dropped)
    }
}

extension UpstreamRequest.Expectation {
    /// What a client's request says of its answer.
    init(_ format: StreamFormat, _ request: TranslatedRequest) {
        self.init(format: format, model: request.model)
        (wantsStream, asksForStream) = (request.wantsStream, request.asksForStream)
        (includeUsage, wantsArray) = (request.includeUsage, request.wantsArray)
        (threadID, runID) = (request.threadID, request.runID)
        messageID = request.messageID
    }
}
