import SluiceBytes
import Testing

@testable import SluiceStreams

/// What paces text for a typing effect, under a clock that the test moves.
@Suite struct SmootherTests {
    /// A smoother with a clock; what it lets go of is noted with the time, in milliseconds.
    private struct Player: ~Copyable {
        var smoother: Smoother
        var now = Instant(nanoseconds: 1_000_000_000)
        var transcript = Transcript()
        var times: [UInt64] = []

        init(_ pace: Smoother.Pace, limitBytes: Int = 64 << 10) {
            smoother = Smoother(pace, limitBytes: limitBytes)
        }

        var lines: [String] { transcript.lines }
        var milliseconds: UInt64 { now.nanoseconds / 1_000_000 - 1000 }

        /// When each "word" left.
        var wordTimes: [UInt64] {
            zip(lines, times).flatMap { line, time in
                Array(repeating: time, count: line.split(separator: " ").count { $0 == "word" })
            }
        }

        mutating func take(_ fill: (inout EventBatch) -> Void) {
            var batch = EventBatch()
            fill(&batch)
            var out = EventBatch()
            smoother.take(batch, at: now, into: &out)
            note(out)
        }

        mutating func text(_ text: String, choice: Int = 0) {
            take { batch in
                let range = batch.store(text)
                batch.append(.text(choice: choice, range))
            }
        }

        mutating func reasoning(_ text: String) {
            take { batch in
                let range = batch.store(text)
                batch.append(.reasoning(choice: 0, range))
            }
        }

        /// The loop: whatever falls due until then is done at its time.
        mutating func wait(_ milliseconds: UInt64) {
            let end = now + .milliseconds(milliseconds)
            while let due = smoother.due, due <= end {
                now = max(now, due)
                var out = EventBatch()
                smoother.advance(to: now, into: &out)
                let isIdle = out.isEmpty
                #expect(!isIdle, "a timer that does nothing")
                if isIdle { break }
                note(out)
            }
            now = end
        }

        mutating func releaseAll() {
            var out = EventBatch()
            smoother.releaseAll(into: &out)
            note(out)
        }

        private mutating func note(_ out: borrowing EventBatch) {
            transcript.take(out)
            while times.count < transcript.lines.count { times.append(milliseconds) }
        }
    }

    private static let every20 = Smoother.Pace.interval(.milliseconds(20))

    // MARK: - Words

    @Test func aWordLeavesWhenItIsWhole() {
        var player = Player(.word)
        player.text("Hel")
        #expect(player.lines == ["text 0 Hel"], "the first text does not wait")
        player.text("lo")
        player.text(", big")
        #expect(player.lines == ["text 0 Hel", "text 0 lo, "])
        player.text(" wor")
        player.text("ld\n\n  an")
        #expect(Array(player.lines.dropFirst(2)) == ["text 0 big ", "text 0 world\n\n  "])
        player.take { $0.append(.finish(choice: 0, .stop, raw: .empty)) }
        #expect(Array(player.lines.suffix(2)) == ["text 0 an", "finish 0 stop "])
        #expect(player.times.allSatisfy { $0 == 0 }, "no timer had a part in it")
    }

    @Test func wordsThatCameTogetherLeaveTogether() {
        var player = Player(.word)
        player.text("one two\tthree four")
        player.text("ty five")
        #expect(player.lines == ["text 0 one two\tthree ", "text 0 fourty "])
    }

    @Test func anUnfinishedWordLeavesAfterAWhile() {
        var player = Player(.word)
        player.text("a ")
        player.text("wor")
        player.wait(99)
        #expect(player.lines == ["text 0 a "])
        player.wait(1)
        #expect(player.lines == ["text 0 a ", "text 0 wor"] && player.times == [0, 100])
        let due = player.smoother.due
        #expect(due == nil, "nothing is held, so nothing is due")
    }

    @Test func aWordThatTricklesInWaitsForASecondAtMost() {
        var player = Player(.word)
        player.text("a ")
        for _ in 0..<60 {
            player.text("x")
            player.wait(50)
        }
        let first = player.times[1]
        #expect((1000...1100).contains(first), "\(first) ms")
    }

