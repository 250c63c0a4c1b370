import SluiceBytes
import Testing

@testable import SluiceProxy

@Suite struct ProbeDeskTests {
    private let now = Instant(nanoseconds: 7)

    @Test func noMoreRunThanMay() {
        let desk = ProbeDesk()
        #expect(desk.begin("a", limit: 2, at: now) && desk.begin("b", limit: 2, at: now))
        #expect(!desk.begin("c", limit: 2, at: now))
        desk.end("a", .done, events: 3, at: now)
        #expect(desk.begin("c", limit: 2, at: now))
        // An id that is known, or was, is nobody else's.
        #expect(!desk.begin("a", limit: 9, at: now))
    }

    @Test func tellsWhatBecameOfOneAndCountsItsEndOnce() {
        let desk = ProbeDesk()
        #expect(desk.look("a") == nil)
        _ = desk.begin("a", limit: 1, at: now)
        #expect(desk.look("a")?.state == .running)
        desk.end("a", .gone, events: 3, at: now + .seconds(1))
        desk.end("a", .done, events: 9, at: now + .seconds(2))
        desk.end("unknown", .done, events: 9, at: now)
        #expect(desk.look("a")?.state == .gone && desk.look("a")?.events == 3)
        #expect(desk.look("a")?.since == now + .seconds(1))
        #expect(desk.begin("b", limit: 1, at: now) && !desk.begin("c", limit: 1, at: now))
    }

    @Test func forgetsTheOldestButNoneThatRuns() {
        let desk = ProbeDesk()
        _ = desk.begin("runs", limit: 9, at: now)
        for number in 0..<400 {
            #expect(desk.begin("n\(number)", limit: 9, at: now))
            desk.end("n\(number)", .done, events: 0, at: now)
        }
        #expect(desk.look("n0") == nil && desk.look("n399") != nil && desk.look("runs")?.state == .running)
    }
}
