import SluiceBytes
import SluiceConfig
import SluiceIO

/// The sockets of a server: opened for a configuration, kept over reloads, handed to a successor. Touched under the server's
/// lock only.
struct ServerListeners: Sendable {
    private(set) var bound: [BoundListener] = []
    /// Handed over by the service manager and not in use: a later configuration may name them.
    private var spare: [InheritedSocket] = []
    let workers: Int

    init(workers: Int, inherited: [InheritedSocket]) { (self.workers, spare) = (workers, inherited) }

    var addresses: [SocketAddress] { bound.compactMap { $0.sockets.first?.socket.address } }

    /// All sockets, for a successor.
    var all: [InheritedSocket] { bound.flatMap(\.sockets) + spare }

    /// For each worker, its part of each listener.
    var shares: [[ListenerShare]] {
        let byListener = bound.map { $0.shares(workers) }
        return (0..<workers).map { worker in byListener.map { $0[worker] } }
    }

    /// Has the listeners of `specs` and no others: all that are new are open when it returns.
    /// - Throws: if one cannot be opened; nothing has changed then.
    mutating func change(to specs: [ListenerSpec], options: ClientSocketOptions) throws(StartError) {
        let keys = try ListenerKey.keys(specs)
        let running = Dictionary(bound.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        let new = keys.filter { running[$0] == nil }
        let offered = spare.map { OfferedSocket(name: $0.name, key: $0.key, address: $0.socket.address) }
        let matches = ListenerPlan.match(new, offered)
        var opened: [ListenerKey: BoundListener] = [:]
        for key in new {
            if let positions = matches[key] {
                opened[key] = BoundListener(key: key, sockets: positions.map { spare[$0] })
                continue
            }
            do throws(StartError) {
                opened[key] = try open(key, options)
            } catch {
                for listener in opened.values where matches[listener.key] == nil { Self.abandon(listener) }
                throw error
            }
        }
        let removed = bound.filter { !keys.contains($0.key) }
        bound = keys.compactMap { opened[$0] ?? running[$0] }
        let used = Set(matches.values.joined())
        spare = spare.enumerated().filter { !used.contains($0.offset) }.map(\.element)
        // The service manager's cannot be opened again, so they wait here.
        spare += removed.flatMap(\.sockets).filter { $0.name != nil }
        for listener in removed { Self.abandon(listener) }
        for listener in bound { for socket in listener.sockets { socket.socket.apply(options) } }
    }

    /// What was handed over and fits no listener: closed, but for what the service manager holds.
    mutating func dropUnused() -> [String] {
        let unused = spare.map { $0.name.map { "systemd:\($0)" } ?? "\($0.socket.address)" }
        spare.removeAll { $0.name == nil }
        return unused
    }

    /// Lets go of all of them. `handedOver`: another process has them, with the paths.
    mutating func close(handedOver: Bool) {
        if !handedOver { for listener in bound { Self.abandon(listener) } }
        (bound, spare) = ([], [])
    }

    private static func abandon(_ listener: BoundListener) {
        for socket in listener.sockets { socket.socket.removePath() }
    }

    private func open(_ key: ListenerKey, _ options: ClientSocketOptions) throws(StartError) -> BoundListener {
        guard case .address(let address) = key.place else {
            throw StartError("no socket of that name was passed by the service manager: \(key.text)")
        }
        do throws(SystemError) {
            // The first socket's port is the one that the others share. A unix path has one socket.
            if !sharesPort(address) { try ListeningSocket.checkIsFree(address) }
            var sockets = [try ListeningSocket(binding: address, options: options)]
            if case .ip = address {
                let first = sockets[0].address
                while sockets.count < workers { sockets.append(try ListeningSocket(binding: first, options: options)) }
            }
            return BoundListener(
                key: key, sockets: sockets.map { InheritedSocket($0, name: nil, key: key.text) })
        } catch {
            throw StartError("cannot listen on \(address): \(error)")
        }
    }

    /// One of ours is on that port already, on another of the host's addresses, or on all of them.
    private func sharesPort(_ address: SocketAddress) -> Bool {
        guard case .ip(_, let port) = address else { return false }
        return all.contains { if case .ip(_, port) = $0.socket.address { true } else { false } }
    }
}
