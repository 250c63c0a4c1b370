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
        #expect(cache.count == 0)
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

    @Test func familiesAlternateFromTheFirst() {
        let (a, b, c) = (IPAddress.v4(1), IPAddress.v4(2), IPAddress.v4(3))
        let (x, y) = (IPAddress.v6(0, 1), IPAddress.v6(0, 2))
        #expect(ResolverCache.interleave([x, y, a, b, c]) == [x, a, y, b, c])
        #expect(ResolverCache.interleave([a, b, x, y, a]) == [a, x, b, y])
        #expect(ResolverCache.interleave([a, a]) == [a])
        #expect(ResolverCache.interleave([]) == [])
    }
}
