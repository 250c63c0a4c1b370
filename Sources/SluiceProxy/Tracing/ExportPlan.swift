import SluiceBytes

/// Decides when spans leave, and what follows a request that failed (OpenTelemetry's batching span processor, and OTLP's
/// "Failures"). Pure: it is told what happens and when, and says what to do.
struct ExportPlan {
    enum Step: Equatable {
        case none
        /// Nothing before that.
        case wait(until: Instant)
        /// Take so many from the queue, and send them; `deadline` for all of it, repetitions included.
        case export(count: Int, deadline: Instant)
        /// The same batch once more.
        case again
        /// What is left will not be sent any more, and nothing is under way.
        case finished
    }
    /// What became of a batch that is given up.
    enum Loss: String, CaseIterable, Sendable { case queueFull = "queue_full", failed, refused, rejected, shutdown }

    private enum State: Equatable {
        case idle
        case waiting(until: Instant)
        case sending
        case pausing(until: Instant)
    }
    let delay: Interval
    let exportTimeout: Interval
    let batchSize: Int
    private var state = State.idle
    private var deadline = Instant(nanoseconds: 0)
    private var attempts = 0
    /// Everything leaves at once, until then.
    private var flushDeadline: Instant?

    static let attemptLimit = 5
    private static let backoff = (first: Interval.seconds(1), last: Interval.seconds(5))

    init(delay: Interval, exportTimeout: Interval, batchSize: Int) {
        (self.delay, self.exportTimeout, self.batchSize) = (delay, exportTimeout, batchSize)
    }

    /// A batch is on its way, or waits to be sent once more.
    var isBusy: Bool {
        switch state {
        case .sending, .pausing: true
        case .idle, .waiting: false
        }
    }

    /// `waiting` spans are in the queue.
    mutating func spansWait(_ waiting: Int, at now: Instant) -> Step {
        switch state {
        case .sending, .pausing: return .none
        case .idle:
            if flushDeadline != nil || waiting >= batchSize { return export(waiting, at: now) }
            guard waiting > 0 else { return .none }
            state = .waiting(until: now + delay)
            return .wait(until: now + delay)
        case .waiting(let until):
            guard waiting >= batchSize || now >= until || flushDeadline != nil else { return .none }
            return export(waiting, at: now)
        }
    }

    /// The time that `wait` named.
    mutating func timePassed(_ waiting: Int, at now: Instant) -> Step {
        switch state {
        case .idle, .sending: return .none
        case .waiting(let until): return now >= until ? export(waiting, at: now) : .wait(until: until)
        case .pausing(let until):
            guard now >= until else { return .wait(until: until) }
            state = .sending
            return .again
        }
    }

    private mutating func export(_ waiting: Int, at now: Instant) -> Step {
        guard waiting > 0 else {
            state = .idle
            return flushDeadline == nil ? .none : .finished
        }
        (state, attempts) = (.sending, 1)
        deadline = min(now + exportTimeout, flushDeadline ?? .distantFuture)
        return .export(count: min(waiting, batchSize), deadline: deadline)
    }

    /// The batch was taken, or will never be. The next one waits its time, unless there is a whole one.
    mutating func ended(_ waiting: Int, at now: Instant) -> Step {
        state = .idle
        return spansWait(waiting, at: now)
    }

    /// The batch may be sent once more; nil: not in its time, so that it is lost, and `ended` follows. `random` spreads those who lost the
    /// same collector.
    mutating func failed(retryAfter: Interval?, at now: Instant, random: UInt64) -> Step? {
        guard attempts < Self.attemptLimit else { return nil }
        let doubled = min(
            Self.backoff.first.nanoseconds << UInt64(clamping: min(attempts - 1, 8)), Self.backoff.last.nanoseconds)
        let wait = retryAfter ?? Interval(nanoseconds: doubled / 2 + random % (doubled / 2 + 1))
        guard now + wait < deadline else { return nil }
        attempts += 1
        state = .pausing(until: now + wait)
        return .wait(until: now + wait)
    }

    /// From now on nothing waits for more; what has not left by `deadline` is lost. A pause is cut short.
    mutating func flush(_ waiting: Int, by deadline: Instant, at now: Instant) -> Step {
        flushDeadline = deadline
        self.deadline = min(self.deadline, deadline)
        switch state {
        case .sending: return .none
        case .pausing:
            state = .sending
            return .again
        case .idle, .waiting: return export(waiting, at: now)
        }
    }

    var isFlushing: Bool { flushDeadline != nil }
}
