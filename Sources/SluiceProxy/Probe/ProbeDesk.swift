import SluiceBytes
import Synchronization

/// What became of the probe streams of late, whichever worker had them: `sluice doctor` asks for it over another connection. Locked
/// when a probe begins, ends or is asked for.
final class ProbeDesk: Sendable {
    enum State: String { case running, done, gone }

    struct Entry {
        var state = State.running
        var since: Instant
        var events = 0
    }

    private struct Book {
        var entries: [String: Entry] = [:]
        /// The oldest first.
        var order: [String] = []
        var running = 0
    }

    /// Streams that are remembered.
    private static let memory = 256
    private let book = Mutex(Book())

    /// False: as many run as may, or there is one with this id.
    func begin(_ id: String, limit: Int, at now: Instant) -> Bool {
        book.withLock { book in
            guard book.running < limit, book.entries[id] == nil else { return false }
            book.running += 1
            book.entries[id] = Entry(since: now)
            book.order.append(id)
            if book.order.count > Self.memory,
                let oldest = book.order.firstIndex(where: { id in
                    book.entries[id]?.state != .running
                })
            {
                book.entries[book.order.remove(at: oldest)] = nil
            }
            return true
        }
    }

    func end(_ id: String, _ state: State, events: Int, at now: Instant) {
        book.withLock { book in
            guard book.entries[id]?.state == .running else { return }
            book.running -= 1
            book.entries[id] = Entry(state: state, since: now, events: events)
        }
    }

    func look(_ id: String) -> Entry? { book.withLock { $0.entries[id] } }
}
