import Glibc
import SluiceIO

/// What happens to a connection that the proxy opens.
enum ConnectFate {
    case accept
    case refuse
    /// Its SYN is lost, and no answer ever comes.
    case ignore
    /// `connect` itself fails.
    case unreachable
    /// Accepted, and reset before a byte.
    case drop
}

/// All sockets of one world, and who listens where.
final class Network {
    let timeline: Timeline
    private var random: SeededRandom
    private var sockets: [Socket] = []
    /// Where the proxy listens.
    private(set) var listeners: [SocketAddress: Backlog] = [:]
    /// Who takes the connections that the proxy opens.
    private var services: [SocketAddress: Service] = [:]

    private struct Service {
        let weather: () -> Weather
        let fate: () -> ConnectFate
        let accept: (Socket) -> Void
    }

    /// Where somebody wants to read what happens to each end.
    var tell: ((String) -> Void)?

    /// A listening socket of the proxy.
    final class Backlog {
        var waiting: [(socket: Socket, peer: SocketAddress)] = []
        var isClosed = false

        /// Whoever waits is reset.
        func close() {
            isClosed = true
            for entry in waiting { entry.socket.abort() }
            waiting = []
        }
    }

    init(_ timeline: Timeline, _ random: SeededRandom) { (self.timeline, self.random) = (timeline, random) }

    func makeSocket(_ weather: Weather) -> Socket {
        let socket = Socket(sockets.count, timeline, weather, random.fork())
        sockets.append(socket)
        if let tell {
            let serial = socket.serial
            socket.tell = { tell("socket \(serial) \($0)") }
        }
        return socket
    }

    /// The cycles between the ends.
    func sever() { for socket in sockets { socket.sever() } }

    func listen(on address: SocketAddress) -> Backlog {
        let backlog = Backlog()
        listeners[address] = backlog
        return backlog
    }

    func serve(
        _ address: SocketAddress, weather: @escaping () -> Weather, fate: @escaping () -> ConnectFate,
        accept: @escaping (Socket) -> Void
    ) {
        services[address] = Service(weather: weather, fate: fate, accept: accept)
    }

    /// A client's way in. The socket's `changed` tells when it is connected, or refused.
    func connect(to address: SocketAddress, weather: Weather, peer: SocketAddress) -> (near: Socket, far: Socket) {
        let (near, far) = (makeSocket(weather), makeSocket(weather))
        Socket.join(near, far)
        tell?("a client, socket \(near.serial), connects to socket \(far.serial)")
        timeline.after(random.within(weather.latency)) { [self] in
            guard let backlog = listeners[address], !backlog.isClosed else { return near.refuse(ECONNREFUSED) }
            far.establish()
            backlog.waiting.append((far, peer))
            timeline.after(random.within(weather.latency)) { near.establish() }
        }
        return (near, far)
    }

    /// The proxy's way out. The near socket is given to `assign` before anything happens to it.
    func connectOut(to address: SocketAddress, assign: (Socket) -> Void) -> CallResult {
        guard let service = services[address] else { return .failure(ECONNREFUSED) }
        let fate = service.fate()
        if case .unreachable = fate { return .failure(ENETUNREACH) }
        let weather = service.weather()
        let (near, far) = (makeSocket(weather), makeSocket(weather))
        assign(near)
        Socket.join(near, far)
        tell?("the proxy, socket \(near.serial), connects to \(address), socket \(far.serial)")
        let there = random.within(weather.latency)
        let back = random.within(weather.latency)
        switch fate {
        case .refuse: timeline.after(there + back) { near.refuse(ECONNREFUSED) }
        case .accept, .drop:
            timeline.after(there) {
                far.establish()
                if case .drop = fate { far.abort() } else { service.accept(far) }
            }
            timeline.after(there + back) { near.establish() }
        case .ignore, .unreachable: break
        }
        return .failure(EINPROGRESS)
    }
}
