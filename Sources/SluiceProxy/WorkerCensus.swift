/// What is alive in a worker: for checks that nothing is left behind, and that nothing grows without a bound.
package struct WorkerCensus: Equatable, Sendable {
    package init() {}

    package var clients = 0
    package var exchanges = 0
    /// Of its loop.
    package var timers = 0
    /// Connections in the pools: idle ones that speak HTTP/1.1, and all that speak HTTP/2.
    package var idleUpstreams = 0
    package var sharedUpstreams = 0
    /// Exchanges that wait for a connection, and connections that are being made.
    package var waiting = 0
    package var dials = 0
    /// The most bytes that wait for one client.
    package var mostBuffered = 0
    /// Places taken of the limit on connections.
    package var budget = 0
}
