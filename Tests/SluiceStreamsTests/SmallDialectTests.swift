import SluiceBytes
import SluiceStreams
import SluiceTesting
import Testing

/// Ollama, TGI, llama.cpp, Replicate and watsonx: what no recording shows alone.
@Suite struct SmallDialectTests {
    private func read(_ dialect: Dialect, _ wire: String) throws -> (seen: Transcript, progress: StreamProgress) {
        let whole = try Transcript.of(StreamDecoders.make(dialect, eventBytes: 1 << 16), wire)
        for size in [1, 3, 50] {
            let pieces = Cutter.pieces(Array(wire.utf8), of: size)
            let cut = try Transcript.of(StreamDecoders.make(dialect, eventBytes: 1 << 16), pieces)
            #expect(cut.0.lines == whole.0.lines && cut.1 == whole.1, "pieces of \(size)")
        }
        return whole
    }

    private func events(_ events: String...) -> String { events.map { "data: \($0)\n\n" }.joined() }

    // MARK: - Ollama

    @Test func ollamaReadsKeysInAnyOrder() throws {
        let (seen, progress) = try read(
            .ollamaChat,
            #"{"done":false,"message":{"tool_calls":null,"content":"b","thinking":"a"},"model":"m"}"# + "\r\n\n"
                + #"{"prompt_eval_count":3,"done":true,"message":{"content":"c"}}"#)
        #expect(
            seen.lines == [
                "start  m -1", "reasoning 0 a", "text 0 b", "text 0 c", "usage \(Usage(input: 3))", "finish 0 stop ",
                "end",
            ])
        #expect(progress.isComplete && progress.eventCount == 2)
    }

    @Test(arguments: [("stop", FinishReason.stop), ("length", .length), ("load", .other), ("unload", .other)])
    func ollamaReasonsMap(word: String, reason: FinishReason) throws {
        let line = #"{"model":"m","response":"","done":true,"done_reason":"\#(word)"}"#
        let (seen, progress) = try read(.ollamaGenerate, line)
        #expect(seen.reasons[0] == reason && seen.words[0] == word && progress.sawEnd)
    }

