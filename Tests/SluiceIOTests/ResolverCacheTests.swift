import SluiceBytes
import Testing

@testable import SluiceIO

@Suite struct ResolverCacheTests {
    private let start = Instant(nanoseconds: 1_000_000_000_000)
    private let one = ResolverCache.Answer.success([.v4(1)])

    @Test(arguments: [(0, 1), (1, 1), (60, 60), (300, 300), (86_400, 300)] as [(UInt64, UInt64)])
    func answersLiveForTheirTimeWithinBounds(ttl: UInt64, life: UInt64) {
        var cache = ResolverCache()
        cache.store(one, for: "a", timeToLive: .seconds(ttl), now: start)
        let justBefore = Instant(nanoseconds: (start + .seconds(life)).nanoseconds - 1)
        #expect(cache.answer(for: "a", now: justBefore) == one)
        #expect(cache.answer(for: "a", now: start + .seconds(life)) == nil)
    }

    @Test func failuresLiveForASecond() {
        var cache = ResolverCache()
        let failure = ResolverCache.Answer.failure(.notFound("a"))
        cache.store(failure, for: "a", timeToLive: .seconds(100), now: start)
        #expect(cache.answer(for: "a", now: start + .milliseconds(999)) == failure)
        #expect(cache.answer(for: "a", now: start + .seconds(1)) == nil)
    }

    @Test func theOldestGoesWhenItIsFull() {
        var cache = ResolverCache(capacity: 3)
        for (name, ttl) in [("a", 30), ("b", 10), ("c", 20)] as [(String, UInt64)] {
            cache.store(one, for: name, timeToLive: .seconds(ttl), now: start)
        }
        cache.store(one, for: "c", timeToLive: .seconds(20), now: start)
        #expect(cache.count == 3)
        cache.store(one, for: "d", timeToLive: .seconds(5), now: start)
        #expect(cache.count == 3 && cache.answer(for: "b", now: start) == nil)
        // What has expired goes first, all of it.
        cache.store(one, for: "e", timeToLive: .seconds(5), now: start + .seconds(25))
        #expect(cache.count == 2 && cache.answer(for: "a", now: start + .seconds(25)) == one)
    }

    /// RFC 8767: name servers that do not answer are no reason to forget what was true.
    @Test func whatWasTrueServesWhileNoNameServerAnswers() {
        var cache = ResolverCache()
        cache.store(one, for: "a", timeToLive: .seconds(10), now: start)
        let expired = start + .seconds(10)
        #expect(cache.answer(for: "a", now: expired) == nil && cache.hasStale("a", now: expired))
        for failure in [ResolverError.timeout("a"), .failed("a", reason: "SERVFAIL")] {
            #expect(cache.store(.failure(failure), for: "a", timeToLive: .zero, now: expired) == one)
            #expect(cache.answer(for: "a", now: expired + .seconds(4)) == one)
            #expect(cache.answer(for: "a", now: expired + .seconds(5)) == nil)
        }
        let long = expired + .seconds(3600)
        #expect(cache.answer(for: "a", now: long) == nil && !cache.hasStale("a", now: long) && cache.count == 0)
        let failure = ResolverCache.Answer.failure(.timeout("a"))
        #expect(cache.store(failure, for: "a", timeToLive: .zero, now: long) == failure)
    }

    @Test func aNameThatIsGoneIsGone() {
        var cache = ResolverCache()
        cache.store(one, for: "a", timeToLive: .seconds(10), now: start)
        let gone = ResolverCache.Answer.failure(.notFound("a"))
        #expect(cache.store(gone, for: "a", timeToLive: .zero, now: start + .seconds(10)) == gone)
        #expect(!cache.hasStale("a", now: start + .seconds(10)))
    }

    @Test func eachDialBeginsWithTheNextAddressOfAFamily() {
        let (a, b, c) = (IPAddress.v4(1), IPAddress.v4(2), IPAddress.v4(3))
        let (x, y) = (IPAddress.v6(0, 1), IPAddress.v6(0, 2))
        let all = [x, a, y, b, c]
        #expect(IPAddress.rotated(all, by: 0) == all)
        #expect(IPAddress.rotated(all, by: 1) == [y, b, x, c, a])
        #expect(IPAddress.rotated(all, by: 2) == [x, c, y, a, b])
        #expect(IPAddress.rotated([a], by: 7) == [a] && IPAddress.rotated([], by: 7) == [])
        #expect(Set(IPAddress.rotated(all, by: -1)) == Set(all))
    }

    @Test func familiesAlternateFromTheFirst() {
        let (a, b, c) = (IPAddress.v4(1), IPAddress.v4(2), IPAddress.v4(3))
        let (x, y) = (IPAddress.v6(0, 1), IPAddress.v6(0, 2))
        #expect(ResolverCache.interleave([x, y, a, b, c]) == [x, a, y, b, c])
        #expect(ResolverCache.interleave([a, b, x, y, a]) == [a, x, b, y])
        #expect(ResolverCache.interleave([a, a]) == [a])
        #expect(ResolverCache.interleave([]) == [])
    }
}
