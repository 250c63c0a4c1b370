import SluiceBytes

/// Where the upstream's server is a process of ours, an exchange may have to wait until it is ready.
extension Exchange {
    /// Connecting begins, or the wait for what must be there first.
    func enterConnecting() {
        guard let wait = pool?.processWait else { return enter(.connecting) }
        if phase != .starting { worker.metrics.processWaits &+= 1 }
        deadlines.awaitProcess(wait, at: now)
        arm()
    }

    func upstreamChanged() {
        let isHeld = pool?.processWait != nil
        if phase == .starting && !isHeld || phase == .connecting && isHeld { enterConnecting() }
    }

    func processWaitEnded() {
        dial?.cancel()
        upstreamFailed(ProxyError(.starting, .upstream, "the upstream is still starting"))
    }
}
