import SluiceBytes

/// The models whose events are text in one member and little else:
///
///     Llama      {"generation","prompt_token_count","generation_token_count","stop_reason"}
///     Titan      {"outputText","index","inputTextTokenCount","totalOutputTextTokenCount","completionReason"}
///     Cohere     {"text","is_finished","index","finish_reason"}
///     Claude 2   {"completion","stop_reason","stop"}
///     Mistral    {"outputs":[{"text","stop_reason"}]}
///     others     {"choices":[…]}, read in `BedrockInvokeChoices.swift`
///
/// The last event has `amazon-bedrock-invocationMetrics`, which is the stream's end.
extension BedrockInvokeDialect {
    /// One run of text and its place, as any of the models has it.
    struct Piece {
        var choice = 0
        var text: Range<Int>?
        var reason: Range<Int>?

        /// True if the member is one of a piece, which has been taken.
        @inline(__always)
        mutating func take(_ name: Span<UInt8>, _ scanner: inout JSONScanner) -> Bool {
            switch name.count {
            case 4 where ASCII.equal(name, "text"), 10 where ASCII.equal(name, "generation"),
                10 where ASCII.equal(name, "outputText"), 10 where ASCII.equal(name, "completion"):
                text = scanner.stringOrSkip() ?? text
            case 11 where ASCII.equal(name, "stop_reason"), 13 where ASCII.equal(name, "finish_reason"),
                16 where ASCII.equal(name, "completionReason"):
                reason = scanner.stringOrSkip() ?? reason
            case 5 where ASCII.equal(name, "index"): choice = scanner.integer() ?? 0
            default: return false
            }
            return true
        }
    }

    /// False: this is not one JSON object, and nothing has been told.
    mutating func readText(_ json: Span<UInt8>, into batch: inout EventBatch) -> Bool {
        var piece = Piece()
        var counts = Usage()
        var (metrics, outputs, choices): (Range<Int>?, Range<Int>?, Range<Int>?)
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return false }
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if piece.take(name, &scanner) { continue }
            if ASCII.equal(name, "prompt_token_count") || ASCII.equal(name, "inputTextTokenCount") {
                promptCount = scanner.integer() ?? promptCount
            } else if ASCII.equal(name, "generation_token_count") || ASCII.equal(name, "totalOutputTextTokenCount") {
                counts.output = scanner.integer()
            } else if ASCII.equal(name, "amazon-bedrock-invocationMetrics") {
                metrics = scanner.objectOrSkip()
            } else if ASCII.equal(name, "outputs") {
                outputs = Self.array(&scanner)
            } else if ASCII.equal(name, "choices") {
                choices = Self.array(&scanner)
            } else {
                scanner.value()
            }
        }
        guard scanner.isAtEnd() else { return false }
        if let choices {
            readChoices(json.extracting(choices), of: json, into: &batch)
        } else if let outputs {
            readOutputs(json.extracting(outputs), into: &batch)
        } else if piece.text != nil || piece.reason != nil {
            tell(piece, json, into: &batch)
        } else if metrics == nil {
            batch.append(.unknown)
        }
        if let metrics {
            answer.usage(Self.metrics(json.extracting(metrics)), into: &batch)
            if answer.progress.sawFinish { answer.end(into: &batch) }
        } else if piece.reason != nil {
            // Llama counts with each token: the last count is the one that says something.
            counts.input = promptCount
            answer.usage(counts, into: &batch)
        }
        return true
    }

    private static func array(_ scanner: inout JSONScanner) -> Range<Int>? {
        let isArray = scanner.peek() == .array
        let range = scanner.value()
        return isArray ? range : nil
    }

    private mutating func readOutputs(_ json: Span<UInt8>, into batch: inout EventBatch) {
        var scanner = JSONScanner(json)
        guard scanner.enterArray() else { return }
        var place = 0
        while scanner.nextElement() {
            guard let range = scanner.objectOrSkip() else { continue }
            let output = json.extracting(range)
            var piece = Piece(choice: place)
            var members = JSONScanner(output)
            guard members.enterObject() else { return }
            while let key = members.nextKey() {
                if !piece.take(output.extracting(key), &members) { members.value() }
            }
            tell(piece, output, into: &batch)
            place += 1
        }
    }

    mutating func tell(_ piece: Piece, _ json: Span<UInt8>, into batch: inout EventBatch) {
        if let text = piece.text { answer.text(json.extracting(text), choice: piece.choice, into: &batch) }
        guard let reason = piece.reason, !reason.isEmpty else { return }
        let word = json.extracting(reason)
        answer.finish(Self.reason(word), raw: word, choice: piece.choice, into: &batch)
    }

    static func metrics(_ json: Span<UInt8>) -> Usage {
        var usage = Usage()
        var (read, written): (Int?, Int?)
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return usage }
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "inputTokenCount") {
                usage.input = scanner.integer()
            } else if ASCII.equal(name, "outputTokenCount") {
                usage.output = scanner.integer()
            } else if ASCII.equal(name, "cacheReadInputTokenCount") {
                read = scanner.integer()
            } else if ASCII.equal(name, "cacheWriteInputTokenCount") {
                written = scanner.integer()
            } else {
                scanner.value()
            }
        }
        usage.input = usage.input.map { $0 &+ (read ?? 0) &+ (written ?? 0) }
        usage.cached = read
        return usage
    }

    /// Every model has its own words for the same few reasons.
    static func reason(_ word: Span<UInt8>) -> FinishReason {
        if isOne(word, ["stop", "finish", "complete", "stop_sequence", "end_turn", "stop_criteria_met"]) {
            return .stop
        }
        if isOne(word, ["length", "max_tokens", "model_length", "error_limit"]) { return .length }
        if isOne(word, ["tool_calls", "tool_call", "tool_use"]) { return .toolCalls }
        if isOne(word, ["content_filtered", "content_filter", "error_toxic"]) { return .contentFilter }
        return isOne(word, ["error", "timeout"]) ? .error : .other
    }

    private static func isOne(_ word: Span<UInt8>, _ words: [StaticString]) -> Bool {
        for candidate in words where ASCII.equalFolded(word, candidate) { return true }
        return false
    }
}
