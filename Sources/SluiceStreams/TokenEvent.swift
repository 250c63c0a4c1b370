/// A run of bytes inside the `EventBatch` that carries the event; whole, valid UTF-8 once a decoder put it there.
public struct TextRange: Equatable, Sendable {
    public var start: Int
    public var count: Int

    public init(start: Int, count: Int) { (self.start, self.count) = (start, count) }
    public static let empty = TextRange(start: 0, count: 0)
    public var isEmpty: Bool { count == 0 }
}

/// The neutral vocabulary: every decoder makes it, every encoder takes it. Trivial values, so a batch of them is one
/// reused allocation without reference counts. Absent strings are empty ranges, absent numbers nil: an unknown figure
/// is never written as zero.
public enum TokenEvent: Equatable, Sendable {
    /// Once, before any other event but `ping`. `created`: seconds since 1970 as the provider gave it.
    case start(id: TextRange, model: TextRange, created: Int?)
    case text(choice: Int, TextRange)
    case reasoning(choice: Int, TextRange)
    /// The provider's proof of a reasoning block (Anthropic `signature`, Gemini `thoughtSignature`).
    case reasoningSignature(choice: Int, TextRange)
    case refusal(choice: Int, TextRange)
    /// `index` numbers the calls of one choice from 0 in the order of their starts; `id` is empty if none was given.
    case toolCallStart(choice: Int, index: Int, id: TextRange, name: TextRange)
    /// A fragment of the arguments' JSON text, to be joined with the others of the same call.
    case toolCallArguments(choice: Int, index: Int, TextRange)
    case toolCallEnd(choice: Int, index: Int)
    /// A web source or citation; `title` may be empty.
    case source(url: TextRange, title: TextRange)
    /// `raw`: the provider's own word for it.
    case finish(choice: Int, FinishReason, raw: TextRange)
    case usage(Usage)
    /// A failure that the provider reported inside the stream. `type`: its own word, may be empty.
    case error(StreamErrorKind, message: TextRange, type: TextRange, retryAfterSeconds: Int?)
    /// The provider's keepalive: an SSE comment or an event that says nothing.
    case ping
    /// A provider event that this dialect does not know; counted, kept in passthrough.
    case unknown
    /// The provider's own terminator (`[DONE]`, `message_stop`, `done:true` …) was seen.
    case end
}

/// Why a choice ended, in the words that all dialects map to (formats: OpenAI, Anthropic, Gemini, Cohere, Ollama …).
public enum FinishReason: UInt8, Sendable, CaseIterable {
    case stop, length, toolCalls, contentFilter, error, other
}

/// Token counts, cumulative for the stream. `input` includes cached, `output` includes reasoning. nil: unknown.
public struct Usage: Equatable, Sendable {
    public var input: Int?
    public var output: Int?
    public var cached: Int?
    public var reasoning: Int?

    public init(input: Int? = nil, output: Int? = nil, cached: Int? = nil, reasoning: Int? = nil) {
        (self.input, self.output, self.cached, self.reasoning) = (input, output, cached, reasoning)
    }
}

/// What kind of failure stands in a stream; each encoder has its own words for them.
public enum StreamErrorKind: UInt8, Sendable, CaseIterable {
    /// The provider says so itself, inside the stream.
    case provider, overloaded, rateLimited, invalidRequest
    /// The stream ended before its dialect's own ending, or its connection broke.
    case truncated
    /// Bytes that are not of the dialect; an event over its limit.
    case malformed
    /// No bytes for too long, or too long in all.
    case timeout
    /// The proxy is going down.
    case draining
}
