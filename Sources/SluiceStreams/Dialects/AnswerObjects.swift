import SluiceBytes

/// JSON objects that Anthropic, OpenAI and Cohere write alike: an error, a web source.
extension AnswerState {
    /// `{"type","code","message"}`, or the message alone as a string.
    mutating func providerError(_ json: Span<UInt8>, into batch: inout EventBatch) {
        var scanner = JSONScanner(json)
        if scanner.peek() == .string, let text = scanner.string() {
            return error(.provider, message: json.extracting(text), into: &batch)
        }
        guard scanner.peek() == .object, scanner.enterObject() else { return error(plain: json, into: &batch) }
        var (message, type, code): (Range<Int>?, Range<Int>?, Range<Int>?)
        var status: Int?
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "message") {
                message = scanner.stringOrSkip()
            } else if ASCII.equal(name, "type") || ASCII.equal(name, "error_type") {
                type = scanner.stringOrSkip()
            } else if ASCII.equal(name, "code"), scanner.peek() == .string {
                code = scanner.string()
            } else if ASCII.equal(name, "code") || ASCII.equal(name, "status_code") {
                status = scanner.integer() ?? status
            } else {
                scanner.value()
            }
        }
        // The event's own type says only that it is an error.
        if let range = type, ASCII.equal(json.extracting(range), "error") { type = nil }
        let words = (json.extracting(type ?? 0..<0), json.extracting(code ?? 0..<0))
        let text = json.extracting(message ?? 0..<0)
        let kind = Self.errorKind(status: status, words.0) ?? Self.errorKind(status: nil, words.1) ?? .provider
        error(kind, message: text, type: words.0.isEmpty ? words.1 : words.0, into: &batch)
    }

    /// A document that is an error and no answer. False: it is none.
    mutating func providerError(document: JSONValue, into batch: inout EventBatch) -> Bool {
        let fault: JSONValue
        if let error = document["error"], error.string != nil || error.members != nil {
            fault = error
        } else if document["message"]?.string != nil {
            fault = document
        } else {
            return false
        }
        providerError(fault.serialized().span, into: &batch)
        return true
    }

    /// By the status, else by the provider's own word; nil: neither says anything that is known.
    static func errorKind(status: Int?, _ word: Span<UInt8>) -> StreamErrorKind? {
        switch status {
        case 429?: return .rateLimited
        case 503?, 529?: return .overloaded
        case 400?, 404?, 413?, 422?: return .invalidRequest
        default: break
        }
        if ASCII.equal(word, "rate_limit_error") || ASCII.equal(word, "rate_limit_exceeded")
            || ASCII.equal(word, "insufficient_quota") || ASCII.equal(word, "too_many_requests")
        {
            return .rateLimited
        }
        if ASCII.equal(word, "overloaded_error") || ASCII.equal(word, "server_overloaded")
            || ASCII.equal(word, "service_unavailable")
        {
            return .overloaded
        }
        if ASCII.equal(word, "not_found_error") || ASCII.equal(word, "request_too_large")
            || ASCII.equal(word, "context_length_exceeded")
        {
            return .invalidRequest
        }
        // `invalid_request_error`, `invalid_prompt`, `invalid_image` …
        if word.count > 8, ASCII.equal(word.extracting(0..<8), "invalid_") { return .invalidRequest }
        return nil
    }

    /// `{"url","title"}` among other members; without a `url` it is no web source, and nothing is said.
    mutating func source(_ json: Span<UInt8>, into batch: inout EventBatch) {
        var (url, title): (Range<Int>?, Range<Int>?)
        var scanner = JSONScanner(json)
        guard scanner.peek() == .object, scanner.enterObject() else { return }
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "url") {
                url = scanner.stringOrSkip()
            } else if ASCII.equal(name, "title") {
                title = scanner.stringOrSkip()
            } else {
                scanner.value()
            }
        }
        guard scanner.isValid, let url else { return }
        source(url: json.extracting(url), title: json.extracting(title ?? 0..<0), into: &batch)
    }

    /// An array of such objects.
    mutating func sources(_ json: Span<UInt8>, into batch: inout EventBatch) {
        var scanner = JSONScanner(json)
        guard scanner.peek() == .array, scanner.enterArray() else { return }
        while scanner.nextElement() {
            if let range = scanner.value() { source(json.extracting(range), into: &batch) }
        }
    }
}

/// The arguments that stand in the start of a tool call: most often an empty place for those that follow in fragments,
/// but from some hosts the whole of them. They are told once it is clear that no fragments come.
struct HeldArguments {
    private var held: (key: Int, json: [UInt8])?

    /// `json`: a value, or a string with its quotes.
    mutating func hold(_ json: Span<UInt8>, key: Int) {
        held = (key, json.withUnsafeBufferPointer { Array($0) })
    }

    mutating func release(to answer: inout AnswerState, into batch: inout EventBatch) {
        guard let (key, json) = held else { return }
        held = nil
        guard !answer.hasArguments(key: key) else { return }
        if json.first == ASCII.quote {
            answer.arguments(key: key, json.span.extracting(1..<max(1, json.count - 1)), into: &batch)
        } else {
            answer.arguments(key: key, value: json.span, into: &batch)
        }
    }
}
