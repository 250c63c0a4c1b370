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
        deadlines.enter(phase, at: start)
        return deadlines
    }

    @Test func eachPhaseHasItsOwnLimit() {
        var deadlines = deadlines(phase: .request)
        #expect(deadlines.next(Situation()) == (start + .seconds(30), .requestBody))
        let later = start + .seconds(7)
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
}
