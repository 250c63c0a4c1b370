import Foundation
import SluiceBytes
import SluiceConfig
import SluiceIO
import Testing

@testable import SluiceProxy

private final class ConnectionEvents: RedisConnectionDelegate {
    var ups = 0
    var failures: [RedisFailure] = []
    var refusals: [RedisFailure] = []
    var messages: [String] = []

    func redisUp(_ connection: RedisConnection) { ups += 1 }
    func redisDown(_ connection: RedisConnection, _ failure: RedisFailure) { failures.append(failure) }
    func redisRefused(_ connection: RedisConnection, _ failure: RedisFailure) { refusals.append(failure) }
    func redisPublished(_ connection: RedisConnection, channel: [UInt8], message: [UInt8]) {
        messages.append(String(decoding: channel + [0x3D] + message, as: UTF8.self))
    }
}

@Suite(.serialized) struct RedisConnectionTests {
    private func connection(
        _ bench: RedisBench, _ spec: RedisSpec, _ events: ConnectionEvents, tls: TLSContext? = nil,
        isSubscriber: Bool = false
    ) -> RedisConnection {
        let connection = RedisConnection(
            spec, tls: tls, loop: bench.loop, resolver: bench.resolver, isSubscriber: isSubscriber, seed: 3)
        connection.delegate = events
        connection.start()
        return connection
    }

