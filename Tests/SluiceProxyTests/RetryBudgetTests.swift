import SluiceBytes
import SluiceConfig
import SluiceHTTP
import Testing

@testable import SluiceProxy

@Suite struct RetryBudgetTests {
    private let start = Instant(nanoseconds: 5_000_000_000_000)

    private func budget(percent: Int, floor: Int) -> RetryBudget {
        var spec = RetrySpec()
        (spec.budgetPercent, spec.minPerSecond) = (percent, floor)
        return RetryBudget(spec)
    }

    private func taken(_ budget: inout RetryBudget, at now: Instant, of wanted: Int = 1000) -> Int {
        var count = 0
        for _ in 0..<wanted where budget.take(at: now) { count += 1 }
        return count
    }

    @Test func theFloorIsThereWithoutAnyRequest() {
        var budget = budget(percent: 20, floor: 3)
        let count1 = taken(&budget, at: start)
        #expect(count1 == 3)
        let count2 = taken(&budget, at: start + .milliseconds(999))
        #expect(count2 == 0)
        let count3 = taken(&budget, at: start + .seconds(1))
        #expect(count3 == 3)
    }

    @Test func aShareOfTheRequestsOfTenSeconds() {
        var budget = budget(percent: 20, floor: 0)
        for second in 0..<10 as Range<UInt64> {
            for _ in 0..<100 { budget.requestBegan(at: start + .seconds(second)) }
        }
        let count4 = taken(&budget, at: start + .seconds(9))
        #expect(count4 == 200)
        // The first second has left the span by now, and its hundred requests with it.
        let count5 = taken(&budget, at: start + .seconds(10))
        #expect(count5 == 0)
        // The repetitions of the tenth second leave last.
        let count6 = taken(&budget, at: start + .seconds(18))
        #expect(count6 == 0)
        for _ in 0..<50 { budget.requestBegan(at: start + .seconds(19)) }
        let count7 = taken(&budget, at: start + .seconds(19))
        #expect(count7 == 10)
    }

    @Test func anOutageIsNotMultiplied() {
        var budget = budget(percent: 20, floor: 3)
        var repeats = 0
        // 500 requests a second for a minute, each of which wants two repetitions.
        for tick in 0..<30_000 as Range<UInt64> {
            let now = start + .milliseconds(2 * tick)
            budget.requestBegan(at: now)
            repeats += taken(&budget, at: now, of: 2)
        }
        #expect(repeats > 5_400 && repeats <= 6_180, "\(repeats)")
    }

    @Test func nothingIsNever() {
        var budget = budget(percent: 0, floor: 0)
        for _ in 0..<1000 { budget.requestBegan(at: start) }
        let count8 = taken(&budget, at: start)
        #expect(count8 == 0)
    }

    @Test func aLongPauseAndAClockThatStandsStill() {
        var budget = budget(percent: 100, floor: 0)
        for _ in 0..<10 { budget.requestBegan(at: start) }
        let count9 = taken(&budget, at: start + .seconds(3600))
        #expect(count9 == 0)
        budget.requestBegan(at: start)
        let early = taken(&budget, at: start)
        #expect(early == 1, "an earlier time counts as the latest")
    }
}

@Suite struct RetryAfterTests {
    /// 1994-11-06 08:49:37.
    private let time = 784_111_777

    private func read(_ value: String, name: String = "Retry-After", at time: Int? = nil) -> Interval? {
        var fields = HeaderFields()
        fields.append(name, value)
        return RetryAfter.read(fields, unixTime: time ?? self.time)
    }

    @Test func seconds() {
        #expect(read("0") == .zero)
        #expect(read("120") == .seconds(120))
        #expect(read("1.5") == .milliseconds(1500))
        #expect(read("0.0000000001") == .zero)
        #expect(read("1500", name: "retry-after-ms") == .milliseconds(1500))
        #expect(read("99999999999999999999999999") == .seconds(31_536_000))
        #expect(read("123456789012") == .seconds(31_536_000))
    }

    @Test func dates() {
        #expect(read("Sun, 06 Nov 1994 08:49:47 GMT") == .seconds(10))
        #expect(read("Sunday, 06-Nov-94 08:49:47 GMT") == .seconds(10))
        #expect(read("Sun Nov  6 08:49:47 1994") == .seconds(10))
        #expect(read("Sun, 06 Nov 1994 08:49:00 GMT") == .zero, "in the past")
        #expect(read("Thu, 29 Feb 2024 00:00:01 GMT", at: 1_709_164_800) == .seconds(1))
        #expect(read("Thursday, 29-Feb-24 00:00:01 GMT", at: 1_709_164_800) == .seconds(1))
    }

    @Test(arguments: [
        "", "soon", "-1", "1,5", ".5", "Sun, 06 Nov 1994 08:49:47 PST", "Sun, 06 Foo 1994 08:49:47 GMT",
        "Sun, 32 Nov 1994 08:49:47 GMT", "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:49 GMT", "GMT",
        "Sun, 06 Nov 99999 08:49:47 GMT", " , : ",
    ])
    func whatCannotBeRead(text: String) { #expect(read(text) == nil) }

    @Test func nothing() { #expect(RetryAfter.read(HeaderFields(), unixTime: time) == nil) }
}
