import SluiceBytes

/// Token counts and errors, wherever they stand in a chunk.
extension OpenAIChatDialect {
    /// `usage` may come on every chunk, cumulative, or once; an event is made when a figure changes. A later chunk that
    /// knows less takes nothing back.
    mutating func readUsage(_ json: Span<UInt8>, into batch: inout EventBatch) {
        var usage = Usage()
        var (prompt, completion, total, reasoning): (Int?, Int?, Int?, Int?)
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return }
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "prompt_tokens") {
                prompt = scanner.integer()
            } else if ASCII.equal(name, "completion_tokens") {
                completion = scanner.integer()
            } else if ASCII.equal(name, "total_tokens") {
                total = scanner.integer()
            } else if ASCII.equal(name, "prompt_tokens_details"), scanner.peek() == .object {
                usage.cached = count("cached_tokens", &scanner)
            } else if ASCII.equal(name, "completion_tokens_details"), scanner.peek() == .object {
                reasoning = count("reasoning_tokens", &scanner)
            } else {
                scanner.value()
            }
        }
        // xAI counts reasoning beside the completion; only the sum tells.
        if let first = prompt, let second = completion, let third = reasoning, third > 0,
            total == first &+ second &+ third
        {
            completion = second &+ third
        }
        (usage.input, usage.output, usage.reasoning) = (prompt, completion, reasoning)
        answer.usage(usage, into: &batch)
    }

    private func count(_ wanted: StaticString, _ scanner: inout JSONScanner) -> Int? {
        var found: Int?
        guard scanner.enterObject() else { return nil }
        let bytes = scanner.bytes
        while let key = scanner.nextKey() {
            if ASCII.equal(bytes.extracting(key), wanted) { found = scanner.integer() } else { scanner.value() }
        }
        return found
    }

    /// `x_groq` of the first and the last chunk: `{"id","usage","error"}`.
    mutating func readGroq(_ json: Span<UInt8>, into batch: inout EventBatch) {
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return }
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "usage") {
                if let range = scanner.objectOrSkip() { readUsage(json.extracting(range), into: &batch) }
            } else if ASCII.equal(name, "error"), scanner.peek() == .string {
                if let range = scanner.value(), range.count > 2 { readError(json.extracting(range), into: &batch) }
            } else {
                scanner.value()
            }
        }
    }

    // MARK: - Errors

    /// `{"message","type","code"}` or a plain string.
    mutating func readError(_ json: Span<UInt8>, into batch: inout EventBatch) {
        var (message, type, word): (Range<Int>?, Range<Int>?, Range<Int>?) = (nil, nil, nil)
        var code: Int?
        var scanner = JSONScanner(json)
        if scanner.peek() == .string {
            message = scanner.string()
        } else if scanner.enterObject() {
            while let key = scanner.nextKey() {
                let name = json.extracting(key)
                if ASCII.equal(name, "message") {
                    message = scanner.stringOrSkip()
                } else if ASCII.equal(name, "type") {
                    type = scanner.stringOrSkip()
                } else if ASCII.equal(name, "code"), scanner.peek() == .string {
                    word = scanner.string()
                } else if ASCII.equal(name, "code") || ASCII.equal(name, "status_code") {
                    code = scanner.integer() ?? code
                } else {
                    scanner.value()
                }
            }
        }
        if let text = word { code = code ?? ASCII.decimal(json.extracting(text)) }
        let spoken = json.extracting(type ?? word ?? 0..<0)
        answer.error(
            Self.kind(code, json, [type, word]), message: json.extracting(message ?? 0..<0), type: spoken, into: &batch)
    }

    /// By the status, else by the provider's own words.
    private static func kind(_ code: Int?, _ json: Span<UInt8>, _ words: [Range<Int>?]) -> StreamErrorKind {
        switch code {
        case 429?: return .rateLimited
        case 503?, 529?: return .overloaded
        case 400?, 404?, 413?, 422?: return .invalidRequest
        default: break
        }
        for case let range? in words {
            let word = json.extracting(range)
            if ASCII.equal(word, "rate_limit_error") || ASCII.equal(word, "rate_limit_exceeded") { return .rateLimited }
            if ASCII.equal(word, "overloaded_error") || ASCII.equal(word, "server_overloaded") { return .overloaded }
            if ASCII.equal(word, "invalid_request_error") { return .invalidRequest }
        }
        return .provider
    }
}
