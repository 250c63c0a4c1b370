import SluiceBytes
import SluiceStreams

/// Text that is held for a typing effect leaves between two reads of the upstream.
extension Exchange {
    /// When that is; nil if nothing is held, or a client that is behind must take first what waits for it.
    var smoothingDue: Instant? {
        guard !isUpstreamPaused, let due = bridge?.smoothingDue else { return nil }
        return started + due
    }

    func releaseSmoothed() {
        openBody()
        bridge?.clock(now - started)
        bridge?.releaseSmoothed(into: &worker.scratch)
        flushBody(isLast: false)
    }
}
