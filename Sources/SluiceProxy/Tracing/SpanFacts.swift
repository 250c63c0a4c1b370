import SluiceBytes
import SluiceStreams

/// What is known of a span when it ends: values that a worker has anyway, handed over as they are. The exporter's thread makes attributes
/// of them. No word of a prompt, an answer or a secret is among them.
enum SpanFacts: Sendable {
    case server(ServerFacts)
    case attempt(AttemptFacts)
}

/// Of a request of a client, from its head to the answer's last byte; or of a step of such a one.
struct ServerFacts: Sendable {
    var traceID: String
    var spanID: String
    /// "" where the trace begins here.
    var parentID: String
    var state: String
    var flags: UInt8
    var start: Instant
    var end = Instant(nanoseconds: 0)
    /// nil: a client's request; else a step's name.
    var step: String?

    var method: String
    var route = ""
    var path = ""
    var isTLS = false
    var version = ""
    /// `Host`, as it came.
    var authority = ""
    var client = ""
    var status = 0
    /// As the access line has it.
    var reason = ""
    var errorType = ""
    var requestID = ""
    var upstream = ""
    var format = ""
    var retries = 0
    var tokens = 0
    var isStream = false
    var firstToken: Instant?
}

/// Of one attempt at one upstream.
struct AttemptFacts: Sendable {
    var traceID: String
    var spanID: String
    var parentID: String
    var state: String
    var flags: UInt8
    var start: Instant
    var end = Instant(nanoseconds: 0)

    let labels: UpstreamLabels
    var place = ""
    var method = ""
    /// Attempts before it, of the same exchange.
    var resends = 0
    /// Asked of a model, and not something else that passes through.
    var isGenerative = false
    var isStream = false
    var model = ""
    var settings = RequestSettings()
    var status = 0
    var responseID = ""
    var responseModel = ""
    var finish: FinishReason?
    var usage: Usage?
    var firstToken: Instant?
    /// done, client_gone, or what went wrong.
    var reason = ""
    /// "": nothing went wrong with it.
    var errorType = ""
}

/// What a request asks of a model besides its words.
struct RequestSettings: Sendable, Equatable {
    var maxTokens: Int?
    var temperature: Double?
    var topP: Double?

    init() {}

    /// Where each dialect has them: at the top, or in a mapping there. Nothing is built, and nothing is read more than twice.
    init(_ text: Span<UInt8>) { self.init(text, isNested: false) }

    private init(_ text: Span<UInt8>, isNested: Bool) {
        var scanner = JSONScanner(text)
        guard scanner.enterObject() else { return }
        while let key = scanner.nextKey() {
            let kind = scanner.peek()
            guard let value = scanner.value() else { return }
            let name = text.extracting(key)
            take(name, text.extracting(value))
            guard kind == .object, !isNested else { continue }
            for inner: StaticString in ["options", "generationConfig", "inferenceConfig", "parameters"]
            where ASCII.equal(name, inner) {
                let nested = RequestSettings(text.extracting(value), isNested: true)
                (maxTokens, temperature) = (maxTokens ?? nested.maxTokens, temperature ?? nested.temperature)
                topP = topP ?? nested.topP
            }
        }
    }

    private static let limits: [StaticString] = [
        "max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "maxTokens", "num_predict",
        "max_new_tokens",
    ]

    private mutating func take(_ name: Span<UInt8>, _ value: Span<UInt8>) {
        guard value.count <= 32, name.count <= 24, let first = value.count > 0 ? value[0] : nil,
            ASCII.isDigit(first) || first == UInt8(ascii: "-")
        else { return }
        let number = value.withUnsafeBufferPointer { Double(String(decoding: $0, as: UTF8.self)) }
        guard let number, number.isFinite else { return }
        if ASCII.equal(name, "temperature") {
            temperature = number
        } else if ASCII.equal(name, "top_p") || ASCII.equal(name, "topP") {
            topP = number
        } else if Self.isLimit(name) {
            maxTokens = Int(exactly: number)
        }
    }

    private static func isLimit(_ name: Span<UInt8>) -> Bool {
        for limit in limits where ASCII.equal(name, limit) { return true }
        return false
    }
}
