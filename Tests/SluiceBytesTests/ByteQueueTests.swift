import SluiceBytes
import Testing

@Suite struct ByteQueueTests {
    private func text(_ queue: borrowing ByteQueue) -> String {
        queue.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    @Test func appendsAndConsumesInOrder() {
        var queue = ByteQueue()
        for round in 0..<1000 {
            queue.append("item \(round);")
            if round % 3 == 0 { queue.consume(min(queue.count, 11)) }
        }
        let before = queue.count
        queue.append("end")
        let after = queue.count
        #expect(after == before + 3)
        queue.consume(before)
        let written = text(queue)
        #expect(written == "end")
    }

    @Test func keepsWhatIsUnreadWhenStorageSlidesOrGrows() {
        var queue = ByteQueue()
        var expected: [UInt8] = []
        var seed: UInt64 = 7
        for _ in 0..<5000 {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1
            let run = [UInt8](repeating: UInt8(truncatingIfNeeded: seed >> 40), count: Int(seed >> 56))
            queue.append(run)
            expected += run
            let taken = min(queue.count, Int(seed >> 57) * 2)
            queue.consume(taken)
            expected.removeFirst(taken)
            let left = queue.count
            #expect(left == expected.count)
        }
        let rest = queue.withUnsafeBytes { Array($0) }
        #expect(rest == expected)
    }

    @Test func writesNumbers() {
        var queue = ByteQueue()
        for value in [0, 9, 10, -1, Int.max, Int.min] {
            queue.append(decimal: value)
            queue.append(" ")
        }
        for value in [0, 15, 16, 0xBEEF] {
            queue.append(hex: value)
            queue.append(" ")
        }
        let written = text(queue)
        #expect(written == "0 9 10 -1 \(Int.max) \(Int.min) 0 f 10 beef ")
    }

    @Test(arguments: [0, 1, 5]) func putsAPrefixBeforeWhatFollowsIt(already: Int) {
        var queue = ByteQueue()
        queue.append(String(repeating: "x", count: already))
        let mark = queue.open(gap: 8)
        queue.append("body")
        let count = queue.countSince(mark, gap: 8)
        #expect(count == 4)
        let prefix = Array("4:".utf8)
        queue.close(mark, gap: 8, prefix: prefix.span)
        let written = text(queue)
        #expect(written == String(repeating: "x", count: already) + "4:body")
    }

    @Test func takesBackAnOpenedRun() {
        var queue = ByteQueue()
        queue.append("kept")
        let mark = queue.open(gap: 8)
        queue.append("dropped")
        queue.cancel(mark)
        let written = text(queue)
        #expect(written == "kept")
    }

    @Test func movesBetweenQueues() {
        var left = ByteQueue()
        var right = ByteQueue()
        right.append("one")
        left.append(moving: &right)
        right.append(" two")
        left.append(moving: &right)
        let rest = right.count
        #expect(rest == 0)
        let written = text(left)
        #expect(written == "one two")
    }
}

@Suite struct ASCIITests {
    @Test(arguments: [("0", 0), ("42", 42), ("9223372036854775807", Int.max)]) func decimal(text: String, value: Int) {
        let bytes = Array(text.utf8)
        let parsed = ASCII.decimal(bytes.span)
        #expect(parsed == value)
    }

    @Test(arguments: ["", "-1", "+1", " 1", "1 ", "9223372036854775808", "99999999999999999999", "0x1", "1a"])
    func notDecimal(text: String) {
        let bytes = Array(text.utf8)
        let parsed = ASCII.decimal(bytes.span)
        #expect(parsed == nil)
    }

    @Test func foldsLettersOnly() {
        for byte in UInt8.min...UInt8.max {
            let isUpper = (0x41...0x5A).contains(byte)
            #expect(ASCII.lowercase(byte) == (isUpper ? byte + 32 : byte))
        }
        let name = Array("Content-TYPE".utf8)
        let (folded, exact) = (ASCII.equalFolded(name.span, "content-type"), ASCII.equal(name.span, "content-type"))
        #expect(folded && !exact)
    }
}
