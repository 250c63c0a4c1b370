import CNghttp2
import SluiceBytes

/// Answers that are whole before their requests are: a body that nobody wanted, refused by its head.
///
/// The rest of such a request is of no use to anybody, and may be ended by RST_STREAM with NO_ERROR (RFC 9113 §8.1). But a client that
/// hears it while it still sends may take it for a failure and throw the answer away: curl 7.88 does. So what is little is read and dropped.
extension HTTP2Session {
    /// What is read of one such request.
    private static let lingeringLimit = 1 << 20

    func linger(_ stream: HTTP2Stream) {
        stream.lingersSince = now
        guard stream.isWithholding else { return }
        stream.isWithholding = false
        nghttp2_session_consume_stream(session, stream.id, stream.withheldBytes)
        stream.withheldBytes = 0
    }

    func countLingering(_ stream: HTTP2Stream, _ count: Int) {
        stream.lingeredBytes += count
        if stream.lingeredBytes > Self.lingeringLimit, !stream.isResetByUs { submitReset(stream, HTTP2Code.noError) }
    }

    /// Ends those that were answered as long ago as `patience` and still come. True if there is something to send now.
    public func resetLingering(after patience: Interval, at now: Instant) -> Bool {
        var found = false
        for case let stream? in streams where !stream.isClosed && !stream.isResetByUs && !stream.isPeerDone {
            guard let since = stream.lingersSince, now - since >= patience else { continue }
            // A reset overtakes a head that is not framed yet; where bytes of a body are out, the head is too.
            guard stream.sentBytes > 0 || !wantsToSend else { continue }
            submitReset(stream, HTTP2Code.noError)
            found = true
        }
        return found
    }
}
