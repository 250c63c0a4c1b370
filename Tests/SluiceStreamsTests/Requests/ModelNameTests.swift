import Testing

@testable import SluiceStreams

/// Names of models have a bound, whoever asks and whether or not the route names another one.
@Suite struct ModelNameTests {
    private static let told = "model: is longer than 512 bytes"

    private func body(_ model: String) -> String {
        #"{"model":"\#(model)","messages":[{"role":"user","content":"hi"}]}"#
    }

    private func filled(_ count: Int) -> String { String(repeating: "x", count: count) }

    @Test(arguments: [Dialect.openAIChat, .anthropicMessages, .gemini])
    func bound(dialect: Dialect) {
        #expect(complaint(body(filled(512)), .openAIChat, dialect) == nil)
        #expect(complaint(body(filled(513)), .openAIChat, dialect) == Self.told)
        #expect(complaint(body(filled(5 << 20)), .openAIChat, dialect) == Self.told)
        var rules = RequestRules()
        rules.model = "m"
        #expect(complaint(body(filled(513)), .openAIChat, dialect, rules) == Self.told)
    }

    /// What counts is what the name says, not how it is written.
    @Test func escapes() {
        let escaped = String(repeating: "\\u0041", count: 512)
        #expect(complaint(body(escaped), .openAIChat, .openAIChat) == nil)
        #expect(complaint(body(escaped + "A"), .openAIChat, .openAIChat) == Self.told)
    }

    @Test func checkedBeforeRouting() throws {
        func check(_ text: String) throws { try RouteModel.check(try #require(JSONValue.parse(text))) }
        try check(body(filled(512)))
        try check(#"{"model":7}"#)
        try check("[]")
        #expect(throws: RequestError.self) { try check(body(filled(513))) }
    }
}
