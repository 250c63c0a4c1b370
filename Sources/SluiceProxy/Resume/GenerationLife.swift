import SluiceBytes
import SluiceConfig

/// How long a generation goes on. A pure value: it is told what happens and when, and says what is due next.
struct GenerationLife {
    enum Due: Equatable {
        /// Nobody reads it: its upstream is stopped.
        case abandon
        /// It has been over for long enough.
        case forget
    }

    private let ttl: Interval
    /// nil: it runs to its end, whoever reads.
    private let grace: Interval?
    private var unread: Instant?
    private var ended: Instant?
    private var isDraining = false
    /// Whoever reads it asks elsewhere.
    private let outlivesDrain: Bool

    init(_ spec: ResumeSpec, drains: Bool, outlivesDrain: Bool = false) {
        (ttl, grace) = (spec.ttl, drains ? nil : spec.grace)
        self.outlivesDrain = outlivesDrain
    }

    mutating func readersChanged(to count: Int, at now: Instant) {
        if count > 0 { unread = nil } else if unread == nil { unread = now }
    }

    /// By way of the store. It is looked at again after another while.
    mutating func isReadElsewhere(at now: Instant) {
        if unread != nil { unread = now + .seconds(1) }
    }

    mutating func end(at now: Instant) { ended = ended ?? now }

    /// The process is to end: it goes on for its readers only.
    mutating func drain() { isDraining = true }

    /// `.distantFuture`: nothing for now.
    var next: (at: Instant, due: Due) {
        if let ended {
            if isDraining, unread != nil { return (ended, .forget) }
            return (ended + ttl, .forget)
        }
        guard let unread else { return (.distantFuture, .abandon) }
        if isDraining, !outlivesDrain { return (unread, .abandon) }
        return (grace.map { unread + $0 } ?? .distantFuture, .abandon)
    }
}
