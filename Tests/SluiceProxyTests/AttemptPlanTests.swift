import SluiceBytes
import SluiceConfig
import SluiceStreams
import Testing

@testable import SluiceProxy

@Suite struct AttemptPlanTests {
    private typealias Cause = AttemptFailure.Cause
    private typealias Step = AttemptPlan.Step
    private let start = Instant(nanoseconds: 1_000_000_000_000)

    private let causes: [Cause] = [
        .connect, .tls, .refused, .stale, .reset, .timeout, .firstToken, .status(429), .status(500), .status(503),
        .status(400), .status(401), .status(403), .status(404), .status(408), .status(413), .status(422),
        .status(302), .malformed, .cut, .unfit, .unavailable,
    ]

    private func spec(
        attempts: Int = 2, words: Set<RetrySpec.Word> = [], statuses: Set<Int> = []
    ) -> RetrySpec {
        var spec = RetrySpec()
        (spec.attempts, spec.words, spec.statuses) = (attempts, words, statuses)
        spec.minPerSecond = 1000
        return spec
    }

    private let everything: RetrySpec = {
        var spec = RetrySpec()
        (spec.words, spec.statuses) = (Set(RetrySpec.Word.allCases), Set(408...599))
        spec.minPerSecond = 1000
        return spec
    }()

    private func situation(_ change: (inout AttemptPlan.Situation) -> Void = { _ in }) -> AttemptPlan.Situation {
        var situation = AttemptPlan.Situation(now: start)
        situation.random = .max / 3
        change(&situation)
        return situation
    }

    /// What follows for as long as the same failure comes again.
    private func steps(
        _ failure: AttemptFailure, _ spec: RetrySpec, upstreams: Int = 1,
        _ change: (inout AttemptPlan.Situation) -> Void = { _ in }
    ) -> [Step] {
        var plan = AttemptPlan()
        var budget = RetryBudget(spec)
        var steps: [Step] = []
        repeat {
            let situation = situation {
                $0.hasNext = plan.position + 1 < upstreams
                change(&$0)
            }
            steps.append(plan.decide(failure, situation, spec, budget: &budget).step)
        } while steps.last != .giveUp && steps.count < 100
        return steps
    }

    /// a: at once, r: after a wait, n: the next one, x: given up.
    private func text(_ steps: [Step]) -> String {
        String(
            steps.map { step in
                switch step {
                case .again(after: .zero): "a"
                case .again: "r"
                case .next: "n"
                case .giveUp: "x"
                }
            })
    }

    private func text(_ cause: Cause, _ spec: RetrySpec, upstreams: Int = 1) -> String {
        text(steps(AttemptFailure(cause), spec, upstreams: upstreams))
    }

    // MARK: - Who is asked

    @Test func withoutAPolicyOnlyWhatWasNotSentIsRepeated() {
        for cause in causes {
            let wanted =
                switch cause {
                case .connect: "rrx"
                case .refused, .stale: "arrx"
                default: "x"
                }
            #expect(text(cause, spec()) == wanted, "\(cause)")
        }
    }

    @Test func withoutAPolicyTheNextTakesOverAtOnce() {
        for cause in causes {
            let wanted =
                switch cause {
                case .connect: "nnrrx"
                case .refused, .stale: "ananarrx"
                case .status(400), .status(413), .status(422): "x"
                default: "nnx"
                }
            #expect(text(cause, spec(), upstreams: 3) == wanted, "\(cause)")
        }
    }

    @Test func aPolicyRepeatsWhatItLists() {
        for cause in causes {
            let wanted =
                switch cause {
                case .refused, .stale: "arrx"
                case .tls, .unfit, .unavailable, .status(400), .status(401), .status(403), .status(404), .status(302):
                    "x"
                default: "rrx"
                }
            let spec =
                switch cause {
                case .status(413), .status(422): self.spec(statuses: [413, 422])
                default: everything
                }
            #expect(text(cause, spec) == wanted, "\(cause)")
        }
        for word in RetrySpec.Word.allCases {
            let causes: [RetrySpec.Word: Cause] = [
                .connect: .connect, .refused: .refused, .reset: .reset, .timeout: .timeout, .firstToken: .firstToken,
            ]
            for (other, cause) in causes {
                let first = text(cause, spec(words: [word]), upstreams: 2).prefix { $0 != "n" }
                #expect(first.contains("r") == (other == word), "\(word) \(other)")
            }
        }
    }

