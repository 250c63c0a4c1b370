import SluiceBytes

/// How a body is compressed (RFC 9110 §8.4.1), as far as zlib reads it.
public enum ContentCoding: Sendable, Equatable {
    case gzip
    /// The zlib format (RFC 1950), or, as some servers understand the name, bare DEFLATE.
    case deflate
    /// Another one, or several over each other.
    case unsupported

    /// What all `Content-Encoding` fields say together; nil if the body is as it is.
    public init?(_ fields: HeaderFields) {
        var found: ContentCoding?
        for index in 0..<fields.count where ASCII.equalFolded(fields.name(at: index), "content-encoding") {
            HTTP1Grammar.forEachElement(fields.value(at: index)) { coding in
                if ASCII.equalFolded(coding, "identity") { return }
                found = found == nil ? Self.named(coding) : .unsupported
            }
        }
        guard let found else { return nil }
        self = found
    }

    private static func named(_ coding: Span<UInt8>) -> ContentCoding {
        if ASCII.equalFolded(coding, "gzip") || ASCII.equalFolded(coding, "x-gzip") { return .gzip }
        return ASCII.equalFolded(coding, "deflate") ? .deflate : .unsupported
    }

    /// `fields` without those that hold for the compressed bytes only: the coding, lengths, digests, a validator of them.
    public static func fieldsOfInflated(_ fields: HeaderFields) -> HeaderFields {
        let names: [StaticString] = [
            "content-encoding", "content-length", "content-digest", "repr-digest", "digest", "content-md5", "etag",
            "accept-ranges",
        ]
        return fields.filtered { index in
            !names.contains { ASCII.equalFolded(fields.name(at: index), $0) }
        }
    }
}
