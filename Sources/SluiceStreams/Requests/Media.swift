import SluiceBytes

/// Images and documents: what stands in a data URL (RFC 2397) is a slice of it, and becomes one string again only when the
/// upstream's body is written.
extension ChatRequest.Media {
    /// Base64 in a data URL, or any other address.
    init(url: JSONString, detail: JSONString? = nil) {
        self = Self.split(url) ?? .url(url, detail: detail)
    }

    private static let scheme: JSONString = "data:"
    private static let coding: JSONString = ";base64"
    /// Longer than any media type with its parameters.
    private static let headLimit = 256

    private static func split(_ url: JSONString) -> ChatRequest.Media? {
        let raw = url.raw
        guard raw.starts(with: scheme.raw), let comma = raw.prefix(headLimit).firstIndex(of: ASCII.comma) else {
            return nil
        }
        let head = raw[(raw.startIndex + scheme.raw.count)..<comma]
        guard head.suffix(coding.raw.count).elementsEqual(coding.raw) else { return nil }
        let type = head.prefix { $0 != ASCII.semicolon }
        return .base64(
            mediaType: type.isEmpty ? "application/octet-stream" : JSONString(raw: type),
            data: JSONString(raw: raw[(comma + 1)...]))
    }

    /// One string: the address, or a data URL.
    var address: JSONValue {
        switch self {
        case .base64(let mediaType, let data): .pieces([Self.scheme, mediaType, Self.coding, ",", data])
        case .url(let url, _): .string(url)
        }
    }

    var detail: JSONString? { if case .url(_, let detail) = self { detail } else { nil } }

    /// As in `image/png`, in lower case; nil for an address.
    var mediaType: String? {
        if case .base64(let mediaType, _) = self { mediaType.text.lowercased() } else { nil }
    }

    var isImage: Bool { mediaType?.hasPrefix("image/") ?? false }

    /// Ollama's images have no media type; it shows in their first bytes.
    static func guessed(_ data: JSONString) -> ChatRequest.Media {
        let starts: [(JSONString, JSONString)] = [
            ("iVBOR", "image/png"), ("R0lGOD", "image/gif"), ("UklGR", "image/webp"), ("Qk", "image/bmp"),
        ]
        let found = starts.first { data.raw.starts(with: $0.0.raw) }
        return .base64(mediaType: found?.1 ?? "image/jpeg", data: data)
    }
}

extension JSONString {
    /// Base64 in the common alphabet, out of the one for addresses (RFC 4648 §5), in which Google's libraries write bytes.
    var standardBase64: JSONString {
        let (hyphen, underscore) = (UInt8(ascii: "-"), UInt8(ascii: "_"))
        guard raw.contains(where: { $0 == hyphen || $0 == underscore }) else { return self }
        var bytes = raw.map { $0 == hyphen ? UInt8(ascii: "+") : $0 == underscore ? UInt8(ascii: "/") : $0 }
        while bytes.count % 4 != 0 { bytes.append(UInt8(ascii: "=")) }
        return JSONString(raw: bytes[...])
    }
}
