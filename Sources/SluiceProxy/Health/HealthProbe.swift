import SluiceBytes
import SluiceHTTP

/// What a server's answer says of it.
public enum HealthVerdict: Equatable, Sendable {
    case well
    /// With the reason, on one line.
    case ill(String)
}

/// One question to a server over one connection, and the judgement of what comes back. Pure.
public protocol HealthProbe {
    /// Sent when the connection stands.
    var question: [UInt8] { get }
    /// nil: more must come.
    mutating func receive(_ bytes: Span<UInt8>) -> HealthVerdict?
    /// The server closed.
    mutating func end() -> HealthVerdict
}

/// Asks an endpoint of the admin listener, whose status is the answer.
public struct AdminProbe: HealthProbe {
    private let path: String
    private var parser = HTTP1ResponseParser(limits: HTTP1Limits(headBytes: 16 << 10))
    private var status: Int?
    private var body: [UInt8] = []

    /// Enough for a line that says what is wrong.
    private static let reasonBytes = 512

    public init(path: String) {
        self.path = path
        parser.begin(requestMethod: "GET")
    }

    /// The listener believes no name but this machine's.
    public var question: [UInt8] {
        Array("GET \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".utf8)
    }

    public mutating func receive(_ bytes: Span<UInt8>) -> HealthVerdict? {
        var offset = 0
        do throws(HTTPError) {
            while true {
                switch try parser.next(bytes, at: &offset) {
                case .needMore: return nil
                case .interim: break
                case .head(let head, _):
                    status = head.status
                    if head.status == 200 { return .well }
                case .body(let range):
                    for index in range where body.count < Self.reasonBytes { body.append(bytes[index]) }
                case .end: return verdict
                }
            }
        } catch {
            return .ill("what answers is not the admin listener: \(error)")
        }
    }

    public mutating func end() -> HealthVerdict { verdict }

    private var verdict: HealthVerdict {
        guard let status else { return .ill("the server closed the connection without an answer") }
        let line = String(decoding: body.prefix { $0 != ASCII.lf }.map { $0 < 0x20 ? ASCII.space : $0 }, as: UTF8.self)
        return .ill("\(path) says \(status)\(line.isEmpty ? "" : ": \(line)")")
    }
}

/// Asks a listener of clients with HTTP/2's own PING (RFC 9113 §6.7), which makes no request: nothing is logged, counted among the
/// requests or sent to an upstream.
public struct PingProbe: HealthProbe {
    private enum Frame {
        static let settings: UInt8 = 4
        static let ping: UInt8 = 6
        static let goAway: UInt8 = 7
        static let acknowledged: UInt8 = 1
        static let head = 9
        /// As long as a peer that has said nothing else may make one.
        static let limit = 16 << 10
    }
    private static let word = Array("healthy?".utf8)
    private static let foreign = HealthVerdict.ill("what answers does not speak HTTP/2, so it is not Sluice")

    /// What is not yet a whole frame.
    private var rest: [UInt8] = []
    private var isFirst = true

    public init() {}

    public var question: [UInt8] {
        Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, Frame.settings, 0, 0, 0, 0, 0]
            + [0, 0, UInt8(Self.word.count), Frame.ping, 0, 0, 0, 0, 0] + Self.word
    }

    public mutating func receive(_ bytes: Span<UInt8>) -> HealthVerdict? {
        for index in bytes.indices { rest.append(bytes[index]) }
        var frames = rest[...]
        defer { rest = Array(frames) }
        while frames.count >= Frame.head {
            let head = Array(frames.prefix(Frame.head))
            let length = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
            guard length <= Frame.limit, !isFirst || head[3] == Frame.settings else { return Self.foreign }
            guard frames.count >= Frame.head + length else { return nil }
            isFirst = false
            let payload = frames.dropFirst(Frame.head).prefix(length)
            frames = frames.dropFirst(Frame.head + length)
            if head[3] == Frame.goAway { return .ill("the server closes its connections") }
            let isAcknowledged = head[4] & Frame.acknowledged != 0
            if head[3] == Frame.ping, isAcknowledged, payload.elementsEqual(Self.word) { return .well }
        }
        return nil
    }

    public mutating func end() -> HealthVerdict {
        rest.isEmpty && isFirst ? .ill("the server closed the connection without an answer") : Self.foreign
    }
}
