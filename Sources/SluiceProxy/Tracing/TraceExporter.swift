import Glibc
import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// Takes spans out of the queue, makes OTLP of them and posts it: one thread with a loop of its own, so that a collector that is slow
/// or away costs the workers nothing. `ExportPlan` decides when.
final class TraceExporter: TimerHandler {
    /// Carries the exporter into its thread. The starting thread lets go of it before that thread runs.
    private struct Carrier: @unchecked Sendable {
        let exporter: TraceExporter
    }

    private let export: TraceExport
    private let log: LogWriter
    private let loop: EventLoop
    private var client: OTLPClient?
    private var plan = ExportPlan(delay: .zero, exportTimeout: .zero, batchSize: 1)
    private var settings: Tracing?
    private var timer = TimerID.none
    private var batch: (spans: Int, body: [UInt8], deadline: Instant)?
    private var random: SplitMix64
    /// What the wall clock said at the monotonic clock's zero when it was last put right; and by how much it may be wrong, in nanoseconds.
    private var epoch: UInt64 = 0
    private static let epochSlack: UInt64 = 1_000_000
    /// The last thing that the log was told.
    private var isFailing = false
    private var flushed: (@Sendable () -> Void)?
    private var flushTimer = TimerID.none

    private init(_ export: TraceExport, log: LogWriter) throws(SystemError) {
        loop = try EventLoop()
        (self.export, self.log) = (export, log)
        var seed: UInt64 = 0
        _ = getentropy(&seed, 8)
        random = SplitMix64(seed: seed)
        loop.owner = self
    }

    static func start(_ export: TraceExport, log: LogWriter) throws(SystemError) -> Mailbox {
        let exporter = try TraceExporter(export, log: log)
        exporter.adopt()
        let carrier = Carrier(exporter: exporter)
        let mailbox = exporter.loop.mailbox
        try startThread(named: "traces") {
            try? carrier.exporter.loop.run()
        }
        return mailbox
    }

    /// For mailboxes.
    static let wake: @Sendable (EventLoop) -> Void = { ($0.owner as? TraceExporter)?.look() }
    static let reconfigure: @Sendable (EventLoop) -> Void = { ($0.owner as? TraceExporter)?.changed() }

    // MARK: - Settings

    /// New settings hold from the next batch on; one that is under way ends by its own.
    private func changed() {
        if !plan.isBusy { adopt() }
        look()
    }

    private func adopt() {
        guard let current = export.current, current !== settings else { return }
        if current.spec != settings?.spec || current.nameServers != settings?.nameServers
            || current.tls !== settings?.tls
        {
            client?.close()
            client = nil
            let batch = current.spec.batch
            plan = ExportPlan(delay: batch.delay, exportTimeout: batch.exportTimeout, batchSize: batch.size)
        }
        settings = current
    }

    // MARK: - Time

    private func look() { follow(plan.spansWait(export.waiting, at: loop.now)) }

    func timerFired(_ timer: TimerID, on loop: EventLoop) {
        if timer == flushTimer { return endFlush() }
        guard timer == self.timer else { return }
        self.timer = .none
        follow(plan.timePassed(export.waiting, at: loop.now))
    }

    private func follow(_ step: ExportPlan.Step) {
        switch step {
        case .none: break
        case .wait(let until):
            loop.cancel(timer)
            timer = loop.schedule(at: until, handler: self)
        case .export(let count, let deadline): send(count, by: deadline)
        case .again: post()
        case .finished: endFlush()
        }
    }

    // MARK: - Sending

    private func send(_ count: Int, by deadline: Instant) {
        loop.cancel(timer)
        timer = .none
        guard let settings else { return }
        let facts = export.next(count)
        // Spans of one trace may leave in several batches, and are not to change places between two looks at the clock.
        let now = Self.epoch()
        if max(now, epoch) - min(now, epoch) > Self.epochSlack { epoch = now }
        let builder = SpanBuilder(epoch: epoch)
        let spans = facts.map { fact in
            var span = builder.span(fact)
            span.apply(settings.spec.limits)
            return span
        }
        batch = (spans.count, Self.body(spans, settings.spec), deadline)
        post()
    }

    /// What the wall clock says at the monotonic clock's zero.
    private static func epoch() -> UInt64 {
        var wall = timespec()
        clock_gettime(CLOCK_REALTIME, &wall)
        let nanoseconds = UInt64(clamping: wall.tv_sec) &* 1_000_000_000 &+ UInt64(clamping: wall.tv_nsec)
        return nanoseconds &- EventLoop.clock().nanoseconds
    }

