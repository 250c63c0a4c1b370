/// Counts of values by bucket, as Prometheus' classic histograms have them. A value, counted up by one thread.
struct Histogram: Sendable, Equatable {
    /// Upper bounds, each within its bucket; the last bucket has none and is not listed.
    let bounds: [Double]
    /// Of each bucket alone, not of those below it: one more than there are bounds.
    private(set) var counts: [Int]
    private(set) var sum = 0.0
    /// The last one of each bucket; empty until there is one.
    private(set) var exemplars: [Exemplar?] = []

    init(_ bounds: [Double]) {
        self.bounds = bounds
        counts = Array(repeating: 0, count: bounds.count + 1)
    }

    var count: Int { counts.reduce(0, +) }

    /// `exchange`: where the value comes from, if there is a trace of it.
    mutating func observe(_ value: Double, _ exchange: TracedExchange? = nil) {
        let bucket = bounds.firstIndex { value <= $0 } ?? bounds.count
        counts[bucket] += 1
        sum += value
        guard let exchange else { return }
        if exemplars.isEmpty { exemplars = Array(repeating: nil, count: counts.count) }
        exemplars[bucket] = Exemplar(exchange: exchange, value: value)
    }

    /// Takes in what another thread counted. Both have the same bounds.
    mutating func add(_ other: Histogram) {
        for (index, count) in other.counts.enumerated() where index < counts.count { counts[index] += count }
        sum += other.sum
        if exemplars.isEmpty { exemplars = other.exemplars }
        for (index, exemplar) in other.exemplars.enumerated() where index < exemplars.count {
            guard let exemplar, exemplar.exchange.time > exemplars[index]?.exchange.time ?? 0 else { continue }
            exemplars[index] = exemplar
        }
    }
}

/// Upper bounds of buckets. Those of the metrics that OpenTelemetry names are the ones that its semantic conventions for
/// generative AI give (docs/gen-ai/gen-ai-metrics.md); all in seconds, but tokens.
enum Buckets {
    /// gen_ai.server.request.duration
    static let duration = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
    /// gen_ai.server.time_to_first_token
    static let firstToken = [
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
    ]
    /// gen_ai.server.time_per_output_token
    static let perToken = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5]
    /// gen_ai.client.token.usage: powers of 4.
    static let tokens: [Double] = [
        1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864,
    ]
    /// The longest silence of a stream after its first token.
    static let gap = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]
    /// From a client that has gone to an upstream that has stopped.
    static let cancel = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1]
}
