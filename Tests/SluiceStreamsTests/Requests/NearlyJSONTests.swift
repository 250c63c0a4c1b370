import Foundation
import SluiceStreams
import Testing

/// Bodies and texts in them that a lenient reader would take for JSON: what stands in them goes on to the upstream as it is, whose
/// reader may see other members in it.
@Suite struct NearlyJSONTests {
    private static let said = #""messages":[{"role":"user","content":"hi"}]"#

    @Test(
        arguments: [
            "{\(said),\"user\":\"a\nb\"}", "{\(said),\"temperature\":01}", #"{\#(said),"user":"\;"}"#,
            #"{\#(said),"user":"\u12"}"#,
        ], [RequestFormat.openAIChat, .anthropic, .ollamaChat, .cohere, .vercelUI, .prompt])
    func bodiesAreRefused(body: String, format: RequestFormat) {
        for dialect in [Dialect.openAIChat, .anthropicMessages, .ollamaChat] {
            #expect(complaint(body, format, dialect) == "the body is not JSON")
        }
    }

    /// Cut at its semicolon, the media type would end in a backslash, and the data would be members of the upstream's body.
    @Test func aDataURLCannotEndItsString() {
        let url = #"data:image/png\;base64,,\"data\":\"\"}}]}],\"model\":\"dear\",\"x\":[{\"y\":[{\"z\":{\"a\":\""#
        let part = #"{"type":"image_url","image_url":{"url":"\#(url)"}}"#
        let body = #"{"messages":[{"role":"user","content":[\#(part)]}]}"#
        #expect(complaint(body, .openAIChat, .anthropicMessages) == "the body is not JSON")
    }

    @Test(arguments: [#"{\"a\":01}"#, #"{\"a\":\"\n\"}"#, #"{\"a\":\"\\x\"}"#, #"{\"a\" 1}"#])
    func argumentsAreNoObject(text: String) throws {
        let call = #"{"id":"1","function":{"name":"f","arguments":"\#(text)"}}"#
        let body = #"{"messages":[{"role":"assistant","tool_calls":[\#(call)]}]}"#
        let wanted = "messages[0].tool_calls[0]: the arguments are no JSON object"
        #expect(complaint(body, .openAIChat, .anthropicMessages) == wanted)
        // As a text among others it is what the model said.
        #expect(complaint(body, .openAIChat, .openAIResponses) == nil)
    }

    @Test func whatAToolSaidIsAText() throws {
        let call = #"{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":""}}]}"#
        let result = #"{"role":"tool","tool_call_id":"1","content":"{\"a\":01}"}"#
        let body = #"{"model":"m","messages":[\#(call),\#(result)]}"#
        let contents = try #require(try sent(body, .openAIChat, .gemini)["contents"])
        #expect("\(contents)".contains(#""response":{"result":"{\"a\":01}"}"#))
    }

    @Test func aPromptInBadQuotesIsAText() throws {
        let body = "\"a\nb\""
        #expect(try messages(body, .prompt) == Document(#"[{"role":"user","content":"\"a\nb\""}]"#))
    }

    // MARK: - Nothing, and far too much

    @Test(arguments: [
        (RequestFormat.openAIChat, #"{"messages":[{"role":"user","content":[]}]}"#),
        (.agUI, #"{"messages":[{"role":"activity"}]}"#), (.agUI, #"{"messages":[{"role":"user"}]}"#),
        (.gemini, #"{"contents":[{"parts":[]}]}"#),
        (.anthropic, #"{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"t"}]}]}"#),
        (.vercelUI, #"{"messages":[{"role":"user","parts":[{"type":"step-start"}]}]}"#),
    ])
    func whoeverSaysNothingGetsNoAnswer(format: RequestFormat, body: String) {
        #expect(complaint(body, format, .cohereV1) == "there is nothing to answer")
    }

    @Test func manyPropertiesOfAToolTakeNoLonger() throws {
        let count = 20_000
        let properties = (0..<count).map { "\"p\($0)\":{}" }.joined(separator: ",")
        let tool = #"{"type":"function","function":{"name":"f","parameters":{"properties":{\#(properties),"p0":1}}}}"#
        let body = #"{\#(Self.said),"tools":[\#(tool)]}"#
        var out: [UInt8] = []
        let took = try ContinuousClock().measure { out = try translated(body, .openAIChat, .cohereV1).body }
        let definitions = JSONValue.parse(out)?["tools"]?.elements?.first?["parameter_definitions"]?.members
        #expect(definitions?.count == count)
        // Each of them compared with all before it takes a minute in a debug build.
        #expect(took < .seconds(10), "\(took)")
    }
}
