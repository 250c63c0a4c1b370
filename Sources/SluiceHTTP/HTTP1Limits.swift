import SluiceBytes

/// What one HTTP/1.1 message may cost before its body. The defaults are those of `limits` in the configuration.
public struct HTTP1Limits: Sendable, Equatable {
    /// Whose configuration keys an error repeats: the bounds for clients and for upstreams are set apart.
    public enum Side: Sendable { case client, upstream }

    /// Start line and fields with their line ends; counts again, on its own, for the trailers of a chunked body.
    /// All interim responses before a final one count into it too.
    public var headBytes: Int
    public var fields: Int
    /// The request target; unused for responses.
    public var targetBytes: Int
    /// Chunk extensions, summed over one message.
    public var chunkExtensionBytes: Int
    public var side: Side

    public init(
        headBytes: Int = 32 << 10, fields: Int = 100, targetBytes: Int = 8 << 10, chunkExtensionBytes: Int = 16 << 10,
        side: Side = .client
    ) {
        // `HeaderFields` counts in 32 bits.
        (self.headBytes, self.fields) = (min(headBytes, 1 << 30), fields)
        (self.targetBytes, self.chunkExtensionBytes) = (targetBytes, chunkExtensionBytes)
        self.side = side
    }

    /// The defaults for responses.
    public static let upstream = HTTP1Limits(headBytes: 64 << 10, fields: 200, side: .upstream)

    var headCrossed: HTTPError {
        .limit(Limit(side == .client ? "request_head_bytes" : "upstream_head_bytes", headBytes))
    }
    var fieldsCrossed: HTTPError { .limit(Limit(side == .client ? "request_fields" : "upstream_fields", fields)) }
    var targetCrossed: HTTPError { .limit(Limit("target_bytes", targetBytes)) }
    var extensionsCrossed: HTTPError { .limit(Limit("chunk_extension_bytes", chunkExtensionBytes)) }
}