    @Test func repliesComeInTheOrderOfTheCommands() throws {
        let server = try RedisServer()
        let (bench, events) = (try RedisBench(), ConnectionEvents())
        let connection = connection(bench, bench.spec(server.port), events)
        #expect(!connection.send(["PING"]), "nothing is kept for later")
        try bench.until { connection.isUp }
        var replies: [RESPValue] = []
        for index in 0..<3000 {
            let text = String(repeating: "é", count: index % 200)
            #expect(
                connection.send(["ECHO", .text("\(index)\r\n\(text)")]) { replies.append((try? $0.get()) ?? .null) })
        }
        try bench.until { replies.count == 3000 }
        let wanted = (0..<3000).map {
            RESPValue.bulk(Array("\($0)\r\n\(String(repeating: "é", count: $0 % 200))".utf8))
        }
        #expect(replies == wanted)
        // An error that says nothing of the next command leaves the connection as it is.
        var failure: RedisFailure?
        connection.send(["NONSENSE"]) { if case .failure(let error) = $0 { failure = error } }
        try bench.until { failure != nil }
        #expect(failure?.kind == .other && events.refusals.count == 1 && connection.isUp && events.failures.isEmpty)
    }

    @Test func theQueueIsBounded() throws {
        let server = try RedisServer()
        let bench = try RedisBench()
        let connection = try bench.connection(bench.spec(server.port))
        var sent = 0
        while connection.send(["PING"]) { sent += 1 }
        #expect(sent == RedisConnection.queuedCommands.value)
        try bench.until { connection.unanswered == 0 }
        sent = 0
        let text = RESPArgument.bytes([UInt8](repeating: 0x78, count: 1 << 20))
        while connection.send(["ECHO", text]) { sent += 1 }
        #expect(sent == 8)
        connection.close()
    }

    @Test func saysWhoItIsAndWhichDatabase() throws {
        let server = try RedisServer([
            "--requirepass", "default word", "--user", "sluice", "on", ">pass:w@rd", "~*", "&*", "+@all",
        ])
        let (bench, events) = (try RedisBench(), ConnectionEvents())
        let secret = try #require(RedisSpec(url: "redis://sluice:pass:w@rd@127.0.0.1:\(server.port)/3"))
        let connection = try bench.connection(secret)
        guard case .bulk(let info) = try bench.ask(connection, ["CLIENT", "INFO"]) else { return }
        let words = String(decoding: info, as: UTF8.self).split(separator: " ")
        #expect(words.contains("db=3") && words.contains("user=sluice"))
        _ = try bench.connection(bench.spec(server.port) { $0.password = Secret("default word") })

        let wrong: [(RedisSpec, RedisFailure.Kind)] = [
            (bench.spec(server.port), .unauthorized),
            (bench.spec(server.port) { $0.password = Secret("wrong") }, .unauthorized),
            (bench.spec(server.port) { ($0.password, $0.database) = (Secret("default word"), 99) }, .other),
        ]
        for (spec, kind) in wrong {
            let connection = self.connection(bench, spec, events)
            events.failures = []
            try bench.until { events.failures.count >= 2 }
            #expect(events.failures.allSatisfy { $0.kind == kind } && !connection.isUp, "\(events.failures)")
            #expect(!events.failures.contains { $0.text.contains("wrong") })
            connection.close()
        }
    }

    @Test func hearsWhatIsPublishedBetweenTheReplies() throws {
        let server = try RedisServer()
        let (bench, events) = (try RedisBench(), ConnectionEvents())
        let subscriber = connection(bench, bench.spec(server.port), events, isSubscriber: true)
        let publisher = try bench.connection(bench.spec(server.port))
        try bench.until { subscriber.isUp }
        var subscribed = 0
        for channel in ["a", "b"] { subscriber.send(["SUBSCRIBE", .text(channel)]) { _ in subscribed += 1 } }
        try bench.until { subscribed == 2 }
        var pongs = 0
        for index in 0..<50 {
            publisher.send(["PUBLISH", .text(["a", "b", "c"][index % 3]), .number(index)])
            subscriber.send(["PING"]) { if case .success = $0 { pongs += 1 } }
        }
        try bench.until { events.messages.count == 34 && pongs == 50 }
        #expect(events.messages.prefix(3) == ["a=0", "b=1", "a=3"] && events.failures.isEmpty)
    }

    @Test func comesBackWithPatience() throws {
        let server = try RedisServer()
        let (bench, events) = (try RedisBench(), ConnectionEvents())
        let connection = connection(bench, bench.spec(server.port), events)
        try bench.until { connection.isUp }
        var lost: RedisFailure?
        server.kill()
        connection.send(["PING"]) { if case .failure(let error) = $0 { lost = error } }
        try bench.until { lost != nil && !connection.isUp }
        #expect(lost?.kind == .closed)
        try bench.turn(for: .milliseconds(1500))
        // 100 ms, doubled each time, of which half is random.
        #expect((2...8).contains(events.failures.count), "\(events.failures.count) attempts")
        #expect(events.failures.dropFirst().allSatisfy { $0.kind == .connect })
        try server.restart()
        try bench.until { connection.isUp && events.ups == 2 }
    }

    @Test(arguments: [
        "HTTP/1.1 400 Bad Request\r\n\r\n", "+PONG\r\n+more than was asked for\r\n", "$99999999999\r\n", "",
    ])
    func whoIsNoRedisIsLeft(_ answer: String) throws {
        let server = try StubServer { _ in answer }
        let (bench, events) = (try RedisBench(), ConnectionEvents())
        let port = try #require(Int(server.url.drop { !$0.isNumber }.dropFirst(10).prefix { $0.isNumber }))
        let connection = connection(bench, bench.spec(port) { $0.replyTimeout = .milliseconds(200) }, events)
        try bench.until { !events.failures.isEmpty }
        #expect([.malformed, .timeout, .closed].contains(events.failures[0].kind), "\(events.failures)")
        connection.close()
    }

    @Test func speaksTLSAndChecksTheServer() throws {
        let folder = NSTemporaryDirectory() + "sluice-redis-\(getpid())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let openssl = Process()
        openssl.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        openssl.currentDirectoryURL = URL(fileURLWithPath: folder)
        openssl.standardError = FileHandle.nullDevice
        openssl.arguments = [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj",
            "/CN=redis.test", "-addext", "subjectAltName=DNS:redis.test", "-keyout", "key.pem", "-out", "cert.pem",
        ]
        try openssl.run()
        openssl.waitUntilExit()
        let server = try RedisServer(
            isTLS: true,
            [
                "--tls-cert-file", folder + "/cert.pem", "--tls-key-file", folder + "/key.pem", "--tls-auth-clients",
                "no",
            ])
        let (bench, events) = (try RedisBench(), ConnectionEvents())
        let context = try TLSContext.client(TLSClientOptions(caPath: folder + "/cert.pem"))
        let spec = bench.spec(server.port) { ($0.isTLS, $0.tls.serverName) = (true, "redis.test") }
        let connection = connection(bench, spec, events, tls: context)
        try bench.until { connection.isUp }
        #expect(try bench.ask(connection, ["ECHO", "over TLS"]) == .bulk(Array("over TLS".utf8)))

        let stranger = ConnectionEvents()
        let other = self.connection(bench, bench.spec(server.port) { $0.isTLS = true }, stranger, tls: context)
        try bench.until { !stranger.failures.isEmpty }
        #expect(stranger.failures[0].kind == .connect && !other.isUp)
        for connection in [connection, other] { connection.close() }
    }
}
