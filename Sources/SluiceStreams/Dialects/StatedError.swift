import SluiceBytes

/// An error as providers state it in JSON, under the names that they have for its parts: Google's
/// `{"error":{"code","message","status"}}`, Ollama's `{"error":"…"}`, TGI's `{"error","error_type"}`, watsonx's
/// `{"errors":[{"code","message"}]}`, Replicate's `{"detail"}`. What stands deeper inside counts more.
private struct StatedError {
    private var message: Range<Int>?
    private var type: Range<Int>?
    private var status: Range<Int>?
    private var code: Int?

    init(_ json: Span<UInt8>) {
        var scanner = JSONScanner(json)
        if scanner.peek() == .string { message = scanner.string() }
        if scanner.peek() == .object { read(&scanner, level: 0) }
    }

    private init() {}

    private mutating func read(_ scanner: inout JSONScanner, level: Int) {
        guard scanner.enterObject() else { return }
        let json = scanner.bytes
        var inner: StatedError?
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "message") || ASCII.equal(name, "detail") {
                message = scanner.stringOrSkip() ?? message
            } else if ASCII.equal(name, "type") || ASCII.equal(name, "error_type") {
                type = scanner.stringOrSkip() ?? type
            } else if ASCII.equal(name, "code") || ASCII.equal(name, "status") || ASCII.equal(name, "status_code") {
                readCode(&scanner)
            } else if ASCII.equal(name, "error") || ASCII.equal(name, "errors") {
                inner = Self.inner(&scanner, level: level) ?? inner
            } else {
                scanner.value()
            }
        }
        guard let inner else { return }
        message = inner.message ?? message
        type = inner.type ?? type
        status = inner.status ?? status
        code = inner.code ?? code
    }

    /// A number, or a word such as `RESOURCE_EXHAUSTED`.
    private mutating func readCode(_ scanner: inout JSONScanner) {
        guard scanner.peek() == .string, let word = scanner.string() else {
            code = scanner.integer() ?? code
            return
        }
        let number = ASCII.decimal(scanner.bytes.extracting(word))
        if number == nil { status = word }
        code = number ?? code
    }

    private static func inner(_ scanner: inout JSONScanner, level: Int) -> StatedError? {
        var error = StatedError()
        switch scanner.peek() {
        case .string: error.message = scanner.string()
        case .object where level < 2: error.read(&scanner, level: level + 1)
        case .array where level < 2 && scanner.enterArray():
            var isFirst = true
            while scanner.nextElement() {
                if isFirst, scanner.peek() == .object {
                    error.read(&scanner, level: level + 1)
                } else {
                    scanner.value()
                }
                isFirst = false
            }
        default:
            scanner.value()
            return nil
        }
        return error
    }

    /// By the status, else by the provider's own words.
    private func kind(_ json: Span<UInt8>) -> StreamErrorKind {
        switch code {
        case 429?: return .rateLimited
        case 503?, 529?: return .overloaded
        case 400?, 404?, 413?, 422?: return .invalidRequest
        default: break
        }
        for case let range? in [status, type] {
            if let kind = Self.kind(of: json.extracting(range)) { return kind }
        }
        return .provider
    }

    private static func kind(of word: Span<UInt8>) -> StreamErrorKind? {
        let words: [(StaticString, StreamErrorKind)] = [
            ("RESOURCE_EXHAUSTED", .rateLimited), ("rate_limit_error", .rateLimited),
            ("rate_limit_exceeded", .rateLimited), ("UNAVAILABLE", .overloaded), ("overloaded", .overloaded),
            ("overloaded_error", .overloaded), ("unavailable_error", .overloaded),
            ("INVALID_ARGUMENT", .invalidRequest),
            ("FAILED_PRECONDITION", .invalidRequest), ("NOT_FOUND", .invalidRequest), ("validation", .invalidRequest),
            ("invalid_request_error", .invalidRequest), ("not_found_error", .invalidRequest),
        ]
        return words.first { ASCII.equal(word, $0.0) }?.1
    }

    func tell(_ json: Span<UInt8>, to answer: inout AnswerState, into batch: inout EventBatch) {
        answer.error(
            kind(json), message: json.extracting(message ?? 0..<0), type: json.extracting(type ?? status ?? 0..<0),
            into: &batch)
    }
}

extension AnswerState {
    /// An error that stands in the event `json`, or is all of it.
    mutating func error(stated json: Span<UInt8>, into batch: inout EventBatch) {
        StatedError(json).tell(json, to: &self, into: &batch)
    }
}

extension JSONScanner {
    /// Takes the value of an `error` member: does it tell of one? Null, false, and empty strings and objects do not.
    mutating func tellsOfError() -> Bool {
        let kind = peek()
        let size = value()?.count ?? 0
        return kind != .literal && kind != .number && size > 2
    }

    /// Takes a count of tokens; nil for anything else, which is then skipped.
    mutating func count() -> Int? { integer().flatMap { $0 < 0 ? nil : $0 } }

    /// Takes a word or, where an enumeration is written as numbers, its digits; nil for anything else, which is then
    /// skipped.
    mutating func word() -> Range<Int>? {
        let kind = peek()
        if kind == .string { return string().flatMap { $0.isEmpty ? nil : $0 } }
        let range = value()
        return kind == .number ? range : nil
    }
}
