/// What one worker counts beside what stands in the record of each exchange. Plain numbers of one thread; read by others
/// only as a copy that the worker makes when it is asked.
struct WorkerMetrics {
    var exchanges = 0
    /// Attempts that had to wait for a managed process to be ready.
    var processWaits = 0
}
