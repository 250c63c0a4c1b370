import SluiceBytes
import SluiceConfig
import SluiceIO
import Synchronization

/// Finished spans on their way from the workers to the exporter: a bounded queue between threads, looked at once an exchange, and what is
/// counted of it. What does not fit is dropped and counted; nobody waits.
final class TraceExport: Sendable {
    /// What became of spans, and of requests that carried them.
    struct Counts: Sendable, Equatable {
        /// Traces are made, or were until a reload.
        var isOn = false
        var exported = 0
        var dropped: [ExportPlan.Loss: Int] = [:]
        var results: [Result: Int] = [:]
        var queued = 0
    }
    /// Of one request: taken, taken in part, refused for good, put off by the collector, or nobody was reached in time.
    enum Result: String, CaseIterable, Sendable { case ok, partial, refused, unavailable, error }

    private struct State {
        var settings: Tracing?
        var exporter: Mailbox?
        var queue = SpanQueue()
        var counts = Counts()
        var isClosed = false
    }
    private let state = Mutex(State())
    private let log: LogWriter

    init(log: LogWriter) { self.log = log }

    /// What the next batch is sent by; the last settings stay for spans that are left when traces are switched off.
    var current: Tracing? { state.withLock { $0.settings } }

    var counts: Counts {
        state.withLock { state in
            var counts = state.counts
            (counts.queued, counts.isOn) = (state.queue.count, state.settings != nil)
            return counts
        }
    }

    // MARK: - Called by whoever starts and reloads

    /// Spans go by `settings` from now on. The exporter's thread starts when there is something to export for the first time, and lives as
    /// long as the process.
    func configure(_ settings: Tracing?) {
        guard let settings else {
            return state.withLock { $0.exporter }.map { $0.post(TraceExporter.reconfigure) } ?? ()
        }
        let (exporter, old) = state.withLock { state in
            let old = state.settings
            state.settings = settings
            return (state.exporter, old)
        }
        for warning in settings.warnings { log.write(.warning, "tracing", ["error": warning]) }
        if old?.spec != settings.spec {
            let share = settings.spec.sampler.ratio
            log.write(
                .info, "tracing",
                ["endpoint": settings.place, "protocol": settings.spec.encoding.rawValue, "sample": "\(share)"])
        }
        if let exporter { return exporter.post(TraceExporter.reconfigure) }
        do throws(SystemError) {
            let mailbox = try TraceExporter.start(self, log: log)
            state.withLock { $0.exporter = mailbox }
            // Spans may have come before there was anybody to wake.
            mailbox.post(TraceExporter.wake)
        } catch {
            log.write(.error, "tracing", ["error": "\(error)"])
        }
    }

    // MARK: - Called by workers

    /// All of them, or none; of more than may ever wait, those that may.
    func take(_ spans: [SpanFacts]) {
        let exporter: Mailbox? = state.withLock { state in
            let before = state.queue.count
            let limit = state.settings?.spec.batch.queueSize ?? 0
            let fitting = spans.count > limit ? Array(spans.prefix(limit)) : spans
            guard let batch = state.settings?.spec.batch, !state.isClosed, state.queue.append(fitting, limit: limit)
            else {
                state.counts.dropped[.queueFull, default: 0] += spans.count
                return nil
            }
            if fitting.count < spans.count {
                state.counts.dropped[.queueFull, default: 0] += spans.count - fitting.count
            }
            let fills = before < batch.size && state.queue.count >= batch.size
            return before == 0 || fills ? state.exporter : nil
        }
        exporter?.post(TraceExporter.wake)
    }

    // MARK: - Called by the exporter

    var waiting: Int { state.withLock { $0.queue.count } }

    func next(_ count: Int) -> [SpanFacts] {
        let pieces = state.withLock { $0.queue.next(count) }
        return pieces.flatMap { $0 }
    }

    func count(_ body: (inout Counts) -> Void) { state.withLock { body(&$0.counts) } }

    /// What still waits is lost, and what comes later too. Returns how many those are.
    func close() -> Int {
        state.withLock { state in
            state.isClosed = true
            let left = state.queue.count
            state.queue.removeAll()
            if left > 0 { state.counts.dropped[.shutdown, default: 0] += left }
            return left
        }
    }

    // MARK: - Ending

    /// How long the end of the process waits for what has not been exported yet.
    static let farewell = Interval.seconds(5)

    /// Sends what waits, for `farewell` at most, and calls `done` once, on any thread.
    func flush(_ done: @escaping @Sendable () -> Void) {
        guard let exporter = state.withLock({ $0.exporter }) else { return done() }
        exporter.post { loop in
            guard let exporter = loop.owner as? TraceExporter else { return done() }
            exporter.flush(within: Self.farewell, done)
        }
    }
}

extension MetricsExposition {
    static func appendTraces(_ counts: TraceExport.Counts, _ out: inout MetricsText) {
        guard counts.isOn else { return }
        out.family("sluice_trace_spans_exported_total", .counter, "Spans that the collector has taken.")
        out.sample([], counts.exported)
        out.family("sluice_trace_spans_dropped_total", .counter, "Spans that nobody will see, by what became of them.")
        for reason in ExportPlan.Loss.allCases {
            out.sample([(name: "reason", value: reason.rawValue)], counts.dropped[reason] ?? 0)
        }
        out.family("sluice_trace_exports_total", .counter, "Requests to the collector, by how they ended.")
        for result in TraceExport.Result.allCases {
            out.sample([(name: "result", value: result.rawValue)], counts.results[result] ?? 0)
        }
        out.family("sluice_trace_spans_queued", .gauge, "Spans that wait to be exported.")
        out.sample([], counts.queued)
    }
}