    @Test(arguments: [
        ("你好,世界。", ["你", "好", ",", "世", "界", "。"]),
        ("日本 語", ["日", "本 ", "語"]),
        ("GPTは良い ", ["GPT", "は", "良", "い "]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("naïve café ", ["naïve ", "café "]),
        ("👩‍👩‍👧‍👦🇩🇪 ok ", ["👩‍👩‍👧‍👦🇩🇪 ", "ok "]),
        ("\u{304B}\u{3099}x ", ["\u{304B}\u{3099}", "x "]),
        (" lead ", [" lead "]),
        ("two\u{3000}words\u{00A0}", ["two\u{3000}", "words\u{00A0}"]),
    ]) func knowsWhereAWordEnds(text: String, pieces: [String]) {
        var found: [String] = []
        var rest = Array(text.utf8)
        while !rest.isEmpty {
            let count = WordBreaks.first(in: rest.span) ?? rest.count
            found.append(String(decoding: rest[..<count], as: UTF8.self))
            rest.removeFirst(count)
        }
        #expect(found == pieces)
    }

    @Test func whatHasNoSpacesLeavesInPieces() {
        var player = Player(.word)
        player.text("x ")
        let long = String(repeating: "abcdé", count: 40)
        player.text(long)
        let pieces = player.lines.dropFirst().map { String($0.dropFirst(7)) }
        #expect(pieces.count == 1 && pieces.allSatisfy { (3 * 60...3 * 64).contains($0.utf8.count) }, "\(pieces)")
        player.releaseAll()
        #expect(player.transcript.text[0] == "x " + long)
    }

    @Test func aLongJoinedCharacterIsNotSplit() {
        let family = "👩‍👩‍👧‍👦"
        let text = String(repeating: family, count: 9)
        var rest = Array(text.utf8)
        while let count = WordBreaks.first(in: rest.span) {
            let piece = String(decoding: rest[..<count], as: UTF8.self)
            #expect(piece.allSatisfy { $0 == Character(family) }, "\(piece)")
            rest.removeFirst(count)
        }
    }

    /// Bytes that no decoder makes harm nobody.
    @Test func survivesWhatIsNoText() {
        for seed in UInt64(1)...200 {
            var generator = Numbers(seed)
            var bytes = (0..<Int(generator.next() % 200)).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
            while !bytes.isEmpty {
                guard let count = WordBreaks.first(in: bytes.span) else { break }
                #expect(count > 0 && count <= bytes.count)
                bytes.removeFirst(max(1, min(count, bytes.count)))
            }
        }
    }

    // MARK: - An interval

    @Test func oneWordEachInterval() {
        var player = Player(Self.every20)
        player.text("one two three four ")
        #expect(player.lines == ["text 0 one "])
        player.wait(200)
        #expect(player.lines == ["text 0 one ", "text 0 two ", "text 0 three ", "text 0 four "])
        #expect(player.times == [0, 20, 40, 60])
        player.text("five six ")
        #expect(player.lines.last == "text 0 five ", "after a pause a word need not wait")
        player.text("seven ")
        player.wait(100)
        #expect(player.times.suffix(3) == [200, 220, 240])
    }

    @Test(arguments: [5, 20, 100, 400, 1000] as [UInt64]) func nothingWaitsMuchLongerThanASecond(interval: UInt64) {
        var player = Player(.interval(.milliseconds(interval)))
        var came: [UInt64] = []
        var generator = Numbers(interval)
        for _ in 0..<400 {
            let count = Int(generator.next() % 40)
            for _ in 0..<count { came.append(player.milliseconds) }
            if count > 0 { player.text(String(repeating: "word ", count: count)) }
            player.wait(generator.next() % 120)
        }
        player.wait(5000)
        let left = player.wordTimes
        #expect(left.count == came.count)
        let longest = zip(left, came).map { $0 - $1 }.max() ?? 0
        #expect(longest <= 1000 + 2 * interval, "\(longest) ms")
    }

    @Test func aBurstIsSpreadOverTheSecond() {
        var player = Player(Self.every20)
        player.text(String(repeating: "word ", count: 1000))
        player.wait(100)
        let early = player.wordTimes.count
        #expect((60...200).contains(early), "\(early) words in the first tenth")
        player.wait(920)
        #expect(player.wordTimes.count == 1000)
        let sizes = Dictionary(grouping: player.wordTimes) { $0 }.mapValues(\.count)
        #expect((sizes.values.max() ?? 0) <= 25, "no lump in it")
        #expect(player.lines.count <= 52, "one event each tick")
    }

    @Test func aLongStreamThatNeverCatchesUpStaysSmall() {
        var player = Player(Self.every20, limitBytes: 8 << 10)
        var sent = 0
        for _ in 0..<3000 {
            player.text("some words and more of them ")
            sent += 28
            let held = player.smoother.heldBytes
            #expect(held <= 8 << 10)
            player.wait(15)
        }
        player.releaseAll()
        #expect(player.transcript.text[0]?.utf8.count == sent)
    }

    @Test func aClientThatWasBehindGetsWhatItMissed() {
        var player = Player(Self.every20)
        player.text(String(repeating: "word ", count: 50))
        // It takes nothing: no tick is carried out.
        player.now = player.now + .seconds(1)
        player.wait(100)
        #expect(player.wordTimes.count == 50)
    }

    // MARK: - Order and bounds

    @Test func whatIsNoTextLetsAllTextGoBeforeIt() {
        let events: [(TokenEvent, String)] = [
            (.toolCallStart(choice: 0, index: 0, id: .empty, name: .empty), "call 0 0  "),
            (.finish(choice: 0, .stop, raw: .empty), "finish 0 stop "),
            (.error(.overloaded, message: .empty, type: .empty, retryAfterSeconds: 3), "error overloaded  "),
            (.end, "end"),
        ]
        for pace in [Smoother.Pace.word, Self.every20] {
            for (event, line) in events {
                var player = Player(pace)
                player.text("one two three fo")
                player.take { $0.append(event) }
                let texts =
                    pace == .word ? ["text 0 one two three ", "text 0 fo"] : ["text 0 one ", "text 0 two three fo"]
                #expect(player.lines == texts + [line])
                let (isEmpty, due) = (player.smoother.isEmpty, player.smoother.due)
                #expect(isEmpty && due == nil)
            }
        }
    }

    @Test func whatOnlyStandsBetweenTextsWaitsItsTurn() {
        var player = Player(Self.every20)
        player.reasoning("think hard ")
        player.take { batch in
            let proof = batch.store("proof")
            batch.append(.reasoningSignature(choice: 0, proof))
            batch.append(.source(url: batch.store("u"), title: .empty))
            batch.append(.ping)
        }
        player.text("so it is")
        #expect(player.lines == ["reasoning 0 think ", "ping"])
        player.wait(20)
        #expect(Array(player.lines.dropFirst(2)) == ["reasoning 0 hard ", "signature 0 proof", "source u "])
        player.wait(40)
        #expect(Array(player.lines.suffix(2)) == ["text 0 so ", "text 0 it "])
        player.wait(200)
        #expect(player.lines.last == "text 0 is")
    }

    @Test func aCountWithEachTokenPartsNoWords() {
        var player = Player(.word)
        for (index, token) in ["a ", "won", "der", "ful ", "day"].enumerated() {
            player.text(token)
            player.take { $0.append(.usage(Usage(output: index))) }
        }
        func counted(_ count: Int) -> String { "usage \(Usage(output: count))" }
        // Behind the text that it counts, and before what comes next.
        #expect(player.lines == ["text 0 a ", counted(0), "text 0 wonderful ", counted(2), counted(3)])
        player.take { $0.append(.finish(choice: 0, .stop, raw: .empty)) }
        #expect(Array(player.lines.suffix(3)) == ["text 0 day", counted(4), "finish 0 stop "])
    }

    @Test func aWordEndsWhereReasoningDoes() {
        var player = Player(.word)
        player.reasoning("so")
        player.reasoning("lved")
        player.text("The ")
        #expect(player.lines == ["reasoning 0 so", "reasoning 0 lved", "text 0 The "])
    }

    @Test func choicesKeepTheirOrder() {
        var player = Player(.word)
        for (choice, text) in [(0, "a "), (0, "one"), (1, "uno"), (0, " two"), (1, " dos")] {
            player.text(text, choice: choice)
        }
        player.releaseAll()
        #expect(player.lines == ["text 0 a ", "text 0 one", "text 1 uno", "text 0  two", "text 1  dos"])
    }

    @Test func theBoundHoldsForEventsToo() {
        var player = Player(Self.every20, limitBytes: 4096)
        player.text("one two three ")
        for _ in 0..<1000 {
            player.take { $0.append(.source(url: $0.store("u"), title: .empty)) }
            player.text("word ")
            let held = player.smoother.heldBytes
            #expect(held <= 4096)
        }
        player.releaseAll()
        #expect(player.lines.count { $0 == "source u " } == 1000 && player.transcript.text[0]?.utf8.count == 14 + 5000)
    }

    /// Whatever is cut where and comes when, the reader gets the same texts, and events in the same order.
    @Test func noCutAndNoTimingChangesWhatIsSaid() {
        let text = "Hello,  wörld!\n\n你好 👩‍👩‍👧‍👦 " + String(repeating: "é", count: 100) + " สวัสดี end"
        let scalars = Array(text.unicodeScalars)
        for seed in UInt64(1)...300 {
            var generator = Numbers(seed)
            let interval = Interval.milliseconds(5 + generator.next() % 200)
            var player = Player(seed % 2 == 0 ? .word : .interval(interval), limitBytes: seed % 5 == 0 ? 200 : 64 << 10)
            var plain = Transcript()
            var position = 0
            while position < scalars.count {
                let count = min(scalars.count - position, 1 + Int(generator.next() % 12))
                let piece = String(String.UnicodeScalarView(scalars[position..<position + count]))
                let (kind, choice) = (generator.next() % 8, Int(generator.next() % 2))
                func fill(_ batch: inout EventBatch) {
                    let range = batch.store(piece)
                    batch.append(kind < 2 ? .reasoning(choice: choice, range) : .text(choice: choice, range))
                    if kind == 3 { batch.append(.usage(Usage(output: position))) }
                    if kind == 4 { batch.append(.toolCallArguments(choice: 0, index: 0, batch.store("{}"))) }
                    if kind == 5 { batch.append(.source(url: batch.store("u\(position)"), title: .empty)) }
                }
                var batch = EventBatch()
                fill(&batch)
                plain.take(batch)
                player.take(fill)
                player.wait(generator.next() % 90)
                position += count
            }
            player.releaseAll()
            let isSame = Self.joined(player.lines) == Self.joined(plain.lines)
            #expect(isSame && player.transcript.usage == plain.usage, "seed \(seed)")
        }
    }

    /// Lines of one kind that follow each other, as one, without counts, which may come behind more text. By scalars: a piece may begin with a mark, which Swift takes for a part of
    /// the character before it.
    private static func joined(_ lines: [String]) -> [[Unicode.Scalar]] {
        var result: [[Unicode.Scalar]] = []
        var last: [Unicode.Scalar] = []
        for line in lines.filter({ !$0.hasPrefix("usage") }).map({ Array($0.unicodeScalars) }) {
            let length = line.first == "t" ? 7 : line.starts(with: "reasoning".unicodeScalars) ? 12 : 0
            let kind = Array(line[..<length])
            if length > 0, kind == last {
                result[result.count - 1] += line[length...]
            } else {
                result.append(line)
            }
            last = kind
        }
        return result
    }

    // MARK: - In a bridge

    private static let wire =
        ["Hel", "lo, wor", "ld and ", "all ", "of it"].map {
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\($0)\"}}]}\n\n"
        }.joined()

    private func bridge(_ format: StreamFormat, _ pace: Smoother.Pace) throws -> StreamBridge {
        let encoder = try #require(StreamEncoders.make(format, options: EncoderOptions()))
        var bridge = StreamBridge(decoder: StreamDecoders.make(.openAIChat, eventBytes: 4096), encoder: encoder)
        bridge.smooth(pace, limitBytes: 64 << 10)
        return bridge
    }

    /// Without a timer the bytes themselves are the same, however the network cut the stream.
    @Test func wordsAreTheSameForEveryCut() throws {
        let bytes = Array(
            (Self.wire + "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n").utf8)
        var whole = ""
        for cut in 0...bytes.count {
            var bridge = try bridge(.sseText, .word)
            var batch = EventBatch()
            var out = ByteQueue()
            try bridge.consume(Array(bytes[..<cut]).span, batch: &batch, into: &out)
            try bridge.consume(Array(bytes[cut...]).span, batch: &batch, into: &out)
            let ending = try bridge.finish(batch: &batch, into: &out)
            #expect(ending == .complete)
            if cut == 0 { whole = out.text }
            #expect(out.text == whole, "cut at byte \(cut)")
        }
        let texts = WireEvent.read(Array(whole.utf8)).filter { $0.type == "message" }.map(\.data)
        #expect(texts == ["Hel", "lo, ", "world and ", "all ", "of ", "it"])
    }

    @Test func aFailureStandsBehindWhatWasHeld() throws {
        var bridge = try bridge(.ndjson, Self.every20)
        var batch = EventBatch()
        var out = ByteQueue()
        bridge.clock(.milliseconds(3))
        try bridge.consume(Array(Self.wire.utf8).span, batch: &batch, into: &out)
        #expect(out.text == "{\"text\":\"Hel\"}\n")
        let due = bridge.smoothingDue
        #expect(due == .milliseconds(23))
        bridge.clock(.milliseconds(23))
        bridge.releaseSmoothed(into: &out)
        #expect(out.text == "{\"text\":\"Hel\"}\n{\"text\":\"lo, \"}\n")
        let ending = bridge.fail(StreamFailure(.timeout, "too long"), into: &out)
        let lines = out.text.split(separator: "\n")
        #expect(ending == .complete && lines.count == 4 && lines.last?.contains("too long") == true)
        #expect(lines[2] == "{\"text\":\"world and all of it\"}")
        let after = bridge.smoothingDue
        #expect(after == nil)
    }

    @Test func aDocumentIsNotPaced() throws {
        var options = EncoderOptions()
        options.isDocument = true
        let encoder = try #require(StreamEncoders.make(.openAIChat, options: options))
        var bridge = StreamBridge(decoder: StreamDecoders.make(.openAIChat, eventBytes: 4096), encoder: encoder)
        bridge.smooth(Self.every20, limitBytes: 1000)
        var batch = EventBatch()
        var out = ByteQueue()
        try bridge.consume(Array(Self.wire.utf8).span, batch: &batch, into: &out)
        let due = bridge.smoothingDue
        #expect(due == nil)
    }
}

/// Numbers that are the same in each run (xorshift).
private struct Numbers {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state >> 11
    }
}
