import SluiceBytes
import Testing

@testable import SluiceIO

@Suite struct TLSTicketTests {
    private let start = Instant(nanoseconds: 1)
    private func find(_ keys: TicketKeys, _ name: [UInt8], _ now: Instant) -> Bool? {
        name.withUnsafeBufferPointer { keys.key(named: $0, now: now)?.isReplaced }
    }

    @Test func aKeySealsForOnePeriodAndOpensForTwo() throws {
        let keys = try #require(TicketKeys(now: start))
        let first = keys.current(now: start).name
        let justBefore = Instant(nanoseconds: (start + TicketKeys.period).nanoseconds - 1)
        #expect(keys.current(now: justBefore).name == first)
        #expect(find(keys, first, justBefore) == false)
        let second = keys.current(now: start + TicketKeys.period).name
        #expect(second != first)
        #expect(find(keys, first, start + TicketKeys.period) == true)
        #expect(find(keys, second, start + TicketKeys.period) == false)
        let later = start + TicketKeys.period + TicketKeys.period
        #expect(find(keys, first, later) == nil)
        #expect(find(keys, second, later) == true)
        #expect(find(keys, [UInt8](repeating: 0, count: 16), later) == nil)
    }

    @Test func aKeyThatNobodyUsedForLongIsForgotten() throws {
        let keys = try #require(TicketKeys(now: start))
        let first = keys.current(now: start).name
        let later = start + TicketKeys.period + TicketKeys.period
        #expect(find(keys, first, later) == nil)
        #expect(keys.current(now: later).name != first)
    }

    /// Time passes for the keys between two sessions, as it would in a process that runs for days.
    @Test(arguments: [("TLSv1.2", 1, true), ("TLSv1.3", 1, true), ("TLSv1.2", 2, false), ("TLSv1.3", 2, false)])
    func ticketsOutliveOneChangeOfKeys(version: String, periods: Int, resumes: Bool) throws {
        let server = try TLSEngineTests.server()
        let client = try version == "TLSv1.2" ? TLSEngineTests.olderClient() : TLSEngineTests.client()
        let keys = try #require(server.ticketKeys)
        let first = try TLSPair(server, client)
        first.connect()
        #expect(first.bothAreUp)
        // A change is asked for ahead of its time; the keys' clock never goes back, so they stay changed.
        var now = EventLoop.clock()
        for _ in 0..<periods {
            now = now + TicketKeys.period
            _ = keys.current(now: now)
        }
        let second = try TLSPair(server, client)
        second.connect()
        #expect(second.bothAreUp && second.server.isResumed == resumes)
    }
}
