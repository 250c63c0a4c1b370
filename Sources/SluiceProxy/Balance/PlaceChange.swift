import SluiceBytes

/// News of a place, for the log and the counters.
struct PlaceChange {
    enum Kind: Equatable {
        case checkFailed(String)
        case unhealthy(String)
        case healthy
        case ejected(Interval)
        case returned
        /// No place of the upstream is well: requests are tried at all of them.
        case noneIsWell
        case someAreWell
    }
    let kind: Kind
    let upstream: String
    /// Empty where it is about all of them.
    let place: String

    init(_ kind: Kind, upstream: String, place: String = "") {
        (self.kind, self.upstream, self.place) = (kind, upstream, place)
    }
}

/// One worker's view of one place.
public struct PlaceStatus: Sendable, Equatable {
    public let upstream: String
    /// `host:port`.
    public let name: String
    public let weight: Int
    /// By the active checks; true where there are none.
    public let isHealthy: Bool
    public let isEjected: Bool
    /// Attempts under way.
    public let inFlight: Int
}

extension LogWriter {
    func write(_ change: PlaceChange) {
        let (upstream, place) = (change.upstream, change.place)
        switch change.kind {
        case .checkFailed(let fault):
            write(.debug, "health check failed", ["upstream": upstream, "place": place, "error": fault])
        case .unhealthy(let fault):
            write(.warning, "place unhealthy", ["upstream": upstream, "place": place, "error": fault])
        case .healthy: write(.info, "place healthy", ["upstream": upstream, "place": place])
        case .ejected(let length):
            let text = "\(length.milliseconds)"
            write(.warning, "place ejected", ["upstream": upstream, "place": place, "for_ms": text])
        case .returned: write(.info, "place back", ["upstream": upstream, "place": place])
        case .noneIsWell: write(.error, "no place is well", ["upstream": upstream])
        case .someAreWell: write(.info, "some place is well", ["upstream": upstream])
        }
    }
}

extension WorkerMetrics {
    mutating func count(_ change: PlaceChange) {
        switch change.kind {
        case .checkFailed: failedHealthChecks &+= 1
        case .unhealthy: placesTurnedUnhealthy &+= 1
        case .healthy: placesTurnedHealthy &+= 1
        case .ejected: ejections &+= 1
        case .returned, .someAreWell: break
        case .noneIsWell: upstreamPanics &+= 1
        }
    }
}
