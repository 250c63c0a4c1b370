/// What a worker counts of answers that outlive their connections.
struct ResumptionCounts: Sendable {
    /// Generations that it has made.
    var begun = 0
    /// Streams that went on without being kept, since all together held what they may.
    var refused = 0
    /// Ended ones that went before their time, to make room.
    var evicted = 0
    /// Their upstream was stopped, since nobody read them.
    var abandoned = 0
    /// By a client's DELETE.
    var stopped = 0
    /// Requests for an answer that has begun, by what came of them.
    var attached = 0
    var nothing = 0
    var forgotten = 0
    var unknown = 0
    /// Whoever had the answer is gone, or does not answer.
    var failed = 0

    mutating func count(_ failure: ReplayFailure) {
        switch failure {
        case .forgotten: forgotten += 1
        case .unknown: unknown += 1
        case .ownerGone, .storeAway: failed += 1
        }
    }

    mutating func add(_ other: ResumptionCounts) {
        for path in Self.all { self[keyPath: path] += other[keyPath: path] }
    }

    private static var all: [WritableKeyPath<ResumptionCounts, Int>] {
        [
            \.begun, \.refused, \.evicted, \.abandoned, \.stopped, \.attached, \.nothing, \.forgotten, \.unknown,
            \.failed,
        ]
    }
}

extension MetricsExposition {
    static func appendResumption(_ reports: [WorkerReport], _ state: ProcessState, _ out: inout MetricsText) {
        var sum = ResumptionCounts()
        for report in reports { sum.add(report.counters.resumption) }
        out.family("sluice_generations", .gauge, "Answers that can be read on.")
        out.sample([], state.generations)
        out.family("sluice_generation_bytes", .gauge, "Bytes kept of answers that can be read on.")
        out.sample([], state.generationBytes)
        out.family("sluice_tasks", .gauge, "Tasks of workflows that run.")
        out.sample([], state.tasks)
        out.family(
            "sluice_generation_events_total", .counter, "What became of answers that could have been read on.")
        let fates = [
            ("abandoned", sum.abandoned), ("begun", sum.begun), ("evicted", sum.evicted), ("refused", sum.refused),
            ("stopped", sum.stopped),
        ]
        for (name, count) in fates { out.sample([(name: "event", value: name)], count) }
        out.family("sluice_resumes_total", .counter, "Requests for an answer that had begun, by what came of them.")
        let results = [
            ("attached", sum.attached), ("failed", sum.failed), ("forgotten", sum.forgotten), ("nothing", sum.nothing),
            ("unknown", sum.unknown),
        ]
        for (name, count) in results { out.sample([(name: "result", value: name)], count) }
    }
}
