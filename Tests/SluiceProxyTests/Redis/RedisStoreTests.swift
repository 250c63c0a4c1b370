import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import Testing

@testable import SluiceProxy

/// Keeps what a follower is told.
final class ReplayRecorder: ReplayReader {
    var head: ResponseHead?
    var bytes: [UInt8] = []
    var reads = 0
    var ending: GenerationEnding?
    var failure: ReplayFailure?
    var told: () -> Void = {}
    weak var subscription: (any ReplaySubscription)?
    var pausesAfterEach = false

    var isOver: Bool { ending != nil || failure != nil }
    var text: String { String(decoding: bytes, as: UTF8.self) }

    func replayHead(_ head: ResponseHead) {
        #expect(self.head == nil && bytes.isEmpty)
        self.head = head
    }
    func replayBytes(_ new: Span<UInt8>) {
        #expect(head != nil && !isOver)
        new.withUnsafeBufferPointer { bytes += $0 }
        reads += 1
        if pausesAfterEach { subscription?.pause() }
        told()
    }
    func replayEnded(_ ending: GenerationEnding) {
        #expect(!isOver)
        self.ending = ending
    }
    func replayFailed(_ failure: ReplayFailure) {
        #expect(!isOver)
        self.failure = failure
    }
}

@Suite(.serialized) struct RedisStoreTests {
    private static let id = "abcdefghijklmnopqrst-_"
    private static let head: ResponseHead = {
        var fields = HeaderFields()
        fields.append("Content-Type", "text/event-stream")
        fields.append("X-Odd", "a: b \u{e4}")
        return ResponseHead(status: 200, fields: fields)
    }()

    private func facts(_ id: String = id, alias: String? = nil, scope: String = "/api/chat|alice") -> GenerationFacts {
        GenerationFacts(id: id, alias: alias, scope: scope, format: .vercelUI)
    }

    private func append(_ store: RedisStore, _ text: String, at offset: Int, id: String = id) {
        store.append(id, at: offset, Array(text.utf8).span)
    }

    private func find(
        _ bench: RedisBench, _ store: RedisStore, _ name: GenerationName, _ scope: String = "/api/chat|alice"
    ) throws -> Result<(facts: GenerationFacts, isEnded: Bool)?, ReplayFailure> {
        var answer: Result<(facts: GenerationFacts, isEnded: Bool)?, ReplayFailure>?
        store.find(name, in: scope) { answer = $0 }
        #expect(answer == nil, "called from within")
        try bench.until { answer != nil }
        return try #require(answer)
    }

    /// Redis hears the two stores in whichever order it likes: nobody follows what has not been found.
    private func awaitBeginning(_ bench: RedisBench, _ other: RedisStore) throws {
        try bench.until { (try? find(bench, other, .id(Self.id)).get() != nil) == true }
    }

    /// Two stores on one server, both up.
    private func pair(_ server: RedisServer) throws -> (RedisBench, RedisStore, RedisStore) {
        let bench = try RedisBench()
        let (maker, other) = (bench.store(bench.spec(server.port)), bench.store(bench.spec(server.port)))
        try bench.until { maker.isAvailable && other.isAvailable }
        return (bench, maker, other)
    }

    @Test func anotherStoreFollowsFromAnyPositionWhileItRuns() throws {
        let server = try RedisServer()
        let (bench, maker, other) = try pair(server)
        maker.begin(facts(alias: "chat 1"), keep: .seconds(60))
        maker.head(Self.id, Self.head)
        append(maker, "Hello", at: 0)
        append(maker, ", wor", at: 5)

        try awaitBeginning(bench, other)
        let recorders = (0...12).map { _ in ReplayRecorder() }
        for (position, recorder) in recorders.enumerated() {
            recorder.subscription = other.follow(Self.id, from: position, recorder)
            #expect(recorder.head == nil, "called from within")
        }
        try bench.until { recorders[0].text == "Hello, wor" && recorders[7].text == "wor" }
        append(maker, "ld", at: 10)
        try bench.until { recorders.prefix(12).allSatisfy { $0.text.hasSuffix("d") } }
        maker.end(Self.id, .whole, keep: .seconds(60))
        try bench.until { recorders.allSatisfy(\.isOver) }
        for (position, recorder) in recorders.enumerated() {
            #expect(recorder.text == "Hello, world".dropFirst(position), "from \(position)")
            #expect(recorder.ending == .whole && recorder.head == Self.head)
        }

        let late = ReplayRecorder()
        _ = other.follow(Self.id, from: 3, late)
        try bench.until { late.isOver }
        #expect(late.text == "lo, world" && late.ending == .whole)
        #expect(bench.events == ["up", "up"])
    }

