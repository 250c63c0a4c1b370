import SluiceBytes
import Synchronization

/// Counts what clients ask for, over all workers. Touched when an exchange begins, when it ends, and once for many tokens in
/// between: workers share tables, each behind a lock that is held for some tens of instructions.
final class RateLimiter: Sendable {
    /// What one exchange has taken, to be settled once.
    struct Charge {
        let rule: RateRule
        let subject: RateSubject
        /// For the prompt.
        let reserved: Int
        /// For what has been answered by now.
        var streamed = 0
    }
    /// The tokens of an exchange.
    enum Spent: Equatable {
        case counted(Int)
        /// Nobody has counted: what was reserved for the prompt, and this.
        case estimated(output: Int)
    }
    /// The rule that keeps a request out, and why.
    struct Refusal: Error {
        let rule: RateRule
        let reason: RateTable.Refusal
    }

    private final class Shard: Sendable {
        let table: Mutex<RateTable>

        init(capacity: Int) { table = Mutex(RateTable(capacity: capacity)) }
    }
    private let shards: [Shard]
    private static let shardCount = 16

    /// `capacity`: clients that are counted at a time.
    init(capacity: Int) {
        shards = (0..<Self.shardCount).map { _ in Shard(capacity: (capacity + Self.shardCount - 1) / Self.shardCount) }
    }

    /// Takes what the request needs under all of `rules`, or nothing. `bytes`: of its body, as far as they are known.
    func admit(
        _ rules: [(rule: RateRule, subject: RateSubject)], bytes: Int, at now: Instant
    ) throws(Refusal) -> [(charge: Charge, room: RateTable.Room)] {
        var taken: [(charge: Charge, room: RateTable.Room)] = []
        for (rule, subject) in rules {
            let reserve = rule.reserve(bytes: bytes)
            let outcome = shard(subject).table.withLock { table -> Result<RateTable.Room, RateTable.Refusal> in
                do throws(RateTable.Refusal) {
                    return .success(try table.admit(rule, subject, reserve: reserve, at: now))
                } catch {
                    return .failure(error)
                }
            }
            switch outcome {
            case .success(let room): taken.append((Charge(rule: rule, subject: subject, reserved: reserve), room))
            case .failure(let reason):
                for (charge, _) in taken {
                    shard(charge.subject).table.withLock {
                        $0.withdraw(charge.rule, charge.subject, reserved: charge.reserved, at: now)
                    }
                }
                throw Refusal(rule: rule, reason: reason)
            }
        }
        return taken
    }

    /// So many tokens of the answer have come since the last time. Whoever asks next finds them taken.
    func advance(_ charges: inout [Charge], by tokens: Int, at now: Instant) {
        for index in charges.indices where charges[index].rule.tokens != nil {
            let (rule, subject) = (charges[index].rule, charges[index].subject)
            shard(subject).table.withLock { $0.advance(rule, subject, by: tokens, at: now) }
            charges[index].streamed += tokens
        }
    }

    func settle(_ charges: [Charge], tokens: Spent, at now: Instant) {
        for charge in charges {
            let used =
                switch tokens {
                case .counted(let count): count
                case .estimated(let output): charge.reserved + output
                }
            shard(charge.subject).table.withLock {
                $0.settle(
                    charge.rule, charge.subject, reserved: charge.reserved + charge.streamed, used: used, at: now)
            }
        }
    }

    /// For tests.
    var count: Int { shards.reduce(0) { $0 + $1.table.withLock { $0.count } } }

    private func shard(_ subject: RateSubject) -> Shard {
        shards[Int(UInt(bitPattern: subject.hashValue) >> 32 % UInt(Self.shardCount))]
    }
}
