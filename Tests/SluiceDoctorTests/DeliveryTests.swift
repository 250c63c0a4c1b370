import SluiceBytes
import Testing

@testable import SluiceDoctor

/// Streams whose events left and came when the test says.
@Suite struct DeliveryTests {
    /// `arrival` says for each event, in milliseconds, when it came; they leave `gap` ms apart.
    private func events(_ count: Int, gap: Int, bytes: Int = 100, arrival: (Int) -> Int) -> [Observation.Event] {
        (0..<count).map { index in
            Observation.Event(
                number: index + 1, sent: index * gap * 1_000,
                arrived: Instant(nanoseconds: 5_000_000_000 + UInt64(arrival(index)) * 1_000_000),
                bytesBefore: (index + 1) * bytes)
        }
    }

    @Test func aSteadyStreamIsPromptHoweverFarAwayItIs() {
        for distance in [0, 3, 250, 4_000] {
            let delivery = Delivery(events(20, gap: 100) { $0 * 100 + distance })
            #expect(delivery.verdict == .prompt && delivery.medianLateness == .zero && delivery.arrivals == 20)
            #expect(delivery.span == .milliseconds(1_900))
        }
    }

    @Test func aHiccupIsNoBuffer() {
        // The network stalls for 700 ms in the middle, and then brings what has waited at once.
        let delivery = Delivery(events(20, gap: 100) { $0 >= 8 && $0 < 15 ? 1_500 : $0 * 100 })
        #expect(delivery.verdict == .prompt && delivery.worstLateness == .milliseconds(700))
    }

    @Test func whatComesAllAtOnceIsHeld() {
        let delivery = Delivery(events(20, gap: 100) { _ in 1_950 })
        #expect(delivery.verdict == .held && delivery.arrivals == 1 && delivery.mergedShare == 1)
        #expect(delivery.worstLateness == .milliseconds(1_900) && delivery.blockBytes == nil)
    }

    @Test(arguments: [4096, 8192]) func blocksHaveTheSizeOfTheBuffer(size: Int) {
        // An event comes when the buffer that its last byte lies in is full.
        let bytes = 1_060
        let delivery = Delivery(
            events(40, gap: 40, bytes: bytes) { index in
                let full = ((index + 1) * bytes + size - 1) / size * size
                return (full + bytes - 1) / bytes * 40
            })
        #expect(delivery.blockBytes == size, "\(delivery)")
    }

    @Test func groupsThatComeSoonAreMerged() {
        // Each waits for the next full 200 ms.
        let delivery = Delivery(events(48, gap: 40) { ($0 * 40 / 200 + 1) * 200 })
        #expect(delivery.verdict == .merged && delivery.medianLateness < Delivery.tolerance, "\(delivery)")
    }

    @Test func theSlowEventsDecide() {
        // A buffer of 4 KiB: tokens wait for 1.6 s, what follows fills it at once.
        let slow = events(16, gap: 100) { _ in 1_600 }
        let quick = (16..<48).map { index in
            Observation.Event(
                number: index + 1, sent: (1_600 + (index - 16) * 40) * 1_000,
                arrived: Instant(nanoseconds: 5_000_000_000 + UInt64(1_600 + (index - 16) / 4 * 160) * 1_000_000),
                bytesBefore: 1_600 + (index - 15) * 1_060)
        }
        #expect(Delivery(slow + quick, slow: 16).verdict == .held)
        #expect(Delivery(slow + quick, slow: 16).blockBytes == 4096)
        #expect(Delivery(slow + quick).verdict != .held)
    }

    @Test func nothingIsSaidOfNothing() {
        #expect(Delivery([]).verdict == .prompt)
        #expect(Delivery(events(1, gap: 1) { $0 }).count == 0)
    }
}