    private static func body(_ spans: [TraceSpan], _ spec: TracingSpec) -> [UInt8] {
        let resource = resource(spec)
        let plain =
            switch spec.encoding {
            case .protobuf: OTLPProtobuf.request(spans, resource, version: spec.version)
            case .json: OTLPJSON.request(spans, resource, version: spec.version)
            }
        guard spec.isCompressed, var compressor = BodyCompressor(.gzip) else { return plain }
        var out = ByteQueue()
        _ = compressor.append(plain.span, isLast: true, into: &out)
        return out.span.array
    }

    static func resource(_ spec: TracingSpec) -> [TraceSpan.Attribute] {
        var attributes: [(String, String)] = [
            ("service.name", spec.serviceName), ("service.version", spec.version), ("telemetry.sdk.name", "sluice"),
            ("telemetry.sdk.language", "swift"), ("telemetry.sdk.version", spec.version),
        ]
        for given in spec.resource {
            attributes.removeAll { $0.0 == given.name }
            attributes.append((given.name, given.value))
        }
        let own: [TraceSpan.Attribute] = [.init(name: "process.pid", value: .integer(Int(getpid())))]
        return attributes.filter { !$0.1.isEmpty }.map { .init(name: $0.0, value: .text($0.1)) } + own
    }

    private func post() {
        guard let batch, let settings else { return }
        let client = self.client ?? OTLPClient(settings, loop: loop)
        self.client = client
        client.post(batch.body, by: batch.deadline) { [weak self] in self?.answered($0) }
    }

    private func answered(_ answer: OTLPAnswer) {
        guard let batch else { return }
        switch answer {
        case .taken(let rejected, let message):
            let rejected = min(rejected, batch.spans)
            export.count { counts in
                counts.results[rejected > 0 ? .partial : .ok, default: 0] += 1
                counts.exported += batch.spans - rejected
                if rejected > 0 { counts.dropped[.rejected, default: 0] += rejected }
            }
            if rejected > 0 || !message.isEmpty {
                tell(failure: "the collector rejected \(rejected) of \(batch.spans) spans: \(message)")
            } else {
                tellWorks()
            }
            ended()
        case .refused(let status): lose(batch.spans, .refused, .refused, "status \(status)")
        case .busy(let status, let retryAfter): putOff(batch.spans, .unavailable, "status \(status)", retryAfter)
        case .unreachable(let reason): putOff(batch.spans, .error, reason, nil)
        }
    }

    private func putOff(_ spans: Int, _ result: TraceExport.Result, _ reason: String, _ retryAfter: Interval?) {
        guard let step = plan.failed(retryAfter: retryAfter, at: loop.now, random: random.next()) else {
            return lose(spans, .failed, result, reason)
        }
        export.count { $0.results[result, default: 0] += 1 }
        tell(failure: reason)
        follow(step)
    }

    private func lose(_ spans: Int, _ loss: ExportPlan.Loss, _ result: TraceExport.Result, _ reason: String) {
        export.count { counts in
            counts.results[result, default: 0] += 1
            counts.dropped[loss, default: 0] += spans
        }
        tell(failure: "\(reason); \(spans) spans are lost")
        ended()
    }

    private func ended() {
        batch = nil
        if !plan.isFlushing { adopt() }
        follow(plan.ended(export.waiting, at: loop.now))
    }

    // MARK: - Telling

    /// One line at each change, and none for each batch.
    private func tell(failure: String) {
        guard !isFailing else { return }
        isFailing = true
        log.write(.warning, "traces_failed", ["endpoint": settings?.place ?? "", "error": failure])
    }

    private func tellWorks() {
        guard isFailing else { return }
        isFailing = false
        log.write(.info, "traces_recovered", ["endpoint": settings?.place ?? ""])
    }

    // MARK: - The end

    /// Sends what waits, and calls `done` when it is sent or lost.
    func flush(within time: Interval, _ done: @escaping @Sendable () -> Void) {
        guard flushed == nil, settings != nil else { return done() }
        flushed = done
        let now = EventLoop.clock()
        flushTimer = loop.schedule(at: now + time, handler: self)
        follow(plan.flush(export.waiting, by: now + time, at: now))
    }

    private func endFlush() {
        guard let done = flushed else { return }
        flushed = nil
        loop.cancel(flushTimer)
        loop.cancel(timer)
        client?.close()
        client = nil
        if let batch {
            export.count { $0.dropped[.shutdown, default: 0] += batch.spans }
            self.batch = nil
        }
        let left = export.close()
        let dropped = export.counts.dropped.values.reduce(0, +)
        if left > 0 || dropped > 0 {
            log.write(
                .warning, "traces_lost",
                ["spans": "\(dropped)", "at_the_end": "\(export.counts.dropped[.shutdown] ?? 0)"])
        }
        done()
    }
}
