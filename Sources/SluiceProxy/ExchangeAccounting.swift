import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// What an exchange keeps count of for its operator, and what of it may be told.
extension Exchange {
    // MARK: - Counting

    /// On a token's way: a compare, and where there were tokens a few stores.
    func noteTokens() {
        let count = bridge?.tokenCount ?? 0
        guard count != record.tokenCount else { return }
        if record.tokenCount > 0 {
            let gap = now - record.lastToken
            if gap > record.largestGap { record.largestGap = gap }
        }
        (record.tokenCount, record.lastToken) = (count, now)
        if count >= nextCharge { chargeTokens(count) }
    }

    /// Once, when the exchange is over and its bridge still there.
    func account() {
        // A document has no first token that anybody waits for, and no gaps.
        if case .stream = mode, bridge?.isDocument != true { record.isStream = true }
        record.labels = pool?.endpoint.labels
        record.isGenerative = pool != nil && (record.isStream || route?.spec.request != .passthrough)
        record.tokenCount = bridge?.tokenCount ?? 0
        if let kind = bridge?.errorKind, record.upstreamError.isEmpty { record.upstreamError = "\(kind)" }
        if let answer = bridge?.transcript, !answer.isEmpty { record.answer = String(decoding: answer, as: UTF8.self) }
        if record.detail.isEmpty, bridge?.errorKind != nil, worker.logContent >= .errors,
            let said = bridge?.errorMessage
        {
            record.detail = redactor(forClient: false).redact(said)
        }
        worker.live.remove(liveSlot)
    }

    /// So much of a request or of an answer stands in a line, if the configuration asks for it.
    static let contentLimitBytes = 4096

    func keepTranscript() {
        if trace != nil { bridge?.notesNames = true }
        if worker.logContent >= .all { bridge?.transcriptLimitBytes = Self.contentLimitBytes }
    }

    /// The request is as it goes out.
    func noteRequest(_ body: Span<UInt8>) {
        if worker.log.isWritten(.debug) {
            worker.log.write(
                .debug, "request",
                [
                    "request_id": record.requestID, "route": record.route, "upstream": record.upstream,
                    "model": String(record.model.prefix(128)), "format": record.format.rawValue,
                ])
        }
        guard worker.logContent >= .prompts else { return }
        let start = body.extracting(0..<min(body.count, Self.contentLimitBytes))
        record.prompt = start.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
        // In a GET it stands in the target.
        if record.prompt.isEmpty { record.prompt = RequestTarget(head.target).value(named: "prompt") ?? "" }
    }

    /// How long it took, from the moment at which the loop learnt that the client has gone, to stop the upstream.
    func noteCancel() { record.cancelLatency = worker.loop.readClock() - now }

    /// Who answers, or most likely will where nobody has been asked yet.
    var bridgeEndpoint: UpstreamEndpoint? { pool?.endpoint ?? group?.pools.first?.endpoint }

    // MARK: - Telling

    /// Secrets are nobody's; where an upstream is, is told to operators alone unless the configuration says otherwise.
    func redactor(forClient: Bool) -> Redactor {
        var hidden = Redactor.secrets(of: head.fields)
        if let spec = pool?.endpoint.spec {
            hidden += Redactor.secrets(of: spec, route: route?.spec)
            if forClient, !worker.snapshot.configuration.revealsUpstream { hidden += Redactor.places(of: spec.url) }
        }
        return Redactor(hidden)
    }

    /// `error` with what it says made fit for the client.
    func tellable(_ error: ProxyError) -> ProxyError {
        var message = error.message
        if worker.snapshot.configuration.revealsUpstream, !error.detail.isEmpty { message += ": \(error.detail)" }
        guard error.quotesUpstream || message != error.message else { return error }
        return ProxyError(
            error.kind, error.side, redactor(forClient: true).redact(message), detail: error.detail)
    }

    /// `error` for the log. What an upstream says in its own words may quote the prompt.
    func loggable(_ error: ProxyError) -> String {
        if let told = chain?.failure { return told }
        if error.quotesUpstream, worker.logContent < .errors {
            if case .status(let status) = error.kind { return "upstream answered with status \(status)" }
            return "upstream reported an error in its stream"
        }
        var text = error.detail.isEmpty ? error.message : "\(error.message): \(error.detail)"
        if case .badRequest = error.kind, worker.logContent < .errors { text = Self.withoutQuotes(text) }
        return redactor(forClient: false).redact(text)
    }

    /// What a refusal quotes of a request, unless it is as short and plain as the name of a field: a client may put anything
    /// where a word is expected.
    static func withoutQuotes(_ text: String) -> String {
        let parts = text.split(separator: "'", omittingEmptySubsequences: false)
        return parts.enumerated().map { index, part in
            let isQuoted = index % 2 == 1 && index < parts.count - 1
            let isName = part.utf8.count <= 20 && part.utf8.allSatisfy { $0 == 0x5F || $0 &- 0x61 < 26 }
            return isQuoted && !isName ? "…" : String(part)
        }.joined(separator: "'")
    }

    /// An error of the provider's, or what it sent in place of its dialect, stands in what was just encoded or relayed:
    /// whatever it quotes goes.
    func redactScratch() {
        let redactor = redactor(forClient: true)
        worker.scratch.withUnsafeMutableBytes { _ = redactor.redact($0) }
    }

    /// The head of an error that is relayed as it came.
    func redacted(_ head: ResponseHead, _ redactor: Redactor) -> ResponseHead {
        var fields = HeaderFields()
        for index in 0..<head.fields.count {
            fields.append(head.fields.nameString(at: index), redactor.redact(head.fields.valueString(at: index)))
        }
        return ResponseHead(status: head.status, fields: fields)
    }

    /// The word by which the provider calls its error, if it is one word: it tells the operator why without quoting anybody.
    static func errorWord(_ document: JSONValue?) -> String {
        let paths = [["error", "code"], ["error", "type"], ["error", "status"], ["code"], ["type"], ["__type"]]
        for path in paths {
            guard let word = document?.text(at: path), (1...64).contains(word.utf8.count),
                !word.utf8.allSatisfy(ASCII.isDigit),
                word.utf8.allSatisfy({ ASCII.isDigit($0) || ($0 | 0x20) &- 0x61 < 26 || "_-.".utf8.contains($0) })
            else { continue }
            return word
        }
        return ""
    }
}

extension ProxyError {
    /// Its message is the upstream's own.
    var quotesUpstream: Bool {
        switch kind {
        case .status, .inStream: true
        default: false
        }
    }
}
