import SluiceBytes

/// What an HTTP/1.1 parser makes of the bytes it was shown.
public enum HTTP1Event<Head> {
    /// Nothing more in these bytes; all of them are taken (a partial head is kept inside the parser).
    case needMore
    /// A whole head, and how its body is delimited.
    case head(Head, BodyLength)
    /// An interim response (1xx except 101); only from a response parser.
    case interim(Int)
    /// A run of body bytes: a range of the span that was passed in. Not copied.
    case body(Range<Int>)
    /// The message is complete; the bytes behind it are not touched and belong to the next one.
    case end
}

/// Why a message was refused. What throws it can say nothing more about its connection, which is closed.
public enum HTTPError: Error, Equatable, Sendable {
    /// Grammar, or an ambiguous length.
    case malformed(String)
    case limit(Limit)
    case unsupportedTransferCoding
    case unsupportedVersion
    /// An Expect other than 100-continue.
    case expectationFailed
    /// The peer closed inside a message.
    case truncated

    /// The status that answers a request refused so; a response refused so is a 502.
    public var requestStatus: Int {
        switch self {
        case .malformed, .truncated: 400
        case .limit(let limit):
            switch limit.name {
            case "target_bytes": 414
            case "chunk_extension_bytes": 400
            default: 431
            }
        case .unsupportedTransferCoding: 501
        case .unsupportedVersion: 505
        case .expectationFailed: 417
        }
    }
}
