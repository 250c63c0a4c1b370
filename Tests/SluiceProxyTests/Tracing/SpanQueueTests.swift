import SluiceBytes
import Testing

@testable import SluiceProxy

@Suite struct SpanQueueTests {
    private func spans(_ names: String...) -> [SpanFacts] {
        names.map { name in
            .server(
                ServerFacts(
                    traceID: "", spanID: name, parentID: "", state: "", flags: 0, start: Instant(nanoseconds: 0),
                    method: ""))
        }
    }

    private func names(_ pieces: [ArraySlice<SpanFacts>]) -> [String] {
        pieces.flatMap { $0 }.map { facts in
            guard case .server(let facts) = facts else { return "?" }
            return facts.spanID
        }
    }

    @Test func thoseOfOneExchangeComeInWholeAndLeaveInAnySize() {
        var queue = SpanQueue()
        let isTaken = queue.append(spans("a", "b", "c"), limit: 5)
        let isOver = queue.append(spans("d", "e", "f"), limit: 5)
        let fits = queue.append(spans("g", "h"), limit: 5)
        #expect(isTaken && !isOver && fits && queue.count == 5)
        let none = queue.next(0)
        #expect(none.isEmpty && queue.count == 5)
        let two = queue.next(2)
        #expect(names(two) == ["a", "b"] && queue.count == 3)
        let again = queue.append(spans("i"), limit: 5)
        #expect(again && queue.count == 4)
        let next = queue.next(2)
        #expect(names(next) == ["c", "g"])
        let rest = queue.next(100)
        #expect(names(rest) == ["h", "i"] && queue.count == 0)
        let empty = queue.next(1)
        #expect(empty.isEmpty && queue.count == 0)
    }
}
