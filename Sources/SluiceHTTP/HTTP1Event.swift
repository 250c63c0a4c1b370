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

/// Why a message was refused.
public enum HTTPError: Error, Equatable, Sendable {
    /// Grammar, or an ambiguous length. Requests: 400 and close. Responses: 502.
    case malformed(String)
    /// Requests: 431, or 414 for `target`, 501 for an unknown transfer coding, 505 for a version.
    case limit(Limit)
    case unsupportedTransferCoding
    case unsupportedVersion
    /// An Expect other than 100-continue: 417.
    case expectationFailed
    /// The peer closed inside a message.
    case truncated
}
