import SluiceBytes
import SluiceHTTP

/// What an upstream sent compressed, though it was asked not to, between its arrival and its use.
///
/// A few bytes can stand for thousands of times as many. So they are inflated in portions: when the client falls behind, or a
/// turn of the loop has seen enough of one exchange, the rest waits here as it came, and the upstream with it.
struct Inflation: ~Copyable {
    /// What the upstream said behind the bytes that still wait.
    enum Ending {
        case complete
        case failed(ProxyError)
    }

    var inflater: Inflater
    /// Compressed bytes that wait: at most what one read brought before the upstream was paused, and a window over HTTP/2.
    var waiting = ByteQueue()
    /// There is more to inflate, but not now.
    var isBehind = false
    var ending: Ending?

    init(_ coding: ContentCoding) { inflater = Inflater(coding) }

    /// Inflated bytes that are handed on at once, and those that one exchange may make of one turn.
    static let portionBytes = 16 << 10
    static let turnBytes = 64 << 10
}

extension Exchange {
    /// The head as it is of the inflated body, if the body is compressed; nil after a failure.
    func inflatedHead(_ head: ResponseHead, isPassthrough: Bool) -> ResponseHead? {
        inflation = nil
        guard let coding = ContentCoding(head.fields), head.status != 204, head.status != 304 else { return head }
        if isPassthrough {
            // A part of a compressed body cannot be inflated, and what nobody reads can stay as it says it is.
            let isRead =
                head.status == 200 && ContentType(head.fields).isStream && pool?.endpoint.spec.wire != .dialect(.raw)
            if head.status == 206 || coding == .unsupported && !isRead { return head }
        }
        guard coding != .unsupported else {
            // An error's status tells enough; its words cannot be read.
            guard (200..<300).contains(head.status) || isPassthrough else { return head }
            let coded = head.fields.first("content-encoding") ?? ""
            attemptFailed(
                ProxyError(
                    .malformed(.head), .upstream, "upstream compressed its answer in a way that was not asked for",
                    detail: String(coded.prefix(60))))
            return nil
        }
        inflation = Inflation(coding)
        return ResponseHead(status: head.status, fields: ContentCoding.fieldsOfInflated(head.fields))
    }

    func inflate(_ bytes: Span<UInt8>) {
        guard inflation?.isBehind == false else {
            inflation?.waiting.append(bytes)
            return
        }
        var output = ByteQueue()
        swap(&output, &worker.inflated)
        inflate(bytes, through: &output)
        output.removeAll()
        swap(&output, &worker.inflated)
    }

    private func inflate(_ bytes: Span<UInt8>, through output: inout ByteQueue) {
        var (offset, made) = (0, 0)
        while phase != .over, inflation != nil {
            var (hasMore, failure): (Bool, Inflater.Failure?) = (false, nil)
            do throws(Inflater.Failure) {
                hasMore =
                    try inflation?.inflater.next(
                        bytes, at: &offset, limit: Inflation.portionBytes, into: &output) ?? false
            } catch {
                failure = error
            }
            made += output.count
            if !output.isEmpty { takeBody(output.span) }
            output.removeAll()
            if let failure, phase != .over { return failInflation("\(failure)") }
            guard hasMore, phase != .over else { return }
            flushBody(isLast: false)
            if isUpstreamPaused || made >= Inflation.turnBytes {
                inflation?.waiting.append(bytes.extracting(offset..<bytes.count))
                return fallBehind()
            }
        }
    }

    private func failInflation(_ detail: String) {
        attemptFailed(
            ProxyError(.malformed(.body), .upstream, "upstream's compressed answer is not valid", detail: detail))
    }

    private func fallBehind() {
        inflation?.isBehind = true
        upstream?.pauseReading()
        if !isUpstreamPaused { continueInflation() }
    }

    /// Goes on, in a turn of its own, with what was left behind.
    func continueInflation() {
        worker.loop.afterTurn { [weak self] in self?.inflateWaiting() }
    }

    private func inflateWaiting() {
        guard phase != .over, inflation?.isBehind == true, !isUpstreamPaused else { return }
        var waiting = ByteQueue()
        if var taken = inflation.take() {
            swap(&waiting, &taken.waiting)
            taken.isBehind = false
            inflation = consume taken
        }
        inflate(waiting.span)
        upstreamPaused()
        guard phase != .over, inflation?.isBehind == false else { return }
        switch inflation?.ending {
        case nil: if !isUpstreamPaused { upstream?.resumeReading() }
        case .complete: upstreamEnd()
        case .failed(let error): upstreamFailed(error)
        }
    }

    /// What the upstream said of its end holds only behind all that it sent before. True if it may be acted on now.
    func isInflated(before ending: Inflation.Ending) -> Bool {
        guard inflation != nil else { return true }
        if inflation?.isBehind == true {
            inflation?.ending = ending
            upstream = nil
            return false
        }
        guard case .complete = ending, inflation?.inflater.isComplete == false else { return true }
        inflation = nil
        upstreamFailed(
            ProxyError(
                .closed(.body), .upstream, "upstream closed the connection before its answer was complete",
                detail: "its compressed body was cut"))
        return false
    }

    /// Nobody wants the body any more. False if the upstream has ended it already.
    func dropInflation() -> Bool {
        let (isBehind, hasEnded) = (inflation?.isBehind == true, inflation?.ending != nil)
        inflation = nil
        if isBehind { upstream?.resumeReading() }
        return !hasEnded
    }
}
