import SluiceBytes
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// A failure as the client would be told it.
struct FailedAnswer {
    let error: ProxyError
    /// Of the upstream's answer: what a client can act on.
    var fields = HeaderFields()
    /// The upstream's own error document, where the client understands it; empty: it is written anew.
    var body: [UInt8] = []
    /// What the upstream asked for before it is asked again.
    var retryAfter: Interval?
}

extension Exchange {
    /// An error status, with as much of its body as there is.
    func errorEnded(_ status: Int, _ fields: HeaderFields) { attemptFailed(answer(status, fields)) }

    /// The upstream's own error in the client's dialect, with what a client can act on.
    func answer(_ status: Int, _ fields: HeaderFields) -> FailedAnswer {
        var body = ByteQueue()
        swap(&body, &errorBody)
        let document = JSONValue.parse(body.span)
        let redactor = redactor(forClient: true)
        let said = document?.errorMessage.map { redactor.redact($0) }
        record.upstreamError = redactor.redact(Self.errorWord(document))
        body.withUnsafeMutableBytes { _ = redactor.redact($0) }
        var failed = FailedAnswer(
            error: ProxyError(.status(status), .upstream, said ?? "upstream answered with status \(status)"))
        failed.fields = ResponseFields.passedOn(fields)
        failed.retryAfter = RetryAfter.read(fields, unixTime: worker.loop.unixTime())
        let isOwnDialect = pool.map { AnswerBridge.isRelayed(expectation, $0.endpoint) } ?? false
        // OpenAI's errors are those of its whole family, and of the formats of no provider.
        let isOwnShape =
            expectation.format.hasOpenAIErrors && pool?.endpoint.dialect.hasOpenAIErrors == true
            && document?["error"]?["message"] != nil
        if isOwnDialect || isOwnShape, route?.spec.workflow == nil, (400..<500).contains(status),
            case .object? = document
        {
            failed.body = body.span.array
        }
        return failed
    }

    func tell(_ failed: FailedAnswer) {
        guard case .status = failed.error.kind, !isCommitted else {
            return fail(failed.error, passedOn: failed.fields)
        }
        letGoOfUpstream()
        record.detail = loggable(failed.error)
        if failed.body.isEmpty {
            respond(failed.error, failed.fields)
        } else {
            respond(failed.error, body: failed.body.span, failed.fields)
        }
    }
}
