import SluiceBytes
import SluiceStreams

/// All that `/metrics` tells, from what the workers and the process tell.
enum MetricsExposition {
    /// What is not a worker's.
    struct ProcessState {
        var version = ""
        var started = 0.0
        var process = ProcessMetrics()
        var connections = 0
        var connectionLimit = 0
        var droppedLines = 0
        var reloads = ReloadHistory.State()
        var isDraining = false
        var workers = 0
        /// Workers that did not answer in time.
        var missing: [Int] = []
        var gatheringSeconds = 0.0
        var bufferBytes = 0
        var bufferLimit = 0
        var processes: [ProcessStatus] = []
        var generations = 0
        var generationBytes = 0
        var known = KnownSeries()
        var certificates: [CertificateStatus] = []
        var traces = TraceExport.Counts()
        var tasks = 0
    }

    static func text(
        _ reports: [WorkerReport], _ state: ProcessState, _ format: MetricsFormat = .text
    ) -> [UInt8] {
        var exchanges = ExchangeMetrics()
        for report in reports { exchanges.add(report.exchanges) }
        var out = MetricsText(format)
        appendModels(exchanges, &out)
        exchanges.know(state.known.ends)
        appendEnds(exchanges, &out)
        appendLive(reports, state.known.routes, &out)
        appendUpstreams(reports, &out)
        appendCounters(reports, &out)
        appendResumption(reports, state, &out)
        appendStore(reports, &out)
        appendCompression(reports, &out)
        appendTraces(state.traces, &out)
        appendState(state, &out)
        appendCertificates(state.certificates, &out)
        appendProcess(state, &out)
        return out.finished()
    }

    // MARK: - OpenTelemetry's names

    private static func appendModels(_ exchanges: ExchangeMetrics, _ out: inout MetricsText) {
        let models = exchanges.models.sorted { left, right in
            (left.key.labels.upstream, left.key.labels.address, left.key.model)
                < (right.key.labels.upstream, right.key.labels.address, right.key.model)
        }
        out.family(
            "gen_ai_server_request_duration_seconds", .histogram,
            "From the request's head to the answer's last byte, by what failed.")
        for (key, counts) in models {
            for (error, histogram) in counts.duration.sorted(by: { $0.key < $1.key }) {
                out.sample(labels(key) + (error.isEmpty ? [] : [(name: "error_type", value: error)]), histogram)
            }
        }
        append(
            "gen_ai_server_time_to_first_token_seconds",
            "From the request's head to the first token, of streams that ended whole.", models, \.firstToken, &out)
        append(
            "gen_ai_server_time_per_output_token_seconds",
            "Time per token behind the first one, of streams that ended whole.",
            models, \.perToken, &out)
        out.family("gen_ai_client_token_usage", .histogram, "Tokens of one request, as the provider counted them.")
        for (key, counts) in models {
            for (type, histogram) in [("input", counts.inputTokens), ("output", counts.outputTokens)]
            where histogram.count > 0 {
                out.sample(labels(key) + [(name: "gen_ai_token_type", value: type)], histogram)
            }
        }
        append(
            "sluice_stream_largest_gap_seconds",
            "The longest time between two reads that brought tokens, one value a stream.",
            models, \.gap, &out)
    }

    private static func append(
        _ name: String, _ help: String, _ models: [(key: ExchangeMetrics.ModelKey, value: ExchangeMetrics.ModelCounts)],
        _ histogram: KeyPath<ExchangeMetrics.ModelCounts, Histogram>, _ out: inout MetricsText
    ) {
        out.family(name, .histogram, help)
        for (key, counts) in models where counts[keyPath: histogram].count > 0 {
            out.sample(labels(key), counts[keyPath: histogram])
        }
    }

    private static func labels(_ key: ExchangeMetrics.ModelKey) -> MetricsText.Labels {
        var labels: MetricsText.Labels = [
            (name: "gen_ai_operation_name", value: key.labels.operation),
            (name: "gen_ai_provider_name", value: key.labels.provider),
        ]
        if !key.model.isEmpty { labels.append((name: "gen_ai_request_model", value: key.model)) }
        labels.append((name: "server_address", value: key.labels.address))
        if key.labels.port > 0 { labels.append((name: "server_port", value: "\(key.labels.port)")) }
        labels.append((name: "upstream", value: key.labels.upstream))
        return labels
    }

    // MARK: - What was

