import SluiceBytes
import SluiceHTTP
import SluiceStreams

/// One document for a client that speaks the upstream's own dialect and asked for no stream: relayed as it is, but not unread.
///
/// Some upstreams say with status 200 that they failed. So a document that is small enough to be an error is held until it is
/// whole; then its status can still tell the truth. A larger one is relayed as it comes.
extension Exchange {
    func holdDocument(_ head: ResponseHead) {
        mode = .heldDocument(head)
        enter(.body)
    }

    func holdDocument(_ head: ResponseHead, _ bytes: Span<UInt8>) {
        held.append(bytes)
        if held.count > Self.errorBodyLimit { releaseDocument(head) }
    }

    func finishHeldDocument(_ head: ResponseHead) {
        switch readHeldDocument() {
        case .answer:
            releaseDocument(head)
            endAttempt(.answered(status: record.upstreamStatus))
            flushBody(isLast: true)
            end("done")
        case .error: failInStream()
        case .noJSON:
            attemptFailed(ProxyError(.malformed(.body), .upstream, "upstream sent what is not its dialect"))
        }
    }

    private enum Reading { case answer, error, noJSON }

    /// Reads what is held, for its error and for the log. What a dialect does not know but is JSON is the client's matter.
    private func readHeldDocument() -> Reading {
        guard let pool, let decoder = pool.endpoint.spec.wire.makeDocumentDecoder(eventBytes: limits.eventBytes) else {
            return .answer
        }
        var body = ByteQueue()
        swap(&body, &held)
        defer { swap(&body, &held) }
        makeBridge(pool.endpoint)
        bridge?.convert(from: decoder)
        var isUnderstood = true
        do throws(StreamError) {
            try bridge?.consume(body.span, batch: &worker.batch, into: &worker.scratch)
            _ = try bridge?.finish(batch: &worker.batch, into: &worker.scratch)
        } catch {
            isUnderstood = false
        }
        worker.scratch.removeAll()
        if bridge?.progress.sawError == true { return .error }
        if isUnderstood { return .answer }
        let document = JSONValue.parse(body.span)
        return document == nil ? .noJSON : .answer
    }

    private func releaseDocument(_ head: ResponseHead) {
        let isRead = bridge != nil
        sendDocument(head)
        openBody()
        var bytes = ByteQueue()
        swap(&bytes, &held)
        if isRead { worker.scratch.append(bytes.span) } else { relayDocument(bytes.span) }
        swap(&bytes, &held)
        held.removeAll()
        held.releaseIfEmpty()
    }
}
