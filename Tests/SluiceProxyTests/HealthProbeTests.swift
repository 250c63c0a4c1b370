import SluiceBytes
import SluiceProxy
import Testing

@Suite struct HealthProbeTests {
    /// Each byte on its own, as the network may bring them; then the end.
    private func judge(_ probe: some HealthProbe, _ bytes: [UInt8], cut: Bool = true) -> HealthVerdict {
        var probe = probe
        for piece in cut ? bytes.map({ [$0] }) : [bytes] {
            if let verdict = probe.receive(piece.span) { return verdict }
        }
        return probe.end()
    }

    private func admin(_ answer: String, cut: Bool = true) -> HealthVerdict {
        judge(AdminProbe(path: "/readyz"), Array(answer.utf8), cut: cut)
    }

    private func frame(_ type: UInt8, _ flags: UInt8 = 0, _ payload: [UInt8] = []) -> [UInt8] {
        [0, 0, UInt8(payload.count), type, flags, 0, 0, 0, 0] + payload
    }
    private let word = Array("healthy?".utf8)

    @Test func theAdminIsAskedAsThisMachine() {
        let question = String(decoding: AdminProbe(path: "/livez").question, as: UTF8.self)
        #expect(question == "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    }

    @Test(arguments: [true, false]) func aStatusOf200IsWell(cut: Bool) {
        #expect(admin("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n", cut: cut) == .well)
    }

    @Test(arguments: [true, false]) func anyOtherStatusTellsItsReasonOnOneLine(cut: Bool) {
        let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 17\r\n\r\n{\"draining\":1}\nxx"
        #expect(admin(answer, cut: cut) == .ill("/readyz says 503: {\"draining\":1}"))
        #expect(admin("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", cut: cut) == .ill("/readyz says 404"))
    }

    @Test func aReasonHasNoControlCharactersAndAnEnd() {
        let body = "a\u{1B}[31m" + String(repeating: "b", count: 5000)
        guard case .ill(let reason) = admin("HTTP/1.1 500 X\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
        else {
            Issue.record("well")
            return
        }
        #expect(reason.hasPrefix("/readyz says 500: a [31mbb"))
        #expect(reason.utf8.count < 600)
    }

    @Test func whatIsCutOrForeignIsIll() {
        #expect(admin("") == .ill("the server closed the connection without an answer"))
        #expect(admin("HTTP/1.1 20") == .ill("the server closed the connection without an answer"))
        guard case .ill(let reason) = admin("SSH-2.0-OpenSSH_9.2\r\n\r\n") else {
            Issue.record("well")
            return
        }
        #expect(reason.hasPrefix("what answers is not the admin listener"))
    }

    @Test func thePingIsAskedBehindThePreface() {
        let question = PingProbe().question
        #expect(question == Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + frame(4) + frame(6, 0, word))
    }

    @Test(arguments: [true, false]) func aPingThatComesBackIsWell(cut: Bool) {
        let settings = frame(4, 0, [0, 3, 0, 0, 0, 100]) + frame(4, 1) + frame(8, 0, [0, 0, 1, 0])
        #expect(judge(PingProbe(), settings + frame(6, 1, word), cut: cut) == .well)
    }

    @Test(arguments: [true, false]) func otherFramesAreNoAnswer(cut: Bool) {
        let foreign = HealthVerdict.ill("what answers does not speak HTTP/2, so it is not Sluice")
        for frames in [
            frame(4), frame(4) + frame(6, 0, word), frame(4) + frame(6, 1, word.reversed()), frame(4) + [0, 0],
            frame(6, 1, word), Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8),
            frame(4) + [0xFF, 0, 0, 0, 0, 0, 0, 0, 0],
        ] { #expect(judge(PingProbe(), frames, cut: cut) == foreign, "\(frames)") }
        #expect(judge(PingProbe(), [], cut: cut) == .ill("the server closed the connection without an answer"))
    }

    @Test func aServerThatGoesIsIll() {
        let bytes = frame(4) + frame(7, 0, [0, 0, 0, 0, 0, 0, 0, 0]) + frame(6, 1, word)
        #expect(judge(PingProbe(), bytes) == .ill("the server closes its connections"))
    }
}
