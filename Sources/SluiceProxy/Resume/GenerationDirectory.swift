import SluiceBytes
import SluiceIO
import Synchronization

/// Which worker has which generation, for all of a process. Its lock is taken when a generation begins, ends, is looked for or
/// followed, and never for a token.
final class GenerationDirectory: Sendable {
    struct Found: Sendable {
        let facts: GenerationFacts
        let isEnded: Bool
    }
    private struct Entry {
        let facts: GenerationFacts
        let owner: Mailbox
        var isEnded = false
        /// When it became one that may go first, as a number that grows; nil while it may not.
        var idle: UInt64?
        var bytes = 0
    }
    private struct Alias: Hashable {
        let scope: String
        let name: String
    }
    private struct State {
        var entries: [String: Entry] = [:]
        /// The newest generation of that name.
        var aliases: [Alias: String] = [:]
        /// Ended and without readers, the oldest first. Some have become other than that since.
        var idle: [(id: String, serial: UInt64)] = []
        var serial: UInt64 = 0
    }
    private let state = Mutex(State())
    private let bytes = Atomic<Int>(0)
    /// Of those that are told to go.
    private let leaving = Atomic<Int>(0)
    /// Since memory was last handed back to the system.
    private let freed = Atomic<Int>(0)
    private let tokens = Atomic<UInt64>(0)

    /// What all generations hold, in bytes.
    var keptBytes: Int { bytes.load(ordering: .relaxed) }
    var count: Int { state.withLock { $0.entries.count } }
    /// Names a follower on another thread.
    func makeToken() -> UInt64 { tokens.add(1, ordering: .relaxed).newValue }

    // MARK: - Tasks

    /// Those that run, in all of the process.
    private let tasks = Atomic<Int>(0)
    var runningTasks: Int { tasks.load(ordering: .relaxed) }
    /// False: as many as may run do.
    func beginTask(limit: Int) -> Bool {
        if tasks.add(1, ordering: .relaxed).newValue <= limit { return true }
        endTask()
        return false
    }
    func endTask() { tasks.subtract(1, ordering: .relaxed) }

    // MARK: - Its maker

    func begin(_ facts: GenerationFacts, owner: Mailbox) {
        state.withLock { state in
            state.entries[facts.id] = Entry(facts: facts, owner: owner)
            if let alias = facts.alias { state.aliases[Alias(scope: facts.scope, name: alias)] = facts.id }
        }
    }

    func ended(_ id: String, hasReaders: Bool, bytes: Int) {
        state.withLock { state in
            state.entries[id]?.isEnded = true
            state.entries[id]?.bytes = bytes
            Self.note(id, hasReaders: hasReaders, &state)
        }
    }

    func readersChanged(_ id: String, hasReaders: Bool) {
        state.withLock { Self.note(id, hasReaders: hasReaders, &$0) }
    }

    private static func note(_ id: String, hasReaders: Bool, _ state: inout State) {
        guard let entry = state.entries[id], entry.isEnded, hasReaders != (entry.idle == nil) else { return }
        state.serial += 1
        state.entries[id]?.idle = hasReaders ? nil : state.serial
        if !hasReaders { state.idle.append((id, state.serial)) }
        // Most entries are of generations that have gone since.
        if state.idle.count > 64, state.idle.count > 4 * state.entries.count {
            let entries = state.entries
            state.idle.removeAll { entries[$0.id]?.idle != $0.serial }
        }
    }

    func remove(_ id: String) { state.withLock { Self.remove(id, &$0) } }

    private static func remove(_ id: String, _ state: inout State) {
        guard let facts = state.entries.removeValue(forKey: id)?.facts, let name = facts.alias else { return }
        let alias = Alias(scope: facts.scope, name: name)
        if state.aliases[alias] == id { state.aliases[alias] = nil }
    }

    // MARK: - Memory

    /// The bytes of one generation have changed by so many. True: all together are over `limit`.
    func changed(by count: Int, limit: Int) -> Bool {
        let total = bytes.add(count, ordering: .relaxed).newValue
        if count < 0 { noteFreed(-count, rest: total) }
        if total <= limit { return false }
        return count > 0 ? !makeRoom(limit) : true
    }

    /// glibc keeps what is freed between other things. When that may be as much as is still in use, it is told to hand it back.
    private func noteFreed(_ count: Int, rest: Int) {
        let worth = rest > 0 ? max(Self.worthTrimming, rest) : Self.worthTrimming / 8
        guard freed.add(count, ordering: .relaxed).newValue >= worth else { return }
        freed.store(0, ordering: .relaxed)
        MachineMemory.giveBack()
    }
    private static let worthTrimming = 8 << 20

    /// Has those go that have ended and that nobody reads, the oldest first. False if what is left is still over `limit`.
    func makeRoom(_ limit: Int) -> Bool {
        func rest() -> Int { bytes.load(ordering: .relaxed) - leaving.load(ordering: .relaxed) }
        if rest() <= limit { return true }
        return state.withLock { state in
            var taken = 0
            while rest() > limit, taken < state.idle.count {
                let (id, serial) = state.idle[taken]
                taken += 1
                guard let entry = state.entries[id], entry.idle == serial else { continue }
                Self.remove(id, &state)
                let freed = entry.bytes
                leaving.add(freed, ordering: .relaxed)
                entry.owner.post { [self] loop in
                    leaving.subtract(freed, ordering: .relaxed)
                    (loop.owner as? Worker)?.generations.evict(id)
                }
            }
            state.idle.removeFirst(taken)
            return rest() <= limit
        }
    }

    // MARK: - Others

    func find(_ name: GenerationName, scope: String) -> Found? {
        state.withLock { state in
            let id: String? =
                switch name {
                case .id(let id): id
                case .alias(let name): state.aliases[Alias(scope: scope, name: name)]
                }
            guard let id, let entry = state.entries[id], entry.facts.scope == scope else { return nil }
            return Found(facts: entry.facts, isEnded: entry.isEnded)
        }
    }

    /// Leaves work for the worker that has it, and says which one that is; nil if nobody has. Within the lock, so that a worker that
    /// lets go of its generations before it stops has heard of everything that was left for it.
    func post(to id: String, _ work: @escaping @Sendable (Worker) -> Void) -> Mailbox? {
        state.withLock { state in
            guard let owner = state.entries[id]?.owner else { return nil }
            owner.post { loop in if let worker = loop.owner as? Worker { work(worker) } }
            return owner
        }
    }
}
