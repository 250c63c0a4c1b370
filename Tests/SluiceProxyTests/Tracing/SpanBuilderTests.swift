import SluiceBytes
import Testing

@testable import SluiceProxy

@Suite struct SpanBuilderTests {
    private let builder = SpanBuilder(epoch: 1_000_000)

    private func facts() -> ServerFacts {
        var facts = ServerFacts(
            traceID: "t", spanID: "s", parentID: "p", state: "", flags: 3, start: Instant(nanoseconds: 10),
            method: "POST")
        (facts.route, facts.reason, facts.status) = ("/x", "done", 200)
        return facts
    }

    private func value(_ name: String, _ span: TraceSpan) -> TraceSpan.Value? {
        span.attributes.first { $0.name == name }?.value
    }

    @Test func timesAreThoseOfTheWallAndNeverRunBackwards() {
        var facts = facts()
        facts.end = Instant(nanoseconds: 30)
        let span = builder.span(.server(facts))
        #expect(span.start == 1_000_010 && span.end == 1_000_030)
        facts.end = Instant(nanoseconds: 3)
        let odd = builder.span(.server(facts))
        #expect(odd.start == odd.end)
    }

    @Test(
        arguments: [
            ("done", 200, nil), ("done", 404, nil), ("eof", 200, "eof"), ("idle", 504, "idle"), ("no_route", 404, nil),
            ("client_gone", 0, nil), ("client_gone", 200, nil), ("stopped", 200, nil),
            ("slow_client", 200, "slow_client"),
            ("upstream_status", 429, nil), ("upstream_status", 502, "upstream_status"), ("drain", 0, "drain"),
        ] as [(String, Int, String?)]) func failures(reason: String, status: Int, failure: String?)
    {
        var facts = facts()
        (facts.reason, facts.status, facts.errorType) = (reason, status, reason == "done" ? "" : reason)
        let span = builder.span(.server(facts))
        #expect(span.failure == failure)
        #expect((value("error.type", span) != nil) == (failure != nil))
    }

    @Test(
        arguments: [
            ("a", false, "a", 80), ("a", true, "a", 443), ("a:81", true, "a", 81), ("[::1]:9", false, "[::1]", 9),
            ("[::1]", false, "[::1]", 80), ("a:", false, "a:", 80), ("a:99999", false, "a:99999", 80),
        ] as [(String, Bool, String, Int)]) func hosts(authority: String, isTLS: Bool, host: String, port: Int)
    {
        var facts = facts()
        (facts.authority, facts.isTLS) = (authority, isTLS)
        let span = builder.span(.server(facts))
        #expect(value("server.address", span) == .text(host) && value("server.port", span) == .integer(port))
    }

    @Test func names() {
        var facts = facts()
        #expect(builder.span(.server(facts)).name == "POST /x")
        #expect(builder.span(.server(facts)).flags == 0x303)
        facts.method = "BREW"
        let odd = builder.span(.server(facts))
        #expect(odd.name == "HTTP /x" && value("http.request.method", odd) == .text("_OTHER"))
        #expect(value("http.request.method_original", odd) == .text("BREW"))
        facts.step = "step draft"
        let step = builder.span(.server(facts))
        #expect(step.name == "step draft" && step.kind == .internal && step.flags == 0x103)
        #expect(value("http.request.method", step) == nil)
        (facts.step, facts.parentID) = (nil, "")
        #expect(builder.span(.server(facts)).flags == 0x103)
    }
}
