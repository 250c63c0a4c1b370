import SluiceBytes
import SluiceConfig
import Testing

@testable import SluiceProxy

@Suite struct ExchangeDeadlinesTests {
    private let start = Instant(nanoseconds: 1_000_000_000_000)

    private typealias Situation = ExchangeDeadlines.Situation

    private func deadlines(
        keepalive: Interval = .zero, early: Interval? = nil, phase: ExchangeDeadlines.Phase = .body,
        change: (inout Timeouts) -> Void = { _ in }
    ) -> ExchangeDeadlines {
        var timeouts = Timeouts()
        change(&timeouts)
        var deadlines = ExchangeDeadlines(started: start, limits: Limits())
        deadlines.choose(timeouts, keepalive: keepalive, earlyHeaders: early)
        if phase != .request { deadlines.requestComplete(at: start) }
        deadlines.enter(phase, at: start)
        return deadlines
    }

    @Test func textThatIsHeldLeavesInItsTime() {
        let deadlines = deadlines(keepalive: .seconds(15))
        var situation = Situation(isCommitted: true, isStream: true, smoothingDue: start + .milliseconds(20))
        #expect(deadlines.next(situation) == (start + .milliseconds(20), .smoothing))
        // What is due later does not keep others from their time.
        situation.smoothingDue = start + .seconds(20)
        #expect(deadlines.next(situation) == (start + .seconds(15), .keepalive))
    }

    @Test func eachPhaseHasItsOwnLimit() {
        var deadlines = deadlines(phase: .request)
        #expect(deadlines.next(Situation()) == (start + .seconds(30), .requestBody))
        let later = start + .seconds(7)
        deadlines.requestComplete(at: later)
        let expected: [(ExchangeDeadlines.Phase, Interval, ExchangeDeadlines.Due)] = [
            (.connecting, .seconds(5), .upstream(.connect)), (.head, .seconds(120), .upstream(.head)),
            (.firstToken, .seconds(120), .upstream(.firstToken)),
        ]
        for (phase, interval, due) in expected {
            deadlines.enter(phase, at: later)
            #expect(deadlines.next(Situation()) == (later + interval, due))
        }
        deadlines.enter(.over, at: later)
        #expect(deadlines.next(Situation()).at == .distantFuture)
    }

    @Test func aProcessThatStartsHasALimitOfItsOwn() {
        var deadlines = deadlines(phase: .connecting)
        deadlines.awaitProcess(.seconds(60), at: start + .seconds(1))
        #expect(deadlines.next(Situation()) == (start + .seconds(61), .processStart))
        let early = Situation(canCommitEarly: true)
        deadlines.choose(Timeouts(), keepalive: .zero, earlyHeaders: .seconds(9))
        #expect(deadlines.next(early) == (start + .seconds(9), .earlyHeaders))
        deadlines.enter(.connecting, at: start + .seconds(50))
        #expect(deadlines.next(Situation()) == (start + .seconds(55), .upstream(.connect)))
    }

    @Test func theBodyIsMeasuredFromTheLastReadUnlessWePausedIt() {
        var deadlines = deadlines()
        deadlines.upstreamRead(at: start + .seconds(50))
        #expect(deadlines.next(Situation()) == (start + .seconds(170), .upstream(.body)))
        #expect(deadlines.next(Situation(isUpstreamPaused: true)).at == .distantFuture)
    }

    @Test func theEarliestWins() {
        let streaming = Situation(isCommitted: true, isStream: true)
        var pinging = deadlines(keepalive: .seconds(15))
        pinging.clientWritten(at: start + .seconds(1))
        #expect(pinging.next(streaming) == (start + .seconds(16), .keepalive))
        let stalled = Situation(isCommitted: true, isStream: true, clientWaitsSince: start + .seconds(2))
        #expect(deadlines(keepalive: .seconds(60)).next(stalled) == (start + .seconds(32), .slowClient))
        #expect(deadlines { $0.total = .seconds(3) }.next(Situation()) == (start + .seconds(3), .upstream(.total)))
    }

    @Test func earlyHeadersOnlyBeforeThereAreHeaders() {
        let deadlines = deadlines(early: .seconds(2), phase: .head)
        #expect(deadlines.next(Situation(canCommitEarly: true)) == (start + .seconds(2), .earlyHeaders))
        #expect(deadlines.next(Situation(isCommitted: true, canCommitEarly: true)).due == .upstream(.head))
        #expect(deadlines.next(Situation()).due == .upstream(.head))
    }

