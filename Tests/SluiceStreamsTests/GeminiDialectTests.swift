import SluiceBytes
import SluiceStreams
import SluiceTesting
import Testing

/// What Gemini and Vertex AI may send that no recording shows alone, in both framings.
@Suite struct GeminiDialectTests {
    private func decoder(_ eventBytes: Int = 1 << 16) -> any StreamDecoder {
        StreamDecoders.make(.gemini, eventBytes: eventBytes)
    }

    private func read(_ events: String...) throws -> (seen: Transcript, progress: StreamProgress) {
        try Transcript.of(decoder(), events.map { "data: \($0)\r\n\r\n" }.joined())
    }

    private func parts(_ parts: String, more: String = "") -> String {
        #"{"candidates":[{"content":{"parts":[\#(parts)],"role":"model"}\#(more)}]}"#
    }

    private func finish(_ word: String) -> String { #"{"candidates":[{"finishReason":\#(word),"index":0}]}"# }

    // MARK: - Parts

    @Test func keysComeInAnyOrder() throws {
        let (seen, _) = try read(
            #"{"candidates":[{"content":{"role":"model","parts":[{"text":"b"}]},"index":1},"#
                + #"{"index":0,"content":{"parts":[{"thought":true,"text":"a"}]}}],"x":[{"y":1}],"#
                + #""modelVersion":"m","responseId":"r"}"#)
        #expect(seen.lines == ["start r m -1", "text 1 b", "reasoning 0 a"])
    }

    @Test func candidatesWithoutIndexCountFromZero() throws {
        let (seen, _) = try read(
            #"{"candidates":[{"content":{"parts":[{"text":"a"}]}},7,{"content":{"parts":[{"text":"b"}]}}]}"#)
        #expect(seen.text == [0: "a", 1: "b"])
    }

    @Test func whatIsMissingNullOrOfAnotherKindIsPassedOver() throws {
        let (seen, progress) = try read(
            #"{"candidates":null,"usageMetadata":null,"promptFeedback":null}"#, #"{"candidates":[]}"#,
            #"{"candidates":[{"content":null,"finishReason":null}]}"#, #"{"candidates":[{"content":{"parts":null}}]}"#,
            parts(#"{"text":null},{"text":5},{"inlineData":{"data":"x"}},{"functionCall":null},null,{"text":""}"#),
            parts(#"{"text":"a"}"#, more: #","finishReason":"FINISH_REASON_UNSPECIFIED","groundingMetadata":null"#))
        #expect(seen.lines == ["start   -1", "text 0 a"])
        #expect(progress.eventCount == 6 && !progress.isComplete)
    }

    @Test func anEventOfAnotherKindIsUnknown() throws {
        #expect(try read(#"{"something":[1,{}]}"#, "").seen.lines == ["unknown", "ping"])
    }

    /// A signature proves what stands before it, or belongs to what comes with it.
    @Test func signaturesStandBetweenThoughtsAndCalls() throws {
        let (seen, _) = try read(
            parts(
                #"{"text":"hm","thought":true,"thoughtSignature":"A"},"#
                    + #"{"thoughtSignature":"B","functionCall":{"name":"f","args":{ "a" : [1, 2] },"id":"i"}},"#
                    + #"{"functionCall":{"name":"f"}},{"text":"","thoughtSignature":"C"}"#))
        #expect(
            seen.lines == [
                "start   -1", "reasoning 0 hm", "signature 0 A", "signature 0 B", "call 0 0 i f",
                #"arguments 0 0 {"a":[1,2]}"#, "call end 0 0", "call 0 1  f", "call end 0 1", "signature 0 C",
            ])
    }

    @Test func sourcesAreToldOnce() throws {
        let chunks =
            #""groundingChunks":[{"web":{"title":"t","uri":"u"}},{"web":{"uri":"v"}},{"web":{}},"#
            + #"{"retrievedContext":{"uri":"w"}}]"#
        let (seen, _) = try read(
            parts("", more: #","groundingMetadata":{\#(chunks)}"#),
            parts(#"{"text":"a"}"#, more: #","groundingMetadata":{"x":1,\#(chunks)}"#))
        #expect(seen.lines == ["start   -1", "source u t", "source v ", "text 0 a"])
    }

    // MARK: - Finish and usage

    @Test(arguments: [
        (#""STOP""#, FinishReason.stop), ("1", .stop), (#""MAX_TOKENS""#, .length), ("2", .length),
        (#""SAFETY""#, .contentFilter), ("3", .contentFilter), (#""SPII""#, .contentFilter), (#""OTHER""#, .other),
        (#""NEW_ONE""#, .other), ("99", .other), (#""MALFORMED_FUNCTION_CALL""#, .error),
    ])
    func reasonsMap(word: String, reason: FinishReason) throws {
        let (seen, progress) = try read(parts(#"{"text":"a"}"#), finish(word))
        #expect(seen.reasons[0] == reason && seen.words[0] == word.filter { $0 != "\"" })
        #expect(progress.isComplete == (reason != .error))
        #expect(seen.errors.count == (reason == .error ? 1 : 0))
    }

    @Test func aFinishWaitsForTheEnd() throws {
        let (seen, progress) = try read(
            parts(#"{"text":"a"}"#, more: #","finishReason":"STOP""#), parts(#"{"text":"b"}"#),
            parts(#"{"text":"c"}"#, more: #","finishReason":"MAX_TOKENS""#),
            #"{"usageMetadata":{"promptTokenCount":1}}"#)
        #expect(seen.text[0] == "abc")
        #expect(seen.lines.suffix(2) == ["usage \(Usage(input: 1))", "finish 0 length MAX_TOKENS"])
        #expect(progress.isComplete)
    }

    /// Events that differ in their text alone are not parsed; they must not hide which finish was the last.
    @Test func theLastFinishIsTheOneThatCounts() throws {
        let stop = #","finishReason":"STOP""#
        let (seen, _) = try read(
            parts(#"{"text":"a"}"#), parts(#"{"text":"b"}"#, more: stop),
            parts(#"{"text":"c"},{"text":"d"}"#, more: #","finishReason":"SAFETY""#),
            parts(#"{"text":"e"}"#, more: stop))
        #expect(seen.text[0] == "abcde" && seen.words[0] == "STOP")
    }

    /// Where every event has a finish, the stream that ends inside one is still cut.
    @Test func aFinishBeforeACutIsNone() throws {
        let event = "data: " + parts(#"{"text":"a"}"#, more: #","finishReason":"STOP""#)
        for count in 1..<event.utf8.count - 6 {
            let cut = "\(event)\n\n\("data: " + String(event.dropFirst(6).prefix(count)))"
            #expect(try !Transcript.of(decoder(), cut).1.isComplete, "\(count) bytes of data")
        }
        #expect(try Transcript.of(decoder(), "\(event)\n\n\(event)").1.isComplete)
        let array = "[" + event.dropFirst(6)
        for tail in ["", ",", ",{", ",\r\n{\"candidates\":[]"] {
            #expect(try !Transcript.of(decoder(), array + tail).1.isComplete, "\(tail)")
        }
        #expect(try Transcript.of(decoder(), array + "]").1.isComplete)
        #expect(try Transcript.of(decoder(), array + ",{}\n]\n").1.isComplete)
    }

    @Test func everyCandidateThatBeganMustFinish() throws {
        let both = #"{"candidates":[{"index":0,"finishReason":"STOP"},{"index":1,"content":{"parts":[{"text":"a"}]}}]}"#
        #expect(try !read(both).progress.isComplete)
        #expect(try read(both, #"{"candidates":[{"index":1,"finishReason":"STOP"}]}"#).progress.isComplete)
    }

    @Test func aBlockedPromptIsFiltered() throws {
        for reason in [#""SAFETY""#, "1"] {
            let (seen, progress) = try read(#"{"promptFeedback":{"safetyRatings":[],"blockReason":\#(reason)}}"#)
            #expect(seen.reasons[0] == .contentFilter && progress.isComplete && !progress.sawContent)
        }
        let (seen, _) = try read(#"{"promptFeedback":{"safetyRatings":[]}}"#)
        #expect(seen.reasons.isEmpty)
    }

    @Test func countsAreCumulativeAndThoughtsAreOutput() throws {
        func usage(_ members: String) -> String { #"{"usageMetadata":{\#(members)}}"# }
        let (seen, _) = try read(
            usage(#""promptTokenCount":5,"totalTokenCount":5"#), usage(#""promptTokenCount":5,"thoughtsTokenCount":7"#),
            usage(#""thoughtsTokenCount":7,"candidatesTokenCount":2,"promptTokenCount":5"#),
            usage(#""candidatesTokenCount":3"#), usage(#""candidatesTokenCount":3,"promptTokenCount":null"#),
            usage(#""promptTokenCount":-1,"cachedContentTokenCount":4"#))
        #expect(
            seen.lines.dropFirst() == [
                "usage \(Usage(input: 5))", "usage \(Usage(input: 5, output: 7, reasoning: 7))",
                "usage \(Usage(input: 5, output: 9, reasoning: 7))",
                "usage \(Usage(input: 5, output: 10, reasoning: 7))",
                "usage \(Usage(input: 5, output: 10, cached: 4, reasoning: 7))",
            ])
    }

    // MARK: - Calls in pieces

    private func pieces(_ pieces: String, goesOn: Bool) -> String {
        parts(#"{"functionCall":{"partialArgs":[\#(pieces)],"willContinue":\#(goesOn)}}"#)
    }

    @Test func argumentsInPiecesBecomeOneObject() throws {
        let (seen, progress) = try read(
            parts(#"{"functionCall":{"name":"f","id":"i","willContinue":true}}"#),
            pieces(#"{"jsonPath":"$.a","stringValue":"one \ud83d","willContinue":true}"#, goesOn: true),
            pieces(#"{"jsonPath":"$.a","stringValue":"\ude00\n","willContinue":true}"#, goesOn: true),
            pieces(#"{"jsonPath":"$.a","stringValue":""},{"jsonPath":"$.b.c[0]","numberValue":12.50}"#, goesOn: true),
            pieces(
                #"{"jsonPath":"$.b.c[1].d","boolValue":true},{"jsonPath":"$['e f']","nullValue":"NULL_VALUE"}"#,
                goesOn: true),
            parts(#"{"functionCall":{}},{"functionCall":{"name":"g","args":{}}}"#), finish(#""STOP""#))
        #expect(
            seen.calls[0] == [
                .init(
                    id: "i", name: "f",
                    arguments: #"{"a":"one \ud83d\ude00\n","b":{"c":[12.50,{"d":true}]},"e f":null}"#,
                    hasEnded: true), .init(id: "", name: "g", arguments: "{}", hasEnded: true),
            ])
        #expect(seen.reasons[0] == .toolCalls && progress.isComplete)
    }

    @Test func aCallInPiecesThatIsCutHasNoArguments() throws {
        let (seen, _) = try read(
            parts(#"{"functionCall":{"name":"f","willContinue":true}}"#),
            pieces(#"{"jsonPath":"$.a","stringValue":"x","willContinue":true}"#, goesOn: true), finish(#""MAX_TOKENS""#)
        )
        #expect(seen.calls[0] == [.init(id: "", name: "f", arguments: "", hasEnded: true)])
    }

    @Test(arguments: ["a", "$", "$.", "$.a[1]", "$.a[x]", "$.a[0", "$.a.b", "$[0]", "$.a[99999999999999999999]"])
    func piecesThatMakeNoObjectAreMalformed(path: String) {
        #expect(throws: StreamError.self) {
            try read(
                parts(#"{"functionCall":{"name":"f","willContinue":true}}"#),
                pieces(#"{"jsonPath":"$.a","numberValue":1},{"jsonPath":"\#(path)","numberValue":2}"#, goesOn: false))
        }
    }

    // MARK: - Errors

    private static let error = #"{"error":{"code":429,"message":"slow \"down\"","status":"RESOURCE_EXHAUSTED"}}"#

    @Test func errorsAreFoundInEveryFraming() throws {
        let pretty = Self.error.replacing(",", with: ",\r\n    ").replacing("{", with: "{\n  ")
        let first = "data: \(parts(#"{"text":"a"}"#))\r\n\r\n"
        for wire in [
            Self.error, pretty, "[\(Self.error)]", " \n[\r\n\(pretty)\r\n]\r\n", "data: \(Self.error)\n\n",
            first + pretty, first + Self.error, first + "[\(pretty)]\n", first + pretty + "\n\n: bye\n\n",
        ] {
            for size in [1, 7, 1000] {
                let (seen, progress) = try Transcript.of(decoder(), Cutter.pieces(Array(wire.utf8), of: size))
                #expect(seen.lines.contains(#"error rateLimited slow "down" RESOURCE_EXHAUSTED"#), "\(wire)")
                #expect(progress.sawError && !progress.isComplete)
                #expect(seen.text[0] == (wire.hasPrefix("data: {\"cand") ? "a" : nil))
            }
        }
    }

    @Test func anErrorThatIsNoneIsPassedOver() throws {
        #expect(try read(#"{"candidates":[],"error":null}"#).seen.errors.isEmpty)
    }

    /// Neither the bare JSON nor what comes before it is complete when the body ends inside.
    @Test func aBareErrorThatIsCutIsACut() throws {
        let wire = "data: \(finish(#""STOP""#))\n\n\(Self.error)"
        for count in wire.utf8.count - Self.error.utf8.count + 1...wire.utf8.count {
            let (_, progress) = try Transcript.of(decoder(), [Array(wire.utf8.prefix(count))])
            #expect(!progress.isComplete && progress.sawError == (count == wire.utf8.count))
        }
    }

    // MARK: - The array

    private let text = #"{"candidates": [{"content": {"parts": [{"text": "a]},[{\\\"}\u007b \\"}]}}]}"#
    private let said = #"a]},[{\"}{ \"#

    @Test(arguments: [",", "\n,\n", ",\r\n", " , \t"]) func elementsAreFoundByTheirBrackets(between: String) throws {
        let wire = "\r\n [" + [text, text, finish("1")].joined(separator: between) + "\n]\n"
        let whole = try Transcript.of(decoder(), wire)
        #expect(whole.0.text[0] == said + said && whole.0.words[0] == "1")
        #expect(whole.1.eventCount == 3 && whole.1.isComplete)
        for cut in 0...wire.utf8.count {
            let halves = [Array(wire.utf8.prefix(cut)), Array(wire.utf8.dropFirst(cut))]
            let (seen, progress) = try Transcript.of(decoder(), halves)
            #expect(seen.lines == whole.0.lines && progress == whole.1, "cut at byte \(cut)")
        }
    }

    @Test func anObjectAloneIsAnEvent() throws {
        let (seen, progress) = try Transcript.of(
            decoder(), "\n" + parts(#"{"text":"a"}"#, more: #","finishReason":"STOP""#))
        #expect(seen.text[0] == "a" && progress.isComplete && progress.eventCount == 1)
    }

    @Test func anEmptyArrayIsNoAnswer() throws {
        let (seen, progress) = try Transcript.of(decoder(), " [ ] ")
        #expect(seen.lines.isEmpty && !progress.isComplete)
    }

    @Test(arguments: ["[1]", "[{}{}]", "[,{}]", "[{},]", "{}{}", "[{}]x", "[{} ; {}]", "[[{}]]", "[\"a\"]"])
    func whatIsNoArrayOfObjectsIsMalformed(wire: String) {
        for size in [1, 100] {
            #expect(throws: StreamError.self) {
                try Transcript.of(decoder(), Cutter.pieces(Array(wire.utf8), of: size))
            }
        }
    }

    @Test func aFaultIsTheSameForEveryCut() throws {
        let wire = "  [\(text),\n{\"candidates\":[}]},\(text)]"
        let place = text.utf8.count + 5
        for cut in 0...wire.utf8.count {
            let halves = [Array(wire.utf8.prefix(cut)), Array(wire.utf8.dropFirst(cut))]
            #expect(throws: StreamError.malformed("an event is not a JSON object", offset: place)) {
                try Transcript.of(decoder(), halves)
            }
        }
    }

    @Test func anElementIsLimitedAndTheArrayIsNot() throws {
        let limit = text.utf8.count + 1
        let many =
            "[" + Array(repeating: text, count: 50).joined(separator: String(repeating: " ", count: 9) + ",") + "]"
        #expect(try Transcript.of(decoder(limit), many).1.eventCount == 50)
        let wire = "[\(text),\(text.dropLast()) }]"
        for size in [1, 5, 1000] {
            let error = #expect(throws: StreamError.self) {
                try Transcript.of(decoder(limit), Cutter.pieces(Array(wire.utf8), of: size))
            }
            #expect(error == .eventTooLarge(Limit("event_bytes", limit)))
        }
    }

    @Test func partsAreLimited() {
        let many = Array(repeating: #"{"text":"a"}"#, count: 4097).joined(separator: ",")
        #expect(throws: StreamError.self) {
            try Transcript.of(decoder(1 << 20), "data: \(parts(many))\n\n")
        }
    }
}