    private static func appendEnds(_ exchanges: ExchangeMetrics, _ out: inout MetricsText) {
        sum(
            "sluice_requests_total",
            "Exchanges that are over, by the status that was sent; 0: none, the client left before.", exchanges,
            &out
        ) {
            (
                [
                    (name: "route", value: $0.key.route), (name: "status", value: "\($0.key.status)"),
                ], $0.value.exchanges
            )
        }
        sum(
            "sluice_streams_ended_total", "Exchanges by how they ended, and by the status that the client got.",
            exchanges, &out
        ) {
            (
                labels($0.key) + [
                    (name: "reason", value: $0.key.reason), (name: "status", value: "\($0.key.status)"),
                ], $0.value.exchanges
            )
        }
        typealias Counts = ExchangeMetrics.EndCounts
        let figures: [(String, String, KeyPath<Counts, Int>)] = [
            ("sluice_sent_bytes_total", "Bytes sent to clients, counted when an exchange ends.", \.bytes),
            ("sluice_events_total", "Events of providers' streams, counted when an exchange ends.", \.events),
            (
                "sluice_output_tokens_total",
                "Tokens of answers, as providers counted them, else as they came; counted when an exchange ends.",
                \.tokens
            ),
            (
                "sluice_backpressure_pauses_total", "Times that a provider was paused since its client was slower.",
                \.pauses
            ),
            ("sluice_keepalive_pings_total", "Keepalives written into streams.", \.pings),
            (
                "sluice_retries_total", "Attempts beyond the first of a request, at the same upstream or the next.",
                \.retries
            ),
        ]
        for (name, help, path) in figures {
            sum(name, help, exchanges, &out) { (labels($0.key), $0.value[keyPath: path]) }
        }
        out.family("sluice_steps_ended_total", .counter, "Steps of chains before the last, by how they ended.")
        let steps = exchanges.steps.map { key, count in
            (values: [key.route, key.step, key.upstream, key.reason], count: count)
        }
        for (values, count) in steps.sorted(by: { $0.values.lexicographicallyPrecedes($1.values) }) {
            let names = ["route", "step", "upstream", "reason"]
            out.sample(zip(names, values).map { (name: $0, value: $1) }, count)
        }
        out.family(
            "sluice_cancel_latency_seconds", .histogram, "From a client's leaving to the end of its provider's work.")
        out.sample([], exchanges.cancel)
    }

    private static func labels(_ key: ExchangeMetrics.EndKey) -> MetricsText.Labels {
        [
            (name: "route", value: key.route), (name: "upstream", value: key.upstream),
            (name: "format", value: key.format.rawValue),
        ]
    }

