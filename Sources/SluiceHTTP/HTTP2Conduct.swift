import SluiceBytes

/// Whether the other side of an HTTP/2 connection keeps to the rules that nghttp2 does not watch: how often it resets and asks, which
/// stream identifiers it uses, how far its windows go. Pure; a broken rule stands in `violation`, and ends the connection.
struct HTTP2Conduct {
    /// What it did wrong, and the code to tell it by.
    private(set) var violation: HTTP2Error?
    private(set) var code = HTTP2Code.protocolError

    private let limits: HTTP2Limits
    private var resets: TokenBucket
    private var controlFrames: TokenBucket
    private var emptyFrames = 0
    private var lastStream = -1
    /// Identifiers that the peer passed over, the last few runs of them.
    private var skippedStreams: [ClosedRange<Int>] = []
    /// The last few streams that the peer ended or reset, and that are closed since.
    private var endedStreams: [Int32] = []
    private var nextEnded = 0
    /// How far the largest of the streams' windows, as the peer has set them, is above the initial one.
    private var windowExcess = 0

    init(_ limits: HTTP2Limits) {
        self.limits = limits
        resets = TokenBucket(burst: limits.resets, perSecond: limits.resetsPerSecond)
        controlFrames = TokenBucket(burst: limits.controlFrames, perSecond: limits.controlFramesPerSecond)
    }

    /// A rule is broken. Returns false, for the callback that found it.
    mutating func refuse(_ what: String, _ code: UInt32 = HTTP2Code.protocolError) -> Bool {
        (violation, self.code) = (.malformed(what), code)
        return false
    }

    /// Likewise for too much of something.
    mutating func refuse(_ limit: Limit) -> Bool {
        violation = .limit(limit)
        return false
    }

    /// A stream was reset by the peer, or because of it. False if that happens too often.
    mutating func countReset(at now: Instant) -> Bool {
        resets.take(at: now) || refuse(Limit("http2_resets", limits.resets))
    }

    mutating func countControlFrame(at now: Instant) -> Bool {
        controlFrames.take(at: now) || refuse(Limit("http2_control_frames", limits.controlFrames))
    }

    /// A frame that carries nothing and ends nothing.
    mutating func countEmptyFrame() -> Bool {
        emptyFrames += 1
        return emptyFrames <= limits.emptyFrames || refuse(Limit("http2_empty_frames", limits.emptyFrames))
    }

    /// Something came: empty frames count in a row.
    mutating func noteBody() { emptyFrames = 0 }

    /// HEADERS began on a stream. An identifier that was passed over can never be used (RFC 9113 §5.1.1), which nghttp2 does not
    /// see: to it such a stream is one that was closed.
    mutating func noteStream(_ id: Int32) -> Bool {
        let id = Int(id)
        if id > lastStream {
            if id - lastStream > 2 {
                if skippedStreams.count == 16 { skippedStreams.removeFirst() }
                skippedStreams.append((lastStream + 1)...(id - 1))
            }
            lastStream = id
        } else if skippedStreams.contains(where: { $0.contains(id) }) {
            return refuse("a stream identifier lower than one that was used")
        } else if endedStreams.contains(Int32(truncatingIfNeeded: id)) {
            return refuse("HEADERS on a stream that the peer had ended", HTTP2Code.streamClosed)
        }
        return true
    }

    /// The stream is closed, and the peer had ended or reset it: no HEADERS for it can be on their way (RFC 9113 §5.1).
    mutating func noteEnded(_ id: Int32) {
        if endedStreams.count < 16 {
            endedStreams.append(id)
        } else {
            endedStreams[nextEnded] = id
            nextEnded = (nextEnded + 1) % endedStreams.count
        }
    }

    /// SETTINGS begin: they will change the windows of all streams alike.
    mutating func noteWindows(largest: Int, initial: Int) { windowExcess = largest - initial }

    /// A window that SETTINGS make too large ends the connection (RFC 9113 §6.9.2); nghttp2 would only reset its stream.
    mutating func checkWindows(initial: Int) -> Bool {
        initial + windowExcess <= Int(Int32.max) || refuse("a window over the limit", HTTP2Code.flowControlError)
    }
}
