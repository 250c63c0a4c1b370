import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO

/// Asks one place again and again whether it is well, as one worker sees it: a GET over the place's own pool, so that name,
/// socket, TLS and HTTP are checked with it. It carries no key: health is asked for, not paid for. Owned by its group;
/// between two checks it holds nothing but its timer.
final class HealthCheck: UpstreamStreamDelegate, TimerHandler {
    /// Called with nil for a check that was passed, else with what was wrong.
    typealias Report = (_ fault: String?) -> Void

    private let pool: UpstreamPool
    private let spec: HealthCheckSpec
    private let request: UpstreamRequest
    private let report: Report
    private var random: SplitMix64
    private var timer = TimerID.none
    private var isStopped = false

    /// Of the check that is under way.
    private var isAsking = false
    private var wait: UpstreamWait?
    private var stream: (any UpstreamStream)?
    private var status: Int?
    private var bodyBytes = 0
    private var hasRepeated = false

    /// More of a body is not waited for.
    private static let bodyLimit = 64 << 10

    init(_ spec: HealthCheckSpec, of pool: UpstreamPool, seed: UInt64, report: @escaping Report) {
        (self.spec, self.pool, self.report) = (spec, pool, report)
        random = SplitMix64(seed: seed)
        var fields = HeaderFields()
        fields.append("Accept", "*/*")
        fields.append("User-Agent", "sluice")
        request = UpstreamRequest(
            head: RequestHead(
                method: "GET", target: spec.path, authority: pool.endpoint.authority, fields: fields),
            length: .none, body: [], isBodyRelayed: false,
            expectation: UpstreamRequest.Expectation(format: .passthrough))
    }

    /// Begins within a tenth of the interval, so that workers and places do not all ask at once.
    func start() { schedule(random.fraction() * 0.1) }

    /// Says nothing any more.
    func stop() {
        isStopped = true
        pool.loop.cancel(timer)
        letGo()
    }

    private func schedule(_ part: Double) {
        let delay = Interval(nanoseconds: UInt64(min(spec.interval.seconds * part, 1e9) * 1e9))
        timer = pool.loop.schedule(after: delay, handler: self)
    }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer, !isStopped else { return }
        if isAsking { return end("no answer in time") }
        (isAsking, status, bodyBytes, hasRepeated) = (true, nil, 0, false)
        self.timer = loop.schedule(after: spec.timeout, handler: self)
        ask(fresh: false)
    }

    private func ask(fresh: Bool) {
        let waiting = pool.acquire(for: self, fresh: fresh)
        if isAsking, stream == nil { wait = waiting }
    }

    /// Of what was asked for, nothing is awaited any more.
    private func letGo() {
        isAsking = false
        wait?.cancel()
        stream?.cancel()
        (wait, stream) = (nil, nil)
    }

    private func end(_ fault: String?) {
        guard isAsking else { return }
        letGo()
        pool.loop.cancel(timer)
        schedule(0.9 + random.fraction() * 0.2)
        report(fault)
    }

    private func judge() {
        guard let status else { return end("no answer") }
        end(spec.expect.contains(status) ? nil : "status \(status)")
    }

    // MARK: - UpstreamStreamDelegate

    func upstreamReady(_ stream: any UpstreamStream) {
        guard isAsking else { return stream.cancel() }
        wait = nil
        self.stream = stream
        stream.sendRequest(request)
    }

    func upstreamHead(_ head: ResponseHead) { status = head.status }

    func upstreamBody(_ bytes: Span<UInt8>) {
        bodyBytes += bytes.count
        if bodyBytes > Self.bodyLimit { judge() }
    }

    func upstreamEnd() {
        stream = nil
        judge()
    }

    func upstreamFailed(_ error: ProxyError) {
        guard isAsking else { return }
        let wasStale = stream?.wasStale ?? false
        (wait, stream) = (nil, nil)
        // A pooled connection that was closed meanwhile says nothing about the place.
        if case .closed = error.kind, wasStale, status == nil, !hasRepeated {
            hasRepeated = true
            return ask(fresh: true)
        }
        end(error.detail.isEmpty ? error.message : error.detail)
    }

    func upstreamPaused() {}
    func upstreamDrained() {}
    func upstreamChanged() {}
}
