import SluiceConfig
import SluiceIO

/// One listener of the configuration in one worker. Connections that came by it hold it, also when a reload has removed it.
final class WorkerListener {
    /// Where it stands in the configuration in force.
    var index: Int
    private(set) var isClosed = false
    /// Of connections that this process makes to itself, by no socket that anybody could find.
    var isInner: Bool { index < 0 }
    private var listeners: [Listener] = []
    private let takesWaiting: Bool

    init(_ share: ListenerShare, index: Int, worker: Worker) throws(SystemError) {
        self.index = index
        takesWaiting = !share.isHeldElsewhere
        for part in share.parts {
            let listener = try Listener(
                taking: part.socket, isShared: part.isShared, loop: worker.loop, budget: worker.shared.budget
            ) { [unowned self, unowned worker] socket, peer in
                worker.accept(socket, peer, self)
            }
            listeners.append(listener)
        }
    }

    /// One with a socket of the loop's own kernel.
    init(on address: SocketAddress, index: Int, worker: Worker) throws(SystemError) {
        (self.index, takesWaiting) = (index, true)
        listeners = [
            try Listener(on: address, loop: worker.loop, budget: worker.shared.budget) {
                [unowned self, unowned worker] socket, peer in
                worker.accept(socket, peer, self)
            }
        ]
    }

    static func inner() -> WorkerListener { WorkerListener() }

    private init() { (index, takesWaiting) = (-1, false) }

    var addresses: [SocketAddress] { listeners.map(\.address) }

    /// `takingWaiting`: what waits to be accepted is, but where the socket goes on without us.
    func close(takingWaiting: Bool) {
        for listener in listeners { listener.close(takingWaiting: takingWaiting && takesWaiting) }
        listeners = []
        isClosed = true
    }
}

extension Limits {
    /// A client that takes nothing is ours to judge, by `slow_client`; the kernel only finds those that are gone.
    var clientSocketOptions: ClientSocketOptions {
        ClientSocketOptions(
            unsentBytes: clientUnsentBytes,
            unacknowledgedTimeout: slowClient == .zero ? .zero : max(.seconds(60), slowClient))
    }
}
