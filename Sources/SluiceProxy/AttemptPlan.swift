import SluiceBytes
import SluiceConfig

/// Where an exchange stands among the upstreams of its route, and what follows when an attempt has failed. A pure value: it is told
/// what failed and the time, and says what to do; the exchange carries it out.
struct AttemptPlan: Equatable {
    enum Step: Equatable {
        /// The same upstream is asked once more, after this time.
        case again(after: Interval)
        /// The next upstream is asked now: the one at the plan's new `position`.
        case next
        /// The client is told.
        case giveUp
    }

    struct Decision: Equatable {
        var step: Step
        /// The upstream would have been asked again, had it not been so often already.
        var isOverBudget = false
    }

    /// What the exchange knows when an attempt has failed.
    struct Situation {
        var now: Instant
        /// The exchange is to be over by then.
        var deadline = Instant.distantFuture
        /// Nothing that depends on an upstream has gone to the client, and the request is still here, whole.
        var canGoOn = true
        /// The route names another upstream behind this one.
        var hasNext = false
        /// The same upstream has another place, which has not failed this request.
        var hasOtherPlace = false
        /// Any number, for the jitter.
        var random: UInt64 = 0
    }

    /// In the route's list.
    private(set) var position = 0
    /// Repetitions at the upstream of `position`.
    private(set) var repeats = 0
    private var hasRepeatedAtOnce = false

    mutating func decide(
        _ failure: AttemptFailure, _ situation: Situation, _ spec: RetrySpec, budget: inout RetryBudget
    ) -> Decision {
        guard situation.canGoOn, situation.now < situation.deadline else { return Decision(step: .giveUp) }
        // An old connection, or one that was being retired: a new one is all it takes, and it costs the upstream nothing.
        if failure.cause == .stale || failure.cause == .refused, !hasRepeatedAtOnce {
            hasRepeatedAtOnce = true
            return Decision(step: .again(after: .zero))
        }
        var isOverBudget = false
        if repeats < spec.attempts, isRepeated(failure, situation, spec),
            let wait = wait(for: failure, situation, spec)
        {
            if budget.take(at: situation.now) {
                repeats += 1
                return Decision(step: .again(after: wait))
            }
            isOverBudget = true
        }
        guard situation.hasNext, failure.isOfThisUpstream else {
            return Decision(step: .giveUp, isOverBudget: isOverBudget)
        }
        position += 1
        (repeats, hasRepeatedAtOnce) = (0, false)
        return Decision(step: .next, isOverBudget: isOverBudget)
    }

    /// What cannot have reached the upstream is repeated without being asked to, unless another one can take over at once.
    private func isRepeated(_ failure: AttemptFailure, _ situation: Situation, _ spec: RetrySpec) -> Bool {
        failure.isListed(in: spec) || failure.isUnsent && !situation.hasNext
    }

    /// nil: it would be too long. An upstream that asks for time gets it, if another one can take over meanwhile.
    private func wait(for failure: AttemptFailure, _ situation: Situation, _ spec: RetrySpec) -> Interval? {
        var wait = situation.hasOtherPlace ? .zero : backoff(spec, situation.random)
        if let asked = failure.retryAfter, asked > .zero {
            if situation.hasNext || asked > spec.maxRetryAfter { return nil }
            wait = max(wait, asked)
        }
        return situation.now + wait < situation.deadline ? wait : nil
    }

    /// Exponential with full jitter.
    private func backoff(_ spec: RetrySpec, _ random: UInt64) -> Interval {
        let (doubled, overflow) = spec.backoff.nanoseconds.multipliedReportingOverflow(
            by: 1 << UInt64(min(repeats, 32)))
        let span = min(overflow ? .max : doubled, spec.maxBackoff.nanoseconds)
        return Interval(nanoseconds: span == .max ? random : random % (span + 1))
    }
}
