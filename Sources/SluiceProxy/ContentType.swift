import SluiceBytes
import SluiceHTTP

/// What a response's `content-type` says about its body (RFC 9110 §8.3).
struct ContentType {
    private enum Kind { case other, html, stream, json, text, form }
    private let kind: Kind

    init(_ fields: HeaderFields) {
        guard let index = fields.firstIndex(of: "content-type") else {
            kind = .other
            return
        }
        let value = fields.value(at: index)
        var end = 0
        while end < value.count, value[end] != ASCII.semicolon, value[end] != ASCII.space { end += 1 }
        kind = Self.kind(value.extracting(0..<end))
    }

    private static func kind(_ essence: Span<UInt8>) -> Kind {
        for type in streams where ASCII.equalFolded(essence, type) { return .stream }
        if ASCII.equalFolded(essence, "text/html") || ASCII.equalFolded(essence, "application/xhtml+xml") {
            return .html
        }
        if ASCII.equalFolded(essence, "application/json") { return .json }
        if ASCII.equalFolded(essence, "application/x-www-form-urlencoded") { return .form }
        return ASCII.equalFolded(essence, "text/plain") ? .text : .other
    }

    /// What providers stream in.
    private static let streams: [StaticString] = [
        "text/event-stream", "application/x-ndjson", "application/ndjson", "application/jsonl",
        "application/json-lines", "application/stream+json", "application/vnd.amazon.eventstream",
    ]

    var isHTML: Bool { kind == .html }
    var isStream: Bool { kind == .stream }
    var isJSON: Bool { kind == .json }
    var isPlainText: Bool { kind == .text }
    /// What an HTML form sends.
    var isForm: Bool { kind == .form }

    /// What a body that calls itself no stream begins with.
    enum Opening { case eventStream, json, other }

    static func opening(_ bytes: Span<UInt8>) -> Opening {
        if looksLikeStream(bytes) { return .eventStream }
        for index in bytes.indices {
            switch bytes[index] {
            case ASCII.space, ASCII.tab, ASCII.lf, ASCII.cr: continue
            case ASCII.leftBrace, ASCII.leftBracket: return .json
            default: return .other
            }
        }
        return .other
    }

    /// For streams that a gateway mislabels: does the body begin as an event stream does?
    private static func looksLikeStream(_ bytes: Span<UInt8>) -> Bool {
        var start = 0
        // A byte order mark and blank lines may come first.
        if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF { start = 3 }
        while start < bytes.count, bytes[start] == ASCII.lf || bytes[start] == ASCII.cr { start += 1 }
        let rest = bytes.extracting(start..<bytes.count)
        if rest.isEmpty || rest[0] == ASCII.colon { return true }
        for name: StaticString in ["data:", "event:", "id:", "retry:"] {
            let length = min(rest.count, name.utf8CodeUnitCount)
            var matches = true
            for index in 0..<length where rest[index] != name.utf8Start[index] { matches = false }
            if matches { return true }
        }
        return false
    }
}
