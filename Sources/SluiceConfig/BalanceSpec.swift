import SluiceBytes

/// One of the places where an upstream is found.
public struct PlaceSpec: Sendable, Equatable {
    public var url: UpstreamURL
    /// Its part of the work, beside the weights of the others.
    public var weight: Int

    public init(_ url: UpstreamURL, weight: Int = 1) { (self.url, self.weight) = (url, weight) }

    public static let weights = 1...1000
    /// Places of one upstream.
    public static let limit = 64
}

/// Which of an upstream's places gets the next request.
public enum Balance: String, Sendable, CaseIterable {
    /// The one with the fewest exchanges under way, for its weight.
    case leastRequests = "least_requests"
    /// Each in its turn; one of weight 3 has three of them, spread evenly.
    case roundRobin = "round_robin"
    /// At random, by weight.
    case weighted
}

/// How places are asked whether they are well.
public struct HealthCheckSpec: Sendable, Equatable {
    /// From the root of the place's host, not behind its URL's path.
    public var path: String
    public var interval = Interval.seconds(5)
    public var timeout = Interval.seconds(2)
    /// So many checks in a row change a place's health.
    public var unhealthyAfter = 3
    public var healthyAfter = 2
    /// Statuses of one who is well.
    public var expect = 200...299

    public init(path: String) { self.path = path }
}

/// When a place whose requests fail gets none for a while.
public struct OutlierSpec: Sendable, Equatable {
    /// Failures in a row; 0 is never.
    public var consecutiveFailures = 5
    /// For the first time; the n-th time in a row n times as long.
    public var ejection = Interval.seconds(30)
    public var maxEjection = Interval.seconds(300)
    /// Of an upstream's places at a time.
    public var maxEjectedPercent = 50

    public init() {}
}