    @Test func findsOnlyWithinTheScope() throws {
        let server = try RedisServer()
        let (bench, maker, other) = try pair(server)
        let (older, newer) = (Self.id, "ABCDEFGHIJKLMNOPQRST-_")
        maker.begin(facts(older, alias: "{chat}"), keep: .seconds(60))
        maker.begin(facts(newer, alias: "{chat}"), keep: .seconds(60))
        maker.head(older, Self.head)
        try bench.until { (try? find(bench, other, .alias("{chat}")).get()?.facts.id == newer) == true }
        for name in [GenerationName.alias("{chat}"), .id(newer)] {
            let found = try #require(try find(bench, other, name).get())
            #expect(found.facts.id == newer && found.facts.alias == "{chat}" && !found.isEnded)
            #expect(found.facts.format == .vercelUI)
            #expect(try find(bench, other, name, "/api/chat|bob").get() == nil)
        }
        maker.end(older, .cut, keep: .seconds(60))
        try bench.until { (try? find(bench, other, .id(older)).get()?.isEnded == true) == true }
        // What ends later than it was followed by another one does not take the name with it.
        #expect(try find(bench, other, .alias("{chat}")).get()?.facts.id == newer)
        for unknown in [GenerationName.id("0123456789012345678901"), .id("}{"), .id(""), .alias("nobody")] {
            #expect(try find(bench, other, unknown).get() == nil)
        }
        let recorder = ReplayRecorder()
        _ = other.follow("0123456789012345678901", from: 0, recorder)
        try bench.until { recorder.isOver }
        #expect(recorder.failure == .unknown)
    }

