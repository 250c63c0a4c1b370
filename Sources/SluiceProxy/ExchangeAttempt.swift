/// What the places of an upstream hear of an exchange: that an attempt began, and, once, how it ended.
extension Exchange {
    func beginAttempt(at pool: UpstreamPool) {
        endAttempt(.abandoned)
        attempt = pool
        pool.attemptBegan()
        record.place = pool.placeName
    }

    /// Nothing happens if the end was told before: the first to know has the truth.
    func endAttempt(_ outcome: AttemptOutcome) {
        guard let place = attempt else { return }
        attempt = nil
        place.attemptEnded(outcome)
    }

    func endAttempt(after error: ProxyError) {
        guard attempt != nil else { return }
        switch error.kind {
        // One that refuses all would look idle, and draw everything to itself.
        case .resolve, .connect, .tls, .timeout, .closed, .malformed, .refused: endAttempt(.failed)
        default: endAttempt(error.side == .upstream ? .answered(status: record.upstreamStatus) : .abandoned)
        }
    }
}
