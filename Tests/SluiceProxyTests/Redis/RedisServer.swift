import Foundation
import Glibc
import SluiceBytes
import SluiceConfig
import SluiceIO
import Testing

@testable import SluiceProxy

/// A real Redis of a test's own, without a disk. Ends with the test.
final class RedisServer {
    let port: Int
    private var process = Process()
    private let arguments: [String]
    private let isTLS: Bool

    /// `arguments`: further ones, such as `--requirepass`.
    init(isTLS: Bool = false, _ arguments: [String] = []) throws {
        var started: (Int, Process)?
        // Redis takes no port 0, and one that is free may be taken by somebody else before it comes to it.
        for _ in 0..<20 where started == nil {
            let port = try Self.freePort()
            let process = try Self.start(port, isTLS, arguments)
            let isUp = eventually { !process.isRunning || Self.accepts(port) }
            if isUp, process.isRunning { started = (port, process) } else { Self.end(process) }
        }
        (port, process) = try #require(started)
        (self.arguments, self.isTLS) = (arguments, isTLS)
    }

    deinit { Self.end(process) }

    /// As if the machine had failed.
    func kill() { Self.end(process) }

    func restart() throws {
        process = try Self.start(port, isTLS, arguments)
        try #require(eventually { Self.accepts(self.port) })
    }

    /// Its connections stay, and nothing is answered.
    func freeze() { Glibc.kill(process.processIdentifier, SIGSTOP) }
    func thaw() { Glibc.kill(process.processIdentifier, SIGCONT) }

    private static func start(_ port: Int, _ isTLS: Bool, _ arguments: [String]) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        let ports = isTLS ? ["--port", "0", "--tls-port", "\(port)"] : ["--port", "\(port)"]
        process.arguments =
            ["redis-server"] + ports + ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"] + arguments
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        return process
    }

    private static func end(_ process: Process) {
        Glibc.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    private static func freePort() throws -> Int {
        let loop = try EventLoop()
        let address = try #require(SocketAddress("127.0.0.1:0"))
        let listener = try Listener(on: address, loop: loop, budget: ConnectionBudget(limit: 1)) { _, _ in }
        defer { listener.close() }
        guard case .ip(_, let port) = listener.address else { throw SystemError("bind", EINVAL) }
        return Int(port)
    }

    private static func accepts(_ port: Int) -> Bool {
        let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(client) }
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr = in_addr(s_addr: UInt32(0x7F00_0001).bigEndian)
        name.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        return withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(client, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}

/// One loop, and stores on it as if each were in another process.
final class RedisBench {
    let loop: EventLoop
    let resolver: Resolver
    private(set) var stores: [RedisStore] = []
    private(set) var events: [String] = []

    init() throws {
        loop = try EventLoop()
        resolver = Resolver(loop: loop)
    }

    deinit {
        for store in stores { store.close() }
        try? loop.turn(maximumWait: 0)
        loop.stopNow()
        resolver.close()
    }

    func spec(_ port: Int, _ change: (inout RedisSpec) -> Void = { _ in }) -> RedisSpec {
        var spec = RedisSpec(host: "127.0.0.1", port: port)
        // Machines that run tests may be slow.
        (spec.connectTimeout, spec.replyTimeout) = (.seconds(10), .seconds(10))
        change(&spec)
        return spec
    }

    func store(_ spec: RedisSpec, tls: TLSContext? = nil) -> RedisStore {
        var times = RedisStore.Times()
        (times.lease, times.renewal) = (.seconds(2), .milliseconds(500))
        (times.refresh, times.poll, times.patience) = (.milliseconds(700), .milliseconds(200), .seconds(1))
        let store = RedisStore(
            spec, tls: tls, loop: loop, resolver: Resolver(loop: loop), seed: UInt64(stores.count), times: times
        ) { [unowned self] event in
            switch event {
            case .up: events.append("up")
            case .down(let failure): events.append("down \(failure.kind.rawValue)")
            case .failed(let kind): events.append("failed \(kind.rawValue)")
            case .dropped(let bytes): events.append("dropped \(bytes)")
            }
        }
        stores.append(store)
        return store
    }

    /// A connection for questions about what is there.
    func connection(_ spec: RedisSpec) throws -> RedisConnection {
        let connection = RedisConnection(spec, tls: nil, loop: loop, resolver: resolver, seed: 7)
        connection.start()
        try until { connection.isUp }
        return connection
    }

    func ask(_ connection: RedisConnection, _ arguments: [RESPArgument]) throws -> RESPValue {
        var answer: RESPValue?
        #expect(connection.send(arguments) { if case .success(let value) = $0 { answer = value } })
        try until { answer != nil }
        return try #require(answer)
    }

    /// Fails after twenty seconds.
    func until(_ condition: () -> Bool, _ location: SourceLocation = #_sourceLocation) throws {
        let deadline = EventLoop.clock() + .seconds(20)
        while !condition() {
            try #require(EventLoop.clock() < deadline, "waited in vain; \(events)", sourceLocation: location)
            try loop.turn(maximumWait: 5)
        }
    }

    func turn(for interval: Interval) throws {
        let deadline = EventLoop.clock() + interval
        while EventLoop.clock() < deadline { try loop.turn(maximumWait: 5) }
    }
}
