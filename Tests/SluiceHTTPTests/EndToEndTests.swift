import SluiceHTTP
import Testing

@Suite struct EndToEndTests {
    @Test func hopByHopFieldsAndThoseThatConnectionNamesStayBehind() {
        var fields = HeaderFields()
        let dropped = [
            "Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "HTTP2-Settings", "Host",
            "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate", "Content-Length", "Expect",
        ]
        for name in dropped { fields.append(name, name == "Connection" ? "close, X-Secret ,,keep-alive" : "1") }
        fields.append("x-secret", "1")
        fields.append("X-NEXT", "1")
        fields.append("connection", "x-next")
        fields.append("Accept", "*/*")
        fields.append("Proxy", "kept: it is no proxy field")
        fields.append("Accept", "again")
        #expect(
            HTTP1Trace.describe(fields.endToEnd())
                == " [Accept: */*] [Proxy: kept: it is no proxy field] [Accept: again]")
    }

    @Test func everythingElseCrossesUntouched() {
        var fields = HeaderFields()
        fields.append("Content-Type", "text/event-stream")
        fields.append("authorization", "Bearer x")
        #expect(fields.endToEnd() == fields)
    }
}