    /// A counter whose labels are fewer than those that were counted by.
    private static func sum(
        _ name: String, _ help: String, _ exchanges: ExchangeMetrics, _ out: inout MetricsText,
        _ series: ((key: ExchangeMetrics.EndKey, value: ExchangeMetrics.EndCounts)) -> (MetricsText.Labels, Int)
    ) {
        var totals: [[String]: (labels: MetricsText.Labels, count: Int)] = [:]
        for entry in exchanges.ends {
            let (labels, count) = series(entry)
            totals[labels.map(\.value), default: (labels, 0)].count += count
        }
        out.family(name, .counter, help)
        for (_, total) in totals.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            out.sample(total.labels, total.count)
        }
    }

    // MARK: - What is

    private static func appendLive(_ reports: [WorkerReport], _ routes: [String], _ out: inout MetricsText) {
        var live: [String: WorkerReport.Live] = [:]
        for route in routes { live[route] = WorkerReport.Live() }
        for report in reports {
            for (route, counts) in report.live {
                var sum = live[route] ?? WorkerReport.Live()
                sum.exchanges += counts.exchanges
                sum.paused += counts.paused
                sum.bufferedBytes += counts.bufferedBytes
                live[route] = sum
            }
        }
        let figures: [(String, String, KeyPath<WorkerReport.Live, Int>)] = [
            ("sluice_streams_active", "Exchanges that are not over.", \.exchanges),
            ("sluice_streams_paused", "Exchanges whose provider is paused for a slow client.", \.paused),
            ("sluice_buffered_bytes", "Bytes of exchanges that wait in this process.", \.bufferedBytes),
        ]
        for (name, help, path) in figures {
            out.family(name, .gauge, help)
            for (route, counts) in live.sorted(by: { $0.key < $1.key }) {
                out.sample([(name: "route", value: route)], counts[keyPath: path])
            }
        }
    }

    private static func appendUpstreams(_ reports: [WorkerReport], _ out: inout MetricsText) {
        var places: [[String]: UpstreamGauges] = [:]
        for gauges in reports.flatMap(\.upstreams) {
            let key = [gauges.upstream, gauges.address]
            guard var sum = places[key] else {
                places[key] = gauges
                continue
            }
            sum.idleConnections += gauges.idleConnections
            sum.waiting += gauges.waiting
            sum.inFlight += gauges.inFlight
            // Each worker has its own view; what one of them finds ill is worth a look.
            sum.isHealthy = sum.isHealthy && gauges.isHealthy
            sum.isEjected = sum.isEjected || gauges.isEjected
            places[key] = sum
        }
        let sorted = places.values.sorted { ($0.upstream, $0.address) < ($1.upstream, $1.address) }
        let figures: [(String, String, (UpstreamGauges) -> Int)] = [
            (
                "sluice_upstream_healthy", "1: requests may go there; 0: checks fail, as some worker sees it.",
                { $0.isHealthy ? 1 : 0 }
            ),
            (
                "sluice_upstream_ejected", "1: some worker sends nothing there for a while, after failures.",
                { $0.isEjected ? 1 : 0 }
            ),
            ("sluice_upstream_attempts_active", "Attempts under way at a place of an upstream.", { $0.inFlight }),
            (
                "sluice_upstream_idle_connections", "Connections to a place of an upstream that wait for work.",
                { $0.idleConnections }
            ),
            ("sluice_upstream_waiting_requests", "Requests that wait for a connection.", { $0.waiting }),
        ]
        for (name, help, figure) in figures {
            out.family(name, .gauge, help)
            for place in sorted {
                out.sample(
                    [(name: "upstream", value: place.upstream), (name: "address", value: place.address)], figure(place))
            }
        }
    }

    private static func appendState(_ state: ProcessState, _ out: inout MetricsText) {
        out.family("sluice_build_info", .info, "Always 1; what runs stands in the labels.")
        out.sample([(name: "version", value: state.version)], 1)
        let gauges: [(String, String, Int)] = [
            ("sluice_connections_open", "Connections of clients that are open.", state.connections),
            (
                "sluice_connections_limit", "As many connections of clients may be open: limits.connections.",
                state.connectionLimit
            ),
            ("sluice_buffer_memory_bytes", "Memory that all buffers hold.", state.bufferBytes),
            (
                "sluice_buffer_memory_limit_bytes", "Above it new streams are refused: limits.buffered_bytes.",
                state.bufferLimit
            ),
            ("sluice_draining", "1: no new request is taken.", state.isDraining ? 1 : 0),
            ("sluice_workers", "Event loops, one thread each.", state.workers),
            (
                "sluice_workers_unresponsive",
                "Event loops that did not answer in time; their part of all this is as old as their last answer.",
                state.missing.count
            ),
            (
                "sluice_config_last_reload_successful",
                "0: the configuration has a fault, and what ran before runs on.",
                state.reloads.isLastGood ? 1 : 0
            ),
            (
                "sluice_config_last_reload_success_timestamp_seconds",
                "Unix time of the last reload that changed the configuration; the start counts.",
                state.reloads.lastSuccess
            ),
        ]
        for (name, help, value) in gauges {
            out.family(name, .gauge, help)
            out.sample([], value)
        }
        out.family("sluice_process_ready", .gauge, "1: the managed process of an upstream takes requests.")
        for process in state.processes {
            out.sample([(name: "upstream", value: process.name)], process.state == .ready ? 1 : 0)
        }
        out.family(
            "sluice_process_restarts_total", .counter,
            "Times that the managed process of an upstream was started again.")
        for process in state.processes { out.sample([(name: "upstream", value: process.name)], process.restarts) }
        out.family("sluice_config_reloads_total", .counter, "Reloads of the configuration, after the start.")
        out.sample([(name: "result", value: "failed")], state.reloads.failed)
        out.sample([(name: "result", value: "ok")], state.reloads.succeeded)
        out.family(
            "sluice_log_lines_dropped_total", .counter,
            "Lines of the log that were lost, since whoever reads it was too slow.")
        out.sample([], state.droppedLines)
        out.family("sluice_scrape_duration_seconds", .gauge, "How long the workers took to tell all this.")
        out.sample([], state.gatheringSeconds)
    }

    private static func appendProcess(_ state: ProcessState, _ out: inout MetricsText) {
        let process = state.process
        let gauges: [(String, String, Double)] = [
            ("process_resident_memory_bytes", "Resident memory size in bytes.", Double(process.residentBytes)),
            ("process_virtual_memory_bytes", "Virtual memory size in bytes.", Double(process.virtualBytes)),
            ("process_open_fds", "Number of open file descriptors.", Double(process.openDescriptors)),
            ("process_max_fds", "Maximum number of open file descriptors.", Double(process.descriptorLimit)),
            ("process_threads", "Number of threads.", Double(process.threads)),
            ("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", state.started),
        ]
        for (name, help, value) in gauges {
            out.family(name, .gauge, help)
            out.sample([], value)
        }
        out.family("process_cpu_seconds_total", .counter, "Total user and system CPU time spent in seconds.")
        out.sample([], process.cpuSeconds)
    }
}
