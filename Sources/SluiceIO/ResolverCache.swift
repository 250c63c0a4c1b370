import SluiceBytes

/// Why a name has no addresses.
public enum ResolverError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The name does not exist, or has no address, or cannot be a name.
    case notFound(String)
    case timeout(String)
    case failed(String, reason: String)
    /// The resolver was closed while the name was looked up, or before.
    case closed
    case limit(Limit)

    public var description: String {
        switch self {
        case .notFound(let name): "no address for '\(name)'"
        case .timeout(let name): "no name server answered for '\(name)'"
        case .failed(let name, let reason): "cannot resolve '\(name)': \(reason)"
        case .closed: "the resolver is closed"
        case .limit(let limit): limit.description
        }
    }
}

/// Answers that are still valid, by name. Pure: it is told the time.
struct ResolverCache {
    typealias Answer = Result<[IPAddress], ResolverError>
    private struct Entry {
        let answer: Answer
        let expiry: Instant
    }
    private var entries: [String: Entry] = [:]
    private let capacity: Int

    /// A TTL of zero must not make each connection ask again, and a long one must not outlive a failover.
    private static let shortest = Interval.seconds(1)
    private static let longest = Interval.seconds(300)

    init(capacity: Int = 1024) { self.capacity = capacity }

    var count: Int { entries.count }

    mutating func answer(for name: String, now: Instant) -> Answer? {
        guard let entry = entries[name] else { return nil }
        if entry.expiry > now { return entry.answer }
        entries[name] = nil
        return nil
    }

    /// Keeps an answer for its TTL, within 1 s and 5 min; failures for 1 s.
    mutating func store(_ answer: Answer, for name: String, timeToLive: Interval, now: Instant) {
        if entries[name] == nil && entries.count >= capacity { makeRoom(now: now) }
        let life: Interval
        switch answer {
        case .success: life = min(max(timeToLive, Self.shortest), Self.longest)
        case .failure: life = Self.shortest
        }
        entries[name] = Entry(answer: answer, expiry: now + life)
    }

    mutating func removeAll() { entries.removeAll() }

    /// Linear, but only when as many names as `capacity` are in use.
    private mutating func makeRoom(now: Instant) {
        entries = entries.filter { $0.value.expiry > now }
        guard entries.count >= capacity, let soonest = entries.min(by: { $0.value.expiry < $1.value.expiry }) else {
            return
        }
        entries[soonest.key] = nil
    }
}

extension ResolverCache {
    /// Alternates the families, beginning with that of the first address, and leaves out repetitions (RFC 8305 §4): one
    /// broken family then costs a connection attempt, not all of them.
    static func interleave(_ addresses: [IPAddress]) -> [IPAddress] {
        var seen: Set<IPAddress> = []
        let distinct = addresses.filter { seen.insert($0).inserted }
        guard let first = distinct.first else { return [] }
        let preferred = distinct.filter { $0.isV4 == first.isV4 }
        let other = distinct.filter { $0.isV4 != first.isV4 }
        var result: [IPAddress] = []
        for index in 0..<max(preferred.count, other.count) {
            if index < preferred.count { result.append(preferred[index]) }
            if index < other.count { result.append(other[index]) }
        }
        return result
    }
}

extension IPAddress {
    fileprivate var isV4: Bool {
        if case .v4 = self { true } else { false }
    }
}
