import SluiceBytes
import Testing

@testable import SluiceProxy

@Suite struct ReplayLogTests {
    private static func bytes(_ range: Range<Int>) -> [UInt8] { range.map { UInt8(truncatingIfNeeded: $0 &* 7) } }

    private static func append(_ range: Range<Int>, to log: inout ReplayLog) { log.append(bytes(range).span) }

    /// All that can be read from `position` on, in portions of `limit`.
    private static func read(_ log: borrowing ReplayLog, from position: Int, limit: Int = 1 << 20) -> [UInt8] {
        var found: [UInt8] = []
        var at = position
        while case .bytes = log.reading(at: at) {
            let count = log.read(at: at, limit: limit) { span in
                span.withUnsafeBufferPointer { found.append(contentsOf: $0) }
                return span.count
            }
            at += count
        }
        return found
    }

    @Test func saysWhatStandsAtAPosition() {
        var log = ReplayLog(limitBytes: 1 << 20)
        let empty = log.reading(at: 0)
        #expect(empty == .atEnd)
        Self.append(0..<100, to: &log)
        let readings = [log.reading(at: 0), log.reading(at: 60), log.reading(at: 100), log.reading(at: 101)]
        #expect(readings == [.bytes(100), .bytes(40), .atEnd, .beyond])
        log.forget(upTo: 60)
        let later = [log.reading(at: 59), log.reading(at: 60)]
        #expect(later == [.forgotten, .bytes(40)])
    }

    @Test func readsTheSameFromEverywhereWhateverThePortions() {
        var log = ReplayLog(limitBytes: 64 << 10)
        var end = 0
        for size in [1, 1000, 15_383, 1, 16_384, 7000, 0, 9000] {
            Self.append(end..<(end + size), to: &log)
            end += size
        }
        for position in stride(from: 0, through: end, by: 997) {
            for limit in [1000, 1 << 20] {
                let found = Self.read(log, from: position, limit: limit)
                #expect(found == Self.bytes(position..<end), "\(position)")
            }
        }
    }

    @Test func keepsItsLimitAndWhatIsNeeded() {
        var log = ReplayLog(limitBytes: 64 << 10)
        var most = 0
        for round in 0..<1000 {
            Self.append((round * 700)..<((round + 1) * 700), to: &log)
            log.trim(needed: .max)
            most = max(most, log.storageBytes)
        }
        let (start, end) = (log.start, log.end)
        #expect(end == 700_000 && start == end - 64 << 10)
        #expect(most <= 64 << 10 + 2 * (16 << 10), "\(most)")
        let found = Self.read(log, from: start)
        #expect(found == Self.bytes(start..<end))
        Self.append(700_000..<900_000, to: &log)
        log.trim(needed: 700_000)
        let kept = log.start
        #expect(kept == 700_000)
    }

    @Test func shrinksFromTheFront() {
        var log = ReplayLog(limitBytes: 1 << 20)
        Self.append(0..<100_000, to: &log)
        let before = log.storageBytes
        log.shrink(by: 1, needed: 100)
        let untouched = log.start
        log.shrink(by: 20_000, needed: .max)
        let (start, after) = (log.start, log.storageBytes)
        #expect(untouched == 0 && start == 32 << 10 && before - after == 32 << 10)
        log.shrink(by: 1 << 30, needed: .max)
        let rest = Self.read(log, from: log.start)
        #expect(rest == Self.bytes(log.start..<100_000) && !rest.isEmpty)
    }

    @Test func givesAllMemoryBack() {
        var log = ReplayLog(limitBytes: 1 << 20)
        Self.append(0..<(16 << 10) * 3, to: &log)
        log.forget(upTo: log.end)
        let (storage, end) = (log.storageBytes, log.end)
        #expect(storage == 0 && end == 48 << 10)
        Self.append(0..<10, to: &log)
        let found = Self.read(log, from: end)
        #expect(found == Self.bytes(0..<10))
    }
}
