import SluiceBytes
import SluiceHTTP
import SluiceIO

/// Knows what is answered to a request. `serial` numbers the requests of all clients.
typealias ScriptSource = (_ method: String, _ target: RequestTarget, _ body: Span<UInt8>, _ serial: Int) -> DemoScript

/// Plays scripts to all who connect to one address, over HTTP/1.1.
final class ScriptServer {
    private final class Clients {
        var open: [Int: DemoConnection] = [:]
    }
    private let listener: Listener
    /// By their serial numbers.
    private let clients = Clients()
    var address: SocketAddress { listener.address }

    init(on address: SocketAddress, loop: EventLoop, source: @escaping ScriptSource) throws(SystemError) {
        let budget = ConnectionBudget(limit: 1000)
        let clients = clients
        var serial = 0
        listener = try Listener(on: address, loop: loop, budget: budget) { socket, peer in
            guard let connection = try? Connection(socket, peer: peer, engine: nil, loop: loop) else {
                return budget.give()
            }
            serial += 1
            let number = serial
            let client = DemoConnection(connection, serial: number, source: source) {
                clients.open[number] = nil
                budget.give()
            }
            clients.open[number] = client
            client.start()
        }
    }

    /// Takes no more clients, and lets go of those that are there.
    func close() {
        listener.close()
        for client in clients.open.values { client.close() }
    }
}

/// The upstream that is built in: answers as each provider would, over a real socket on the loopback address, from a
/// thread and loop of its own. It lives as long as the process.
public enum DemoServer {
    /// Carries the server into its thread. The starting thread lets go of it before that thread runs.
    private struct Carrier: @unchecked Sendable {
        let loop: EventLoop
        let server: ScriptServer
    }

    /// Starts it and returns the port.
    public static func start() throws -> Int { try start(pace: DemoScript.Pace()) }

    static func start(pace: DemoScript.Pace) throws -> Int {
        let loop = try EventLoop()
        let server = try ScriptServer(on: .ip(.v4(0x7F00_0001), port: 0), loop: loop) { method, target, body, serial in
            DemoScript.answer(
                method: method, path: target.normalizedPath ?? target.path, query: target.query ?? "", body: body,
                serial: serial, time: EventLoop.unixTime(), pace: pace)
        }
        guard case .ip(_, let port) = server.address else { return 0 }
        let carrier = Carrier(loop: loop, server: server)
        try startThread(named: "demo") {
            try? carrier.loop.run()
            carrier.server.close()
        }
        return Int(port)
    }
}
