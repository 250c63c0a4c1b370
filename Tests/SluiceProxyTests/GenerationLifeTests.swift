import SluiceBytes
import SluiceConfig
import Testing

@testable import SluiceProxy

@Suite struct GenerationLifeTests {
    private let start = Instant(nanoseconds: 1_000_000_000_000)

    private func life(drains: Bool = false) -> GenerationLife {
        var spec = ResumeSpec()
        (spec.ttl, spec.grace) = (.seconds(60), .seconds(30))
        return GenerationLife(spec, drains: drains)
    }

    @Test func runsForItsReadersAndALittleLonger() {
        var life = life()
        life.readersChanged(to: 1, at: start)
        #expect(life.next.at == .distantFuture)
        life.readersChanged(to: 0, at: start + .seconds(5))
        #expect(life.next == (start + .seconds(35), .abandon))
        life.readersChanged(to: 0, at: start + .seconds(9))
        #expect(life.next.at == start + .seconds(35))
        life.readersChanged(to: 2, at: start + .seconds(10))
        #expect(life.next.at == .distantFuture)
        life.readersChanged(to: 0, at: start + .seconds(20))
        #expect(life.next == (start + .seconds(50), .abandon))
    }

    @Test func isKeptAfterItsEndWhoeverReads() {
        var life = life()
        life.readersChanged(to: 1, at: start)
        life.end(at: start + .seconds(1))
        #expect(life.next == (start + .seconds(61), .forget))
        life.end(at: start + .seconds(8))
        life.readersChanged(to: 0, at: start + .seconds(9))
        #expect(life.next == (start + .seconds(61), .forget))
    }

    @Test func runsToItsEndWhereTheRouteWantsThat() {
        var life = life(drains: true)
        life.readersChanged(to: 0, at: start)
        #expect(life.next.at == .distantFuture)
        life.drain()
        #expect(life.next == (start, .abandon))
    }

    @Test func aTaskThatOthersCanAskForOutlivesADrain() {
        var life = GenerationLife(ResumeSpec(), drains: true, outlivesDrain: true)
        life.readersChanged(to: 0, at: start)
        life.drain()
        #expect(life.next.at == .distantFuture)
        life.end(at: start + .seconds(9))
        #expect(life.next == (start + .seconds(9), .forget))
    }

    @Test func aDrainWaitsForReadersOnly() {
        var life = life()
        life.readersChanged(to: 1, at: start)
        life.drain()
        #expect(life.next.at == .distantFuture)
        life.readersChanged(to: 0, at: start + .seconds(3))
        #expect(life.next == (start + .seconds(3), .abandon))
        life.end(at: start + .seconds(3))
        #expect(life.next == (start + .seconds(3), .forget))
    }
}

@Suite struct StreamNameTests {
    @Test func namesHaveBounds() {
        #expect(StreamName.isAcceptable("chat:1~") && StreamName.isAcceptable(String(repeating: "x", count: 128)))
        for name in ["", String(repeating: "x", count: 129), "a b", "a/b", "ä", "a\n"] {
            #expect(!StreamName.isAcceptable(name), "\(name)")
        }
        #expect(StreamName.decoded("a%3Ab%25") == "a:b%")
        for segment in ["a%2Fb", "a%2", "%zz", "%20", "%ff", "%00", String(repeating: "%41", count: 129)] {
            #expect(StreamName.decoded(segment) == nil, "\(segment)")
        }
    }

    @Test func eventIDs() {
        let id = "0123456789abcdefghij-_"
        typealias EventID = StreamName.EventID
        #expect(StreamName.eventID(id + "/17") == EventID(generation: id, position: .byte(17)))
        #expect(StreamName.eventID(id + "/end") == EventID(generation: id, position: .end))
        #expect(StreamName.eventID("17") == EventID(generation: "17", position: .none))
        for text in [
            id + "/", id + "/-1", id + "/1x", id + "/" + String(repeating: "9", count: 30), "x/17", id + "/1/2",
        ] {
            #expect(StreamName.eventID(text)?.position == StreamName.EventID.Position.none, "\(text)")
        }
        for text in ["", "a b", "ä", String(repeating: "x", count: 129)] {
            #expect(StreamName.eventID(text) == nil, "\(text)")
        }
    }

    @Test func idsAreTheirOwnBase64() {
        #expect(Base64URL.encode([]) == "" && Base64URL.encode([0xFB, 0xFF]) == "-_8")
        let ids = (0..<100).map { _ in Generation.makeID() }
        #expect(Set(ids).count == 100 && ids.allSatisfy { StreamName.isID($0) })
        #expect(ids.allSatisfy { Base64URL.decode($0.utf8)?.count == 16 })
    }
}
