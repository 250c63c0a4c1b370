import SluiceBytes

/// What both versions of Cohere's API share: words for an ending, and counts.
enum CohereWords {
    static func reason(_ word: Span<UInt8>) -> FinishReason {
        if ASCII.equal(word, "COMPLETE") || ASCII.equal(word, "STOP_SEQUENCE") { return .stop }
        if ASCII.equal(word, "MAX_TOKENS") || ASCII.equal(word, "ERROR_LIMIT") { return .length }
        if ASCII.equal(word, "TOOL_CALL") { return .toolCalls }
        if ASCII.equal(word, "ERROR_TOXIC") { return .contentFilter }
        if ASCII.equal(word, "ERROR") || ASCII.equal(word, "TIMEOUT") { return .error }
        return .other
    }

    /// `{"billed_units":{},"tokens":{},"cached_tokens"}`: `usage` of version 2 and `meta` of version 1. What is billed
    /// leaves out what Cohere itself puts into the prompt.
    static func usage(_ json: Span<UInt8>, preferBilled: Bool) -> Usage {
        var (billed, tokens): (Usage, Usage) = (Usage(), Usage())
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return billed }
        var cached: Int?
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "billed_units"), scanner.peek() == .object {
                billed = counts(&scanner)
            } else if ASCII.equal(name, "tokens"), scanner.peek() == .object {
                tokens = counts(&scanner)
            } else if ASCII.equal(name, "cached_tokens") {
                cached = scanner.integer()
            } else {
                scanner.value()
            }
        }
        let (first, second) = preferBilled ? (billed, tokens) : (tokens, billed)
        return Usage(
            input: first.input ?? second.input, output: first.output ?? second.output, cached: cached ?? tokens.cached)
    }

    private static func counts(_ scanner: inout JSONScanner) -> Usage {
        var usage = Usage()
        guard scanner.enterObject() else { return usage }
        let bytes = scanner.bytes
        while let key = scanner.nextKey() {
            let name = bytes.extracting(key)
            if ASCII.equal(name, "input_tokens") {
                usage.input = scanner.integer()
            } else if ASCII.equal(name, "output_tokens") {
                usage.output = scanner.integer()
            } else if ASCII.equal(name, "cached_tokens") {
                usage.cached = scanner.integer()
            } else {
                scanner.value()
            }
        }
        return usage
    }
}
