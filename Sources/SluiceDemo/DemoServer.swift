import SluiceBytes
import SluiceHTTP
import SluiceIO

/// The upstream that is built in: answers as OpenAI's chat completions would, over a real socket on the loopback
/// address, from a thread and loop of its own. It lives as long as the process.
public enum DemoServer {
    /// Carries the server into its thread. The starting thread lets go of it before that thread runs.
    private struct Carrier: @unchecked Sendable {
        let loop: EventLoop
        let listener: Listener
    }

    /// Starts it and returns the port.
    public static func start() throws -> Int { try start(pace: DemoScript.Pace()) }

    static func start(pace: DemoScript.Pace) throws -> Int {
        let loop = try EventLoop()
        let budget = ConnectionBudget(limit: 1000)
        var serial = 0
        let listener = try Listener(on: .ip(.v4(0x7F00_0001), port: 0), loop: loop, budget: budget) { socket, peer in
            guard let connection = try? Connection(socket, peer: peer, engine: nil, loop: loop) else {
                return budget.give()
            }
            serial += 1
            DemoConnection(connection, serial: serial, pace: pace) { budget.give() }.start()
        }
        guard case .ip(_, let port) = listener.address else { return 0 }
        let carrier = Carrier(loop: loop, listener: listener)
        try startThread(named: "demo") {
            try? carrier.loop.run()
            carrier.listener.close()
        }
        return Int(port)
    }
}
