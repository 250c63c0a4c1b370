import SluiceStreams
import Testing

/// A prompt, or a conversation, in the query of a request without a body.
@Suite struct PromptParametersTests {
    private func asked(_ items: KeyValuePairs<String, String>, _ dialect: Dialect = .openAIChat) throws -> JSONValue {
        var hints = RequestHints()
        hints.parameters = PromptParameters(items.map { (name: $0.key, value: $0.value) })
        let request = try RequestTranslator.translate([], from: .prompt, to: dialect, RequestRules(), hints)
        return try #require(JSONValue.parse(request.body))
    }

    private func complaint(_ items: KeyValuePairs<String, String>) -> String {
        do {
            _ = try asked(items)
            return ""
        } catch {
            return (error as? RequestError)?.message ?? "\(error)"
        }
    }

    private func said(_ request: JSONValue) -> [String] {
        (request["messages"]?.elements ?? []).map {
            "\($0.text(at: ["role"]) ?? "?"): \($0.text(at: ["content"]) ?? $0.text(at: ["content", "0", "text"]) ?? "?")"
        }
    }

    @Test func aConversationAsOpenAIHasIt() throws {
        let messages =
            #"[{"role":"user","content":"What is 1+1?"},{"role":"assistant","content":"2"},{"role":"user","content":"And ü + 🚀?"}]"#
        #expect(
            said(try asked(["messages": messages])) == ["user: What is 1+1?", "assistant: 2", "user: And ü + 🚀?"])
        #expect(
            said(try asked(["system": "Be brief.", "messages": messages, "prompt": "Sure?"]))
                == ["system: Be brief.", "user: What is 1+1?", "assistant: 2", "user: And ü + 🚀?", "user: Sure?"])
    }

    @Test func aConversationAsUseChatHasIt() throws {
        let messages =
            #"[{"id":"1","role":"user","parts":[{"type":"text","text":"Hi"}]},"#
            + #"{"id":"2","role":"assistant","parts":[{"type":"step-start"},{"type":"text","text":"Hello"}]},"#
            + #"{"id":"3","role":"user","parts":[{"type":"text","text":"Who are you?"}]}]"#
        #expect(said(try asked(["messages": messages])) == ["user: Hi", "assistant: Hello", "user: Who are you?"])
    }

    @Test func settings() throws {
        let request = try asked([
            "prompt": "hi", "model": "gpt-5", "max_tokens": "20", "temperature": "0.5", "system": "", "other": "x",
            "prompt": "second",
        ])
        #expect(said(request) == ["user: hi"])
        #expect(request["model"] == "gpt-5" && request["temperature"] == .number("0.5"))
        let limit = request["max_tokens"] ?? request["max_completion_tokens"]
        #expect(limit == .number("20"))
        #expect(request["other"] == nil)
        let anthropic = try asked(["prompt": "hi", "model": "m", "max_tokens": "7", "system": "S"], .anthropicMessages)
        #expect(anthropic["max_tokens"] == .number("7") && anthropic.text(at: ["system"]) == "S")
        // A form that was not filled in.
        let empty = try asked(["message": "hi", "model": "", "max_tokens": "", "temperature": "", "messages": ""])
        #expect(said(empty) == ["user: hi"] && empty["temperature"] == nil && empty["max_tokens"] == nil)
    }

    @Test func whatIsWrongIsNamed() {
        #expect(complaint([:]) == "prompt: is missing")
        #expect(complaint(["messages": ""]) == "prompt: is missing")
        #expect(complaint(["messages": "hello"]) == "messages: is no JSON")
        #expect(complaint(["messages": #"[{"role":"user","content":"a"}"#]) == "messages: is no JSON")
        #expect(complaint(["messages": "{}"]) == "messages: is no array")
        #expect(complaint(["messages": "[]"]) == "messages: is empty")
        #expect(complaint(["messages": "[1]"]) == "messages[0]: is no object")
        #expect(complaint(["messages": #"[{"content":"a"}]"#]) == "messages[0].role: is missing")
        #expect(complaint(["messages": #"[{"role":"user"}]"#]) == "messages[0].content: is missing")
        #expect(complaint(["messages": #"[{"role":"wizard","content":"a"}]"#]).hasPrefix("messages[0].role: 'wizard'"))
        for number in ["0", "-1", "1.5", "ten", "1e3", "99999999999999999999", " 5"] {
            #expect(
                complaint(["prompt": "a", "max_tokens": number]) == "max_tokens: is no whole number above 0",
                "\(number)")
        }
        for number in ["warm", "01", ".5", "0x1", "1 2", "\"1\"", "true"] {
            #expect(complaint(["prompt": "a", "temperature": number]) == "temperature: is no number", "\(number)")
        }
    }

    /// What became too long for a target goes into a body under the same names.
    @Test func aConversationInABody() throws {
        var hints = RequestHints()
        let body = Array(#"{"messages":[{"role":"user","content":"a"}],"chat":7,"system":"S"}"#.utf8)
        func texts() throws -> [String] {
            let request = try RequestTranslator.translate(body, from: .prompt, to: .openAIChat, RequestRules(), hints)
            return said(try #require(JSONValue.parse(request.body)))
        }
        #expect(try texts() == ["system: S", "user: a"])
        hints.parameters.prompt = "from the target"
        #expect(try texts() == ["system: S", "user: from the target"])
    }
}
