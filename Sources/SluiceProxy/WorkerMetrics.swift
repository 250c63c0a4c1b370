/// What one worker counts beside what stands in the record of each exchange. Plain numbers of one thread; read by others
/// only as a copy that the worker makes when it is asked.
struct WorkerMetrics {
    var exchanges = 0
    /// From an address that has its share already.
    var refusedConnections = 0

    /// Active checks of upstreams' places.
    var failedHealthChecks = 0
    var placesTurnedUnhealthy = 0
    var placesTurnedHealthy = 0
    /// Places taken out of the turn because their attempts failed.
    var ejections = 0
    /// Times that an upstream had no place left that was well.
    var panics = 0
}