    @Test func aPolicyComesBeforeTheNextUpstream() {
        #expect(text(.connect, everything, upstreams: 2) == "rrnrrx")
        #expect(text(.status(503), everything, upstreams: 3) == "rrnrrnrrx")
        #expect(text(.status(503), spec(attempts: 1, statuses: [503]), upstreams: 2) == "rnrx")
        #expect(text(.status(500), spec(statuses: [503]), upstreams: 2) == "nx")
        #expect(text(.status(401), everything, upstreams: 2) == "nx")
    }

    @Test func whatIsNoAnswerGoesBy502() {
        for cause in [Cause.malformed, .cut] {
            #expect(text(cause, spec(statuses: [502])) == "rrx")
            #expect(text(cause, spec(statuses: [500, 503])) == "x")
        }
    }

    @Test func noAttemptsMeansNoneButForWhatCostsTheUpstreamNothing() {
        for cause in causes {
            let isFree = cause == .stale || cause == .refused
            #expect(text(cause, RetrySpec.never) == (isFree ? "ax" : "x"), "\(cause)")
        }
    }

    // MARK: - When nothing follows

    @Test func nothingFollowsOnceTheClientHasSomething() {
        for cause in causes {
            let all = steps(AttemptFailure(cause), everything, upstreams: 2) { $0.canGoOn = false }
            #expect(all == [.giveUp], "\(cause)")
        }
    }

    @Test func nothingFollowsBehindTheDeadline() {
        for cause in causes {
            let late = steps(AttemptFailure(cause), everything, upstreams: 2) { $0.deadline = $0.now }
            #expect(late == [.giveUp], "\(cause)")
        }
        // Not enough time for the wait, but for the next one.
        let tight = steps(AttemptFailure(.connect), everything, upstreams: 2) {
            $0.deadline = $0.now + .milliseconds(1)
        }
        #expect(tight == [.next, .giveUp])
    }

    @Test func aBudgetThatIsSpentIsNamed() {
        var spec = everything
        (spec.minPerSecond, spec.budgetPercent, spec.attempts) = (1, 0, 5)
        var (plan, budget) = (AttemptPlan(), RetryBudget(spec))
        let failure = AttemptFailure(.status(503))
        let first = plan.decide(failure, situation(), spec, budget: &budget)
        #expect(first.step != .giveUp && !first.isOverBudget)
        let second = plan.decide(failure, situation(), spec, budget: &budget)
        #expect(second == AttemptPlan.Decision(step: .giveUp, isOverBudget: true))
        let elsewhere = plan.decide(failure, situation { $0.hasNext = true }, spec, budget: &budget)
        #expect(elsewhere == AttemptPlan.Decision(step: .next, isOverBudget: true))
        #expect(plan.position == 1 && plan.repeats == 0)
    }

    // MARK: - How long

    private func waits(_ spec: RetrySpec, random: UInt64, _ failure: AttemptFailure) -> [Interval] {
        steps(failure, spec) { $0.random = random }.compactMap { step in
            guard case .again(let wait) = step else { return nil }
            return wait
        }
    }

    @Test func theWaitIsAnyPartOfADoublingSpan() {
        var spec = everything
        (spec.attempts, spec.backoff, spec.maxBackoff) = (5, .milliseconds(100), .milliseconds(500))
        let failure = AttemptFailure(.status(503))
        let spans: [UInt64] = [100, 200, 400, 500, 500]
        for random in [0, 1, 77_777_777, .max, .max - 12_345] as [UInt64] {
            let all = waits(spec, random: random, failure)
            #expect(all == spans.map { Interval(nanoseconds: random % ($0 * 1_000_000 + 1)) })
        }
        (spec.backoff, spec.maxBackoff) = (Interval(nanoseconds: .max), Interval(nanoseconds: .max))
        #expect(steps(failure, spec) { $0.random = 5 }.first == .again(after: Interval(nanoseconds: 5)))
    }

    @Test func anotherPlaceOfTheUpstreamIsAskedAtOnce() {
        let all = steps(AttemptFailure(.status(503)), everything) { $0.hasOtherPlace = true }
        #expect(text(all) == "aax")
    }

