import SluiceConfig
import SluiceIO

/// Which listener of a configuration: its address, and how many with the same one stand before it (of port 0 there may be
/// several). A reload keeps the sockets of those that both configurations have.
struct ListenerKey: Hashable, Sendable {
    enum Place: Hashable, Sendable {
        case address(SocketAddress)
        /// What the service manager passes under that name.
        case name(String)
    }
    let place: Place
    let occurrence: Int

    /// In the order of the configuration.
    static func keys(_ listeners: [ListenerSpec]) throws(StartError) -> [ListenerKey] {
        var seen: [Place: Int] = [:]
        var keys: [ListenerKey] = []
        for listener in listeners {
            let place: Place
            if let name = listener.inheritedName {
                place = .name(name)
            } else if let address = SocketAddress(listener.address) {
                place = .address(address)
            } else {
                throw StartError("\(listener.address) is not an address to listen on")
            }
            let occurrence = seen[place, default: 0]
            seen[place] = occurrence + 1
            keys.append(ListenerKey(place: place, occurrence: occurrence))
        }
        return keys
    }

    /// For a successor, which finds its own listener by it.
    var text: String {
        switch place {
        case .address(let address): "\(occurrence) \(address)"
        case .name(let name): "\(occurrence) systemd:\(name)"
        }
    }
}

/// Sockets that were handed over, as far as it matters which listener gets them.
struct OfferedSocket {
    var name: String?
    var key: String?
    var address: SocketAddress
}

enum ListenerPlan {
    /// Which of the offered sockets serve which listener: those that the predecessor used for it, those of its name, or those
    /// that are bound to its address. Each serves one.
    static func match(_ keys: [ListenerKey], _ offered: [OfferedSocket]) -> [ListenerKey: [Int]] {
        var free = Array(offered.indices)
        var result: [ListenerKey: [Int]] = [:]
        func take(_ key: ListenerKey, _ limit: Int = .max, where isWanted: (OfferedSocket) -> Bool) {
            guard result[key] == nil else { return }
            let found = free.filter { isWanted(offered[$0]) }.prefix(limit)
            guard !found.isEmpty else { return }
            free.removeAll { found.contains($0) }
            result[key] = Array(found)
        }
        for key in keys { take(key) { $0.key == key.text } }
        for key in keys {
            guard case .name(let name) = key.place else { continue }
            take(key) { $0.name == name }
        }
        for key in keys {
            guard case .address(let address) = key.place else { continue }
            take(key, 1) { $0.key == nil && $0.address == address }
        }
        for key in keys {
            guard case .address(let address) = key.place, let both = anyOfBothFamilies(address) else { continue }
            take(key, 1) { $0.key == nil && $0.address == both }
        }
        return result
    }

    /// A socket on all IPv6 addresses takes IPv4 clients too, and is what service managers bind for a bare port.
    private static func anyOfBothFamilies(_ address: SocketAddress) -> SocketAddress? {
        guard case .ip(.v4(0), let port) = address else { return nil }
        return .ip(.v6(0, 0), port: port)
    }

    /// Deals `count` sockets out to workers, as positions for each worker: every socket has a worker, since clients wait at
    /// each, and every worker has a socket.
    static func share(_ count: Int, among workers: Int) -> [[Int]] {
        (0..<workers).map { worker in
            guard count > 0 else { return [] }
            let own = Array(stride(from: worker, to: count, by: workers))
            return own.isEmpty ? [worker % count] : own
        }
    }
}

/// What one worker accepts from for one listener.
struct ListenerShare: Sendable {
    struct Part: Sendable {
        let socket: ListeningSocket
        /// Other workers wait for it too.
        let isShared: Bool
    }
    let key: ListenerKey
    let parts: [Part]
    /// The service manager holds the socket: what waits there is for whoever comes after us.
    let isHeldElsewhere: Bool
}

/// The sockets of one listener, for all workers.
struct BoundListener: Sendable {
    let key: ListenerKey
    let sockets: [InheritedSocket]

    /// By worker.
    func shares(_ workers: Int) -> [ListenerShare] {
        let isShared = sockets.count < workers
        let isHeldElsewhere = sockets.contains { $0.name != nil }
        return ListenerPlan.share(sockets.count, among: workers).map { positions in
            ListenerShare(
                key: key, parts: positions.map { .init(socket: sockets[$0].socket, isShared: isShared) },
                isHeldElsewhere: isHeldElsewhere)
        }
    }
}
