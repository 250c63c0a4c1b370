import SluiceBytes
import SluiceConfig
import SluiceIO
import Testing

@testable import SluiceProxy

/// All of it on a made-up clock.
@Suite struct RateLimiterTests {
    private func at(_ milliseconds: UInt64) -> Instant {
        Instant(nanoseconds: 1_000_000_000) + .milliseconds(milliseconds)
    }

    @Test(arguments: [(60, 60), (7, 60), (1, 1), (1000, 1), (3, 86_400), (1_000_000_000, 1)])
    func aPeriodsWorthAndThenItsPace(count: Int, seconds: UInt64) {
        let shape = RateBucket.Shape(Rate(count, per: .seconds(seconds)), burst: min(count, 1000))
        var bucket = RateBucket()
        for index in 0..<shape.capacity {
            #expect(bucket.wait(for: 1, shape, at: at(0)) == .zero, "\(index)")
            bucket.take(1, shape, at: at(0))
        }
        #expect(bucket.level(shape, at: at(0)) == 0)
        let wait = bucket.wait(for: 1, shape, at: at(0))
        let pace = seconds * 1_000_000_000 / UInt64(count)
        #expect(wait.nanoseconds > 0 && wait.nanoseconds <= pace)
        #expect(bucket.wait(for: 1, shape, at: at(0) + wait) == .zero)
        #expect(bucket.isFull(at: at(0) + .seconds(seconds)))
    }

    @Test func debtIsWaitedOut() {
        let shape = RateBucket.Shape(Rate(100, per: .seconds(100)))
        var bucket = RateBucket()
        bucket.take(250, shape, at: at(0))
        #expect(bucket.level(shape, at: at(0)) == 0)
        #expect(bucket.wait(for: 1, shape, at: at(0)) == .seconds(151))
        #expect(bucket.level(shape, at: at(160_000)) == 10)
        bucket.give(240, shape)
        #expect(bucket.level(shape, at: at(0)) == 90)
        bucket.give(1000, shape)
        #expect(bucket.level(shape, at: at(0)) == 100, "no more than it holds")
        bucket.take(.max, shape, at: at(0))
        bucket.take(.max, shape, at: at(0))
        #expect(bucket.wait(for: 1, shape, at: at(0)) == .seconds(86_401), "a day at most")
        bucket = RateBucket()
        #expect(bucket.wait(for: 1000, shape, at: at(0)) == .zero, "more than it holds goes when it is full")
    }

    private let requests = RateRule(RateLimitSpec(requests: Rate(2, per: .seconds(60)), by: .route), scope: "r")
    private let tokens = RateRule(RateLimitSpec(tokens: Rate(1000, per: .seconds(100)), by: .route), scope: "t")
    private let live = RateRule(RateLimitSpec(concurrent: 2, by: .route), scope: "c")
    private let everybody = RateSubject(
        RateRule(RateLimitSpec(concurrent: 1, by: .route), scope: "x"), nil, nil)

    private func admit(
        _ limiter: RateLimiter, _ rules: [RateRule], bytes: Int = 0, _ address: IPAddress? = nil, at now: Instant
    ) -> Result<[RateLimiter.Charge], RateTable.Refusal> {
        do throws(RateLimiter.Refusal) {
            let pairs = rules.map { (rule: $0, subject: RateSubject($0, nil, address)) }
            return .success(try limiter.admit(pairs, bytes: bytes, at: now).map(\.charge))
        } catch {
            return .failure(error.reason)
        }
    }

    private func refusal(_ result: Result<[RateLimiter.Charge], RateTable.Refusal>) -> RateTable.Refusal? {
        if case .failure(let refusal) = result { refusal } else { nil }
    }

