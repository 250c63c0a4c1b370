import SluiceBytes
import SluiceConfig
import Testing

@testable import SluiceProxy

@Suite struct ExchangeDeadlinesTests {
    private let start = Instant(nanoseconds: 1_000_000_000_000)

    private func situation(
        keepalive: Interval = .zero, early: Interval? = nil, isCommitted: Bool = false, isStream: Bool = false,
        isPaused: Bool = false, waitsSince: Instant? = nil, change: (inout Timeouts) -> Void = { _ in }
    ) -> ExchangeDeadlines.Situation {
        var timeouts = Timeouts()
        change(&timeouts)
        return ExchangeDeadlines.Situation(
            timeouts: timeouts, limits: Limits(), keepalive: keepalive, earlyHeaders: early, isCommitted: isCommitted,
            isStream: isStream, isUpstreamPaused: isPaused, clientWaitsSince: waitsSince)
    }

    @Test func eachPhaseHasItsOwnLimit() {
        var deadlines = ExchangeDeadlines(started: start)
        #expect(deadlines.next(situation()) == (start + .seconds(30), .requestBody))
        let later = start + .seconds(7)
        let expected: [(ExchangeDeadlines.Phase, Interval, ExchangeDeadlines.Due)] = [
            (.connecting, .seconds(5), .upstream(.connect)), (.head, .seconds(120), .upstream(.head)),
            (.firstToken, .seconds(120), .upstream(.firstToken)),
        ]
        for (phase, interval, due) in expected {
            deadlines.enter(phase, at: later)
            #expect(deadlines.next(situation()) == (later + interval, due))
        }
        deadlines.enter(.over, at: later)
        #expect(deadlines.next(situation()).at == .distantFuture)
    }

    @Test func theBodyIsMeasuredFromTheLastReadUnlessWePausedIt() {
        var deadlines = ExchangeDeadlines(started: start)
        deadlines.enter(.body, at: start)
        deadlines.upstreamRead(at: start + .seconds(50))
        #expect(deadlines.next(situation()) == (start + .seconds(170), .upstream(.body)))
        #expect(deadlines.next(situation(isPaused: true)).at == .distantFuture)
    }

    @Test func theEarliestWins() {
        var deadlines = ExchangeDeadlines(started: start)
        deadlines.enter(.body, at: start)
        deadlines.clientWritten(at: start + .seconds(1))
        let pinging = situation(keepalive: .seconds(15), isCommitted: true, isStream: true)
        #expect(deadlines.next(pinging) == (start + .seconds(16), .keepalive))
        let stalled = situation(
            keepalive: .seconds(60), isCommitted: true, isStream: true, waitsSince: start + .seconds(2))
        #expect(deadlines.next(stalled) == (start + .seconds(32), .slowClient))
        let short = situation { $0.total = .seconds(3) }
        #expect(deadlines.next(short) == (start + .seconds(3), .upstream(.total)))
    }

    @Test func earlyHeadersOnlyBeforeThereAreHeaders() {
        var deadlines = ExchangeDeadlines(started: start)
        deadlines.enter(.head, at: start)
        #expect(deadlines.next(situation(early: .seconds(2))) == (start + .seconds(2), .earlyHeaders))
        #expect(deadlines.next(situation(early: .seconds(2), isCommitted: true)).due == .upstream(.head))
    }

    @Test func anEndedStreamGetsOneSecondOfGrace() {
        var deadlines = ExchangeDeadlines(started: start)
        deadlines.enter(.body, at: start)
        let first = deadlines.streamEnded(at: start + .seconds(4))
        let second = deadlines.streamEnded(at: start + .seconds(5))
        #expect(first && !second)
        #expect(deadlines.next(situation()) == (start + .seconds(5), .endGrace))
    }
}
