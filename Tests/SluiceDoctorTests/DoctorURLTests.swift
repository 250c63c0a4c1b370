import SluiceDoctor
import Testing

@Suite struct DoctorURLTests {
    @Test(arguments: [
        ("http://localhost:8080", "localhost", 8080, "/", "localhost:8080"),
        ("https://a.example/v1/x?y=1#z", "a.example", 443, "/v1/x?y=1", "a.example"),
        ("HTTPS://a.example:8443?q", "a.example", 8443, "/?q", "a.example:8443"),
        ("http://[::1]:81/", "::1", 81, "/", "[::1]:81"), ("http://[::1]", "::1", 80, "/", "[::1]"),
    ])
    func takesApart(text: String, host: String, port: Int, target: String, authority: String) throws {
        let url = try #require(DoctorURL(text))
        #expect((url.host, Int(url.port), url.target, url.authority) == (host, port, target, authority))
    }

    @Test(arguments: [
        "", "localhost:8080", "ftp://a.example", "http://", "http://user:secret@a.example/", "http://a.example:0/",
        "http://a.example:99999/", "http://a b/", "http://[::1/", "http://[::1]x/",
    ])
    func refuses(text: String) { #expect(DoctorURL(text) == nil) }
}
