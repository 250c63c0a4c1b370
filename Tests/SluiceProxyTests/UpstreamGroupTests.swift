import SluiceBytes
import SluiceConfig
import SluiceIO
import Testing

@testable import SluiceProxy

/// Groups on a loop whose sockets nobody serves: what they know, choose and keep.
@Suite struct UpstreamGroupTests {
    private final class Bench {
        let loop: EventLoop
        let resolver: Resolver
        var changes: [PlaceChange.Kind] = []

        init() throws {
            loop = try EventLoop()
            resolver = Resolver(loop: loop)
        }

        deinit { resolver.close() }

        func group(_ urls: [String], change: (inout UpstreamSpec) -> Void = { _ in }) throws -> UpstreamGroup {
            let places = try urls.map { PlaceSpec(try #require(UpstreamURL($0))) }
            var spec = UpstreamSpec(name: "u", url: places[0].url)
            spec.places = places
            change(&spec)
            let pools = spec.places.map { place in
                UpstreamPool(
                    UpstreamEndpoint(spec.at(place)), loop: loop, resolver: resolver, tls: nil, limits: Limits())
            }
            let group = UpstreamGroup(spec, pools: pools, loop: loop, seed: 1)
            group.onChange = { [unowned self] in changes.append($0.kind) }
            return group
        }
    }

    private static let two = ["http://127.0.0.1:1/a", "http://127.0.0.1:2"]

    /// Fails until the group says that a place is out.
    private func eject(_ pool: UpstreamPool) {
        for _ in 0..<5 {
            pool.attemptBegan()
            pool.attemptEnded(.failed)
        }
    }

    @Test func namesTellPlacesApart() throws {
        let bench = try Bench()
        let group = try bench.group([
            "http://h/a", "http://h/b", "https://h", "http://[::1]:81/x", "unix:/run/x.sock",
        ])
        #expect(group.status.map(\.name) == ["h:80/a", "h:80/b", "h:443", "[::1]:81", "unix:/run/x.sock"])
    }

    @Test func attemptsAreCountedWhileTheyLast() throws {
        let bench = try Bench()
        let group = try bench.group(Self.two)
        var picked: [UpstreamPool] = []
        for _ in 0..<6 {
            let pool = try #require(group.pick(avoiding: []))
            pool.attemptBegan()
            picked.append(pool)
        }
        #expect(group.status.map(\.inFlight) == [3, 3])
        for pool in picked { pool.attemptEnded(.answered(status: 200)) }
        #expect(group.status.map(\.inFlight) == [0, 0])
        // One end too many is our own mistake, and must not make a place look emptier than empty.
        picked[0].attemptEnded(.abandoned)
        #expect(group.status.map(\.inFlight) == [0, 0])
    }

    @Test func theOtherIsTriedNextAndAForeignPoolIsNoPlace() throws {
        let bench = try Bench()
        let (group, other) = (try bench.group(Self.two), try bench.group(Self.two))
        let first = try #require(group.pick(avoiding: []))
        for _ in 0..<20 { #expect(group.pick(avoiding: [first]) !== first) }
        let foreign = try #require(other.pick(avoiding: []))
        let picked = (0..<40).compactMap { _ in group.pick(avoiding: [foreign])?.place }
        #expect(Set(picked) == [0, 1])
    }

    @Test func theOperatorHearsOfIt() throws {
        let bench = try Bench()
        let group = try bench.group(Self.two)
        eject(try #require(group.pick(avoiding: [])))
        #expect(bench.changes == [.ejected(.seconds(30))])
        #expect(group.status.count(where: \.isEjected) == 1 && group.hasAvailablePlace)
        #expect(group.status.map(\.isHealthy) == [true, true])
    }

    @Test func aLonePlaceIsNeverOut() throws {
        let bench = try Bench()
        let group = try bench.group(["http://127.0.0.1:1"])
        eject(try #require(group.pick(avoiding: [])))
        #expect(bench.changes.isEmpty && group.hasAvailablePlace && group.pick(avoiding: []) != nil)
    }

    @Test func whatIsKnownOfAPlaceOutlivesAReload() throws {
        let bench = try Bench()
        let old = try bench.group(Self.two)
        let ill = try #require(old.pick(avoiding: []))
        ill.attemptBegan()
        eject(ill)
        // The places have changed their order, and there is one more.
        let new = try bench.group(["http://127.0.0.1:3"] + Self.two.reversed())
        new.start(after: old)
        #expect(new.status.map(\.isEjected) == [false, ill.place == 1, ill.place == 0])
        #expect(new.status.map(\.inFlight) == [0, 0, 0])
        old.close()
    }

    @Test func anExchangeMayOutliveItsGroup() throws {
        let bench = try Bench()
        var group: UpstreamGroup? = try bench.group(Self.two)
        let pool = try #require(group?.pick(avoiding: []))
        pool.attemptBegan()
        weak let watched = group
        group?.close()
        group = nil
        #expect(watched == nil)
        pool.attemptEnded(.failed)
    }

    @Test func timersAreOnlyThoseOfChecksAndEndWithThem() throws {
        let bench = try Bench()
        try bench.group(Self.two).start(after: nil)
        #expect(bench.loop.timerCount == 0)
        let checked = try bench.group(Self.two) { $0.healthCheck = HealthCheckSpec(path: "/health") }
        checked.start(after: nil)
        #expect(bench.loop.timerCount == 2)
        checked.close()
        #expect(bench.loop.timerCount == 0)
    }

    @Test func checksOfAClosedPortTurnAPlaceIll() throws {
        let bench = try Bench()
        let stub = try StubServer { _ in StubServer.answer(200, "{}") }
        let well = String(stub.url.prefix { $0 != "?" })
        let group = try bench.group(["http://127.0.0.1:1", well]) { spec in
            var check = HealthCheckSpec(path: "/up?deep=1")
            check.interval = .milliseconds(20)
            spec.healthCheck = check
        }
        group.start(after: nil)
        let end = EventLoop.clock() + .seconds(20)
        while group.status[0].isHealthy || stub.requests.count < 3, EventLoop.clock() < end {
            try bench.loop.turn(maximumWait: 100)
        }
        #expect(group.status.map(\.isHealthy) == [false, true])
        #expect(stub.requests.first?.hasPrefix("GET /up?deep=1 HTTP/1.1\r\n") == true)
        let picked = (0..<20).compactMap { _ in group.pick(avoiding: [])?.place }
        #expect(picked == [Int](repeating: 1, count: 20))
        group.close()
        #expect(bench.loop.timerCount == 0)
    }
}