    @Test func theUpstreamsOwnPatience() {
        let failure = AttemptFailure(.status(429), retryAfter: .seconds(4))
        #expect(steps(failure, everything) == [.again(after: .seconds(4)), .again(after: .seconds(4)), .giveUp])
        #expect(text(steps(failure, everything, upstreams: 2)) == "nrrx", "the next does not ask for any")
        #expect(text(steps(AttemptFailure(.status(429), retryAfter: .seconds(11)), everything)) == "x")
        #expect(text(steps(AttemptFailure(.status(429), retryAfter: .seconds(11)), everything, upstreams: 2)) == "nx")
        let soon = steps(AttemptFailure(.status(429), retryAfter: .milliseconds(1)), everything) {
            $0.random = 90_000_000
        }
        #expect(soon.first == .again(after: .milliseconds(90)), "never sooner than the backoff")
        let never = steps(AttemptFailure(.status(429), retryAfter: .zero), everything, upstreams: 2) { $0.random = 1 }
        #expect(never.first == .again(after: Interval(nanoseconds: 1)))
    }
}

@Suite struct AttemptFailureTests {
    private func cause(
        _ kind: ProxyError.Kind, _ side: ProxyError.Side = .upstream, answered: Bool = false, stale: Bool = false
    ) -> AttemptFailure.Cause? {
        AttemptFailure(ProxyError(kind, side, "m"), .init(hasAnswered: answered, wasStale: stale))?.cause
    }

    @Test func whatAnErrorMeans() {
        for kind in [ProxyError.Kind.resolve, .connect, .timeout(.connect), .closed(.connect)] {
            #expect(cause(kind) == .connect)
        }
        #expect(cause(.tls) == .tls)
        #expect(cause(.refused) == .refused)
        #expect(cause(.timeout(.head)) == .timeout)
        #expect(cause(.timeout(.firstToken)) == .firstToken)
        #expect(cause(.timeout(.total)) == nil)
        #expect(cause(.malformed(.head)) == .malformed)
        #expect(cause(.status(418)) == .status(418))
        #expect(cause(.inStream(.overloaded)) == .status(503))
        #expect(cause(.inStream(.rateLimited)) == .status(429))
        #expect(cause(.inStream(.invalidRequest)) == .status(400))
        #expect(cause(.inStream(.provider)) == .status(500))
        #expect(cause(.unavailable, .proxy) == .unavailable)
        for kind in [ProxyError.Kind.badRequest, .draining, .requestTimeout, .methodNotAllowed, .notFound] {
            #expect(cause(kind, .client) == nil)
        }
    }

    @Test func howAConnectionEnded() {
        #expect(cause(.closed(.head), stale: true) == .stale)
        #expect(cause(.closed(.head)) == .reset)
        #expect(cause(.closed(.body)) == .reset, "HTTP/2 does not know the phase")
        #expect(cause(.closed(.head), answered: true, stale: true) == .cut)
    }

    @Test func whatItSaysOfTheUpstreamsHealth() {
        func outcome(_ kind: ProxyError.Kind, _ side: ProxyError.Side = .upstream) -> AttemptOutcome {
            AttemptOutcome(ProxyError(kind, side, "m"))
        }
        #expect(outcome(.connect) == .failed)
        #expect(outcome(.closed(.head)) == .failed)
        #expect(outcome(.timeout(.head)) == .failed)
        #expect(outcome(.malformed(.body)) == .failed)
        #expect(outcome(.status(503)) == .answered(status: 503))
        #expect(outcome(.inStream(.overloaded)) == .answered(status: 503))
        #expect(outcome(.refused) == .failed)
        #expect(outcome(.timeout(.total)) == .abandoned)
        #expect(outcome(.draining, .proxy) == .abandoned)
        #expect(outcome(.badRequest, .client) == .abandoned)
    }

    @Test func aClientIsToldWhatItCanActOn() {
        func rank(_ cause: AttemptFailure.Cause) -> Int { AttemptFailure(cause).usefulness }
        #expect(rank(.status(429)) > rank(.status(500)))
        #expect(rank(.status(500)) > rank(.connect))
        #expect(rank(.connect) > rank(.status(401)))
        #expect(rank(.status(401)) == rank(.unfit))
        #expect(rank(.status(400)) > rank(.connect))
    }
}

extension RetrySpec {
    fileprivate static var never: RetrySpec {
        var spec = RetrySpec()
        (spec.attempts, spec.words, spec.statuses) = (0, Set(Word.allCases), Set(400...599))
        return spec
    }
}
