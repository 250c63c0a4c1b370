import SluiceBytes
import Testing

@Suite struct CRC32Tests {
    @Test func givesWhatEverybodyChecksWith() {
        #expect(sum([]) == 0)
        #expect(sum(Array("123456789".utf8)) == 0xCBF4_3926)
        #expect(sum(Array("The quick brown fox jumps over the lazy dog".utf8)) == 0x414F_A339)
        #expect(sum([UInt8](repeating: 0, count: 32)) == 0x190A_55AD)
    }

    private func sum(_ bytes: [UInt8]) -> UInt32 { CRC32.of(bytes.span) }

    @Test func piecesGiveTheSameSum() {
        let bytes = (0..<257).map { UInt8(truncatingIfNeeded: $0 &* 73 &+ 11) }
        let whole = self.sum(bytes)
        for cut in 0...bytes.count {
            var sum = CRC32()
            sum.update(bytes.span.extracting(0..<cut))
            sum.update(bytes.span.extracting(cut..<bytes.count))
            #expect(sum.value == whole)
        }
    }
}

@Suite struct Base64Tests {
    private func decode(_ text: String) -> String? {
        // What was there before is no part of it.
        var out = Array("before".utf8)
        return Base64.decode(Array(text.utf8).span, over: &out).map { String(decoding: out[..<$0], as: UTF8.self) }
    }

    /// RFC 4648 §10.
    @Test func decodesWhatTheStandardShows() {
        let wanted = ["", "f", "fo", "foo", "foob", "fooba", "foobar"]
        let texts = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]
        #expect(texts.map(decode) == wanted)
        #expect(decode("Zm8") == "fo")
        #expect(decode(#"Pz8\/"#) == "???")
    }

    @Test(arguments: ["Z", "Zg=", "Zg===", "Zm9v=", "Zm=v", "Zm 9v", "Zm9-", "====", #"Zm8\n"#])
    func refusesWhatIsNotBase64(text: String) { #expect(decode(text) == nil) }
}