    @Test func keepsNoMoreThanTheBufferAndSaysSo() throws {
        let server = try RedisServer()
        let (bench, maker, other) = try pair(server)
        var facts = facts()
        facts.bufferBytes = 4096
        maker.begin(facts, keep: .seconds(60))
        maker.head(Self.id, Self.head)
        // One read of an upstream may be larger than the buffer.
        var (whole, offset) = ("", 0)
        for (index, size) in [10, 9000, 1, 500, 2000, 700, 3].enumerated() {
            let text = String(repeating: "\(index)", count: size)
            append(maker, text, at: offset)
            (whole, offset) = (whole + text, offset + size)
            try bench.turn(for: .milliseconds(20))
        }
        maker.end(Self.id, .whole, keep: .seconds(60))
        let connection = try bench.connection(bench.spec(server.port))
        let entries = try bench.ask(connection, ["XRANGE", .text(maker.keys.body(Self.id)), "-", "+"])
        guard case .array(let values) = entries else { throw RedisFailure(.other, "\(entries)") }
        let stored = values.compactMap(RedisEntry.init)
        let bytes = stored.reduce(0) { $0 + $1.bytes.count }
        #expect(stored.count == values.count && bytes <= 4096 && bytes >= 2048, "\(bytes) bytes")
        #expect(stored.last?.end == offset)
        for (position, failure) in [
            (0, ReplayFailure.forgotten), (offset - bytes - 1, .forgotten), (offset - bytes, nil),
        ] {
            let recorder = ReplayRecorder()
            _ = other.follow(Self.id, from: position, recorder)
            try bench.until { recorder.isOver }
            #expect(recorder.failure == failure)
            if failure == nil { #expect(recorder.text == whole.suffix(bytes)) } else { #expect(recorder.bytes.isEmpty) }
        }
    }

    @Test func aReaderThatPausesGetsAllOfItInItsTime() throws {
        let server = try RedisServer()
        let (bench, maker, other) = try pair(server)
        maker.begin(facts(), keep: .seconds(60))
        maker.head(Self.id, Self.head)
        try awaitBeginning(bench, other)
        let recorder = ReplayRecorder()
        recorder.pausesAfterEach = true
        let subscription = other.follow(Self.id, from: 0, recorder)
        recorder.subscription = subscription
        var (whole, offset) = ("", 0)
        for index in 0..<100 {
            let text = "<\(index)>"
            append(maker, text, at: offset)
            (whole, offset) = (whole + text, offset + text.utf8.count)
            try bench.turn(for: .milliseconds(1))
        }
        maker.end(Self.id, .whole, keep: .seconds(60))
        try bench.until { recorder.reads > 0 }
        try bench.turn(for: .milliseconds(50))
        #expect(recorder.reads == 1 && recorder.ending == nil)
        for _ in 0..<1000 where !recorder.isOver {
            subscription.resume()
            try bench.turn(for: .milliseconds(2))
        }
        #expect(recorder.text == whole && recorder.ending == .whole)
    }

    @Test func leavesNothingBehind() throws {
        let server = try RedisServer()
        let (bench, maker, _) = try pair(server)
        let connection = try bench.connection(bench.spec(server.port))
        maker.begin(facts(alias: "a"), keep: .seconds(60))
        maker.head(Self.id, Self.head)
        append(maker, "text", at: 0)
        try bench.turn(for: .milliseconds(100))
        guard case .array(let keys) = try bench.ask(connection, ["KEYS", "*"]) else { return }
        // The lease, the record, the body and the name.
        #expect(keys.count == 4)
        for key in keys.compactMap(\.bytes) {
            #expect(key.starts(with: "sluice:".utf8))
            guard case .integer(let rest) = try bench.ask(connection, ["PTTL", .bytes(key)]) else { return }
            #expect((1...60_000).contains(rest), "\(String(decoding: key, as: UTF8.self)): \(rest)")
        }
        maker.end(Self.id, .whole, keep: .milliseconds(200))
        try bench.until { (try? bench.ask(connection, ["DBSIZE"])) == .integer(0) }

        maker.begin(facts(alias: "a"), keep: .seconds(60))
        append(maker, "text", at: 0)
        maker.remove(Self.id)
        try bench.until { (try? bench.ask(connection, ["DBSIZE"])) == .integer(0) }
    }

    @Test func anOwnerThatIsGoneIsNotWaitedFor() throws {
        let server = try RedisServer()
        let (bench, maker, other) = try pair(server)
        maker.begin(facts(), keep: .seconds(60))
        maker.head(Self.id, Self.head)
        append(maker, "as far as it came", at: 0)
        try awaitBeginning(bench, other)
        let recorder = ReplayRecorder()
        _ = other.follow(Self.id, from: 0, recorder)
        try bench.until { recorder.text == "as far as it came" }
        maker.close()
        try bench.until { recorder.isOver }
        #expect(recorder.failure == .ownerGone && recorder.text == "as far as it came")
    }

    @Test func whoeverStopsItReachesItsOwner() throws {
        let server = try RedisServer()
        let (bench, maker, other) = try pair(server)
        var stopped: [String] = []
        maker.onStop = { stopped.append($0) }
        maker.begin(facts(), keep: .seconds(60))
        // The owner listens soon, but not at once.
        for _ in 0..<500 where stopped.isEmpty {
            other.stop(Self.id)
            try bench.turn(for: .milliseconds(10))
        }
        #expect(stopped.first == Self.id)
        stopped = []
        maker.stop(Self.id)
        #expect(stopped.isEmpty, "called from within")
        try bench.until { stopped == [Self.id] }
        maker.end(Self.id, .cut, keep: .seconds(60))
        try bench.until { (try? find(bench, other, .id(Self.id)).get()?.isEnded == true) == true }
        other.stop(Self.id)
        try bench.until { (try? find(bench, other, .id(Self.id)).get()?.facts.id == nil) == true }
        #expect(stopped == [Self.id])
    }

    /// The one that OPERATIONS.md gives.
    @Test func theDocumentedRightsAreEnough() throws {
        let rights = ["~sluice:*", "&sluice:*", "+@read", "+@write", "+@pubsub", "+@transaction", "+@connection"]
        let server = try RedisServer(["--user", "default", "off", "--user", "sluice", "on", ">word"] + rights)
        let bench = try RedisBench()
        let spec = bench.spec(server.port) { ($0.user, $0.password) = ("sluice", Secret("word")) }
        let (maker, other) = (bench.store(spec), bench.store(spec))
        try bench.until { maker.isAvailable && other.isAvailable }
        maker.begin(facts(alias: "a"), keep: .seconds(60))
        maker.head(Self.id, Self.head)
        append(maker, "all of it", at: 0)
        try awaitBeginning(bench, other)
        let recorder = ReplayRecorder()
        _ = other.follow(Self.id, from: 0, recorder)
        try bench.until { recorder.text == "all of it" }
        var isRead: Bool?
        maker.isRead(Self.id) { isRead = $0 }
        try bench.until { isRead == true }
        other.stop(Self.id)
        try bench.turn(for: .seconds(1))
        maker.end(Self.id, .whole, keep: .milliseconds(100))
        try bench.until { recorder.isOver }
        #expect(recorder.ending == .whole && bench.events == ["up", "up"])
    }

    @Test func knowsWhetherAnybodyReadsIt() throws {
        let server = try RedisServer()
        let (bench, maker, other) = try pair(server)
        func isRead() throws -> Bool {
            var answer: Bool?
            maker.isRead(Self.id) { answer = $0 }
            #expect(answer == nil, "called from within")
            try bench.until { answer != nil }
            return answer == true
        }
        maker.begin(facts(), keep: .seconds(60))
        #expect(try !isRead())
        try awaitBeginning(bench, other)
        let subscription = other.follow(Self.id, from: 0, ReplayRecorder())
        try bench.until { (try? isRead()) == true }
        subscription.cancel()
        try bench.until { (try? isRead()) == false }
        server.kill()
        try bench.until { !maker.isAvailable }
        #expect(try !isRead())
    }

    // MARK: - Faults

    @Test func aHoleIsNeverReplayed() throws {
        let server = try RedisServer()
        let (bench, maker, other) = try pair(server)
        maker.begin(facts(), keep: .seconds(60))
        maker.head(Self.id, Self.head)
        append(maker, "first ", at: 0)
        try awaitBeginning(bench, other)
        let live = ReplayRecorder()
        _ = other.follow(Self.id, from: 0, live)
        try bench.until { live.text == "first " }
        server.kill()
        try bench.until { !maker.isAvailable && !other.isAvailable }
        append(maker, "lost ", at: 6)
        try server.restart()
        try bench.until { maker.isAvailable && other.isAvailable }
        append(maker, "third", at: 11)
        try bench.until { live.isOver }
        #expect(live.failure == .forgotten && live.text == "first ")
        maker.end(Self.id, .whole, keep: .seconds(60))
        // What stands behind the hole is as good as ever.
        for (position, failure) in [(0, ReplayFailure.forgotten), (6, .forgotten), (10, .forgotten), (11, nil)] {
            let recorder = ReplayRecorder()
            _ = other.follow(Self.id, from: position, recorder)
            try bench.until { recorder.isOver }
            #expect(recorder.failure == failure, "from \(position)")
            #expect(recorder.text == (failure == nil ? "third" : ""))
        }
        #expect(bench.events.contains("dropped 5"))
        #expect(bench.events.count { $0 == "up" } == 4 && bench.events.count { $0.hasPrefix("down") } == 2)
    }

    @Test func anEndThatRedisMissedIsToldAgain() throws {
        let server = try RedisServer()
        let (bench, maker, other) = try pair(server)
        maker.begin(facts(alias: "name"), keep: .seconds(60))
        maker.head(Self.id, Self.head)
        append(maker, "all", at: 0)
        try bench.turn(for: .milliseconds(50))
        server.kill()
        try bench.until { !maker.isAvailable && !other.isAvailable }
        maker.end(Self.id, .whole, keep: .seconds(60))
        try server.restart()
        try bench.until { maker.isAvailable && other.isAvailable }
        try bench.until { (try? find(bench, other, .alias("name")).get()?.isEnded == true) == true }
        let recorder = ReplayRecorder()
        _ = other.follow(Self.id, from: 0, recorder)
        try bench.until { recorder.isOver }
        #expect(recorder.failure == .forgotten && recorder.bytes.isEmpty)
    }

    @Test func aFrozenServerIsGivenUpAndReturnsWhenItAnswers() throws {
        let server = try RedisServer()
        let bench = try RedisBench()
        let spec = bench.spec(server.port) { $0.replyTimeout = .milliseconds(300) }
        let (maker, other) = (bench.store(spec), bench.store(spec))
        try bench.until { maker.isAvailable && other.isAvailable }
        maker.begin(facts(), keep: .seconds(60))
        server.freeze()
        var offset = 0
        let text = String(repeating: "x", count: 60_000)
        // Much more than may wait: none of it blocks, and none is kept beyond the bound.
        for _ in 0..<200 {
            append(maker, text, at: offset)
            offset += text.utf8.count
            try bench.loop.turn(maximumWait: 0)
        }
        try bench.until { !maker.isAvailable }
        #expect(bench.events.contains { $0.hasPrefix("dropped") } && bench.events.contains("down timeout"))
        let recorder = ReplayRecorder()
        try bench.until { !other.isAvailable }
        _ = other.follow(Self.id, from: 0, recorder)
        try bench.until { recorder.isOver }
        #expect(recorder.failure == .storeAway)
        guard case .failure(.storeAway) = try find(bench, other, .id(Self.id)) else {
            Issue.record("found, though Redis is away")
            return
        }
        server.thaw()
        try bench.until { maker.isAvailable && other.isAvailable }
    }

    @Test func aServerWithoutMemoryIsAway() throws {
        let server = try RedisServer()
        let (bench, maker, _) = try pair(server)
        let connection = try bench.connection(bench.spec(server.port))
        maker.begin(facts(), keep: .seconds(60))
        _ = try bench.ask(connection, ["CONFIG", "SET", "maxmemory", "1"])
        append(maker, "text", at: 0)
        try bench.until { !maker.isAvailable }
        try bench.turn(for: .milliseconds(700))
        #expect(bench.events.count { $0 == "down out_of_memory" } == 1, "told once, and not at each attempt")
        #expect(bench.events.count { $0 == "failed out_of_memory" } > 1)
        _ = try bench.ask(connection, ["CONFIG", "SET", "maxmemory", "0"])
        try bench.until { maker.isAvailable }
    }

    @Test func aReplicaIsAway() throws {
        let server = try RedisServer()
        let (bench, maker, _) = try pair(server)
        let connection = try bench.connection(bench.spec(server.port))
        _ = try bench.ask(connection, ["REPLICAOF", "127.0.0.1", "1"])
        maker.begin(facts(), keep: .seconds(60))
        try bench.until { bench.events.contains("down read_only") || bench.events.contains("down loading") }
        #expect(!maker.isAvailable)
    }

    @Test func aGenerationThatRedisLostIsToldAgain() throws {
        let server = try RedisServer()
        let (bench, maker, other) = try pair(server)
        let connection = try bench.connection(bench.spec(server.port))
        maker.begin(facts(alias: "name"), keep: .seconds(60))
        maker.head(Self.id, Self.head)
        append(maker, "lost", at: 0)
        try bench.turn(for: .milliseconds(50))
        _ = try bench.ask(connection, ["FLUSHALL"])
        append(maker, "also lost", at: 4)
        try bench.turn(for: .milliseconds(50))
        #expect(try bench.ask(connection, ["DBSIZE"]) == .integer(0), "a body without an expiry")
        try bench.until { (try? find(bench, other, .alias("name")).get()?.facts.id != nil) == true }
        append(maker, "there", at: 13)
        let recorder = ReplayRecorder()
        _ = other.follow(Self.id, from: 13, recorder)
        try bench.until { recorder.text == "there" }
    }
}
