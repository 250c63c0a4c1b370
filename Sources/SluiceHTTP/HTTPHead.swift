/// A request's control data and fields, the same for HTTP/1.1 and HTTP/2 (RFC 9110 §6.2).
public struct RequestHead: Sendable, Equatable {
    public enum Version: UInt8, Sendable { case http10, http11, http2 }
    public var method: String
    /// Origin-form target as it came, e.g. `/v1/chat?x=1`; an absolute-form target is reduced to it by the parser.
    public var target: String
    /// From `Host` or `:authority` or an absolute-form target; empty only for HTTP/1.0.
    public var authority: String
    public var version: Version
    public var fields: HeaderFields

    public init(
        method: String, target: String, authority: String, version: Version = .http11,
        fields: HeaderFields = HeaderFields()
    ) {
        (self.method, self.target, self.authority) = (method, target, authority)
        (self.version, self.fields) = (version, fields)
    }
}

/// A response's status and fields.
public struct ResponseHead: Sendable, Equatable {
    public var status: Int
    public var fields: HeaderFields

    public init(status: Int, fields: HeaderFields = HeaderFields()) { (self.status, self.fields) = (status, fields) }
}

/// How a message's body is delimited on HTTP/1.1 (RFC 9112 §6.3); HTTP/2 frames it itself.
public enum BodyLength: Equatable, Sendable {
    case none
    case fixed(Int)
    case chunked
    /// Until the connection closes: only responses, only upstream.
    case untilClose
}
