import SluiceBytes
import SluiceStreams

/// What a worker tells of itself when it is asked: a copy, made on its own thread.
struct WorkerReport: Sendable {
    struct Live: Sendable {
        var exchanges = 0
        var paused = 0
        /// Bytes of requests and answers that wait in this process.
        var bufferedBytes = 0
        /// Of the answers, so far.
        var tokens = 0
        var sentBytes = 0

        mutating func add(_ other: Live) {
            exchanges += other.exchanges
            paused += other.paused
            bufferedBytes += other.bufferedBytes
            tokens += other.tokens
            sentBytes += other.sentBytes
        }
    }
    var counters = WorkerMetrics()
    var exchanges = ExchangeMetrics()
    /// By route.
    var live: [String: Live] = [:]
    var liveByUpstream: [String: Live] = [:]
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
    /// From the request's head to the first token; nil: none yet.
    let firstTokenMilliseconds: Int?
    /// Since the last token came; nil: none yet.
    let silenceMilliseconds: Int?
    /// Behind the first one.
    let tokensPerSecond: Double?
    /// Since the client took anything of what waits for it; 0: nothing waits.
    let clientStallMilliseconds: Int
}

extension Worker {
    func report() -> WorkerReport {
        var report = WorkerReport()
        (report.counters, report.exchanges, report.isDraining) = (metrics, exchangeMetrics, isDraining)
        live.forEach { exchange in
            if exchange.isPage { return }
            let counts = WorkerReport.Live(
                exchanges: 1, paused: exchange.isUpstreamPaused ? 1 : 0, bufferedBytes: exchange.bufferedBytes,
                tokens: exchange.bridge?.tokenCount ?? 0, sentBytes: exchange.client.sentBytes)
            report.live[exchange.record.route, default: WorkerReport.Live()].add(counts)
            report.liveByUpstream[exchange.record.upstream, default: WorkerReport.Live()].add(counts)
        }
        report.upstreams = groups.flatMap(\.gauges)
        return report
    }

    /// At most `limit` of them.
    func streams(worker: Int, limit: Int) -> [StreamEntry] {
        var entries: [StreamEntry] = []
        live.forEach { if entries.count < limit, !$0.isPage { entries.append($0.entry(worker: worker)) } }
        return entries
    }

    /// Without what the page itself asks.
    var streamCount: Int {
        var count = 0
        live.forEach { count += $0.isPage ? 0 : 1 }
        return count
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
        configuration.routes.flatMap { route in
            [route.model] + route.choices.map(\.model) + route.steps.map(\.model)
        }.compactMap { $0 }
    }
}

extension Exchange {
    var bufferedBytes: Int {
        client.waitingBytes + held.count + requestBody.count + errorBody.count + (chain?.bufferedBytes ?? 0)
    }

    func entry(worker: Int) -> StreamEntry {
        let tokens = bridge?.tokenCount ?? 0
        let first = record.firstToken
        let last = max(record.lastToken, first ?? record.lastToken)
        let seconds = first.map { (last - $0).seconds } ?? 0
        return StreamEntry(
            worker: worker, serial: serial, requestID: record.requestID, client: record.client, route: record.route,
            upstream: record.upstream, format: record.format.rawValue, model: record.model,
            protocolText: record.protocolText, state: stateText,
            ageMilliseconds: Int(clamping: (now - started).milliseconds),
            status: record.status, tokens: tokens, sentBytes: client.sentBytes,
            bufferedBytes: bufferedBytes, isPaused: isUpstreamPaused,
            firstTokenMilliseconds: first.map { Int(clamping: ($0 - started).milliseconds) },
            silenceMilliseconds: first.map { _ in max(0, Int(clamping: (now - last).milliseconds)) },
            tokensPerSecond: tokens > 1 && seconds > 0 ? Double(tokens - 1) / seconds : nil,
            clientStallMilliseconds: client.waitingSince.map { Int(clamping: (now - $0).milliseconds) } ?? 0)
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
        case .chaining: "collecting_step"
        case .over: "over"
        }
    }
}
