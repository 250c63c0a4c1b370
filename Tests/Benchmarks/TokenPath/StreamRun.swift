import Glibc
import SluiceBytes

/// One stream from its first byte to its last.
struct StreamRun {
    struct Wrong: Error, CustomStringConvertible { let description: String }

    private let chosen: BenchmarkCase
    private let answer: UpstreamAnswer
    private let rounds: Int

    init(_ chosen: BenchmarkCase, rounds: Int) {
        (self.chosen, self.rounds) = (chosen, rounds)
        answer = UpstreamAnswer(chosen.chunks, chosen.reads)
    }

    /// Returns what the client got in bytes of its connection, and how long that took.
    func stream(isChecked: Bool) throws -> (wireBytes: Int, nanoseconds: Int) {
        var path = TokenPath(chosen.makeBridge())
        var client = ClientSide(keepsBody: isChecked)
        var out = ByteQueue()
        let began = Self.now()
        try carry(answer.opening.span, &path, &out, &client)
        let round = answer.round.span
        for _ in 0..<rounds {
            var start = 0
            for end in answer.cuts {
                try carry(round.extracting(start..<end), &path, &out, &client)
                start = end
            }
        }
        try carry(answer.closing.span, &path, &out, &client)
        let nanoseconds = Self.now() - began

        guard path.hasEnded else { throw Wrong(description: "the stream did not end") }
        let tokens = rounds * UpstreamAnswer.roundTokens
        guard path.tokenCount == tokens else { throw Wrong(description: "\(path.tokenCount) tokens of \(tokens)") }
        if isChecked { try compare(client) }
        return (client.byteCount, nanoseconds)
    }

    private func carry(
        _ read: Span<UInt8>, _ path: inout TokenPath, _ out: inout ByteQueue, _ client: inout ClientSide
    ) throws {
        try path.carry(read, into: &out)
        try client.receive(out.span)
        out.consume(out.count)
    }

    private func compare(_ client: ClientSide) throws {
        guard client.isComplete else { throw Wrong(description: "the client's body did not end") }
        let expected = ExpectedBody(chosen.output, answer, rounds: rounds).bytes
        guard client.body != expected else { return }
        let place = zip(client.body, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset
        let parted = place ?? min(client.body.count, expected.count)
        let got = String(decoding: client.body.dropFirst(parted).prefix(80), as: UTF8.self)
        let wanted = String(decoding: expected.dropFirst(parted).prefix(80), as: UTF8.self)
        throw Wrong(description: "at byte \(parted) of the body\n  expected: \(wanted)\n  got:      \(got)")
    }

    static func now() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
}
