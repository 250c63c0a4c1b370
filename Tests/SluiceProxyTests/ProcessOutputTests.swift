import SluiceBytes
import Testing

@testable import SluiceProxy

@Suite struct ProcessOutputTests {
    private func lines(_ chunks: [[UInt8]], secrets: [String] = []) -> [String] {
        var output = ProcessOutput(Redaction(secrets))
        return chunks.flatMap { output.feed($0.span) } + (output.finish().map { [$0] } ?? [])
    }

    @Test func aCutChangesNothing() {
        let wire = Array("one\ntwo\r\n\n 50%\r100%\nkey=sk-secret-key, sk-secret-key\nrest".utf8)
        let expected = ["one", "two", " 50%", "100%", "key=***, ***", "rest"]
        for cut in 0...wire.count {
            #expect(
                lines([Array(wire[..<cut]), Array(wire[cut...])], secrets: ["sk-secret-key"]) == expected, "\(cut)")
        }
        #expect(lines(wire.map { [$0] }, secrets: ["sk-secret-key"]) == expected)
    }

    @Test func aLongLineIsCutAndTheNextIsWhole() {
        let long = [UInt8](repeating: UInt8(ascii: "x"), count: 100_000)
        let got = lines([long, long, Array("\nnext\n".utf8)])
        #expect(got == [String(repeating: "x", count: ProcessOutput.lineLimit) + "…", "next"])
    }

    @Test func noPartOfASecretStandsAtACut() {
        let secret = "canary-of-some-length"
        for overlap in 0...secret.utf8.count {
            let before = [UInt8](repeating: UInt8(ascii: "x"), count: ProcessOutput.lineLimit - overlap)
            let got = lines([before + Array(secret.utf8) + [UInt8](repeating: 0x78, count: 50)], secrets: [secret])
            #expect(got.count == 1 && got.allSatisfy { !$0.contains("can") }, "\(overlap)")
        }
    }

    @Test func whatIsNotUTF8IsRepaired() {
        #expect(lines([[0x61, 0xFF, 0x62, 0x0A]]) == ["a\u{FFFD}b"])
    }

    @Test func shortSecretsAreLeftAlone() {
        #expect(lines([Array("1 of 10".utf8)], secrets: ["1", ""]) == ["1 of 10"])
        #expect(lines([Array("longer-secret-two".utf8)], secrets: ["longer", "longer-secret"]) == ["***-two"])
    }

    @Test func moreThanTheBudgetIsCounted() {
        let start = Instant(nanoseconds: 5_000_000_000)
        var budget = OutputBudget(now: start)
        let line = String(repeating: "x", count: 1024 - OutputBudget.lineBytes)
        var admitted = 0
        for _ in 0..<1000 where budget.admits(line, at: start) { admitted += 1 }
        #expect(admitted == OutputBudget.burstBytes / 1024)
        #expect(budget.takeDropped() == 1000 - admitted)
        #expect(budget.takeDropped() == 0)
        admitted = 0
        for _ in 0..<1000 where budget.admits(line, at: start + .seconds(1)) { admitted += 1 }
        #expect(admitted == OutputBudget.bytesPerSecond / 1024)
    }
}
