import SluiceBytes

/// The buckets of those who came lately, in a bounded room. A pure machine, told the time.
///
/// Whoever is not in it has full buckets. When it is full, somebody whose buckets are full again makes room, else the one whose
/// would be soonest, but never one with an exchange under way.
struct RateTable {
    struct Entry {
        var requests = RateBucket()
        var tokens = RateBucket()
        var live = 0

        func isForgettable(at now: Instant) -> Bool {
            live == 0 && requests.isFull(at: now) && tokens.isFull(at: now)
        }
        fileprivate var fullAt: Instant { max(requests.fullAt, tokens.fullAt) }
    }
    /// What keeps a request out.
    enum Refusal: Error, Equatable {
        case requests(retryAfter: Interval)
        case tokens(retryAfter: Interval)
        case concurrent
        /// Nobody can be forgotten.
        case full
    }
    /// What is left after a request, and how long until all of it is back.
    struct Room: Equatable, Sendable {
        var requests = 0
        var requestsReset = Interval.zero
        var tokens = 0
        var tokensReset = Interval.zero
    }

    private let capacity: Int
    private var places: [RateSubject: Int] = [:]
    private var slots: [(subject: RateSubject, entry: Entry)] = []
    private var hand = 0
    /// Workers look at the clock at different times. Whoever comes with an earlier one than the last is not made to wait for it.
    private var latest = Instant(nanoseconds: 0)
    /// Slots that are looked at for room.
    private static let searchLength = 32

    init(capacity: Int) { self.capacity = max(1, capacity) }

    var count: Int { slots.count }

    /// Takes one request, a place among the live ones, and `reserve` tokens; or nothing, and says why.
    mutating func admit(
        _ rule: RateRule, _ subject: RateSubject, reserve: Int, at now: Instant
    ) throws(Refusal) -> Room {
        latest = max(latest, now)
        let now = latest
        let known = places[subject]
        var entry = known.map { slots[$0].entry } ?? Entry()
        if let limit = rule.concurrent, entry.live >= limit { throw .concurrent }
        if let shape = rule.requests {
            let wait = entry.requests.wait(for: 1, shape, at: now)
            if wait > .zero { throw .requests(retryAfter: wait) }
        }
        if let shape = rule.tokens {
            let wait = entry.tokens.wait(for: reserve, shape, at: now)
            if wait > .zero { throw .tokens(retryAfter: wait) }
        }
        guard let place = known ?? makeRoom(for: subject, at: now) else { throw .full }
        if let shape = rule.requests { entry.requests.take(1, shape, at: now) }
        if let shape = rule.tokens { entry.tokens.take(reserve, shape, at: now) }
        entry.live += 1
        slots[place].entry = entry
        return Self.room(rule, entry, at: now)
    }

    /// Takes more of what `admit` began: tokens that came meanwhile.
    mutating func advance(_ rule: RateRule, _ subject: RateSubject, by tokens: Int, at now: Instant) {
        guard let place = places[subject], let shape = rule.tokens else { return }
        latest = max(latest, now)
        slots[place].entry.tokens.take(tokens, shape, at: latest)
    }

    /// Ends what `admit` began: call exactly once for each. `reserved` was taken by then, `used` is the truth.
    mutating func settle(_ rule: RateRule, _ subject: RateSubject, reserved: Int, used: Int, at now: Instant) {
        guard let place = places[subject] else { return }
        slots[place].entry.live -= 1
        guard let shape = rule.tokens else { return }
        latest = max(latest, now)
        let now = latest
        if used >= reserved {
            slots[place].entry.tokens.take(used - reserved, shape, at: now)
        } else {
            slots[place].entry.tokens.give(reserved - used, shape)
        }
    }

    /// Undoes `admit`: another rule has refused the request.
    mutating func withdraw(_ rule: RateRule, _ subject: RateSubject, reserved: Int, at now: Instant) {
        settle(rule, subject, reserved: reserved, used: 0, at: now)
        if let shape = rule.requests, let place = places[subject] { slots[place].entry.requests.give(1, shape) }
    }

    private static func room(_ rule: RateRule, _ entry: Entry, at now: Instant) -> Room {
        var room = Room()
        if let shape = rule.requests {
            (room.requests, room.requestsReset) = (entry.requests.level(shape, at: now), entry.requests.fullAt - now)
        }
        if let shape = rule.tokens {
            (room.tokens, room.tokensReset) = (entry.tokens.level(shape, at: now), entry.tokens.fullAt - now)
        }
        return room
    }

    private mutating func makeRoom(for subject: RateSubject, at now: Instant) -> Int? {
        if slots.count < capacity {
            slots.append((subject, Entry()))
            places[subject] = slots.count - 1
            return slots.count - 1
        }
        var best: Int?
        for _ in 0..<min(Self.searchLength, slots.count) {
            hand = hand + 1 < slots.count ? hand + 1 : 0
            let entry = slots[hand].entry
            if entry.live > 0 { continue }
            if best.map({ entry.fullAt < slots[$0].entry.fullAt }) ?? true { best = hand }
            if entry.isForgettable(at: now) { break }
        }
        guard let best else { return nil }
        places[slots[best].subject] = nil
        slots[best] = (subject, Entry())
        places[subject] = best
        return best
    }
}
