import SluiceBytes

/// When a request is sent once more to the same upstream, as long as nothing of an answer has gone out to the client.
public struct RetrySpec: Sendable, Equatable {
    /// What may have happened to a request, beside a status.
    public enum Word: String, Sendable, CaseIterable {
        /// No connection: name, socket or TLS. Nothing was sent.
        case connect
        /// The upstream said that it had not begun with it (REFUSED_STREAM, or GOAWAY before it).
        case refused
        /// The connection ended after the request had been sent, and before one byte of an answer.
        case reset
        /// No head of an answer within `timeouts.headers`.
        case timeout
        /// A head, but no token within `timeouts.first_token`.
        case firstToken = "first_token"
    }

    /// How often at most, behind the first time.
    public var attempts = 2
    /// Before the first repetition the wait is a random part of this; the span doubles each time, up to `maxBackoff`.
    public var backoff = Interval.milliseconds(250)
    public var maxBackoff = Interval.seconds(10)
    /// An upstream that asks for more patience than this (`Retry-After`) is not waited for.
    public var maxRetryAfter = Interval.seconds(10)
    /// What is repeated although the upstream may have read the request; `connect` and `refused` also where another upstream
    /// could take over at once.
    public var words: Set<Word> = []
    public var statuses: Set<Int> = []
    /// Of the requests to this upstream within the last ten seconds, in percent: so many may be repetitions.
    public var budgetPercent = 20
    /// Repetitions a second that are always allowed.
    public var minPerSecond = 3

    /// Where there is no policy: only what cannot have reached the upstream is repeated.
    public init() {}

    /// What a policy repeats that does not say what.
    public static let usualWords: Set<Word> = [.connect, .refused, .reset]
    public static let usualStatuses: Set<Int> = [429, 500, 502, 503, 504, 529]

    /// A status that says nothing against the request itself.
    public static func isRepeatable(status: Int) -> Bool {
        (500...599).contains(status) || [408, 409, 425, 429].contains(status)
    }
}
