import SluiceBytes
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// A provider: takes connections on one address and answers as the plans say.
final class Upstream {
    let name: String
    let address: SocketAddress
    let dialect: UpstreamDialect
    let isHTTP2: Bool
    /// How likely, in percent, a connection comes to nothing.
    let connectFaults: Double
    unowned let world: World
    var random: SeededRandom
    private var connections: [AnyObject] = []

    init(
        _ name: String, _ address: SocketAddress, _ dialect: UpstreamDialect, isHTTP2: Bool, connectFaults: Double,
        weather: Weather, world: World, random: SeededRandom
    ) {
        (self.name, self.address, self.dialect, self.isHTTP2) = (name, address, dialect, isHTTP2)
        (self.connectFaults, self.world, self.random) = (connectFaults, world, random)
        world.network.serve(
            address, weather: { weather }, fate: { [unowned self] in fate() },
            accept: { [unowned self] socket in accept(socket) })
    }

    private func fate() -> ConnectFate {
        guard random.chance(connectFaults) else { return .accept }
        world.note("connect fault")
        world.connectFaults += 1
        return random.pick([.refuse, .ignore, .unreachable, .drop])
    }

    private func accept(_ socket: Socket) {
        if isHTTP2 {
            if let connection = try? HTTP2Upstream(self, socket) { connections.append(connection) }
        } else {
            connections.append(HTTP1Upstream(self, socket))
        }
    }

    /// A whole request has come. Returns the work and its script; nil if the request is nobody's.
    func begin(_ body: [UInt8], _ socket: Socket) -> (work: Work, script: AnswerScript, isStream: Bool)? {
        let text = String(decoding: body, as: UTF8.self)
        guard let number = text.split(separator: "plan-", maxSplits: 1).dropFirst().first?.prefix(while: \.isNumber),
            let id = Int(number), let plan = world.plan(id)
        else {
            world.violate("an upstream got a request that no client sent")
            return nil
        }
        let work = Work(plan, socket, isHTTP2: isHTTP2)
        world.workBegan(work)
        let isStream = JSONValue.parse(body)?["stream"]?.bool ?? (dialect == .ollama)
        let script =
            isStream
            ? AnswerScript.stream(plan, dialect, random: &random) : .document(plan, dialect, random: &random)
        return (work, script, isStream)
    }
}
