import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// From the head of the upstream's answer to its end: how it becomes the client's.
extension Exchange {
    func upstreamHead(_ head: ResponseHead) {
        guard phase == .head, let route, let pool else { return }
        deadlines.upstreamRead(at: now)
        record.upstreamStatus = head.status
        guard let head = inflatedHead(head, isPassthrough: route.spec.request == .passthrough) else { return }
        answerHeadCame()
        let type = ContentType(head.fields)
        if route.spec.request == .passthrough {
            beginPassthrough(head, type, pool)
        } else if !(200..<300).contains(head.status) {
            mode = .error(status: head.status, head.fields)
            enter(.errorBody)
        } else {
            beginAnswer(head, type, pool)
        }
    }

    private func beginPassthrough(_ head: ResponseHead, _ type: ContentType, _ pool: UpstreamPool) {
        let isError = !(200..<400).contains(head.status)
        if isError, goesOn(after: answer(head.status, head.fields), AttemptFailure(.status(head.status))) { return }
        guard head.status == 200, type.isStream, pool.endpoint.spec.wire != .dialect(.raw) else {
            return sendDocument(head)
        }
        bridge = StreamBridge(relaying: pool.endpoint.spec.wire.makeDecoder(eventBytes: limits.eventBytes))
        keepTranscript()
        mode = .stream
        commit(ResponseFields.relayed(head, record.requestID, route), length: .chunked)
        answerBegins()
        enter(.firstToken)
    }

    private func beginAnswer(_ head: ResponseHead, _ type: ContentType, _ pool: UpstreamPool) {
        if type.isHTML {
            return attemptFailed(
                ProxyError(.malformed(.head), .upstream, "upstream answered with HTML where an answer was expected"))
        }
        let isDocument = !expectation.asksForStream && !type.isStream
        if isDocument, !expectation.wantsStream, AnswerBridge.isRelayed(expectation, pool.endpoint) {
            return holdDocument(head)
        }
        if !isAnswerBegun { makeBridge(pool.endpoint) }
        let wire = pool.endpoint.spec.wire
        // Cohere's lines never call themselves JSON, and its documents do not look like one of them.
        let isRead = isDocument || type.isJSON && wire == .dialect(.cohereV1)
        if isRead, let decoder = wire.makeDocumentDecoder(eventBytes: limits.eventBytes) {
            bridge?.convert(from: decoder)
        } else {
            needsSniffing = !type.isStream && wire != .dialect(.text)
            isPlainText = type.isPlainText
        }
        record.responseFields = ResponseFields.passedOn(head.fields)
        mode = .stream
        enter(.firstToken)
    }

    func makeBridge(_ endpoint: UpstreamEndpoint) {
        guard let route else { return }
        if let step {
            let output = StepOutput(limitBytes: limits.stepOutputBytes)
            step.output = output
            let decoder = endpoint.spec.wire.makeDecoder(eventBytes: limits.eventBytes)
            bridge = StreamBridge(decoder: decoder, collecting: output)
            if trace != nil { bridge?.notesNames = true }
            return
        }
        bridge = AnswerBridge.make(
            expectation, endpoint, route: route, requestID: record.requestID, at: worker.loop.unixTime(),
            limits: limits)
        keepTranscript()
    }

    /// The upstream says that its answer is no stream. It may be one all the same, or one document, which some send where a stream
    /// was asked for; false if it is neither.
    private func sniff(_ bytes: Span<UInt8>) -> Bool {
        needsSniffing = false
        guard let wire = pool?.endpoint.spec.wire else { return false }
        switch ContentType.opening(bytes) {
        case .eventStream: return true
        case .other:
            // Nothing but its type says that a text is an answer.
            guard wire == .dialect(.auto), isPlainText else { return false }
            bridge?.convert(from: StreamDecoders.make(.text, eventBytes: limits.eventBytes))
            return true
        case .json:
            // Dialects of JSON lines read a document as their only line; Gemini's decoder knows both.
            switch wire {
            case .dialect(.gemini), .dialect(.ollamaChat), .dialect(.ollamaGenerate), .dialect(.cohereV1): return true
            default: break
            }
            guard let decoder = wire.makeDocumentDecoder(eventBytes: limits.eventBytes) else { return false }
            bridge?.convert(from: decoder)
            return true
        }
    }