    @Test func ollamaCallsAreWhole() throws {
        let calls =
            #"[{"id":"x","function":{"index":0,"arguments":{"n": 9007199254740993, "s": "a b"},"name":"f"}},"#
            + #"{"function":{"name":"f","arguments":"{\"a\":1}"}},{"type":"function"},7]"#
        let (seen, _) = try read(
            .ollamaChat,
            #"{"model":"m","message":{"content":"","tool_calls":\#(calls)},"done":false}"# + "\n"
                + #"{"model":"m","message":{"content":""},"done":true,"done_reason":"stop"}"# + "\n")
        #expect(
            seen.calls[0] == [
                .init(id: "x", name: "f", arguments: #"{"n":9007199254740993,"s":"a b"}"#, hasEnded: true),
                .init(id: "", name: "f", arguments: #"{"a":1}"#, hasEnded: true),
            ])
        #expect(seen.reasons[0] == .toolCalls && seen.words[0] == "stop")
    }

    @Test func ollamaLinesOfOtherKinds() throws {
        let (seen, progress) = try read(.ollamaChat, "{\"status\":\"pulling\"}\n{\"error\":{\"message\":\"m\"}}\n")
        #expect(seen.lines == ["unknown", "start   -1", "error provider m "])
        #expect(progress.sawError && !progress.isComplete)
        for wire in ["nonsense\n", "[]\n", "{\"done\":\n", "{} {}\n", "{\"message\":{]}\n"] {
            #expect(throws: StreamError.malformed("a line is not a JSON object", offset: 3)) {
                try Transcript.of(StreamDecoders.make(.ollamaChat, eventBytes: 1 << 16), "{}\n" + wire)
            }
        }
    }

    @Test func ollamaWithoutItsLastLineIsCut() throws {
        let line = #"{"model":"m","response":"a","done":false}"#
        #expect(try !read(.ollamaGenerate, line + "\n").progress.isComplete)
        #expect(try !read(.ollamaGenerate, line + "\n{\"model\":\"m\",\"done\":true").progress.isComplete)
        #expect(try read(.ollamaGenerate, line + "\n{\"model\":\"m\",\"done\":true}").progress.isComplete)
    }

    // MARK: - TGI

    private func token(_ text: String, special: Bool = false, more: String = "") -> String {
        #"{"index":1,"token":{"special":\#(special),"id":1,"text":"\#(text)"}\#(more)}"#
    }

    @Test(arguments: [
        ("eos_token", FinishReason.stop), ("stop_sequence", .stop), ("length", .length), ("weird", .other),
    ])
    func tgiEndsWithDetails(word: String, reason: FinishReason) throws {
        let details = #","details":{"finish_reason":"\#(word)","generated_tokens":2,"input_length":5,"seed":null}"#
        let last = token("</s>", special: true, more: #","generated_text":"ab"\#(details)"#)
        let (seen, progress) = try read(.tgi, events(token("a"), token("b", more: #","generated_text":null"#), last))
        #expect(seen.text[0] == "ab" && seen.reasons[0] == reason && seen.words[0] == word)
        #expect(seen.usage == Usage(input: 5, output: 2) && progress.isComplete && progress.sawEnd)
    }

    @Test func tgiTellsTheWholeTextOnlyIfNothingElseDid() throws {
        let (seen, progress) = try read(.tgi, events(#"{"generated_text":"ab","details":null}"#))
        #expect(seen.text[0] == "ab" && progress.isComplete)
    }

    @Test(arguments: [
        ("overloaded", StreamErrorKind.overloaded), ("validation", .invalidRequest), ("generation", .provider),
    ])
    func tgiErrorsHaveKinds(type: String, kind: StreamErrorKind) throws {
        let (seen, progress) = try read(.tgi, events(#"{"error_type":"\#(type)","error":"m"}"#))
        #expect(seen.lines.last == "error \(kind) m \(type)" && progress.sawError)
    }

    // MARK: - llama.cpp

    private func content(_ text: String, more: String = #","stop":false"#) -> String {
        #"{"index":0,"content":"\#(text)","tokens":[1]\#(more)}"#
    }

    @Test(arguments: [
        (#""stop_type":"eos""#, FinishReason.stop, "eos"), (#""stop_type":"word""#, .stop, "word"),
        (#""stop_type":"limit""#, .length, "limit"), (#""stop_type":"new""#, .other, "new"),
        (#""stopped_eos":true,"stopped_limit":false"#, .stop, "stopped_eos"),
        (#""stopped_eos":false,"stopped_limit":true"#, .length, "stopped_limit"), (#""timings":{}"#, .stop, ""),
    ])
    func llamaStops(members: String, reason: FinishReason, word: String) throws {
        let last = content("", more: #","stop":true,\#(members),"model":"m","tokens_evaluated":4,"tokens_predicted":2"#)
        let (seen, progress) = try read(
            .llamaCPP, events(content("a", more: #","stop":false,"tokens_predicted":1"#), content(" b\\n"), last))
        #expect(seen.text[0] == "a b\n" && seen.reasons[0] == reason && seen.words[0] == word)
        #expect(seen.lines.suffix(3).first == "usage \(Usage(input: 4, output: 2))")
        #expect(seen.lines.count { $0.hasPrefix("usage") } == 1)
        #expect(progress.isComplete && progress.sawEnd && progress.eventCount == 3)
    }

    @Test func llamaErrorsMayStandInALineOfTheirOwn() throws {
        let error = #"{"code":503,"message":"Loading model","type":"unavailable_error"}"#
        for wire in [
            events(content("a"), #"{"error":\#(error)}"#), events(content("a")) + "error: \(error)\n\n",
            events(content("a")) + "error:{\"error\":\(error)}",
        ] {
            let (seen, progress) = try read(.llamaCPP, wire)
            #expect(seen.lines.suffix(2) == ["text 0 a", "error overloaded Loading model unavailable_error"])
            #expect(progress.sawError && progress.eventCount == 2 && !progress.isComplete)
        }
        #expect(try read(.llamaCPP, "error: gone\n\n").seen.errors == [" gone"])
        #expect(try read(.llamaCPP, "errors: gone\n\nfoo\n\n").seen.lines.isEmpty)
    }

    @Test func llamaWithoutItsStopIsCut() throws {
        #expect(try !read(.llamaCPP, events(content("a"), content("b"))).progress.isComplete)
    }

    // MARK: - Replicate

    private func output(_ text: String) -> String {
        "event: output\nid: 1:0\n"
            + text.split(separator: "\n", omittingEmptySubsequences: false)
            .map { "data: \($0)\n" }.joined() + "\n"
    }

    @Test func replicateSendsTextAsItIs() throws {
        let text = ["[DONE]", " a\\n\"", "\n\n", "{\"error\":1}", "", "é😀 "]
        let (seen, progress) = try read(
            .replicate, text.map(output).joined() + "event: done\ndata: {}\n\n:408: Request Timeout\n\n")
        #expect(seen.text[0] == text.joined())
        #expect(seen.lines.suffix(3) == ["finish 0 stop ", "end", "ping"] && progress.isComplete)
        #expect(progress.eventCount == text.count + 1)
    }

    @Test func replicateMakesItUTF8() throws {
        let wire = Array("event: output\ndata: a".utf8) + [0xFF, 0xE2, 0x82] + Array("b\n\n".utf8)
        let (seen, _) = try Transcript.of(StreamDecoders.make(.replicate, eventBytes: 1 << 16), [wire])
        #expect(seen.text[0] == "a\u{FFFD}\u{FFFD}b")
    }

    @Test func replicateEndsForReasons() throws {
        let canceled = try read(.replicate, output("a") + "event: done\ndata: {\"reason\":\"canceled\"}\n\n")
        #expect(canceled.seen.reasons[0] == .other && canceled.seen.words[0] == "canceled" && canceled.progress.sawEnd)
        let failed = try read(.replicate, output("a") + "event: done\ndata: {\"reason\":\"error\"}\n\n")
        #expect(failed.seen.errors.count == 1 && !failed.progress.isComplete)
        for data in ["out of memory", "{\"detail\":\"out of memory\"}"] {
            let told = "event: error\ndata: \(data)\n\nevent: done\ndata: {\"reason\":\"error\"}\n\n"
            let (seen, progress) = try read(.replicate, output("a") + told)
            #expect(seen.errors == ["out of memory"] && !progress.isComplete)
        }
    }

    @Test func replicateWithoutDoneIsCut() throws {
        #expect(try !read(.replicate, output("a")).progress.isComplete)
        let wire = output("a") + "event: output\ndata: cut"
        #expect(try read(.replicate, wire).seen.text[0] == "a")
        #expect(try read(.replicate, output("a") + "event: done\ndata: {}").progress.isComplete)
        #expect(try read(.replicate, "event: logs\ndata: x\n\ndata: y\n\n").seen.lines == ["unknown", "unknown"])
    }

    // MARK: - watsonx

    private func result(_ text: String, _ reason: String, _ input: Int, _ output: Int) -> String {
        #"{"results":[{"stop_reason":"\#(reason)","input_token_count":\#(input),"generated_token_count":\#(output),"#
            + #""generated_text":"\#(text)"},{"generated_text":"other"}],"model_id":"m"}"#
    }

    @Test(arguments: [
        ("eos_token", FinishReason.stop), ("stop_sequence", .stop), ("max_tokens", .length), ("cancelled", .other),
    ])
    func watsonxReasonsMap(word: String, reason: FinishReason) throws {
        let (seen, progress) = try read(
            .watsonx,
            events(result("a", "not_finished", 3, 1), result("b", "not_finished", 0, 2), result("", word, 0, 2)))
        #expect(seen.lines.first == "start  m -1" && seen.text[0] == "ab" && seen.reasons[0] == reason)
        #expect(seen.usage == Usage(input: 3, output: 2) && progress.isComplete && !progress.sawEnd)
    }

    @Test func watsonxErrors() throws {
        let errors = #"{"errors":[{"code":"rate_limit","message":"m"},{"message":"n"}],"status_code":429}"#
        for wire in [events(errors), "event: error\ndata: \(errors)\n\n"] {
            #expect(try read(.watsonx, wire).seen.lines.last == "error rateLimited m rate_limit")
        }
        #expect(try read(.watsonx, "event: error\ndata: gone\n\n").seen.errors == ["gone"])
    }

    // MARK: - All of them

    @Test(arguments: [Dialect.tgi, .llamaCPP, .watsonx, .gemini])
    func whatIsNoObjectIsMalformed(dialect: Dialect) throws {
        for data in ["nonsense", "[1]", "{\"a\":[}", "{} {}", "{\"a\":"] {
            #expect(throws: StreamError.malformed("an event is not a JSON object", offset: 10)) {
                try Transcript.of(StreamDecoders.make(dialect, eventBytes: 1 << 16), events("{}", data))
            }
        }
        #expect(try read(dialect, events("{\"a\":1}", "")).seen.lines == ["unknown", "ping"])
    }

    @Test(arguments: [Dialect.ollamaChat, .ollamaGenerate, .tgi, .llamaCPP, .watsonx, .gemini, .replicate])
    func halvesOfCharactersAreJoined(dialect: Dialect) throws {
        func event(_ text: String) -> String {
            switch dialect {
            case .ollamaChat: "{\"message\":{\"content\":\"\(text)\"},\"done\":false}\n"
            case .ollamaGenerate: "{\"response\":\"\(text)\",\"done\":false}\n"
            case .tgi: events(token(text))
            case .llamaCPP: events(content(text))
            case .watsonx: events(result(text, "not_finished", 0, 0))
            case .gemini: events(#"{"candidates":[{"content":{"parts":[{"text":"\#(text)"}]}}]}"#)
            default: output(text)
            }
        }
        let (seen, _) = try read(dialect, event(#"a\ud83d"#) + event(#"\ude00"#) + event(#"\ud83d"#))
        #expect(seen.text[0] == (dialect == .replicate ? #"a\ud83d\ude00\ud83d"# : "a😀\u{FFFD}"))
    }
}
