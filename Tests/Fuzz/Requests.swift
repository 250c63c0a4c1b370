import SluiceBytes
import SluiceStreams

/// A client's request in every format to every dialect: nothing traps, what comes out is JSON and says all that system and user said,
/// what is refused says why, and what was written as OpenAI's chat can be read as that.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let start, count >= 2 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start + 2, count: count - 2))
    let format = RequestFormat.allCases[Int(start[0] & 31) % RequestFormat.allCases.count]
    let dialect = Dialect.allCases[Int(start[1] & 31) % Dialect.allCases.count]
    guard format != .passthrough, dialect != .raw else { return 0 }
    if format == .prompt { query(bytes, dialect) }
    var rules = RequestRules()
    rules.fallbackModel = "m"
    rules.dropsUnsupported = start[0] & 32 != 0
    if start[0] & 64 != 0 {
        (rules.model, rules.system) = ("other", "be \"brief\"")
        rules.defaults = ["temperature": 1, "metadata": ["a": 1]]
        rules.overrides = ["max_tokens": 5, "stop": ["x"], "extra": true]
    }
    var hints = RequestHints()
    hints.path = "/v1beta/models/m:streamGenerateContent"
    if start[0] & 128 != 0 { hints.parameters.prompt = "p" }
    do throws(RequestError) {
        let request = try RequestTranslator.translate(bytes, from: format, to: dialect, rules, hints)
        let told = "\(format) to \(dialect)"
        check(request, rules, told)
        checkTexts(Spoken.texts(bytes, format, hints), request, told)
        if speaksOpenAI(dialect), format != .openAIChat, request.dropped.isEmpty { checkReading(request, told) }
    } catch {
        require(!error.message.isEmpty, "a refusal says why")
    }
    return 0
}

/// The same bytes as the query of a request without a body.
private func query(_ bytes: [UInt8], _ dialect: Dialect) {
    var rules = RequestRules()
    rules.dropsUnsupported = true
    rules.fallbackModel = "m"
    var hints = RequestHints()
    let pairs = bytes.split(separator: UInt8(ascii: "&"), maxSplits: 8).map { pair in
        let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
        let texts = parts.map { String(decoding: $0, as: UTF8.self) }
        return (name: texts[0], value: texts.count > 1 ? texts[1] : "")
    }
    hints.parameters = PromptParameters(pairs)
    do throws(RequestError) {
        let request = try RequestTranslator.translate([], from: .prompt, to: dialect, rules, hints)
        check(request, rules, "a query to \(dialect)")
        if let prompt = hints.parameters.prompt { checkTexts([Array(prompt.utf8)], request, "a query to \(dialect)") }
    } catch {
        require(!error.message.isEmpty, "a refusal says why")
    }
}

private func check(_ request: TranslatedRequest, _ rules: RequestRules, _ told: String) {
    let text = String(validating: request.body, as: UTF8.self)
    require(text != nil, "\(told): the body is UTF-8")
    require(StrictJSON.isValue(request.body), "\(told): the body is JSON: \(text ?? "")")
    require(rules.dropsUnsupported || request.dropped.isEmpty, "\(told): \(request.dropped) got lost")
    guard let body = JSONValue.parse(request.body) else { return }
    if rules.overrides != nil { require(body["extra"] == true, "\(told): an override got lost: \(text ?? "")") }
    if let system = rules.system { checkTexts([Array(system.utf8)], request, told) }
}

/// Each text stands somewhere in the body, alone or with others.
private func checkTexts(_ texts: [[UInt8]], _ request: TranslatedRequest, _ told: String) {
    guard !texts.isEmpty, let body = JSONValue.parse(request.body) else { return }
    let written = strings(of: body)
    for text in texts where !text.isEmpty {
        let isThere = written.contains { holds($0, text) }
        require(isThere, "\(told): a text got lost: \(String(decoding: text, as: UTF8.self))")
    }
}

private func strings(of value: JSONValue) -> [[UInt8]] {
    switch value {
    case .string(let string): [string.utf8]
    case .array(let elements): elements.flatMap(strings)
    case .object(let members): members.flatMap { strings(of: $0.value) }
    default: []
    }
}

private func speaksOpenAI(_ dialect: Dialect) -> Bool { [.openAIChat, .mlflow, .auto, .text].contains(dialect) }

/// Responses is the dialect that takes whatever OpenAI's chat can say, also arguments that are no JSON.
private func checkReading(_ request: TranslatedRequest, _ told: String) {
    var rules = RequestRules()
    rules.dropsUnsupported = true
    // What is nested deeper than this reads was deep already, in the client's body or in a text of it.
    guard JSONValue.parse(request.body) != nil else { return }
    do throws(RequestError) {
        _ = try RequestTranslator.translate(
            request.body, from: .openAIChat, to: .openAIResponses, rules, RequestHints())
    } catch {
        require(false, "\(told): \(error.message): \(String(decoding: request.body, as: UTF8.self))")
    }
}