    @Test func anEndedStreamGetsOneSecondOfGrace() {
        var deadlines = deadlines()
        let first = deadlines.streamEnded(at: start + .seconds(4))
        let second = deadlines.streamEnded(at: start + .seconds(5))
        #expect(first && !second)
        #expect(deadlines.next(Situation()) == (start + .seconds(5), .endGrace))
    }

    @Test func aBodyMustBringSoMuchInTheLongRun() {
        var deadlines = deadlines(phase: .request)
        // One byte each 10 s earns a millisecond each time, and the head start is used up after 30 s.
        for second in 1...2 { deadlines.requestRead(1, at: start + .seconds(UInt64(10 * second))) }
        let end = deadlines.next(Situation())
        #expect(end.due == .requestBody)
        #expect(end.at > start + .seconds(30) && end.at < start + .milliseconds(30_003))
        // 100 KiB at once earn no more than a fresh start.
        deadlines.requestRead(100 << 10, at: start + .seconds(25))
        #expect(deadlines.next(Situation()) == (start + .seconds(55), .requestBody))
        // At twice the rate there is no end.
        for second in 26...200 { deadlines.requestRead(2 << 10, at: start + .seconds(UInt64(second))) }
        #expect(deadlines.next(Situation()) == (start + .seconds(230), .requestBody))
    }

    @Test func anUploadIsTheClientsMatterUntilTheUpstreamTakesNoMore() {
        var deadlines = ExchangeDeadlines(started: start, limits: Limits())
        deadlines.choose(Timeouts(), keepalive: .zero, earlyHeaders: nil)
        deadlines.enter(.head, at: start)
        #expect(deadlines.next(Situation()) == (start + .seconds(30), .requestBody))
        deadlines.requestPaused(true, at: start + .seconds(5))
        #expect(deadlines.next(Situation()) == (start + .seconds(125), .upstream(.head)))
        deadlines.requestPaused(false, at: start + .seconds(50))
        #expect(deadlines.next(Situation()) == (start + .seconds(80), .requestBody))
        deadlines.requestComplete(at: start + .seconds(60))
        #expect(deadlines.next(Situation()) == (start + .seconds(180), .upstream(.head)))
    }
}

@Suite struct ExchangeWaitingTests {
    private let start = Instant(nanoseconds: 1_000_000_000_000)

    private func waiting(total: Interval = .zero, early: Interval? = nil) -> ExchangeDeadlines {
        var timeouts = Timeouts()
        timeouts.total = total
        var deadlines = ExchangeDeadlines(started: start, limits: Limits())
        deadlines.choose(timeouts, keepalive: .seconds(15), earlyHeaders: early)
        deadlines.wait(until: start + .seconds(3), at: start)
        return deadlines
    }

    @Test func theNextAttemptIsDue() {
        #expect(waiting().phase == .waiting)
        #expect(waiting().next(.init()) == (start + .seconds(3), .retry))
        #expect(waiting(total: .seconds(2)).next(.init()) == (start + .seconds(2), .upstream(.total)))
        #expect(waiting(total: .seconds(2)).end == start + .seconds(2))
        #expect(waiting().end == .distantFuture)
    }

    @Test func theClientIsKeptMeanwhile() {
        let early = waiting(early: .seconds(1))
        #expect(early.next(.init(canCommitEarly: true)) == (start + .seconds(1), .earlyHeaders))
        var pinging = waiting()
        pinging.wait(until: start + .seconds(100), at: start)
        #expect(pinging.next(.init(isCommitted: true, isStream: true)) == (start + .seconds(15), .keepalive))
    }

    @Test func whatHadEndedIsForgotten() {
        var deadlines = waiting()
        deadlines.enter(.body, at: start)
        let ended = deadlines.streamEnded(at: start)
        #expect(ended)
        deadlines.wait(until: .distantFuture, at: start)
        #expect(deadlines.next(.init()).at == .distantFuture)
        let endedAgain = deadlines.streamEnded(at: start)
        #expect(endedAgain, "the next attempt's terminator is the first")
    }

    @Test func anErrorsBodyHasLittleTime() {
        var deadlines = waiting()
        deadlines.enter(.errorBody, at: start)
        deadlines.upstreamRead(at: start + .seconds(4))
        #expect(deadlines.next(.init()) == (start + .seconds(5), .upstream(.body)))
    }
}
