import SluiceBytes
import SluiceIO
import Synchronization

/// How many connections each client address has, over all workers. Asked when a connection is accepted and told when it
/// ends, never in between. An IPv6 client is counted by its /64, which is what one subscriber gets (RFC 6177).
final class ClientBudget: Sendable {
    /// Zero: no limit, and nothing is counted.
    private let limit: Atomic<Int>
    private let counts = Mutex<[IPAddress: Int]>([:])

    init(limit: Int) { self.limit = Atomic(limit) }

    /// For connections that come from now on.
    func change(limit: Int) { self.limit.store(limit, ordering: .relaxed) }

    /// Takes a place for a connection from `peer`; false if it has its share already. A unix socket's clients are one another's
    /// neighbours on the machine, and are not counted.
    func take(_ peer: SocketAddress) -> Bool {
        let limit = limit.load(ordering: .relaxed)
        guard limit > 0, let address = Self.key(peer) else { return true }
        return counts.withLock { counts in
            let count = counts[address, default: 0]
            guard count < limit else { return false }
            counts[address] = count + 1
            return true
        }
    }

    /// Call once for each place that was taken. Where the limit was set while the connection lived, it had none.
    func give(_ peer: SocketAddress) {
        guard let address = Self.key(peer) else { return }
        counts.withLock { counts in
            guard let count = counts[address] else { return }
            counts[address] = count > 1 ? count - 1 : nil
        }
    }

    private static func key(_ peer: SocketAddress) -> IPAddress? {
        switch peer {
        case .ip(.v6(let high, let low), _): high == 0 ? .v6(high, low) : .v6(high, 0)
        case .ip(let address, _): address
        case .unix: nil
        }
    }
}
