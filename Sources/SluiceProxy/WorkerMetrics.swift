/// What one worker counts beside what stands in the record of each exchange. Plain numbers of one thread; read by others
/// only as a copy that the worker makes when it is asked.
struct WorkerMetrics {
    var exchanges = 0
    /// From an address that has its share already.
    var refusedConnections = 0
}
