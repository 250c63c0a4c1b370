import SluiceBytes
import SluiceStreams

/// A client's request in every format to every dialect: nothing traps, what comes out is JSON, and what is refused says why.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let start, count >= 2 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start + 2, count: count - 2))
    let format = RequestFormat.allCases[Int(start[0] & 31) % RequestFormat.allCases.count]
    let dialect = Dialect.allCases[Int(start[1] & 31) % Dialect.allCases.count]
    guard format != .passthrough, dialect != .raw else { return 0 }
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
    if start[0] & 128 != 0 { hints.prompt = "p" }
    do throws(RequestError) {
        let request = try RequestTranslator.translate(bytes, from: format, to: dialect, rules, hints)
        let isJSON = JSONValue.parse(request.body) != nil
        require(isJSON, "\(format) to \(dialect): \(String(decoding: request.body, as: UTF8.self))")
    } catch {
        require(!error.message.isEmpty, "a refusal says why")
    }
    return 0
}
