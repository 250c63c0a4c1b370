import SluiceBytes

/// A JSON string as it stands between its quotes, escapes and all: a slice of the document that it came from, so that ten
/// megabytes of an image are never copied by whoever moves it from one document to another.
public struct JSONString: Sendable, Hashable, ExpressibleByStringLiteral {
    /// Without the quotes; still escaped.
    public let raw: ArraySlice<UInt8>

    public init(raw: ArraySlice<UInt8>) { self.raw = raw }

    /// Escapes what must be.
    public init(_ text: String) { self.init(escaping: Array(text.utf8)) }

    /// Escapes what must be of UTF-8.
    public init(escaping text: [UInt8]) {
        let needsNoEscape = text.withUnsafeBufferPointer { WordScan.mustEscape($0, from: 0) == $0.count }
        if needsNoEscape {
            raw = text[...]
            return
        }
        var out = ByteQueue()
        JSONText.appendEscaped(text.span, into: &out)
        raw = out.withUnsafeBytes { ArraySlice($0) }
    }

    public init(stringLiteral value: String) { self.init(value) }

    public var isEmpty: Bool { raw.isEmpty }
    /// What it means has more than `limit` bytes of UTF-8. An escape has at most six times the bytes of what it means, so of much
    /// longer ones nothing is read.
    public func isLonger(than limit: Int) -> Bool {
        raw.count > limit && (raw.count / 6 > limit || utf8.count > limit)
    }
    public var span: Span<UInt8> {
        @_lifetime(borrow self)
        get { raw.span }
    }

    /// What it means: a copy.
    public var text: String {
        var out = ByteQueue()
        appendText(to: &out)
        return out.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    /// What it means, as UTF-8.
    public var utf8: [UInt8] {
        var out = ByteQueue()
        appendText(to: &out)
        return out.withUnsafeBytes { Array($0) }
    }

    /// Appends what it means as UTF-8.
    public func appendText(to out: inout ByteQueue) {
        var half: UInt16?
        JSONText.append(raw.span, half: &half, into: &out)
        JSONText.dropHalf(&half, into: &out)
    }

    public static func == (left: JSONString, right: JSONString) -> Bool {
        if left.raw == right.raw { return true }
        return left.hasEscapes || right.hasEscapes ? left.text == right.text : false
    }

    private var hasEscapes: Bool { raw.contains(ASCII.backslash) }

    public func hash(into hasher: inout Hasher) { hasher.combine(text) }

    /// One after the other, with `separator` between them; a copy only if there are several.
    public static func joined(_ strings: [JSONString], by separator: JSONString) -> JSONString {
        guard let first = strings.first else { return JSONString(raw: []) }
        if strings.count == 1 { return first }
        var raw = first.raw
        for string in strings.dropFirst() {
            raw += separator.raw
            raw += string.raw
        }
        return JSONString(raw: raw)
    }
}
