import SluiceBytes
import Testing

@testable import SluiceProxy

@Suite struct ExportPlanTests {
    private let start = Instant(nanoseconds: 7_000_000_000_000)
    private func after(_ milliseconds: UInt64) -> Instant { start + .milliseconds(milliseconds) }

    private func plan() -> ExportPlan {
        ExportPlan(delay: .seconds(5), exportTimeout: .seconds(30), batchSize: 10)
    }

    @Test func aFewSpansWaitTheirTime() {
        var plan = plan()
        let first = plan.spansWait(1, at: start)
        #expect(first == .wait(until: after(5000)))
        let second = plan.spansWait(2, at: after(1))
        #expect(second == .none)
        let early = plan.timePassed(2, at: after(4000))
        #expect(early == .wait(until: after(5000)))
        let due = plan.timePassed(3, at: after(5000))
        #expect(due == .export(count: 3, deadline: after(35_000)))
        let more = plan.spansWait(100, at: after(5001))
        #expect(more == .none, "one batch at a time")
    }

    @Test func aBatchThatIsWholeWaitsForNothing() {
        var plan = plan()
        _ = plan.spansWait(1, at: start)
        let whole = plan.spansWait(25, at: after(1))
        #expect(whole == .export(count: 10, deadline: after(30_001)))
        let next = plan.ended(15, at: after(20))
        #expect(next == .export(count: 10, deadline: after(30_020)))
        let rest = plan.ended(5, at: after(40))
        #expect(rest == .wait(until: after(5040)))
        let last = plan.timePassed(5, at: after(5040))
        #expect(last == .export(count: 5, deadline: after(35_040)))
        let none = plan.ended(0, at: after(5050))
        #expect(none == .none)
        let again = plan.spansWait(1, at: after(9000))
        #expect(again == .wait(until: after(14_000)))
    }

    @Test func repetitionsComeLaterEachTimeAndEnd() {
        for random in [0, .max] as [UInt64] {
            var plan = plan()
            _ = plan.spansWait(10, at: start)
            var now = start
            var waits: [UInt64] = []
            while let step = plan.failed(retryAfter: nil, at: now, random: random) {
                guard case .wait(let until) = step else { return #expect(step == .none) }
                waits.append((until - now).milliseconds)
                let early = plan.timePassed(0, at: now)
                #expect(early == step && plan.isBusy)
                now = until
                let again = plan.timePassed(0, at: now)
                #expect(again == .again)
            }
            let longest = [1000, 2000, 4000, 5000] as [UInt64]
            #expect(waits.count == ExportPlan.attemptLimit - 1)
            for (wait, longest) in zip(waits, longest) { #expect((longest / 2...longest).contains(wait)) }
        }
    }

    @Test func aCollectorThatSaysWhenIsHeeded() {
        var plan = plan()
        _ = plan.spansWait(10, at: start)
        let step = plan.failed(retryAfter: .seconds(9), at: after(100), random: 1)
        #expect(step == .wait(until: after(9100)))
        _ = plan.timePassed(0, at: after(9100))
        let tooLate = plan.failed(retryAfter: .seconds(21), at: after(9200), random: 1)
        #expect(tooLate == nil, "beyond the export's own time")
        let next = plan.ended(0, at: after(9200))
        #expect(next == .none && !plan.isBusy)
    }

    @Test func aFlushSendsAllAtOnceAndSaysWhenItIsDone() {
        var plan = plan()
        _ = plan.spansWait(3, at: start)
        let first = plan.flush(13, by: after(2000), at: after(10))
        #expect(first == .export(count: 10, deadline: after(2000)))
        let rest = plan.ended(3, at: after(20))
        #expect(rest == .export(count: 3, deadline: after(2000)))
        let retry = plan.failed(retryAfter: .seconds(3), at: after(30), random: 0)
        #expect(retry == nil)
        let done = plan.ended(0, at: after(30))
        #expect(done == .finished)
    }

    @Test func aFlushOfNothingIsDoneAtOnce() {
        var plan = plan()
        let done = plan.flush(0, by: after(5000), at: start)
        #expect(done == .finished)
    }

    @Test func aFlushCutsAPauseShort() {
        var plan = plan()
        _ = plan.spansWait(10, at: start)
        _ = plan.failed(retryAfter: .seconds(20), at: start, random: 0)
        let step = plan.flush(0, by: after(5000), at: after(10))
        #expect(step == .again)
        let done = plan.ended(0, at: after(20))
        #expect(done == .finished)
    }
}
