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

    /// It says nothing about the name.
    var isServersFault: Bool {
        switch self {
        case .timeout, .failed: true
        case .notFound, .closed, .limit: false
        }
    }

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

/// Answers by name: those that are still valid, and for a while those that were, in case the name servers fail (RFC 8767).
/// Pure: it is told the time.
struct ResolverCache {
    typealias Answer = Result<[IPAddress], ResolverError>
    private struct Entry {
        var answer: Answer
        var expiry: Instant
        /// Until then `answer`, which was good, is better than none.
        var staleUntil: Instant
    }
    private var entries: [String: Entry] = [:]
    private let capacity: Int

    /// A TTL of zero must not make each connection ask again, and a long one must not outlive a failover.
    private static let shortest = Interval.seconds(1)
    private static let longest = Interval.seconds(300)
    /// How long an answer serves beyond its time while no name server answers, and after how long they are asked again.
    private static let staleLife = Interval.seconds(3600)
    private static let staleRetry = Interval.seconds(5)

    init(capacity: Int = 1024) { self.capacity = capacity }

    var count: Int { entries.count }

    mutating func answer(for name: String, now: Instant) -> Answer? {
        guard let entry = entries[name] else { return nil }
        if entry.expiry > now { return entry.answer }
        if entry.staleUntil <= now { entries[name] = nil }
        return nil
    }

    /// There is an answer to fall back on.
    func hasStale(_ name: String, now: Instant) -> Bool { entries[name].map { $0.staleUntil > now } ?? false }

    /// Keeps an answer for its TTL, within 1 s and 5 min; failures for 1 s. Returns what is to be answered: that, or what was true
    /// before where no name server would say.
    @discardableResult
    mutating func store(_ answer: Answer, for name: String, timeToLive: Interval, now: Instant) -> Answer {
        if entries[name] == nil && entries.count >= capacity { makeRoom(now: now) }
        switch answer {
        case .success:
            let expiry = now + min(max(timeToLive, Self.shortest), Self.longest)
            entries[name] = Entry(answer: answer, expiry: expiry, staleUntil: expiry + Self.staleLife)
            return answer
        case .failure(let error):
            if error.isServersFault, let entry = entries[name], entry.staleUntil > now {
                entries[name]?.expiry = max(entry.expiry, now + Self.staleRetry)
                return entry.answer
            }
            entries[name] = Entry(answer: answer, expiry: now + Self.shortest, staleUntil: now)
            return answer
        }
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