    @Test func whatOneRuleRefusesCostsTheOthersNothing() throws {
        let limiter = RateLimiter(capacity: 100)
        let rules = [requests, tokens, live]
        let first = try admit(limiter, rules, at: at(0)).get()
        let second = try admit(limiter, rules, at: at(0)).get()
        for _ in 0..<5 { #expect(refusal(admit(limiter, rules, at: at(0))) == .requests(retryAfter: .seconds(30))) }
        #expect(refusal(admit(limiter, [tokens, live], at: at(0))) == .concurrent)
        limiter.settle(first, tokens: .counted(0), at: at(0))
        limiter.settle(second, tokens: .counted(0), at: at(0))
        #expect(refusal(admit(limiter, rules, at: at(29_999))) == .requests(retryAfter: .milliseconds(1)))
        let third = try admit(limiter, rules, at: at(30_000)).get()
        limiter.settle(third, tokens: .counted(2000), at: at(30_000))
        #expect(refusal(admit(limiter, [tokens], at: at(30_000))) == .tokens(retryAfter: .milliseconds(100_100)))
        #expect(refusal(admit(limiter, [tokens], at: at(130_100))) == nil)
    }

    @Test func tokensAreReservedThenCorrected() throws {
        let limiter = RateLimiter(capacity: 100)
        #expect(tokens.reserve(bytes: 0) == 1)
        #expect(tokens.reserve(bytes: 100) == 25)
        #expect(tokens.reserve(bytes: 10 << 20) == 100, "a tenth at most")
        #expect(requests.reserve(bytes: 4000) == 0)
        var charges: [[RateLimiter.Charge]] = []
        for _ in 0..<10 { charges.append(try admit(limiter, [tokens], bytes: 400, at: at(0)).get()) }
        #expect(refusal(admit(limiter, [tokens], bytes: 400, at: at(0))) == .tokens(retryAfter: .seconds(10)))
        // Nine never got an answer; one took what nobody counted.
        for charge in charges.dropFirst() { limiter.settle(charge, tokens: .counted(0), at: at(0)) }
        limiter.settle(charges[0], tokens: .estimated(output: 899), at: at(0))
        #expect(refusal(admit(limiter, [tokens], bytes: 0, at: at(0))) == nil)
        #expect(refusal(admit(limiter, [tokens], bytes: 0, at: at(0))) == .tokens(retryAfter: .milliseconds(100)))
    }

    /// 1,000 tokens in 100 s: what streams is taken at once, and what it truly cost is settled at the end.
    @Test func tokensOfALongAnswerCountAsTheyCome() throws {
        let limiter = RateLimiter(capacity: 100)
        var charges = try admit(limiter, [tokens], bytes: 400, at: at(0)).get()
        limiter.advance(&charges, by: 600, at: at(0))
        limiter.advance(&charges, by: 300, at: at(0))
        #expect(refusal(admit(limiter, [tokens], bytes: 400, at: at(0))) == .tokens(retryAfter: .seconds(10)))
        var other = charges
        limiter.settle(other, tokens: .counted(500), at: at(0))
        #expect(refusal(admit(limiter, [tokens], bytes: 400, at: at(0))) == nil)
        // Where nobody counts, the prompt's reserve and the pieces stand.
        other = try admit(limiter, [tokens], bytes: 400, at: at(0)).get()
        limiter.advance(&other, by: 100, at: at(0))
        limiter.settle(other, tokens: .estimated(output: 100), at: at(0))
        #expect(refusal(admit(limiter, [tokens], bytes: 400, at: at(0))) == nil)
        #expect(refusal(admit(limiter, [tokens], bytes: 400, at: at(0))) == nil)
        #expect(refusal(admit(limiter, [tokens], bytes: 400, at: at(0))) != nil)
    }

    @Test func whoseBucketItIs() throws {
        let key = RateRule(RateLimitSpec(concurrent: 1, by: .key), scope: "s")
        let address = RateRule(RateLimitSpec(concurrent: 1, by: .address), scope: "s")
        let route = RateRule(RateLimitSpec(concurrent: 1, by: .route), scope: "s")
        let alice = Identity(kind: .key, name: "alice")
        let (one, other) = (try #require(IPAddress("2001:db8::1")), try #require(IPAddress("2001:db8::2:3")))
        let far = try #require(IPAddress("2001:db8:0:1::1"))
        #expect(RateSubject(key, alice, one) == RateSubject(key, alice, far))
        #expect(RateSubject(key, alice, one) != RateSubject(key, Identity(kind: .jwt, name: "alice"), one))
        #expect(RateSubject(key, nil, one) == RateSubject(address, nil, other), "a /64 is one client")
        #expect(RateSubject(address, alice, one) != RateSubject(address, alice, far))
        #expect(RateSubject(route, alice, one) == RateSubject(route, nil, nil))
        #expect(RateSubject(RateRule(RateLimitSpec(by: .route), scope: "z"), nil, nil) != RateSubject(route, nil, nil))
    }

    @Test func theTableIsBounded() throws {
        let rule = RateRule(
            RateLimitSpec(requests: Rate(1, per: .seconds(60)), concurrent: 9, by: .address), scope: "a")
        let limiter = RateLimiter(capacity: 160)
        var held: [RateLimiter.Charge] = []
        // Somebody with an exchange under way is never forgotten.
        for index in 0..<8 { held += try admit(limiter, [rule], .v4(UInt32(index)), at: at(0)).get() }
        for index in 100..<50_000 {
            let charges = try admit(limiter, [rule], .v4(UInt32(index)), at: at(1)).get()
            limiter.settle(charges, tokens: .counted(0), at: at(1))
        }
        #expect(limiter.count <= 160)
        for index in 0..<8 { #expect(refusal(admit(limiter, [rule], .v4(UInt32(index)), at: at(2))) != nil) }
        limiter.settle(held, tokens: .counted(0), at: at(3))
    }

    @Test func aTableFullOfLiveOnesRefuses() throws {
        let rule = RateRule(RateLimitSpec(concurrent: 9, by: .address), scope: "a")
        var table = RateTable(capacity: 4)
        func subject(_ index: UInt32) -> RateSubject { RateSubject(rule, nil, .v4(index)) }
        for index in 0..<4 { _ = try table.admit(rule, subject(UInt32(index)), reserve: 0, at: at(0)) }
        #expect(throws: RateTable.Refusal.full) { _ = try table.admit(rule, subject(9), reserve: 0, at: at(0)) }
        table.settle(rule, subject(2), reserved: 0, used: 0, at: at(0))
        _ = try table.admit(rule, subject(9), reserve: 0, at: at(0))
        #expect(table.count == 4)
    }

    @Test func clocksOfWorkersDiffer() throws {
        let rule = RateRule(RateLimitSpec(requests: Rate(5, per: .seconds(60)), by: .route), scope: "r")
        var table = RateTable(capacity: 4)
        let subject = RateSubject(rule, nil, nil)
        var left: [Int] = []
        for time in [5, 3, 4, 0, 2] {
            left.append(try table.admit(rule, subject, reserve: 0, at: at(UInt64(time))).requests)
        }
        #expect(left == [4, 3, 2, 1, 0])
        #expect(throws: RateTable.Refusal.self) { _ = try table.admit(rule, subject, reserve: 0, at: at(6)) }
    }

    @Test func fieldsForPeopleAndSDKs() throws {
        #expect(RateFields.duration(.milliseconds(20)) == "20ms")
        #expect(RateFields.duration(.milliseconds(1001)) == "2s")
        #expect(RateFields.duration(.seconds(360)) == "6m0s")
        #expect(RateFields.duration(.seconds(3661)) == "1h1m1s")
        #expect(RateFields.seconds(.zero) == 1 && RateFields.seconds(.milliseconds(1500)) == 2)
        let limiter = RateLimiter(capacity: 100)
        let taken = try limiter.admit(
            [(requests, RateSubject(requests, nil, nil)), (tokens, RateSubject(tokens, nil, nil))], bytes: 40, at: at(0)
        )
        let openAI = RateFields.make(taken, isAnthropic: false, at: 0).map { "\($0.name): \($0.value)" }
        #expect(
            openAI == [
                "x-ratelimit-limit-requests: 2", "x-ratelimit-remaining-requests: 1", "x-ratelimit-reset-requests: 30s",
                "x-ratelimit-limit-tokens: 1000", "x-ratelimit-remaining-tokens: 990", "x-ratelimit-reset-tokens: 1s",
            ])
        let anthropic = RateFields.make(taken, isAnthropic: true, at: 1_440_938_160).map { "\($0.name): \($0.value)" }
        #expect(anthropic[1] == "anthropic-ratelimit-requests-remaining: 1")
        #expect(anthropic[2] == "anthropic-ratelimit-requests-reset: 2015-08-30T12:36:30Z")
    }
}
