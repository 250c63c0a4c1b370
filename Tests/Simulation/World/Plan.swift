import SluiceBytes
import SluiceHTTP

/// What an upstream speaks.
enum UpstreamDialect: String, CaseIterable {
    case openAI = "openai-chat", anthropic = "anthropic-messages", ollama = "ollama-chat"
}

/// What a client asks for.
enum ClientFormat: String, CaseIterable {
    case text
    case sseText = "sse-text"
    case sseJSON = "sse-json"
    case ndjson
    case openAI = "openai-chat"
    case anthropic
    case ollama = "ollama-chat"
    case passthrough
}

/// Where and how an answer goes wrong. `at` is a part of its bytes, 0 to 1.
enum UpstreamFault {
    case close(at: Double)
    case reset(at: Double)
    case stall(at: Double)
    case garbage(at: Double)
    /// The message ends as HTTP says, between two events, before the stream's own end.
    case endEarly(at: Double)
    /// The provider reports an error in its stream.
    case errorEvent(at: Double)
    case status(Int)
    case html
    /// All is said, but the message does not end.
    case neverEnds
    /// HTTP/2: REFUSED_STREAM, once.
    case refuse
    /// HTTP/2: GOAWAY, and the stream ends in its time.
    case goAway

    /// The answer is whole all the same.
    var isHarmless: Bool {
        switch self {
        case .neverEnds, .refuse, .goAway: true
        default: false
        }
    }
}

/// How an upstream answers one request.
struct AnswerPlan {
    enum Framing { case chunked, fixed, untilClose }
    var framing = Framing.chunked
    var headDelay = 0
    var tokenDelay = 0...0
    /// Events that leave in one write, at most.
    var burst = 1
    var fault: UpstreamFault?
    var closesAfter = false
}

/// How fast a client reads one answer.
struct ReadPace {
    var bytes = 1 << 20
    var interval = 0
    /// Stops reading when so many bytes of the body have come; for so long, or for ever.
    var stopAfter: Int?
    var stopFor: Int?
}

/// One request of one client, what is to happen to it, and what did.
final class Plan {
    enum Leave {
        case after(Int)
        case atByte(Int)
    }
    enum Outcome: Equatable {
        /// The answer came to its end as HTTP says.
        case answered(status: Int)
        /// The connection or the stream ended before.
        case aborted
        /// The client went.
        case left
    }

    let id: Int
    var path = ""
    var format = ClientFormat.text
    var dialect = UpstreamDialect.openAI
    var wantsStream = true
    var tokens: [[UInt8]] = []
    private(set) lazy var text: [UInt8] = Array(tokens.joined())
    var padding = 0
    /// The body goes in pieces of so many bytes, with so many nanoseconds between.
    var bodyPiece = 1 << 20
    var bodyPause = 0
    var thinking = 0
    var leave: Leave?
    var leavesByReset = false
    var pace = ReadPace()
    var answer = AnswerPlan()

    /// Why it need not succeed; without any, it must.
    var excuses: Set<String> = []

    var outcome: Outcome?
    var status = 0
    var body: [UInt8] = []
    /// The body is compressed, and `body` holds it as it came.
    var isCoded = false
    var works: [Work] = []
    /// When a side that is not the proxy last did something for it.
    var lastActivity: UInt64 = 0
    /// The upstream has sent its own end.
    var endSent = false

    init(_ id: Int) { self.id = id }

    /// Each third client says that it takes gzip, and so gets it.
    var takesGzip: Bool { id % 3 == 0 }

    func begin(_ head: ResponseHead) {
        (status, isCoded) = (head.status, head.fields.contains("content-encoding"))
    }

    /// The body of its request; the upstream finds the plan by the number in it.
    var request: [UInt8] {
        let padding = String(repeating: "x", count: padding)
        return Array(
            "{\"model\":\"m\",\"stream\":\(wantsStream),\"messages\":[{\"role\":\"user\",\"content\":\"plan-\(id); \(padding)\"}]}"
                .utf8)
    }
}

extension Plan {
    func summary(isHTTP2: Bool) -> String {
        let fault = answer.fault.map { "\($0)" } ?? "none"
        return
            "plan \(id): HTTP/\(isHTTP2 ? "2" : "1.1") \(path)\(wantsStream ? "" : " as a document"), \(tokens.count) tokens, "
            + "\(text.count) bytes, \(answer.framing), fault \(fault), client \(leave.map { "leaves \($0)" } ?? "stays"), "
            + "\(pace.bytes) bytes each \(pace.interval / 1_000) us, excuses \(excuses.sorted())"
    }
}

/// One upstream's work on one request.
final class Work {
    let plan: Plan
    /// The upstream's end of the connection.
    let socket: Socket
    let isHTTP2: Bool
    var isActive = true
    /// The proxy has ended it.
    var wasCancelled = false

    init(_ plan: Plan, _ socket: Socket, isHTTP2: Bool) {
        (self.plan, self.socket, self.isHTTP2) = (plan, socket, isHTTP2)
    }

    /// As far as the proxy is concerned, this one still works.
    var isWanted: Bool { isActive && !(socket.peer?.isClosed ?? true) }
}
