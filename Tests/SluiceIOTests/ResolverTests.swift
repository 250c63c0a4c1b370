import SluiceBytes
import Testing

@testable import SluiceIO

@Suite struct ResolverTests {
    typealias Answer = Result<[IPAddress], ResolverError>

    /// A loop with a resolver that asks a name server of the test.
    private final class Bench {
        let loop: EventLoop
        let server: ResolverServer
        let resolver: Resolver
        var answers: [Answer] = []

        init(tryTimeout: Interval = .seconds(5)) throws {
            server = try ResolverServer([
                "both.test": .init(
                    v4: [[192, 0, 2, 1], [192, 0, 2, 2], [192, 0, 2, 1]],
                    v6: [[0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]]),
                "four.test": .init(v4: [[192, 0, 2, 4]]),
                "brief.test": .init(v4: [[192, 0, 2, 5]], ttl: 0),
                "empty.test": .init(),
                "broken.test": .init(code: 2),
                "silent.test": .init(isSilent: true),
            ])
            loop = try EventLoop()
            resolver = Resolver(loop: loop, servers: "127.0.0.1:\(server.port)", tryTimeout: tryTimeout)
        }

        deinit {
            resolver.close()
            server.stop()
        }

        func ask(_ name: String) { resolver.resolve(name) { [unowned self] in answers.append($0) } }

        /// Turns the loop until `count` answers are there, or nothing is left that could bring one.
        func wait(_ count: Int = 1) throws {
            let end = EventLoop.clock() + .seconds(20)
            while answers.count < count, EventLoop.clock() < end { try loop.turn(maximumWait: 1000) }
        }
    }

    private static let v6 = IPAddress.v6(0x2001_0DB8_0000_0000, 1)
    private static func v4(_ last: UInt32) -> IPAddress { .v4(0xC000_0200 | last) }

    @Test func bothFamiliesAreAskedForAndAlternate() throws {
        let bench = try Bench()
        bench.ask("both.test")
        #expect(bench.answers.isEmpty)
        try bench.wait()
        let addresses = try #require(bench.answers.first).get()
        #expect(Set(addresses) == [Self.v4(1), Self.v4(2), Self.v6])
        #expect(addresses.count == 3 && (addresses[0] == Self.v6 || addresses[1] == Self.v6))
        #expect(bench.server.questions(for: "both.test") == 2)
        #expect(bench.loop.timerCount == 0)
    }

    @Test func oneFamilyIsEnough() throws {
        let bench = try Bench()
        bench.ask("FOUR.test")
        try bench.wait()
        #expect(bench.answers == [.success([Self.v4(4)])])
    }

    @Test func allWhoWaitForANameShareOneQuery() throws {
        let bench = try Bench()
        for _ in 0..<50 { bench.ask("four.test") }
        try bench.wait(50)
        #expect(bench.answers == [Answer](repeating: .success([Self.v4(4)]), count: 50))
        #expect(bench.server.questions(for: "four.test") == 2)
    }

    /// Even a TTL of zero is kept for a second.
    @Test(arguments: ["four.test", "brief.test", "missing.test"]) func answersAreKept(name: String) throws {
        let bench = try Bench()
        bench.ask(name)
        try bench.wait()
        let questions = bench.server.questions(for: name)
        bench.ask(name)
        #expect(bench.answers.count == 1, "the completion was called inside of resolve")
        try bench.loop.turn(maximumWait: 0)
        #expect(bench.answers.count == 2 && bench.answers[0] == bench.answers[1])
        #expect(bench.server.questions(for: name) == questions)
    }

    @Test(arguments: ["missing.test", "empty.test"]) func namesWithoutAddressesAreNotFound(name: String) throws {
        let bench = try Bench()
        bench.ask(name)
        try bench.wait()
        #expect(bench.answers == [.failure(.notFound(name))])
    }

    @Test func aServerThatFailsIsNoMissingName() throws {
        let bench = try Bench()
        bench.ask("broken.test")
        try bench.wait()
        // c-ares goes on to the next server, and says so when there is none.
        #expect(bench.answers == [.failure(.failed("broken.test", reason: "Could not contact DNS servers"))])
    }

    @Test func aQueryThatIsDroppedTimesOut() throws {
        let bench = try Bench(tryTimeout: .milliseconds(20))
        bench.ask("silent.test")
        bench.ask("four.test")
        try bench.wait(2)
        #expect(bench.answers == [.success([Self.v4(4)]), .failure(.timeout("silent.test"))])
        #expect(bench.server.questions(for: "silent.test") >= 4)  // two families, each asked twice
        #expect(bench.loop.timerCount == 0)
    }

    @Test(arguments: [
        ("127.0.0.1", IPAddress.v4(0x7F00_0001)), ("::1", IPAddress.v6(0, 1)), ("2001:db8::1", v6),
    ])
    func literalsAreAnsweredWithoutAServer(text: String, address: IPAddress) throws {
        let bench = try Bench()
        bench.ask(text)
        #expect(bench.answers.isEmpty)
        try bench.loop.turn(maximumWait: 0)
        #expect(bench.answers == [.success([address])])
    }

    @Test func theHostsFileAnswersForLocalhost() throws {
        let bench = try Bench()
        bench.ask("localhost")
        try bench.loop.turn(maximumWait: 0)
        let addresses = try #require(bench.answers.first).get()
        #expect(addresses.contains(.v4(0x7F00_0001)) || addresses.contains(.v6(0, 1)))
        #expect(bench.server.questions(for: "localhost") == 0)
    }

    @Test(arguments: [
        "", "four.test\0.example", String(repeating: "a.", count: 200), String(repeating: "b", count: 90),
    ])
    func impossibleNamesAreNotFound(name: String) throws {
        let bench = try Bench()
        bench.ask(name)
        try bench.wait()
        #expect(bench.answers == [.failure(.notFound(name))])
    }

    @Test func aCompletionMayAskAgain() throws {
        let bench = try Bench()
        bench.resolver.resolve("four.test") { _ in
            bench.ask("both.test")
            bench.ask("four.test")
        }
        try bench.wait(2)
        #expect(bench.answers.first == .success([Self.v4(4)]) && bench.answers.count == 2)
    }

    @Test func closingEndsWhatIsUnderWay() throws {
        let bench = try Bench()
        bench.ask("silent.test")
        bench.resolver.close()
        bench.resolver.close()
        bench.ask("four.test")
        try bench.loop.turn(maximumWait: 0)
        #expect(bench.answers == [.failure(.closed), .failure(.closed)])
        #expect(bench.loop.timerCount == 0)
    }

    @Test func aResolverThatWasNotClosedCanGo() throws {
        let loop = try EventLoop()
        weak var watched: Resolver?
        do {
            let resolver = Resolver(loop: loop, servers: "127.0.0.1:1")
            watched = resolver
        }
        #expect(watched == nil)
    }

    @Test func badServersAreToldToWhoAsks() throws {
        let loop = try EventLoop()
        let resolver = Resolver(loop: loop, servers: "not an address")
        var answer: Answer?
        resolver.resolve("four.test") { answer = $0 }
        try loop.turn(maximumWait: 0)
        guard case .failure(.failed("not an address", _)) = answer else {
            Issue.record("\(String(describing: answer))")
            return
        }
    }
}
