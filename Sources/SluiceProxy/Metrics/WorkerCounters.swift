/// How the numbers of `WorkerMetrics` are told. Each is a counter under the name of its field, `upstreamPanics` as
/// `sluice_upstream_panics_total`, but for those that are one thing by kinds.
extension WorkerMetrics {
    /// By the name of the field.
    static let help = [
        "exchanges": "Requests that have begun, those that no route was found for included.",
        "refusedConnections":
            "Connections closed at once, since their address had limits.connections_per_address already.",
        "failovers": "Attempts at the next upstream of a route.",
        "retryBudgetRefusals": "Attempts that were not made, since the upstream had had its share of repetitions.",
        "failedHealthChecks": "Active checks of upstreams that failed.",
        "ejections": "Places of upstreams taken out of the turn since attempts there failed, by any worker.",
        "upstreamPanics": "Times that no place of an upstream was well, so that all were asked.",
        "processWaits": "Attempts that had to wait for a managed process to be ready.",
        "unauthenticated": "Requests answered 401, since nobody knows who asks.",
        "forbidden": "Requests answered 403: known, but not allowed on the route.",
        "rateLimited": "Requests answered 429 by the rate limits of the configuration.",
        "preflights": "Preflight requests of browsers that were answered.",
        "compressionsSkipped": "Answers that went out as they are, since memory for compressing them was short.",
        "probes": "Streams of sluice doctor that were answered.",
        "probesRefused": "Streams of sluice doctor that were refused, since as many as may run did.",
    ]

    /// Several fields as one metric with a label.
    struct Group {
        let name: String
        let help: String
        let label: String
        /// Field and value of the label, in the order of the values.
        let members: [(field: String, value: String)]
    }
    static let groups = [
        Group(
            name: "sluice_retry_attempts_total", help: "Repeated attempts at the same upstream, by what had failed.",
            label: "cause",
            members: [
                ("retriesMalformed", "malformed"), ("retriesRateLimited", "rate_limited"), ("retriesReset", "reset"),
                ("retriesServerError", "server_error"), ("retriesTimeout", "timeout"), ("retriesUnsent", "unsent"),
            ]),
        Group(
            name: "sluice_upstream_health_changes_total",
            help: "Places of upstreams that active checks found otherwise than before, by any worker.", label: "to",
            members: [("placesTurnedHealthy", "healthy"), ("placesTurnedUnhealthy", "unhealthy")]),
    ]
}

extension MetricsExposition {
    static func appendCounters(_ reports: [WorkerReport], _ out: inout MetricsText) {
        var totals: [String: Int] = [:]
        for report in [WorkerReport()] + reports {
            for child in Mirror(reflecting: report.counters).children {
                guard let label = child.label, let count = child.value as? Int else { continue }
                totals[label, default: 0] += count
            }
        }
        for group in WorkerMetrics.groups {
            out.family(group.name, .counter, group.help)
            for (field, value) in group.members {
                out.sample([(name: group.label, value: value)], totals.removeValue(forKey: field) ?? 0)
            }
        }
        for (field, count) in totals.sorted(by: { $0.key < $1.key }) {
            let name = ConfigurationDump.snake(field)
            out.family("sluice_\(name)_total", .counter, WorkerMetrics.help[field] ?? "Counted by the workers.")
            out.sample([], count)
        }
    }
}
