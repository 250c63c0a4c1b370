import SluiceBytes
import SluiceStreams

/// JSON from request bodies and providers: nothing traps, a document written and read again is the same, and any text
/// survives quoting.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let start, count > 0 else { return 0 }
    let variant = start[0]
    let text = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    document(text)
    quoting(text)
    var scanner = JSONScanner(text.span)
    walk(&scanner, variant, depth: 0)
    require(scanner.position <= text.count || !scanner.isValid, "a valid scanner stands inside its text")
    return 0
}

private func document(_ text: [UInt8]) {
    guard let value = JSONValue.parse(text.span) else { return }
    let written = value.serialized()
    require(String(validating: written, as: UTF8.self) != nil, "a document is UTF-8")
    guard let again = JSONValue.parse(written.span) else { return require(false, "what was written cannot be read") }
    require(again == value, "a document that was written is another one")
    require(again.serialized() == written, "writing is stable")
    // Whoever skips a value must find the same end as who reads it.
    var scanner = JSONScanner(text.span)
    require(scanner.value() != nil, "a document that was read cannot be skipped")
    require(scanner.isAtEnd(), "a document was skipped to another end")
    _ = value.errorMessage
    _ = value.text(at: ["choices", "0", "text"])
}

/// Bytes → UTF-8 → quoted → UTF-8.
private func quoting(_ text: [UInt8]) {
    var clean = ByteQueue()
    var quoted = ByteQueue()
    var back = ByteQueue()
    text.withUnsafeBufferPointer { UTF8Text.append($0, into: &clean) }
    let wanted = clean.withUnsafeBytes { Array($0) }
    // The standard library replaces as Unicode recommends: an independent judge.
    require(wanted == Array(String(decoding: text, as: UTF8.self).utf8), "ill-formed UTF-8 is replaced otherwise")
    JSONText.appendQuoted(wanted.span, into: &quoted)
    let string = quoted.withUnsafeBytes { Array($0) }
    var scanner = JSONScanner(string.span)
    guard let raw = scanner.string() else { return require(false, "a quoted text is no string") }
    require(scanner.isAtEnd(), "a quoted text ends too early")
    var half: UInt16?
    JSONText.append(string.span.extracting(raw), half: &half, into: &back)
    require(half == nil, "a half out of nothing")
    require(back.withUnsafeBytes { Array($0) } == wanted, "a text is another one after quoting")
}

/// Takes what comes in ways that `variant` chooses; always ends, since each call takes something or gives up.
private func walk(_ scanner: inout JSONScanner, _ variant: UInt8, depth: Int) {
    require(depth <= JSONScanner.depthLimit, "nested deeper than the limit")
    switch scanner.peek() {
    case .object:
        guard variant & 1 == 0 else { return _ = scanner.value() }
        guard scanner.enterObject() else { return }
        while let key = scanner.nextKey() {
            require(key.upperBound < scanner.bytes.count, "a key outside its text")
            walk(&scanner, variant, depth: depth + 1)
        }
    case .array:
        guard variant & 2 == 0 else { return _ = scanner.value() }
        guard scanner.enterArray() else { return }
        while scanner.isValid, scanner.nextElement() { walk(&scanner, variant, depth: depth + 1) }
    case .string:
        guard let raw = variant & 4 == 0 ? scanner.string() : scanner.stringOrSkip() else { return }
        var out = ByteQueue()
        var half: UInt16? = variant & 8 == 0 ? nil : 0xD83D
        JSONText.append(scanner.bytes.extracting(raw), half: &half, into: &out)
        JSONText.dropHalf(&half, into: &out)
        require(out.withUnsafeBytes { String(validating: $0, as: UTF8.self) != nil }, "an unescaped string is UTF-8")
    case .number: if variant & 16 == 0 { _ = scanner.integer() } else { _ = scanner.value() }
    case .literal: if variant & 32 == 0 { _ = scanner.stringOrSkip() } else { _ = scanner.integer() }
    case .end: _ = scanner.value()
    }
}
