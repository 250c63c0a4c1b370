/// What one worker counts beside what stands in the record of each exchange. Plain numbers of one thread; read by others
/// only as a copy that the worker makes when it is asked.
struct WorkerMetrics {
    var exchanges = 0
    /// Answers 401, 403 and 429 of Sluice's own, and to browsers' preflights.
    var unauthenticated = 0
    var forbidden = 0
    var rateLimited = 0
    var preflights = 0
}
