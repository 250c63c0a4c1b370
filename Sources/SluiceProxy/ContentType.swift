import SluiceBytes
import SluiceHTTP

/// What a response's `content-type` says about its body (RFC 9110 §8.3).
struct ContentType {
    /// Lower case, without parameters; empty if there is none.
    let essence: String

    init(_ fields: HeaderFields) {
        let value = fields.first("content-type") ?? ""
        let type = value.prefix { $0 != ";" }
        essence = String(type).lowercased().filter { $0 != " " && $0 != "\t" }
    }

    var isHTML: Bool { essence == "text/html" || essence == "application/xhtml+xml" }

    /// A type that providers stream in.
    var isStream: Bool {
        switch essence {
        case "text/event-stream", "application/x-ndjson", "application/ndjson", "application/jsonl",
            "application/json-lines", "application/stream+json":
            true
        default: false
        }
    }

    /// For streams that a gateway mislabels: does the body begin as an event stream does?
    static func looksLikeStream(_ bytes: Span<UInt8>) -> Bool {
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