    func sendDocument(_ head: ResponseHead) {
        mode = .document
        watchDocument(head)
        let length = ResponseFields.bodyLength(head, method: self.head.method)
        var head = head
        if head.status >= 400 {
            let redactor = redactor(forClient: true)
            head = redacted(head, redactor)
            documentRedactor = redactor
        }
        commit(ResponseFields.relayed(head, record.requestID, route), length: length)
        answerBegins()
        enter(.body)
    }

    func upstreamBody(_ bytes: Span<UInt8>) {
        deadlines.upstreamRead(at: now)
        if inflation == nil { takeBody(bytes) } else { inflate(bytes) }
    }

    /// Bytes of the upstream's body, as they are when nothing is compressed.
    func takeBody(_ bytes: Span<UInt8>) {
        switch mode {
        case .stream: streamBody(bytes)
        case .document:
            openBody()
            guard documentRedactor == nil else {
                documentRedactor?.feed(bytes, into: &worker.scratch)
                return
            }
            relayDocument(bytes)
        case .heldDocument(let head): holdDocument(head, bytes)
        case .error:
            if errorBody.count + bytes.count <= Self.errorBodyLimit { errorBody.append(bytes) }
        case .drain, .undecided: break
        }
    }

    private func streamBody(_ bytes: Span<UInt8>) {
        if needsSniffing, !sniff(bytes) {
            return attemptFailed(
                ProxyError(.malformed(.head), .upstream, "upstream answered with something that is no answer"))
        }
        if isAnswerBegun { openBody() }
        bridge?.clock(now - started)
        do throws(StreamError) {
            try bridge?.consume(bytes, batch: &worker.batch, into: &worker.scratch)
        } catch {
            return failMalformed(error)
        }
        if bridge?.errorKind != nil { redactScratch() }
        noteTokens()
        if phase == .firstToken { firstEvents() }
        if bridge?.progress.sawEnd == true, deadlines.streamEnded(at: now) { arm() }
        if bridge?.smoothingDue != nil { arm() }
    }

    /// Holds the answer back until there is a token: until then the status can still tell the truth.
    private func firstEvents() {
        guard let progress = bridge?.progress else { return }
        if progress.sawError && !progress.sawContent && !isAnswerBegun { return failInStream() }
        if progress.sawContent || progress.sawFinish || progress.sawEnd {
            record.firstToken = now
            enter(.body)
            if !isAnswerBegun, bridge?.isDocument == false { commitStream() }
        } else if !isAnswerBegun, bridge?.isDocument == false {
            held.append(moving: &worker.scratch)
            if held.count > limits.streamBufferHighBytes { commitStream() }
        }
    }

    /// What was understood before the fault is still the client's, however the network cut the two apart.
    private func failMalformed(_ error: StreamError) {
        redactScratch()
        if phase == .firstToken { firstEvents() }
        // It may have been the provider's own error, and an attempt that is over by now.
        guard phase == .firstToken || phase == .body else { return }
        if !isAnswerBegun { worker.scratch.removeAll() }
        attemptFailed(
            ProxyError(.malformed(.body), .upstream, "upstream sent what is not its dialect", detail: "\(error)"))
    }

    /// The provider's own error, before anything was sent on.
    func failInStream() {
        let kind = bridge?.errorKind ?? .provider
        // What another upstream knows, which may be asked next, is not what this one could quote.
        let message = redactor(forClient: true).redact(bridge?.errorMessage ?? "")
        worker.scratch.removeAll()
        attemptFailed(ProxyError(.inStream(kind), .upstream, message))
    }

    /// There is something to tell the client: its head goes out, if it has not, with what was held back.
    func commitStream() {
        guard bridge != nil else { return }
        var early = ByteQueue()
        swap(&early, &worker.early)
        early.append(moving: &held)
        early.append(moving: &worker.scratch)
        held.releaseIfEmpty()
        if bridge?.isDocument == true {
            let head = ResponseFields.document(record.requestID, record.responseFields, route)
            commit(head, length: .fixed(early.count))
        } else if !isCommitted {
            commitStreamHead()
        }
        answerBegins()
        openBody()
        worker.scratch.append(early.span)
        early.removeAll()
        swap(&early, &worker.early)
    }

    func commitStreamHead() {
        guard let type = bridge?.contentType else { return }
        let own = bridge?.fields ?? []
        commit(
            ResponseFields.stream(type, own, record.requestID, record.responseFields, route), length: .chunked)
        openEventSource()
    }

    func commit(_ head: ResponseHead, length: BodyLength) {
        isCommitted = true
        record.status = head.status
        deadlines.clientWritten(at: now)
        let own = withOwnFields(head)
        if let route, !route.codings.isEmpty {
            sendHead(own, length: length, compressedBy: route.codings)
        } else {
            client.sendHead(own, length: length)
        }
        if phase != .request { arm() }
    }

