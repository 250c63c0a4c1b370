/// What one worker counts beside what stands in the record of each exchange. Plain numbers of one thread; read by others
/// only as a copy that the worker makes when it is asked.
struct WorkerMetrics {
    var exchanges = 0
    /// From an address that has its share already.
    var refusedConnections = 0
    /// Attempts that followed another one at the same upstream, by what had failed.
    var retriesUnsent = 0
    var retriesReset = 0
    var retriesTimeout = 0
    var retriesRateLimited = 0
    var retriesServerError = 0
    var retriesMalformed = 0
    /// Attempts at the next upstream of a route.
    var failovers = 0
    /// Attempts that were not made, because the upstream had had its share of repetitions.
    var retryBudgetRefusals = 0

    mutating func countRetry(after cause: AttemptFailure.Cause) {
        switch cause {
        case .connect, .tls, .refused, .stale, .unfit, .unavailable: retriesUnsent += 1
        case .reset: retriesReset += 1
        case .timeout, .firstToken: retriesTimeout += 1
        case .status(429): retriesRateLimited += 1
        case .status: retriesServerError += 1
        case .malformed, .cut: retriesMalformed += 1
        }
    }

    /// Active checks of upstreams' places.
    var failedHealthChecks = 0
    var placesTurnedUnhealthy = 0
    var placesTurnedHealthy = 0
    /// Places taken out of the turn because their attempts failed.
    var ejections = 0
    /// Times that an upstream had no place left that was well.
    var upstreamPanics = 0
    /// Attempts that had to wait for a managed process to be ready.
    var processWaits = 0
    /// Answers 401, 403 and 429 of Sluice's own, and to browsers' preflights.
    var unauthenticated = 0
    var forbidden = 0
    var rateLimited = 0
    var preflights = 0
    /// Streams that `sluice doctor` asked for, and those that it did not get.
    var probes = 0
    var probesRefused = 0
    var resumption = ResumptionCounts()
    var store = ReplayStoreCounts()
    /// Answers that a client would have taken compressed, and that went out as they are since memory was short.
    var compressionsSkipped = 0
    var compression = CompressionCounts()
}
