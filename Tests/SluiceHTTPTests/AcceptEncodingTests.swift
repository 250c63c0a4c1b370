import SluiceHTTP
import Testing

@Suite struct AcceptEncodingTests {
    private func choice(_ lines: [String], _ codings: [BodyCoding] = [.brotli, .gzip]) -> BodyCoding? {
        var fields = HeaderFields()
        fields.append("Accept", "br")
        for line in lines { fields.append("Accept-Encoding", line) }
        return AcceptEncoding(fields).choice(of: codings)
    }

    @Test(arguments: [
        // What browsers, curl and libraries send.
        ("gzip, deflate, br, zstd", BodyCoding.brotli), ("gzip, deflate, br", .brotli), ("deflate, gzip", .gzip),
        ("gzip", .gzip), ("GZip", .gzip), ("x-gzip", .gzip), ("br", .brotli),
        // Weights: the client's wish first, then the server's.
        ("gzip;q=1.0, br;q=0.9", .gzip), ("br;q=0.9, gzip;q=0.9", .brotli), ("gzip;q=0.001", .gzip),
        ("gzip ; q=0.5 ,br ;\tq=0.4", .gzip), ("gzip;Q=1.000", .gzip),
        // The star stands for all that are not named.
        ("*", .brotli), ("gzip;q=0.5, *;q=0.6", .brotli), ("gzip, *;q=0", .gzip), ("br;q=0, *", .gzip),
        // The body as it is: named, it is liked as it says; else it is the last resort.
        ("gzip;q=0.1", .gzip), ("identity;q=0.5, gzip;q=0.6", .gzip), ("identity, gzip", .gzip),
        ("identity;q=0, gzip", .gzip),
        // Of a name that stands there twice the first counts; what is no element is not there.
        ("gzip, br;q=0, br", .gzip), ("gzip, br;q=x", .gzip), ("gzip, br;q=", .gzip), ("gzip, br;q=1.0000", .gzip),
        ("gzip, br;q=1.001", .gzip), ("gzip, br;q=2", .gzip), ("gzip, br;q=-1", .gzip), ("gzip, br;q=.5", .gzip),
        ("gzip, br;level=5", .gzip), ("gzip, br q=1", .gzip), (", ,gzip,,", .gzip), ("gzip, br;", .gzip),
    ])
    func takesTheBest(line: String, wanted: BodyCoding) { #expect(choice([line]) == wanted, "\(line)") }

    @Test(arguments: [
        "", "identity", "deflate", "zstd, compress", "gzip;q=0", "gzip;q=0.000, br;q=0", "*;q=0", "identity;q=0",
        "gzip;q=0.5, identity;q=0.6", "br;q=0.2, gzip;q=0.2, *;q=0.8, identity;q=0.9", "identity, *;q=0", "gzi",
        "gzip2", "\"gzip\"",
        "gzip;q=0.1.2", "**", "identity;q=0, *;q=0",
    ])
    func leavesItAsItIs(line: String) { #expect(choice([line]) == nil, "\(line)") }

    @Test func withoutTheFieldNothingIsCompressed() { #expect(choice([]) == nil) }

    @Test func severalLinesAreOne() {
        #expect(choice(["deflate", "gzip;q=0.2", "br;q=0.3"]) == .brotli)
        #expect(choice(["gzip", "*;q=0"]) == .gzip)
    }

    @Test func onlyWhatTheServerMakes() {
        #expect(choice(["br, gzip;q=0.1"], [.gzip]) == .gzip)
        #expect(choice(["br"], [.gzip]) == nil)
        #expect(choice(["gzip, br"], [.gzip, .brotli]) == .gzip)
        // The star stands for the body as it is, too.
        #expect(choice(["gzip;q=0.2, *;q=0.8"], [.gzip]) == nil)
        #expect(choice(["br, gzip"], []) == nil)
    }
}
