import SluiceBytes
import SluiceStreams

/// What one worker has counted of exchanges that are over. A value of one thread: others get a copy when they ask.
struct ExchangeMetrics: Sendable {
    /// How exchanges ended. Every part comes from the configuration or from a list in the code.
    struct EndKey: Hashable, Sendable {
        var route: String
        var upstream: String
        var format: StreamFormat
        var reason: String
        /// 0: none was sent.
        var status: Int

        /// Equality looks at all of it; these tell nearly all apart.
        func hash(into hasher: inout Hasher) {
            hasher.combine(route)
            hasher.combine(reason)
        }
    }
    struct EndCounts: Sendable {
        var exchanges = 0
        var bytes = 0
        var events = 0
        var tokens = 0
        var pauses = 0
        var pings = 0
        var retries = 0

        mutating func add(_ other: EndCounts) {
            exchanges += other.exchanges
            bytes += other.bytes
            events += other.events
            tokens += other.tokens
            pauses += other.pauses
            pings += other.pings
            retries += other.retries
        }
    }
    /// Whose tokens they were.
    struct ModelKey: Hashable, Sendable {
        var labels: UpstreamLabels
        /// A name that `ModelNames` allows; "" if nobody knows it.
        var model: String

        func hash(into hasher: inout Hasher) {
            hasher.combine(labels.upstream)
            hasher.combine(model)
        }
    }
    struct ModelCounts: Sendable {
        var keepsExemplars = false
        /// By `error.type`; "" for those that were whole.
        var duration: [String: Histogram] = [:]
        var firstToken = Histogram(Buckets.firstToken)
        var perToken = Histogram(Buckets.perToken)
        var inputTokens = Histogram(Buckets.tokens)
        var outputTokens = Histogram(Buckets.tokens)
        var gap = Histogram(Buckets.gap)

        mutating func add(_ other: ModelCounts) {
            duration.merge(other.duration) { left, right in
                var sum = left
                sum.add(right)
                return sum
            }
            firstToken.add(other.firstToken)
            perToken.add(other.perToken)
            inputTokens.add(other.inputTokens)
            outputTokens.add(other.outputTokens)
            gap.add(other.gap)
        }
    }

    private(set) var ends: [EndKey: EndCounts] = [:]
    private(set) var models: [ModelKey: ModelCounts] = [:]
    /// Steps of chains before the last, by how they ended.
    struct StepKey: Hashable, Sendable {
        var route: String
        var step: String
        var upstream: String
        var reason: String
    }
    private(set) var steps: [StepKey: Int] = [:]
    private(set) var cancel = Histogram(Buckets.cancel)

    /// Of either kind. Reloads may bring new routes and upstreams as long as the process lives; those that do not fit any more
    /// are counted as `other`.
    private static let seriesLimit = 2000
    private static let errorLimit = 64
    /// So many upstreams with their models have exemplars, which are six times as large as the counts beside them.
    private static let exemplarLimit = 64

    mutating func count(_ record: borrowing ExchangeRecord, _ names: ModelNames) {
        countEnd(record)
        let traced = TracedExchange(record)
        if let labels = record.labels, record.isGenerative { countModel(record, traced, labels, names) }
        if let latency = record.cancelLatency { cancel.observe(latency.seconds, traced) }
    }

    mutating func add(_ other: ExchangeMetrics) {
        for (key, counts) in other.ends { ends[key, default: EndCounts()].add(counts) }
        for (key, counts) in other.models { models[key, default: ModelCounts()].add(counts) }
        steps.merge(other.steps) { $0 + $1 }
        cancel.add(other.cancel)
    }

    /// A step has a provider like an exchange, but no client.
    mutating func countStep(_ record: borrowing ExchangeRecord, _ name: String, _ names: ModelNames) {
        var key = StepKey(route: record.route, step: name, upstream: record.upstream, reason: record.reason)
        if steps.count >= Self.seriesLimit, steps[key] == nil {
            (key.route, key.step, key.upstream) = (ModelNames.other, ModelNames.other, ModelNames.other)
        }
        steps[key, default: 0] += 1
        if let labels = record.labels, record.isGenerative { countModel(record, TracedExchange(record), labels, names) }
    }

    /// Ends that have not been seen yet count 0, so that who looks at the growth of a counter sees the first one too.
    mutating func know(_ keys: [EndKey]) {
        for key in keys where ends[key] == nil && ends.count < Self.seriesLimit { ends[key] = EndCounts() }
    }

    private mutating func countEnd(_ record: borrowing ExchangeRecord) {
        var key = EndKey(
            route: record.route, upstream: record.upstream, format: record.format, reason: record.reason,
            status: record.status)
        if ends.count >= Self.seriesLimit, ends[key] == nil {
            (key.route, key.upstream, key.status) = (ModelNames.other, ModelNames.other, 0)
        }
        var counts = EndCounts()
        (counts.exchanges, counts.bytes, counts.events) = (1, record.sentBytes, record.eventCount)
        (counts.tokens, counts.pauses) = (record.outputTokens, record.pauses)
        (counts.pings, counts.retries) = (record.pings, record.retries)
        ends[key, default: EndCounts()].add(counts)
    }

    private mutating func countModel(
        _ record: borrowing ExchangeRecord, _ traced: TracedExchange?, _ labels: UpstreamLabels, _ names: ModelNames
    ) {
        var key = ModelKey(labels: labels, model: record.model)
        // Only a name that is not here yet is asked about, since all threads ask the same list.
        if models[key] == nil {
            key.model = names.label(for: record.model)
            if models[key] == nil {
                if models.count >= Self.seriesLimit { return }
                models[key] = ModelCounts(keepsExemplars: models.count < Self.exemplarLimit)
            }
        }
        models[key, default: ModelCounts()].count(record, traced, errorLimit: Self.errorLimit)
    }
}

extension ExchangeMetrics.ModelCounts {
    fileprivate mutating func count(
        _ record: borrowing ExchangeRecord, _ traced: TracedExchange?, errorLimit: Int
    ) {
        let traced = keepsExemplars ? traced : nil
        var error = record.errorType
        if duration.count >= errorLimit, duration[error] == nil { error = "_OTHER" }
        duration[error, default: Histogram(Buckets.duration)].observe(record.ownDuration.seconds, traced)
        if let input = record.usage?.input { inputTokens.observe(Double(input), traced) }
        if let output = record.usage?.output { outputTokens.observe(Double(output), traced) }
        guard record.isStream, let first = record.timeToFirstToken else { return }
        if record.tokenCount > 1 { gap.observe(record.largestGap.seconds, traced) }
        // The conventions want these two of successful responses only.
        guard error.isEmpty else { return }
        firstToken.observe(max(0, first.seconds - record.lead.seconds), traced)
        if record.outputTokens > 1 {
            let rest = record.duration.seconds - first.seconds
            perToken.observe(max(0, rest) / Double(record.outputTokens - 1), traced)
        }
    }
}
