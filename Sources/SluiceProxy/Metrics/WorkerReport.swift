import SluiceBytes
import SluiceStreams

/// What a worker tells of itself when it is asked: a copy, made on its own thread.
struct WorkerReport: Sendable {
    struct Live: Sendable {
        var exchanges = 0
        var paused = 0
        /// Bytes of requests and answers that wait in this process.
        var bufferedBytes = 0
    }
    var counters = WorkerMetrics()
    var exchanges = ExchangeMetrics()
    /// By route.
    var live: [String: Live] = [:]
    var upstreams: [UpstreamGauges] = []
    var isDraining = false
}

/// What is known of one place of an upstream, now.
struct UpstreamGauges: Sendable {
    let upstream: String
    /// Host and port.
    let address: String
    /// Connections that lie idle, and requests that wait for one.
    var idleConnections = 0
    var waiting = 0
    /// Attempts under way.
    var inFlight = 0
    /// By its checks, and by what became of requests; requests go there if it is the one and not the other.
    var isHealthy = true
    var isEjected = false
}

/// One line of the list of live streams.
struct StreamEntry: Sendable {
    let worker: Int
    let serial: Int
    let requestID: String
    let client: String
    let route: String
    let upstream: String
    let format: String
    let model: String
    let protocolText: String
    let state: String
    let ageMilliseconds: Int
    let status: Int
    let tokens: Int
    let sentBytes: Int
    let bufferedBytes: Int
    let isPaused: Bool
}

extension Worker {
    func report() -> WorkerReport {
        var report = WorkerReport()
        (report.counters, report.exchanges, report.isDraining) = (metrics, exchangeMetrics, isDraining)
        live.forEach { exchange in
            var counts = report.live[exchange.record.route] ?? WorkerReport.Live()
            counts.exchanges += 1
            counts.paused += exchange.isUpstreamPaused ? 1 : 0
            counts.bufferedBytes += exchange.bufferedBytes
            report.live[exchange.record.route] = counts
        }
        report.upstreams = groups.flatMap(\.gauges)
        return report
    }

    /// At most `limit` of them.
    func streams(worker: Int, limit: Int) -> [StreamEntry] {
        var entries: [StreamEntry] = []
        live.forEach { if entries.count < limit { entries.append($0.entry(worker: worker)) } }
        return entries
    }

    /// Ends a stream with an error in its client's own words; false if it is over.
    func cancelStream(_ serial: Int) -> Bool {
        guard let exchange = live.first(where: { $0.serial == serial }) else { return false }
        exchange.fail(ProxyError(.cancelled, .proxy, "the stream was cancelled by the operator"))
        return true
    }
}

extension UpstreamGroup {
    var gauges: [UpstreamGauges] {
        zip(status, pools).map { status, pool in
            UpstreamGauges(
                upstream: status.upstream, address: status.name, idleConnections: pool.idleCount,
                waiting: pool.waitingCount, inFlight: status.inFlight, isHealthy: status.isHealthy,
                isEjected: status.isEjected)
        }
    }
}

extension ServerSnapshot {
    /// Models that the configuration names.
    var modelNames: [String] {
        configuration.routes.flatMap { route in [route.model] + route.upstreams.map(\.model) }.compactMap { $0 }
    }
}

extension Exchange {
    var bufferedBytes: Int { client.waitingBytes + held.count + requestBody.count + errorBody.count }

    func entry(worker: Int) -> StreamEntry {
        StreamEntry(
            worker: worker, serial: serial, requestID: record.requestID, client: record.client, route: record.route,
            upstream: record.upstream, format: record.format.rawValue, model: record.model,
            protocolText: record.protocolText, state: stateText,
            ageMilliseconds: Int(clamping: (now - started).milliseconds),
            status: record.status, tokens: bridge?.tokenCount ?? 0, sentBytes: client.sentBytes,
            bufferedBytes: bufferedBytes, isPaused: isUpstreamPaused)
    }

    private var stateText: String {
        switch phase {
        case .request: "request"
        case .starting: "waiting_for_process"
        case .connecting: "connecting"
        case .head: "waiting_for_head"
        case .firstToken: "waiting_for_token"
        case .body: "streaming"
        case .errorBody: "reading_error"
        case .waiting: "between_attempts"
        case .following: "following"
        case .over: "over"
        }
    }
}
