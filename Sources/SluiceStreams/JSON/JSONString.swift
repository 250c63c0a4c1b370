import SluiceBytes

/// A JSON string as it stands between its quotes, escapes and all: a slice of the document that it came from, so that ten
/// megabytes of an image are never copied by whoever moves it from one document to another.
public struct JSONString: Sendable, Hashable, ExpressibleByStringLiteral {
    /// Without the quotes; still escaped.
    public let raw: ArraySlice<UInt8>

    public init(raw: ArraySlice<UInt8>) { self.raw = raw }

    /// Escapes what must be.
    public init(_ text: String) {
        var out = ByteQueue()
        let bytes = Array(text.utf8)
        JSONText.appendEscaped(bytes.span, into: &out)
        raw = out.withUnsafeBytes { ArraySlice($0) }
    }

    public init(stringLiteral value: String) { self.init(value) }

    public var isEmpty: Bool { raw.isEmpty }
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

    /// Appends what it means as UTF-8.
    public func appendText(to out: inout ByteQueue) {
        var half: UInt16?
        JSONText.append(raw.span, half: &half, into: &out)
        JSONText.dropHalf(&half, into: &out)
    }

    public static func == (left: JSONString, right: JSONString) -> Bool {
        left.raw == right.raw || left.text == right.text
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(text) }
}