    func openBody() {
        guard !isBodyOpen else { return }
        isBodyOpen = true
        bodyMark = client.openBody(in: &worker.scratch)
    }

    func upstreamPaused() {
        guard phase != .over else { return }
        flushBody(isLast: false)
        if isCommitted { client.flush() }
    }

    func flushBody(isLast: Bool) {
        if !isBodyOpen {
            guard isLast else { return }
            openBody()
        }
        isBodyOpen = false
        deadlines.clientWritten(at: now)
        client.flushBody(bodyMark, &worker.scratch, isLast: isLast)
        if isLast || isUpstreamPaused { return }
        if client.isCongested {
            isUpstreamPaused = true
            record.pauses += 1
            upstream?.pauseReading()
            arm()
        }
    }

    /// The client has taken what waited, down to the low mark.
    func clientDrained() {
        if let generation { return generation.clientDrained() }
        upstreamMayGoOn()
    }

    func upstreamMayGoOn() {
        guard isUpstreamPaused, phase != .over else { return }
        isUpstreamPaused = false
        deadlines.upstreamRead(at: now)
        if let following {
            following.resume()
            return arm()
        }
        record.lastToken = now  // the client's pause is no silence of the provider's
        if inflation?.isBehind == true { continueInflation() } else { upstream?.resumeReading() }
        arm()
    }

    func upstreamEnd() {
        guard phase != .over, isInflated(before: .complete) else { return }
        upstream = nil
        switch mode {
        case .stream: finishStream()
        case .document:
            endAttempt(.answered(status: record.upstreamStatus))
            openBody()
            documentRedactor?.finish(into: &worker.scratch)
            endDocument()
            flushBody(isLast: true)
            end(record.status < 400 ? "done" : "upstream_status")
        case .heldDocument(let head): finishHeldDocument(head)
        case .error(let status, let fields): errorEnded(status, fields)
        case .drain:
            endAttempt(.answered(status: record.upstreamStatus))
            end("client_gone")
        case .undecided: break
        }
    }

    func finishStream() {
        if isAnswerBegun { openBody() }
        bridge?.clock(now - started)
        let ending: BodyEnding
        do throws(StreamError) {
            ending = try bridge?.finish(batch: &worker.batch, into: &worker.scratch) ?? .abort
        } catch {
            return failMalformed(error)
        }
        if bridge?.errorKind != nil { redactScratch() }
        noteTokens()
        let progress = bridge?.progress ?? StreamProgress()
        if !isAnswerBegun {
            guard progress.isComplete else {
                worker.scratch.removeAll()
                if progress.sawError { return failInStream() }
                return attemptFailed(
                    ProxyError(.closed(.firstToken), .upstream, "upstream ended its stream before the first token"))
            }
            guard ending == .complete || bridge?.isDocument == false else {
                return fail(ProxyError(.malformed(.body), .upstream, "the answer does not fit one document"))
            }
            commitStream()
        }
        let isTrueEnd = bridge?.endedTruly ?? false
        let reason = isTrueEnd ? "done" : progress.sawError ? "upstream_error" : "eof"
        // A relayed stream may be of another dialect than the upstream's: only HTTP can judge its end.
        let isWhole = isTrueEnd || route?.spec.request == .passthrough && !progress.sawError
        endAttempt(isWhole ? .answered(status: record.upstreamStatus) : bridge?.outcome ?? .failed)
        flushBody(isLast: ending == .complete)
        if ending == .abort { client.abort() }
        end(reason)
    }

    func upstreamFailed(_ error: ProxyError) {
        guard phase != .over, isInflated(before: .failed(error)) else { return }
        let failed = upstream
        (upstream, dial) = (nil, nil)
        // What was wrong is known by its status, whatever became of the words.
        if case .error(let status, let fields) = mode { return errorEnded(status, fields) }
        // The dialect has said that it is over, so nothing is missing but the transfer's own last word.
        if case .stream = mode, bridge?.progress.sawEnd == true { return finishStream() }
        attemptFailed(FailedAnswer(error: error), on: failed)
    }
}

extension StreamBridge {
    /// Of a stream that did not end as it should: the provider's own error counts as the status that it stands for.
    fileprivate var outcome: AttemptOutcome { errorKind.map { .answered(status: $0.upstreamStatus) } ?? .failed }
}
