import SluiceIO
import Testing

@testable import SluiceProxy

@Suite struct ClientBudgetTests {
    private func peer(_ text: String) throws -> SocketAddress { try #require(SocketAddress(text)) }

    @Test func eachAddressHasItsShare() throws {
        let budget = ClientBudget(limit: 2)
        let (first, other) = (try peer("192.0.2.1:1000"), try peer("192.0.2.2:1000"))
        #expect(budget.take(first))
        #expect(budget.take(try peer("192.0.2.1:2000")))
        #expect(!budget.take(first))
        #expect(budget.take(other))
        budget.give(first)
        #expect(budget.take(first))
        #expect(!budget.take(first))
    }

    /// One subscriber has a whole /64 to choose addresses from.
    @Test func version6IsCountedByItsNetwork() throws {
        let budget = ClientBudget(limit: 1)
        #expect(budget.take(try peer("[2001:db8:1:2::1]:1")))
        #expect(!budget.take(try peer("[2001:db8:1:2:ffff::9]:1")))
        #expect(budget.take(try peer("[2001:db8:1:3::1]:1")))
    }

    @Test func neighboursOnTheMachineAreNotCounted() {
        let budget = ClientBudget(limit: 1)
        for _ in 0..<3 { #expect(budget.take(.unix(""))) }
    }

    @Test func aLimitThatComesLaterCountsFromThenOn() throws {
        let budget = ClientBudget(limit: 0)
        let client = try peer("192.0.2.1:1")
        #expect(budget.take(client) && budget.take(client))
        budget.change(limit: 1)
        #expect(budget.take(client))
        budget.give(client)
        budget.give(client)
        #expect(budget.take(client))
        #expect(!budget.take(client))
    }
}
